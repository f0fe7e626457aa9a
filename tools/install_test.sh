#!/usr/bin/env bash
# Installs into a scratch directory, moves it, and builds the program at the top of the header against it: by hand, with
# pkg-config and with CMake, shared and static; UltraScript's, and the one at the top of the C++ header. Then uninstalls, which must
# leave no file.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
work=$target/install_test
prefix=/opt/goroutine
libdir=$prefix/lib64
stage=$work/stage
moved=$work/moved
passed=0
failed=0
skipped=0

# attempt NAME COMMAND...: counts, and shows what the command wrote when it fails.
attempt() {
    if "${@:2}" >"$work/log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: install: $1"
        sed 's/^/    /' "$work/log"
    fi
}
skip() {
    skipped=$((skipped + 1))
    echo "skipped: install: $1"
}

answers() { [[ $("$@") == 328350 ]]; }

by_hand() {
    "${CC:-cc}" -std=c11 "$work/program.c" -o "$work/by_hand" -I"$moved/include" -L"$moved/lib64" -lgoroutine
    LD_LIBRARY_PATH=$moved/lib64 answers "$work/by_hand"
}

# Its program says by its status whether it got the right answer.
ultrascript() {
    "${CC:-cc}" -std=c11 -Wall -Wextra -Wpedantic -Werror "$work/ultrascript.c" -o "$work/ultrascript" -I"$moved/include" \
        -L"$moved/lib64" -lgoroutine
    LD_LIBRARY_PATH=$moved/lib64 "$work/ultrascript"
}

with_pkg_config() {
    export PKG_CONFIG_PATH=$stage$libdir/pkgconfig PKG_CONFIG_SYSROOT_DIR=$stage
    local flags private
    read -ra flags < <(pkg-config --cflags --libs goroutine)
    "${CC:-cc}" -std=c11 "$work/program.c" -o "$work/with_pkg_config" "${flags[@]}"
    LD_LIBRARY_PATH=$stage$libdir answers "$work/with_pkg_config"
    read -ra private < <(pkg-config --static --cflags --libs goroutine)
    "${CC:-cc}" -std=c11 "$work/program.c" -o "$work/all_static" "${private[@]}" -static
    answers "$work/all_static"
}

with_cmake() {
    mkdir -p "$work/cmake"
    cat >"$work/cmake/CMakeLists.txt" <<'LISTS'
cmake_minimum_required(VERSION 3.10)
project(consumer C)
find_package(goroutine 0.1 REQUIRED)
add_executable(shared ../program.c)
target_link_libraries(shared goroutine::goroutine)
add_executable(static ../program.c)
target_link_libraries(static goroutine::static)
LISTS
    cmake -S "$work/cmake" -B "$work/cmake/build" -Dgoroutine_DIR="$moved/lib64/cmake/goroutine"
    cmake --build "$work/cmake/build"
    readelf -d "$work/cmake/build/shared" | grep 'NEEDED.*libgoroutine\.so\.1'
    if readelf -d "$work/cmake/build/static" | grep 'NEEDED.*libgoroutine'; then return 1; fi
    answers "$work/cmake/build/shared"
    answers "$work/cmake/build/static"
}

# The program at the top of goroutine.hpp.
in_cxx() {
    local link private
    read -ra private <tools/native-libs.txt
    for link in "-L$moved/lib64 -lgoroutine" "$moved/lib64/libgoroutine.a ${private[*]}"; do
        # shellcheck disable=SC2086 # options
        "${CXX:-c++}" -std=c++17 "$work/program.cpp" -o "$work/in_cxx" -I"$moved/include" $link
        [[ $(LD_LIBRARY_PATH=$moved/lib64 "$work/in_cxx") == $'9\nseven' ]]
    done
}

uninstalled() {
    make --no-print-directory uninstall PREFIX=$prefix LIBDIR=$libdir DESTDIR="$stage"
    [[ -z $(find "$stage" ! -type d) ]]
}

cargo build --quiet --release --lib
rm -rf "$work"
mkdir -p "$work"
sed -nE '/^ \* A program$/,/^ \* Words$/s/^ \*     ?//p' include/goroutine.h >"$work/program.c"
sed -nE '/^ \* A program$/,/^ \* What callers may do$/s/^ \*     ?//p' include/ultrascript_runtime.h >"$work/ultrascript.c"
sed -nE '/^ \* A program$/,/^ \* Exceptions$/s/^ \*     ?//p' include/goroutine.hpp >"$work/program.cpp"
make --no-print-directory install PREFIX=$prefix LIBDIR=$libdir DESTDIR="$stage" >"$work/log"
cp -a "$stage$prefix" "$moved"

# In a subshell with errexit on its own: a function called in a condition would go on after an error.
for way in by_hand ultrascript with_pkg_config with_cmake in_cxx uninstalled; do
    case $way in
    with_pkg_config) command -v pkg-config >/dev/null || { skip "pkg-config (not installed)" && continue; } ;;
    in_cxx) command -v "${CXX:-c++}" >/dev/null || { skip "C++ (no c++ compiler)" && continue; } ;;
    with_cmake) command -v cmake >/dev/null || { skip "cmake (not installed)" && continue; } ;;
    esac
    # shellcheck disable=SC2163 # the function of that name
    export -f answers "$way"
    attempt "$way" env work="$work" stage="$stage" moved="$moved" prefix=$prefix libdir=$libdir \
        bash -euo pipefail -c "$way"
done
echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0))
