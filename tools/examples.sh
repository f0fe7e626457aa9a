#!/usr/bin/env bash
# Compiles each examples/*.c and *.cpp, links it to the .so and to the .a, runs both, and compares what they write with the
# comment "Prints:" at the source's end. `make` builds the libraries first.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
libraries=$target/release
work=$target/examples
read -ra native <tools/native-libs.txt
mkdir -p "$work"
ln -sfn libgoroutine.so "$libraries/libgoroutine.so.1" # the loader looks for the soname

passed=0
failed=0
for source in examples/*.c examples/*.cpp; do
    compiler=("${CC:-cc}" -std=c11)
    if [[ $source == *.cpp ]]; then
        compiler=("${CXX:-c++}" -std=c++17)
        command -v "${CXX:-c++}" >/dev/null || { echo "skipped: $source (no C++ compiler)" && continue; }
    fi
    expected=$(sed -n '/^\/\* Prints:$/,/^\*\/$/p' "$source" | sed '1d;$d')
    if [[ -z $expected ]]; then
        echo "examples.sh: $source does not say what it prints" >&2
        exit 2
    fi
    for kind in so a; do
        program=$work/$(basename "${source%.*}").$kind
        link=(-L"$libraries" -lgoroutine "-Wl,-rpath,$libraries")
        [[ $kind == so ]] || link=("$libraries/libgoroutine.a" "${native[@]}")
        "${compiler[@]}" -O2 -Wall -Wextra -Wpedantic -Werror -Iinclude "$source" -o "$program" "${link[@]}"
        status=0
        got=$(timeout 60 "$program" </dev/null) || status=$?
        if [[ $status -eq 0 && $got == "$expected" ]]; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
            echo "FAILED: $program: status $status, printed:"
            echo "$got"
        fi
    done
done
echo "$passed passed, $failed failed: examples"
((failed == 0))
