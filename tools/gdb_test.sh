#!/usr/bin/env bash
# What debuggers see: every instruction of the switches (tools/gdb_unwind.py), and goroutines, in a live process and in a core file, with
# the library shared and static (tools/gdb/goroutine-gdb.py). Then names of emitted code in perf. Skipped by name where gdb or perf is absent.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/c_tests"
libraries=$(realpath "$target/release")
read -ra native <tools/native-libs.txt
ln -sfn libgoroutine.so "$libraries/libgoroutine.so.1"
failed=0

# compile NAME OUTPUT LINK...
compile() {
    "${CC:-cc}" -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Werror -g -O1 -Iinclude "c_tests/$1.c" -o "$2" "${@:3}"
}
# expect WHAT LOG COMMAND...: a line of the log says how it went.
expect() {
    local what=$1 log=$2
    if timeout 240 "${@:3}" >"$log" 2>&1; then
        grep -E 'instructions unwound|frames of them' "$log" | sed "s|^|$what: |"
    else
        tail -n 40 "$log" >&2
        echo "FAILED: $what" >&2
        failed=1
    fi
}

# core_of PROGRAM: the core file that the kernel wrote when it aborted, if it writes them where a program runs.
core_of() {
    local dir=$1.dir
    rm -rf "$dir"
    mkdir -p "$dir"
    (cd "$dir" && ulimit -c unlimited && exec "$(realpath "../$(basename "$1")")" abort) >/dev/null 2>&1 || true
    find "$dir" -name 'core*' | head -n 1
}

gdb_tests() {
    local program=$target/c_tests/gdb_unwind kind stripped core
    compile gdb_unwind "$program" "$libraries/libgoroutine.a" "${native[@]}"
    expect "the switches" "$program.log" gdb -nx -q -batch -x tools/gdb_unwind.py "$program"
    # The library as it is installed, and without its debug information.
    stripped=$target/c_tests/stripped
    mkdir -p "$stripped"
    strip --strip-debug -o "$stripped/libgoroutine.so" "$libraries/libgoroutine.so"
    ln -sfn libgoroutine.so "$stripped/libgoroutine.so.1"
    for kind in so stripped a; do
        program=$target/c_tests/gdb_goroutines.$kind
        case $kind in
        so) compile gdb_goroutines "$program" -L"$libraries" -lgoroutine "-Wl,-rpath,$libraries" ;;
        stripped) compile gdb_goroutines "$program" -L"$stripped" -lgoroutine "-Wl,-rpath,$(realpath "$stripped")" ;;
        a) compile gdb_goroutines "$program" "$libraries/libgoroutine.a" "${native[@]}" ;;
        esac
        expect "goroutines, live ($kind)" "$program.log" gdb -nx -q -batch -x tools/gdb/goroutine-gdb.py \
            -ex "python LIVE = True" -x tools/gdb_goroutines.py "$program"
        core=$(core_of "$program")
        if [[ ! $core ]]; then
            echo "skipped: goroutines, core file ($kind): none was written ($(</proc/sys/kernel/core_pattern))"
            continue
        fi
        expect "goroutines, core file ($kind)" "$program.core.log" gdb -nx -q -batch -x tools/gdb/goroutine-gdb.py \
            -ex "python LIVE = False" -x tools/gdb_goroutines.py "$program" "$core"
        rm -f "$core"
    done
}

if command -v gdb >/dev/null && gdb -nx -batch -ex 'python print(1)' >/dev/null 2>&1; then
    gdb_tests
else
    echo "skipped: unwinding through the switches, goroutines in gdb (no gdb with Python)"
fi

# perf names emitted code by the map that the library writes on request.
program=$target/c_tests/perf_names
data=$program.data
if ! command -v perf >/dev/null || ! perf record -q -o "$data" true >/dev/null 2>&1; then
    echo "skipped: names in perf (no perf that may record)"
else
    compile perf_names "$program" -L"$libraries" -lgoroutine "-Wl,-rpath,$libraries"
    # shellcheck disable=SC2016 # for the other shell
    GOROUTINE_PERF_MAP=1 timeout 100 perf record -q -e cpu-clock -o "$data" \
        bash -c 'echo $$ >"$0.pid"; exec "$0"' "$program" >/dev/null
    share=$(perf report -i "$data" --stdio --sort symbol 2>/dev/null | awk '/emitted_hot_loop/ { print int($1); exit }')
    if ((${share:-0} > 50)); then
        echo "names in perf: $share % in the emitted function"
    else
        echo "FAILED: names in perf: ${share:-nothing} % in the emitted function" >&2
        failed=1
    fi
    rm -f "/tmp/perf-$(<"$program.pid").map"
fi
rm -f "$data"
exit "$failed"
