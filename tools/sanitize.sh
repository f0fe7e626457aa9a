#!/usr/bin/env bash
# tools/sanitize.sh address [NAME...]: the Rust and the C tests, all of it instrumented (needs a nightly Rust); with names
# those C tests alone.
# tools/sanitize.sh thread: the Rust tests (needs a nightly Rust with rust-src).
# tools/sanitize.sh valgrind [NAME...]: the C tests under valgrind.
# The tests see GOROUTINE_TEST_SLOW=1 and may do less.
set -euo pipefail
cd "$(dirname "$0")/.."

export GOROUTINE_TEST_SLOW=1
tool=$1
shift
triple=x86_64-unknown-linux-gnu

if [[ $tool == valgrind ]]; then
    if ! command -v valgrind >/dev/null; then
        echo "skipped: valgrind (not installed)"
        exit
    fi
    # One way to link each is enough here: what is looked at is the library. One thread runs at a time, so they must take turns.
    C_TESTS_WRAP="valgrind --quiet --fair-sched=try --error-exitcode=99 --max-stackframe=8388608 --suppressions=tools/valgrind.supp" \
        C_TESTS_KINDS=so C_TESTS_STANDARDS=c11 C_TESTS_SLOWER=10 exec tools/c_tests.sh "$@"
fi

if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "skipped: $tool sanitizer (no nightly Rust)"
    exit
fi
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/$tool
export RUSTFLAGS="${RUSTFLAGS-} -Zsanitizer=$tool"
cargo=(cargo +nightly)
options=(--release --target "$triple")
# The thread sanitizer must see what std's locks order, so std is built with it; the address sanitizer is content with
# our own code. A std of one's own and tests want the same panic strategy, and tests unwind.
if [[ $tool == thread ]]; then
    if [[ ! -d $(rustc +nightly --print sysroot)/lib/rustlib/src/rust/library ]]; then
        echo "skipped: thread sanitizer (needs: rustup component add rust-src --toolchain nightly)"
        exit
    fi
    options+=(-Zbuild-std)
    export CARGO_PROFILE_RELEASE_PANIC=unwind
fi

"${cargo[@]}" build "${options[@]}" --lib
# A build that forgot the sanitizer would pass.
libraries=$CARGO_TARGET_DIR/$triple/release
case $tool in
address) symbol=__asan_init ;;
thread) symbol=__tsan_init ;;
esac
if ! grep -q "$symbol" <<<"$(nm "$libraries/libgoroutine.so")"; then
    echo "sanitize.sh: the library is not instrumented" >&2
    exit 1
fi
if [[ $# -eq 0 || $tool == thread ]]; then
    "${cargo[@]}" test "${options[@]}" --lib --tests
fi
if [[ $tool == thread ]]; then
    echo "skipped: C tests (the C compiler's thread sanitizer is not Rust's)"
    exit
fi
# Tests ask for more memory than there is, and expect NULL. By frame pointers nobody is found who allocates on a goroutine's stack, and
# LeakSanitizer does not report what nobody allocated: so by unwind tables.
export ASAN_OPTIONS=allocator_may_return_null=1:fast_unwind_on_malloc=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}
flags="-fsanitize=$tool -fno-omit-frame-pointer"
# shellcheck disable=SC2086 # flags
${CC:-cc} $flags -std=c11 -pthread -Iinclude c_tests/leak_always.c -o "$CARGO_TARGET_DIR/leak_always" \
    -L"$libraries" -lgoroutine "-Wl,-rpath,$(realpath "$libraries")"
ln -sfn libgoroutine.so "$libraries/libgoroutine.so.1"
leaks=$("$CARGO_TARGET_DIR/leak_always" 2>&1 || true)
if ! grep -q '4711 byte' <<<"$leaks" || ! grep -q goroutine_semaphore_new <<<"$leaks"; then
    echo "$leaks" >&2
    echo "sanitize.sh: leak_always did not fail as it must: no leak would be seen" >&2
    exit 2
fi
C_TESTS_LIBRARIES=$libraries C_TESTS_FLAGS=$flags C_TESTS_SLOWER=5 tools/c_tests.sh "$@"
