#!/usr/bin/env bash
# Programs of users with a sanitizer, and the library as it is: c_tests/sanitizers/*.c are built with -fsanitize=address, thread and undefined,
# and run under valgrind. Each fault that they plant must be found and named, and without one nothing may be said. And what depends on what the
# library tells the sanitizers must be missed where nobody tells them (-DUNTOLD).
# Usage: tools/user_sanitizers.sh [suite]. With `suite` also all C tests, but for those in LEFT_OUT, built with -fsanitize=thread: no report; and with
# -fsanitize=address those that overflow stacks, or leave segments.
#
# What a compiler does not have is skipped by name.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
libraries=$target/release
work=$target/user_sanitizers
mkdir -p "$work"
ln -sfn libgoroutine.so "$libraries/libgoroutine.so.1"
read -ra native <tools/native-libs.txt
read -ra compiler <<<"${CC:-cc} -std=c11 -O1 -g -fno-omit-frame-pointer -Wall -Wextra -Werror -pthread -Iinclude"
checks=0
failed=0

# C tests that are not run under ThreadSanitizer, and why. (Others leave a part out, where it is said: `THREADS_SANITIZED` in c_tests.)
LEFT_OUT=(
    "test_fork_roots: it forks while goroutines allocate, and ThreadSanitizer's allocator may be locked in such a child for ever"
    "test_dump_running: it asks threads that spin by a signal, and ThreadSanitizer puts signals off until the next call into it"
    "test_step: it stops at each instruction, and ThreadSanitizer handles a signal in the middle of its own functions only by chance"
    "test_close_next: the same"
    "test_leak_check: it runs valgrind, which does not run ThreadSanitizer"
)
# build SOURCE KIND FLAGS...: $work/SOURCE.KIND. False: the compiler has no such sanitizer.
build() {
    local link=(-L"$libraries" -lgoroutine "-Wl,-rpath,$libraries")
    [[ $2 != a ]] || link=("$libraries/libgoroutine.a" "${native[@]}")
    "${compiler[@]}" "${@:3}" "c_tests/sanitizers/$1.c" -o "$work/$1.$2" "${link[@]}"
}

has() {
    echo 'int main(void) { return 0; }' >"$work/empty.c"
    "${CC:-cc}" "-fsanitize=$1" "$work/empty.c" -o "$work/empty" >/dev/null 2>&1 && "$work/empty" >/dev/null 2>&1
}

