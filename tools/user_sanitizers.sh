#!/usr/bin/env bash
# Programs of users with a sanitizer, and the library as it is: c_tests/sanitizers/*.c are built with -fsanitize=address, with
# -fsanitize=thread, and run under valgrind. Each fault that they plant must be found and named, and without one nothing may be said.
# Usage: tools/user_sanitizers.sh [suite]. With `suite` also the C tests that SUITE names, built with -fsanitize=thread: no report.
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

# Not in it, and why (docs/sanitizers.md): those that fork with threads around (ThreadSanitizer has no such child), that look at how deep
# native stacks are or how long something takes, that run out of memory on purpose, or that share plain variables between the goroutines of
# one worker, as they may there, and ThreadSanitizer cannot know.
SUITE="test_async test_blocking test_cancel test_channel test_combinators test_context test_control_words test_errno test_external
    test_kinds test_lane test_local test_messages test_mutex test_park test_pinned test_promise test_quiescence test_select test_shared
    test_sockets test_spawn_with test_wait_group test_bind_random"

# build SOURCE KIND FLAGS...: $work/SOURCE.KIND. False: the compiler has no such sanitizer.
build() {
    local link=(-L"$libraries" -lgoroutine "-Wl,-rpath,$libraries")
    [[ $2 == so ]] || link=("$libraries/libgoroutine.a" "${native[@]}")
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
        [[ $status -eq 0 ]] && ! grep -qE 'ERROR: |WARNING: [AT]|^==[0-9]+== [A-Z]' "$work/log" || good=0
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
    done
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
        done
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
if command -v valgrind >/dev/null; then under_valgrind; else echo "skipped: valgrind (not installed)"; fi
echo "user_sanitizers.sh: $((checks - failed)) of $checks as they must be"
((failed == 0))

if [[ ${1-} == suite ]] && has thread; then
    export TSAN_OPTIONS=allocator_may_return_null=1 GOROUTINE_TEST_SLOW=1 CARGO_TARGET_DIR=$work
    # shellcheck disable=SC2086 # names
    C_TESTS_LIBRARIES=$libraries C_TESTS_KINDS=so C_TESTS_STANDARDS=c11 C_TESTS_FLAGS="-fsanitize=thread -fno-omit-frame-pointer" \
        C_TESTS_SLOWER=5 tools/c_tests.sh $SUITE
fi
