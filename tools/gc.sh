#!/usr/bin/env bash
# A real collector on top: builds examples/gc_boehm against the .so and runs it. Usage: tools/gc.sh [COLLECTIONS [GOROUTINES]]; by default 10000 and 1000.
# `--quick`: a few seconds' worth, for `make test`. Skipped by name where the Boehm GC is not installed (`make deps-gc` installs it).
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
libraries=$target/release
read -ra c <<<"${CC:-cc} -std=gnu11 -O2 -g -Wall -Wextra -Werror -Iinclude -pthread"
if ! "${c[@]}" -x c -E - -o /dev/null <<<"#include <gc/gc_mark.h>" 2>/dev/null; then
    echo "skipped: a collector on top (no gc/gc_mark.h: make deps-gc)"
    exit
fi
amount=(10000 1000)
[[ ${1-} != --quick ]] || amount=(500 1000)
[[ ${1---quick} == --quick ]] || amount=("$@")
[[ -e $libraries/libgoroutine.so ]] || cargo build --quiet --release --lib
ln -sfn libgoroutine.so "$libraries/libgoroutine.so.1" # the loader looks for the soname
mkdir -p "$target/examples"
program=$target/examples/gc_boehm
"${c[@]}" examples/gc_boehm/gc_boehm.c -o "$program" -L"$libraries" -lgoroutine "-Wl,-rpath,$libraries" -lgc
if timeout 600 "$program" "${amount[@]}" >"$program.log" 2>&1; then
    tail -n 1 "$program.log"
else
    cat "$program.log" >&2
    echo "FAILED: a collector on top" >&2
    exit 1
fi
