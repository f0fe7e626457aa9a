#!/usr/bin/env bash
# Writes include/goroutine.h from src/abi and src/capi, and include/ultrascript_runtime.h from src/capi/ultrascript.rs.
# `--check`: says whether the committed ones are up to date, and whether they compile alone, included twice, and together.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "$0")/.."

version=0.29.4
headers=(goroutine.h ultrascript_runtime.h)
chapters=(runtime goroutine promise timer async io file resolve ffi lane ffi_load mutex rwlock condition semaphore wait_group once channel select group local world trace context tools cxx)
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
work=$(mktemp -d "$target/header.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Another version writes another header, so only this one will do.
cbindgen=cbindgen
if [[ $(cbindgen --version 2>/dev/null || true) != "cbindgen $version" ]]; then
    cbindgen=$target/tools/bin/cbindgen
    if [[ $("$cbindgen" --version 2>/dev/null || true) != "cbindgen $version" ]]; then
        echo "header.sh: installing cbindgen $version into $target/tools" >&2
        env -u RUSTFLAGS -u CARGO_TARGET_DIR cargo install --quiet --version "$version" --locked \
            --root "$target/tools" cbindgen >&2
    fi
fi

# room FILE: the file as a module. One of src/capi comes after a made-up function whose documentation is the file's
# first line: header.awk turns it into a heading.
room() {
    local stem
    stem=$(basename "$1" .rs)
    if [[ $1 == src/capi/* ]] && grep -q no_mangle "$1"; then
        echo "pub mod chapter_$stem {"
        sed -n '1s|^//! |/// |p' "$1"
        echo "#[unsafe(no_mangle)] pub extern \"C\" fn CHAPTER_$stem() {} }"
    fi
    echo "pub mod $(basename "$(dirname "$1")")_$stem {"
    cat "$1"
    echo "}"
}

# The status codes come out of a macro, which cbindgen does not expand: the same constants, one by one.
statuses() {
    echo "pub mod statuses {"
    sed -nE 's|^ +(GOROUTINE_[A-Z]+) = (-?[0-9]+), "(.*)";$|/// \3\npub const \1: GoroutineStatus = \2;|p' src/abi/status.rs
    echo "}"
}

generate() {
    local chapter file files=(src/abi/*.rs)
    for chapter in "${chapters[@]}"; do
        [[ -e src/capi/$chapter.rs ]] && files+=("src/capi/$chapter.rs")
    done
    for file in src/capi/*.rs; do
        [[ " ${files[*]} " == *" $file "* || $file == */ultrascript.rs ]] || files+=("$file")
    done
    {
        statuses
        for file in "${files[@]}"; do room "$file"; done
    } >"$work/rooms.rs"
    write cbindgen.toml goroutine.h
    room src/capi/ultrascript.rs >"$work/rooms.rs"
    write cbindgen-ultrascript.toml ultrascript_runtime.h
}

# write CONFIG HEADER: from rooms.rs.
write() {
    "$cbindgen" --quiet --config "$1" "$work/rooms.rs" >"$work/raw.h"
    # Where arguments take several lines, cbindgen puts "no return" in front of the second one: to the front with it.
    awk -f tools/header.awk "$work/raw.h" |
        sed -zE 's/\nvoid (\w+\([^;]*)\nGOROUTINE_NORETURN( +)/\nGOROUTINE_NORETURN void \1\n\2/' >"$work/$2"
}

# compiles "HEADER..." COMMAND...: alone and included twice, as what the command reads from standard input.
compiles() {
    local copies
    for copies in 1 2; do
        # shellcheck disable=SC2086 # several headers
        for _ in $(seq "$copies"); do printf '#include <%s>\n' $1; done >"$work/source"
        "${@:2}" -Wall -Wextra -Wpedantic -Wconversion -Werror -Iinclude -fsyntax-only "$work/source" || {
            echo "header.sh: $1, included $copies times, does not compile: ${*:2}" >&2
            return 1
        }
    done
}

generate
if [[ ${1-} != --check ]]; then
    for header in "${headers[@]}"; do mv "$work/$header" "include/$header"; done
    exit
fi
for header in "${headers[@]}"; do
    if ! diff -u --label "include/$header" --label "src/abi, src/capi" "include/$header" "$work/$header"; then
        echo "header.sh: include/$header is not up to date: make header" >&2
        exit 1
    fi
done
# Together: they declare some functions twice.
for header in "${headers[@]}" "goroutine.h ultrascript_runtime.h" "ultrascript_runtime.h goroutine.h"; do
    compiles "$header" "${CC:-cc}" -std=c11 -x c
done
# The adapters: those whose libraries are installed.
read -ra pq <<<"$(pg_config --includedir 2>/dev/null | sed 's/^/-isystem /')"
for pair in goroutine_curl.h:curl/curl.h goroutine_pq.h:libpq-fe.h goroutine_openssl.h:openssl/ssl.h; do
    if ! echo "#include <${pair#*:}>" | "${CC:-cc}" "${pq[@]}" -x c -E - -o /dev/null 2>/dev/null; then
        echo "skipped: header.sh: ${pair%:*} (no ${pair#*:}: make deps-adapters)"
        continue
    fi
    compiles "${pair%:*}" "${CC:-cc}" "${pq[@]}" -std=c11 -x c
    ! command -v "${CXX:-c++}" >/dev/null || compiles "${pair%:*}" "${CXX:-c++}" "${pq[@]}" -std=c++17 -x c++
done
if command -v "${CXX:-c++}" >/dev/null; then
    for file in include/*.h include/*.hpp; do
        [[ $file != include/goroutine_*.h ]] || continue # an adapter
        [[ ! -e $file ]] || compiles "$(basename "$file")" "${CXX:-c++}" -std=c++17 -x c++
    done
    compiles "ultrascript_runtime.h goroutine.h" "${CXX:-c++}" -std=c++17 -x c++
else
    echo "skipped: C++ (no c++ compiler)"
fi