# verdict NAME STATUS WORDS...: the log of a fault has all the words and a bad end; that of a clean run (no words) says nothing.
verdict() {
    local name=$1 status=$2 word good=1
    checks=$((checks + 1))
    if [[ $# -eq 2 ]]; then
        [[ $status -eq 0 ]] && ! grep -qE 'ERROR: |WARNING: [AT]|ThreadSanitizer: |runtime error: |^==[0-9]+== [A-Z]' "$work/log" || good=0
    else
        [[ $status -ne 0 ]] || good=0
        for word in "${@:3}"; do
            grep -qF -- "$word" "$work/log" || good=0
        done
    fi
    if ((!good)); then
        failed=$((failed + 1))
        echo "FAILED: $name: status $status, wanted: ${*:3}"
        head -60 "$work/log" | sed 's/^/    /'
    fi
}

# try NAME WORDS... -- COMMAND...
try() {
    local name=$1 words=() status=0
    shift
    while [[ $1 != -- ]]; do
        words+=("$1")
        shift
    done
    timeout --kill-after=10 300 "${@:2}" </dev/null >"$work/log" 2>&1 || status=$?
    verdict "$name" "$status" "${words[@]}"
}

# miss NAME WORDS... -- COMMAND...: nobody is told of switches, so not all of the words are said. (It ends by itself: a crash is no miss.)
miss() {
    local name=$1 word status=0 said=1
    shift
    checks=$((checks + 1))
    local words=()
    while [[ $1 != -- ]]; do
        words+=("$1")
        shift
    done
    timeout --kill-after=10 300 "${@:2}" </dev/null >"$work/log" 2>&1 || status=$?
    for word in "${words[@]}"; do
        grep -qF -- "$word" "$work/log" || said=0
    done
    if ((said || status >= 124)); then
        failed=$((failed + 1))
        echo "FAILED: $name: found although nobody was told, or status $status is a crash: it proves nothing"
        head -20 "$work/log" | sed 's/^/    /'
    fi
}

asan() {
    local kind after name
    for kind in so a; do
        build asan "$kind" -fsanitize=address
        for after in 0 1; do
            export ASAN_OPTIONS=detect_stack_use_after_return=$after
            for name in overflow callback_leaf callback_blocking callback_bound after_c; do
                try "asan.$kind.$after $name" stack-buffer-overflow "in overflow_after_parks" "is located in stack of" "'small_local'" \
                    -- "$work/asan.$kind" "$name"
            done
            for name in leaf blocking bound attached; do
                try "asan.$kind.$after $name" stack-buffer-overflow "in overflow_in_c" "is located in stack of" "'native_local'" \
                    -- "$work/asan.$kind" "$name"
            done
            try "asan.$kind.$after clean" -- "$work/asan.$kind" clean
        done
        try "asan.$kind use_after_return" stack-use-after-return "in use_after_return" "'gone_local'" -- "$work/asan.$kind" use_after_return
        try "asan.$kind use_after_end" stack-use-after-return "in use_after_end" -- "$work/asan.$kind" use_after_end
        try "asan.$kind leak" "LeakSanitizer: detected memory leaks" "4711 byte" "in lose_memory" -- "$work/asan.$kind" leak
    done
    build asan untold -fsanitize=address -DUNTOLD
    miss "asan.untold use_after_return" stack-use-after-return "in use_after_return" "'gone_local'" -- "$work/asan.untold" use_after_return
    export ASAN_OPTIONS=detect_stack_use_after_return=0
    for name in overflow callback_leaf callback_blocking callback_bound after_c; do
        miss "asan.untold $name" stack-buffer-overflow "in overflow_after_parks" "is located in stack of" "'small_local'" \
            -- "$work/asan.untold" "$name"
    done
    unset ASAN_OPTIONS
}

tsan() {
    local kind name workers
    for kind in so a; do
        build tsan "$kind" -fsanitize=thread
        for workers in 1 2; do
            for name in plain two_mutexes after_unlock sent in_c; do
                try "tsan.$kind $name on $workers" "data race" " touch " "global 'raced_word'" "'goroutine " -- "$work/tsan.$kind" "$name" "$workers"
            done
            try "tsan.$kind clean on $workers" -- "$work/tsan.$kind" clean "$workers"
            # ThreadSanitizer finds nothing there, and does not end it with a word of its own.
            TSAN_OPTIONS=die_after_fork=0 try "tsan.$kind clean on $workers in a child" -- "$work/tsan.$kind" clean "$workers" forked
        done
    done
    build tsan untold -fsanitize=thread -DUNTOLD
    for name in plain two_mutexes after_unlock sent; do
        miss "tsan.untold $name" "data race" " touch " "global 'raced_word'" -- "$work/tsan.untold" "$name" 1
    done
}

ubsan() {
    local kind where
    for kind in so a; do
        build ubsan "$kind" -fsanitize=undefined -fno-sanitize-recover=all
        for where in goroutine callback; do
            try "ubsan.$kind $where" "ubsan.c:12:" "signed integer overflow" -- "$work/ubsan.$kind" "$where"
        done
        for where in leaf bound; do
            try "ubsan.$kind $where" "ubsan.c:16:" "signed integer overflow" -- "$work/ubsan.$kind" "$where"
        done
        try "ubsan.$kind clean" -- "$work/ubsan.$kind" clean
    done
}

under_valgrind() {
    local tool=(valgrind --quiet --fair-sched=try --error-exitcode=99 --track-origins=yes)
    build valgrind so
    try "valgrind uninitialized" "depends on uninitialised value" "look_at_uninitialized (valgrind.c" \
        "created by a stack allocation" -- "${tool[@]}" "$work/valgrind.so" uninitialized
    try "valgrind uninitialized_in_c" "depends on uninitialised value" "in_c (valgrind.c" \
        "created by a stack allocation" -- "${tool[@]}" "$work/valgrind.so" uninitialized_in_c
    try "valgrind clean" -- "${tool[@]}" "$work/valgrind.so" clean
}

if has address; then asan; else echo "skipped: AddressSanitizer (the C compiler has none)"; fi
if has thread; then tsan; else echo "skipped: ThreadSanitizer (the C compiler has none that runs here)"; fi
if has undefined; then ubsan; else echo "skipped: UndefinedBehaviorSanitizer (the C compiler has none)"; fi
if command -v valgrind >/dev/null; then under_valgrind; else echo "skipped: valgrind (not installed)"; fi
echo "user_sanitizers.sh: $((checks - failed)) of $checks as they must be"
((failed == 0))

[[ ${1-} == suite ]] || exit 0
export GOROUTINE_TEST_SLOW=1 C_TESTS_LIBRARIES=$libraries C_TESTS_KINDS=so C_TESTS_SLOWER=5

# What became of all programs of the suites.
passed=0
failures=()
skipped=()

# suite SANITIZER STANDARD NAMES...
suite() {
    local flags="-fsanitize=$1 -fno-omit-frame-pointer" program name
    rm -rf "$work/reports"
    mkdir "$work/reports"
    C_TESTS_FLAGS=$flags C_TESTS_STANDARDS=$2 CARGO_TARGET_DIR=$work/$1 tools/c_tests.sh "${@:3}" || true
    for program in "$work/$1/c_tests/"*."$2.so.verdict"; do
        program=${program%.verdict}
        name=$(basename "$program")
        [[ $name != fail_always.* ]] || continue
        case $(<"$program.verdict") in
        passed) passed=$((passed + 1)) ;;
        skipped) skipped+=("$1:$name") ;;
        *) failures+=("$1:$name") ;;
        esac
        # One that is not instrumented would pass.
        grep -q "__${1:0:1}san_init" <<<"$(nm -D "$program")" || {
            echo "FAILED: $name is not instrumented"
            failures+=("$1:$name")
        }
    done
    # Also those of children, whose status says nothing.
    for program in "$work/reports/"*; do
        [[ -e $program ]] || continue
        name=$(basename "$program")
        echo "FAILED: a report: $name"
        head -60 "$program" | sed 's/^/    /'
        failures+=("$1:$name")
    done
}

