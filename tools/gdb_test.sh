#!/usr/bin/env bash
# Every instruction of the switches, as a debugger sees it: tools/gdb_unwind.py. Skipped by name where gdb is absent.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v gdb >/dev/null || ! gdb -nx -batch -ex 'python print(1)' >/dev/null 2>&1; then
    echo "skipped: unwinding through the switches (no gdb with Python)"
    exit
fi
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/c_tests"
program=$target/c_tests/gdb_unwind
# shellcheck disable=SC2046 # a list of flags
"${CC:-cc}" -std=c11 -Wall -Wextra -Wpedantic -Werror -g -O1 -Iinclude c_tests/gdb_unwind.c -o "$program" \
    "$target/release/libgoroutine.a" $(cat tools/native-libs.txt)
log=$program.log
if timeout 240 gdb -nx -q -batch -x tools/gdb_unwind.py "$program" >"$log" 2>&1; then
    grep 'instructions unwound' "$log"
else
    tail -n 20 "$log" >&2
    echo "FAILED: unwinding through the switches" >&2
    exit 1
fi
