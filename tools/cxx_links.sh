#!/usr/bin/env bash
# Ways to link C++ code, and whether its goroutines may park inside catch blocks then: docs/cpp.md, "If it does not take effect". `make` builds
# the libraries first.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v "${CXX:-c++}" >/dev/null; then
    echo "skipped: cxx_links (no C++ compiler)"
    exit
fi
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
libraries=$target/release
work=$target/cxx_links
code=c_tests/links/code.cpp
rm -rf "$work"
mkdir -p "$work"
ln -sfn libgoroutine.so "$libraries/libgoroutine.so.1" # the loader looks for the soname
read -ra native <tools/native-libs.txt
read -ra cxx <<<"${CXX:-c++} -std=c++17 -O2 -Wall -Wextra -Wpedantic -Werror -Iinclude -pthread"
so=(-L"$libraries" -lgoroutine "-Wl,-rpath,$libraries")
a=("$libraries/libgoroutine.a" "${native[@]}")
passed=0
failed=0

# expect WORD NAME COMMAND...: what the command prints.
expect() {
    local printed
    printed=$(timeout 60 "${@:3}" 2>&1) || printed+=" (status $?)"
    if [[ $printed == "$1" ]]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: cxx_links: $2: $printed instead of $1"
    fi
}
# program WORD NAME OPTIONS...
program() {
    "${cxx[@]}" -DMAIN "$code" -o "$work/program" "${@:3}"
    expect "$1" "$2" "$work/program"
}
# A program that exports nothing, as with a version script: nobody's definition but its own is hidden.
echo '{ local: *; };' >"$work/nothing"

program kept "the shared library" "${so[@]}"
program kept "the archive" "${a[@]}"
program kept "the archive, the static C++ runtime" "${a[@]}" -static-libstdc++
program kept "the shared library, the static C++ runtime" "${so[@]}" -static-libstdc++
program kept "goroutine.hpp" -DHPP "${so[@]}"
program kept "goroutine.hpp, the archive" -DHPP "${a[@]}"
program kept "goroutine.hpp, hidden, without what nobody calls" -DHPP -fvisibility=hidden -ffunction-sections -Wl,--gc-sections "${so[@]}"
program kept "goroutine.hpp, optimized as a whole" -DHPP -flto=1 "${so[@]}"
program kept "goroutine.hpp, eagerly bound" -DHPP -Wl,-z,now "${so[@]}"
program kept "goroutine.hpp, the C++ runtime first" -DHPP -lstdc++ "${so[@]}"
program kept "goroutine.hpp, the C++ runtime first, the static one" -DHPP -Wl,-Bstatic -lstdc++ -Wl,-Bdynamic "${so[@]}"
# What must not be: it is noticed.
program mixed "the C++ runtime first" -lstdc++ "${so[@]}"
program refused "goroutine.hpp, hidden by a version script, the C++ runtime first" -DHPP "-Wl,--version-script=$work/nothing" -lstdc++ "${so[@]}"

"${cxx[@]}" -fPIC -shared "$code" -o "$work/plugin.so" "${so[@]}"
"${cxx[@]}" -DHPP -fPIC -shared "$code" -o "$work/plugin_hpp.so" "${so[@]}"
"${CC:-cc}" -O2 -Wall -Wextra -Werror c_tests/links/host.c -o "$work/host_c" -ldl
"${CC:-cc}" -O2 -Wall -Wextra -Werror c_tests/links/host.c -o "$work/host_linked" -ldl -Wl,--no-as-needed "${so[@]}"
"${cxx[@]}" -x c++ c_tests/links/host.c -x none -o "$work/host_cxx" -ldl
"${cxx[@]}" -x c++ c_tests/links/host.c -x none -o "$work/host_cxx_linked" -ldl -Wl,--no-as-needed "${so[@]}"
expect kept "a plugin, a C host" "$work/host_c" "$work/plugin.so"
expect kept "a plugin with goroutine.hpp, a C host" "$work/host_c" "$work/plugin_hpp.so"
expect kept "a plugin, a C host with the library" "$work/host_linked" "$work/plugin.so"
expect kept "a plugin, a C++ host with the library" "$work/host_cxx_linked" "$work/plugin.so"
expect kept "a plugin with goroutine.hpp, a C++ host with the library" "$work/host_cxx_linked" "$work/plugin_hpp.so"
expect mixed "a plugin, a C++ host" "$work/host_cxx" "$work/plugin.so"
expect refused "a plugin with goroutine.hpp, a C++ host" "$work/host_cxx" "$work/plugin_hpp.so"
expect kept "a plugin with goroutine.hpp, a C++ host, the library preloaded" \
    env "LD_PRELOAD=$libraries/libgoroutine.so" "$work/host_cxx" "$work/plugin_hpp.so"

echo "$passed passed, $failed failed: ways to link C++"
((failed == 0))