if has thread; then
    printf 'left out: %s\n' "${LEFT_OUT[@]}"
    export C_TESTS_EXCEPT="${LEFT_OUT[*]%%:*}"
    # The library's word on a fault comes first, and then the signal. (At an exit others would go on for a second.)
    export TSAN_OPTIONS=allocator_may_return_null=1:atexit_sleep_ms=0:handle_segv=0:handle_sigbus=0:handle_abort=0:handle_sigfpe=0:handle_sigill=0
    TSAN_OPTIONS+=:die_after_fork=0:log_exe_name=1:log_path=$work/reports/report
    suite thread c11 test jit
    suite thread cxx17 cpp test_us_dropin
fi
if has address; then
    export ASAN_OPTIONS=allocator_may_return_null=1
    C_TESTS_EXCEPT='' suite address c11 test_overflow jit_growth
    C_TESTS_EXCEPT='' suite address cxx17 cpp_overflow cpp_growth
fi
echo "user_sanitizers.sh suite: $passed passed, ${#failures[@]} failed${failures[*]:+ (${failures[*]})}," \
    "${#skipped[@]} skipped${skipped[*]:+ (${skipped[*]})}, ${#LEFT_OUT[@]} left out (${LEFT_OUT[*]%%:*})"
((passed > 0 && ${#failures[@]} == 0))
