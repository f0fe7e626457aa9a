#!/usr/bin/env bash
# Writes include/goroutine.h from src/abi and src/capi. `--check`: says whether the committed one is up to date,
# and whether it compiles alone and included twice.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "$0")/.."

version=0.29.4
header=include/goroutine.h
chapters=(runtime goroutine promise timer async ffi lane ffi_load mutex rwlock condition semaphore wait_group once channel select group local context cxx)
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
        [[ " ${files[*]} " == *" $file "* ]] || files+=("$file")
    done
    {
        statuses
        for file in "${files[@]}"; do room "$file"; done
    } >"$work/rooms.rs"
    "$cbindgen" --quiet --config cbindgen.toml "$work/rooms.rs" >"$work/raw.h"
    # Where arguments take several lines, cbindgen puts "no return" in front of the second one: to the front with it.
    awk -f tools/header.awk "$work/raw.h" |
        sed -zE 's/\nvoid (\w+\([^;]*)\nGOROUTINE_NORETURN( +)/\nGOROUTINE_NORETURN void \1\n\2/' >"$work/goroutine.h"
}

# compiles HEADER COMMAND...: alone and included twice, as what the command reads from standard input.
compiles() {
    local copies
    for copies in 1 2; do
        printf "#include <$1>\n%.0s" $(seq "$copies") >"$work/source"
        "${@:2}" -Wall -Wextra -Wpedantic -Wconversion -Werror -Iinclude -fsyntax-only "$work/source" || {
            echo "header.sh: $1, included $copies times, does not compile: ${*:2}" >&2
            return 1
        }
    done
}

generate
if [[ ${1-} != --check ]]; then
    mv "$work/goroutine.h" "$header"
    exit
fi
if ! diff -u --label "$header" --label "src/abi, src/capi" "$header" "$work/goroutine.h"; then
    echo "header.sh: $header is not up to date: make header" >&2
    exit 1
fi
compiles goroutine.h "${CC:-cc}" -std=c11 -x c
if command -v "${CXX:-c++}" >/dev/null; then
    for file in include/*.h include/*.hpp; do
        [[ ! -e $file ]] || compiles "$(basename "$file")" "${CXX:-c++}" -std=c++17 -x c++
    done
else
    echo "skipped: C++ (no c++ compiler)"
fi
