#!/usr/bin/env bash
# Builds the programs of examples/foreign/ against the .so and runs them: real foreign libraries behind goroutines.
# Usage: tools/foreign.sh [--quick | --seconds N] [NAME...]. NAME: libc, sqlite, python, torch, go.
#   --quick        what takes seconds only, for `make test`: the newest Go that is installed, and LibTorch only where it was built before
#                  (its header alone takes the compiler most of a minute)
#   --seconds N    each runs for N seconds (and a few rounds), all at the same time, and may not grow
# A library that is not installed, or not run for want of time, is reported by name as skipped (`make deps-NAME` installs it).
# FOREIGN_WRAP: a command in front of each program.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
libraries=$target/release
out=$target/foreign
work=$out/bin
mkdir -p "$work" "$out/log"
# shellcheck source=tools/foreign-versions.sh
. tools/foreign-versions.sh

seconds=0
quick=
case ${1-} in
--seconds)
    seconds=$2
    shift 2
    ;;
--quick)
    quick=yes
    shift
    ;;
esac
[[ $# -gt 0 ]] || set -- libc sqlite python torch go

[[ -e $libraries/libgoroutine.so ]] || cargo build --quiet --release --lib
ln -sfn libgoroutine.so "$libraries/libgoroutine.so.1" # the loader looks for the soname

read -ra c <<<"${CC:-cc} -std=gnu11 -O2 -g -Wall -Wextra -Werror -Iinclude -pthread"
read -ra cxx <<<"${CXX:-c++} -std=c++17 -O1 -g -Wall -Wextra -Iinclude -pthread"
link=(-L"$libraries" -lgoroutine "-Wl,-rpath,$libraries" -ldl -lm)

# has HEADER COMPILER FLAGS...: whether it finds the header.
has() { "${@:2}" -E - -o /dev/null <<<"#include <$1>" 2>/dev/null; }

# build NAME: the program, or says on stdout what is missing.
build() {
    local flags
    case $1 in
    libc) "${c[@]}" examples/foreign/libc.c -o "$work/libc" "${link[@]}" ;;
    sqlite)
        has sqlite3.h "${c[@]}" -x c || { echo "no sqlite3.h: make deps-sqlite" && return; }
        "${c[@]}" examples/foreign/sqlite.c -o "$work/sqlite" -lsqlite3 "${link[@]}"
        ;;
    python)
        # The system's: others may not be built for embedding.
        # shellcheck disable=SC2086 # flags
        { flags=$(/usr/bin/python3-config --includes) && has Python.h "${c[@]}" -x c $flags; } 2>/dev/null ||
            { echo "no Python.h: make deps-python" && return; }
        # shellcheck disable=SC2046,SC2086 # flags
        "${c[@]}" $flags examples/foreign/python.c -o "$work/python" $(/usr/bin/python3-config --embed --ldflags) "${link[@]}"
        ;;
    torch)
        has torch/torch.h "${cxx[@]}" -x c++ "${torch_flags[@]}" || { echo "no LibTorch: make deps-torch" && return; }
        [[ $work/torch -nt examples/foreign/torch.cpp && $work/torch -nt examples/foreign/foreign.h &&
            $work/torch -nt include/goroutine.h ]] ||
            { [[ -n $quick ]] && echo "not built yet: make foreign"; } ||
            "${cxx[@]}" "${torch_flags[@]/#-I/-isystem}" examples/foreign/torch.cpp -o "$work/torch" -ltorch -ltorch_cpu -lc10 \
                "${link[@]}"
        ;;
    go) "${c[@]}" examples/foreign/go.c -o "$work/go" "${link[@]}" ;;
    *)
        echo "foreign.sh: nothing is called $1" >&2
        exit 2
        ;;
    esac
}

# run LABEL PROGRAM ARGUMENTS...: in the background when all run at once.
run() {
    local log=$out/log/run-${1// /-}.log status=0 limit=$((seconds * 10 + 120))
    ((seconds == 0)) || set -- "$@" --seconds "$seconds"
    # shellcheck disable=SC2086 # a command with its arguments
    timeout --kill-after=10 "$limit" ${FOREIGN_WRAP-} "${@:2}" </dev/null >"$log" 2>&1 || status=$?
    if [[ $status -eq 0 ]]; then
        echo "passed: foreign: $1"
        grep -hE 'KiB in memory' "$log" | sed "s|^[^:]*:|    |" || true
    else
        echo "FAILED: foreign: $1: status $status"
        sed 's/^/    /' "$log"
    fi
}

results=$(mktemp)
trap 'rm -f "$results"' EXIT
todo=() # the arguments of `run`, once all is built: nothing runs beside a compiler, and all at once is all at once
start() { todo+=("$(printf '%q ' "$@")"); }

# with_go: the suite of each version.
with_go() {
    local version suite status ran=
    for version in "${go_versions[@]}"; do
        suite=$out/suite-$version/libsuite.so
        if [[ -n $quick && -n $ran ]]; then
            echo "skipped: foreign: go $version (make foreign runs it)" >>"$results"
            continue
        fi
        status=0
        tools/go-suite.sh "$version" 2>"$out/log/suite-$version.log" || status=$?
        if [[ $status -eq 77 ]]; then
            echo "skipped: foreign: go $version (not installed: make deps-go)" >>"$results"
        elif [[ $status -ne 0 ]]; then
            echo "FAILED: foreign: go $version: the library does not build: see $out/log/suite-$version.log" >>"$results"
        else
            ran=yes
            start "go $version, loaded after the start" "$work/go" "$suite"
            start "go $version, loaded before the start" "$work/go" "$suite" --before
        fi
    done
}

for name in "$@"; do
    if ! why=$(build "$name"); then
        echo "FAILED: foreign: $name: it does not build" >>"$results"
    elif [[ -n $why ]]; then
        echo "skipped: foreign: $name ($why)" >>"$results"
    elif [[ $name == go ]]; then
        with_go
    else
        start "$name" "$work/$name"
    fi
done
for words in "${todo[@]}"; do
    if ((seconds == 0)); then
        eval "run $words" >>"$results"
    else
        eval "run $words" >>"$results" &
    fi
done
wait
cat "$results"
passed=$(grep -c '^passed' "$results" || true)
failed=$(grep -c '^FAILED' "$results" || true)
skipped=$(grep -c '^skipped' "$results" || true)
echo "$passed passed, $failed failed, $skipped skipped: foreign"
((failed == 0))
