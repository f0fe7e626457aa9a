#!/usr/bin/env bash
# The programs of c_tests/ultrascript, 200 times in a row each on 1, 2 and 8 workers, each time in a process of its own and
# with another seed. Usage: tools/stress_ultrascript.sh [--address] [TIMES [NAME...]]; --address: under AddressSanitizer, leaks included
# (needs a nightly Rust); NAME: test_us_NAME alone; GOROUTINE_SEED: the first seed. To see one again:
#   GOROUTINE_WORKERS=2 GOROUTINE_TEST_ROUNDS=1 GOROUTINE_TEST_SEED=... target/c_tests/test_us_....c11.so
# (and with --address: GOROUTINE_TEST_SLOW=1 ASAN_OPTIONS=... target/address/c_tests/...)
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
seconds=60
# Builds them, too.
if [[ ${1-} == --address ]]; then
    shift
    if ! cargo +nightly --version >/dev/null 2>&1; then
        echo "skipped: address sanitizer (no nightly Rust)"
        exit
    fi
    tools/sanitize.sh address test_us
    target+=/address
    seconds=300
    # As there.
    export GOROUTINE_TEST_SLOW=1 ASAN_OPTIONS=allocator_may_return_null=1:fast_unwind_on_malloc=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}
else
    tools/c_tests.sh test_us
fi
times=${1:-200}
first=${GOROUTINE_SEED:-$(date +%s)}
work=$(realpath -m "$target")/c_tests
log=$work/stress.log

programs=()
for source in c_tests/ultrascript/test_us_*.{c,cpp}; do
    case $source in
    *_bad_input.c | *_handles.c | *_promises.c) ;; # each a long run of its own already
    *.cpp) programs+=("$work/$(basename "$source" .cpp).cxx17.so") ;;
    *) programs+=("$work/$(basename "$source" .c).c11.so") ;;
    esac
done
if [[ ${#programs[@]} -lt 10 ]]; then
    echo "stress_ultrascript.sh: programs are missing: ${programs[*]}" >&2
    exit 2
fi
ulimit -c 0
export GOROUTINE_TEST_ROUNDS=1 GOROUTINE_TEST_SEED GOROUTINE_WORKERS
for program in "${programs[@]}"; do
    name=$(basename "$program")
    name=${name%%.*}
    [[ $# -lt 2 || " ${*:2} " == *" ${name#test_us_} "* ]] || continue
    for GOROUTINE_WORKERS in 1 2 8; do
        for ((GOROUTINE_TEST_SEED = first; GOROUTINE_TEST_SEED < first + times; GOROUTINE_TEST_SEED++)); do
            status=0
            timeout --kill-after=10 "$seconds" "$program" </dev/null >"$log" 2>&1 || status=$?
            if [[ $status -ne 0 ]]; then
                sed 's/^/    /' "$log"
                echo "FAILED: $(basename "$program"): status $status, $GOROUTINE_WORKERS workers, seed $GOROUTINE_TEST_SEED"
                exit 1
            fi
        done
        echo "$(basename "$program"): $times times on $GOROUTINE_WORKERS workers, seeds $first to $((first + times - 1))"
    done
done
