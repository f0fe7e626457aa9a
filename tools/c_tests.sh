#!/usr/bin/env bash
# Compiles the C tests as C11 and as C++17, links each to the .so and to the .a, and runs each program in a process of
# its own. A .cpp is C++17 only; those of the C++ face (cpp_) are linked a third time, to the .a and the static C++ runtime.
# Usage: tools/c_tests.sh [NAME...]: NAME.c or .cpp, or all NAME_*, in c_tests/ and its folders; by default test_, jit_ and cpp_.
#
# `/* with: FILE */` in a source names another source of c_tests for the same program.
#
# A program passes with status 0, is skipped with 77, and fails otherwise. It has 120 seconds, or what a line
# `/* timeout: 300 */` of its source says. What it writes is shown when it fails.
#
# `/* sanitizer: OPTIONS */` adds to ASAN_OPTIONS for its programs.
#
# C_TESTS_EXCEPT names sources that are left out (without their endings): whoever sets it says why.
#
# For tools/sanitize.sh: C_TESTS_LIBRARIES (where the libraries are), C_TESTS_KINDS (so, a), C_TESTS_STANDARDS (c11, cxx17), C_TESTS_FLAGS (for the compiler),
# C_TESTS_WRAP (a command in front of the program), C_TESTS_SLOWER (a factor for the time-outs).
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
libraries=$(realpath -m "${C_TESTS_LIBRARIES:-$target/release}")
work=$target/c_tests
kinds=${C_TESTS_KINDS:-so a}
export libraries work kinds

[[ ${C_TESTS_LIBRARIES-} ]] || cargo build --quiet --release --lib
# The loader looks for the soname.
ln -sfn libgoroutine.so "$libraries/libgoroutine.so.1"

stem() { basename "${1%.c*}"; }

# build SOURCE STANDARD: the programs of one source, or SOURCE.STANDARD.KIND.bad with the compiler's words.
build() {
    local source=$1 standard=$2 kind base compiler flags native link part parts=()
    base=$work/$(stem "$source").$standard
    read -ra native <tools/native-libs.txt
    case $standard in
    c11)
        read -ra compiler <<<"${CC:-cc} ${C_TESTS_FLAGS-} -pthread"
        flags=(-std=c11 -x c)
        ;;
    cxx17)
        read -ra compiler <<<"${CXX:-c++} ${C_TESTS_FLAGS-} -pthread"
        flags=(-std=c++17 -x c++)
        ;;
    esac
    flags+=(-O2 -g -Wall -Wextra -Wpedantic -Werror -Iinclude)
    for part in $(sed -nE 's|^/\* with: (\S+) \*/.*|\1|p' "$source"); do
        parts+=("$base.${part%.*}.o")
    done
    for kind in $(kinds_of "$source"); do
        link=(-L"$libraries" -lgoroutine "-Wl,-rpath,$libraries")
        [[ $kind == so ]] || link=("$libraries/libgoroutine.a" "${native[@]}")
        [[ $kind != ast ]] || link+=(-static-libstdc++)
        if [[ ! -e $base.o ]]; then
            for part in "${parts[@]}"; do
                "${compiler[@]}" "${flags[@]}" -c "c_tests/$(basename "${part#"$base".}" .o).${source##*.}" -o "$part" \
                    >"$base.$kind.bad" 2>&1 || continue 2
            done
            "${compiler[@]}" "${flags[@]}" -c "$source" -o "$base.o" >"$base.$kind.bad" 2>&1 || continue
        fi
        if "${compiler[@]}" "$base.o" "${parts[@]}" -o "$base.$kind" "${link[@]}" -ldl -lm >"$base.$kind.bad" 2>&1; then
            rm -f "$base.$kind.bad"
        fi
    done
}

# run PROGRAM: writes PROGRAM.log and PROGRAM.verdict: passed, skipped, or why it failed.
run() {
    local program=$1 source seconds options status=0 verdict
    source=$(basename "$program")
    source=$(find c_tests -name "${source%%.*}.c*")
    if [[ -e $program.bad ]]; then
        mv "$program.bad" "$program.log"
        echo "does not compile" >"$program.verdict"
        return
    fi
    # That code stores below rsp on purpose, which valgrind would report.
    [[ $source != c_tests/ultrascript/* ]] || export VALGRIND_OPTS=--ignore-range-below-sp=4096-8
    options=$(sed -nE 's|^/\* sanitizer: (\S+) \*/.*|\1|p' "$source")
    [[ -z $options ]] || export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}$options
    seconds=$(sed -nE 's|^/\* timeout: ([0-9]+) \*/.*|\1|p' "$source")
    seconds=$((${seconds:-120} * ${C_TESTS_SLOWER:-1}))
    # The outer redirection is for bash, which has its own word on a program that dies of a signal.
    # shellcheck disable=SC2086 # C_TESTS_WRAP is a command with its arguments
    {
        timeout --kill-after=10 "$seconds" ${C_TESTS_WRAP-} "$program" </dev/null >"$program.log" 2>&1 || status=$?
    } 2>/dev/null
    case $status in
    0) verdict=passed ;;
    77) verdict=skipped ;;
    124 | 137) verdict="timed out after $seconds s" ;;
    *)
        verdict="status $status"
        ((status <= 128)) || verdict="SIG$(kill -l $((status - 128)))"
        ;;
    esac
    echo "$verdict" >"$program.verdict"
}
# kinds_of SOURCE: how it is linked.
kinds_of() {
    local ways=$kinds
    [[ $(stem "$1") != cpp_* || " $ways " != *" a "* ]] || ways+=" ast"
    echo "$ways"
}
export -f build run kinds_of stem

rm -rf "$work"
mkdir -p "$work"
ulimit -c 0

# Libraries that the tests load.
for source in c_tests/plugin_*.c; do
    # shellcheck disable=SC2086 # flags
    ${CC:-cc} ${C_TESTS_FLAGS-} -std=c11 -O2 -g -Wall -Wextra -Werror -fPIC -shared -pthread "$source" \
        -o "$work/$(basename "$source" .c).so"
done
export C_TESTS_PLUGINS=$work

# A runner that cannot see a failure passes everything.
build c_tests/fail_always.c c11
for kind in $kinds; do
    run "$work/fail_always.c11.$kind"
    if [[ $(<"$work/fail_always.c11.$kind.verdict") != "status 1" ]] ||
        ! grep -q '^fail_always: ABI' "$work/fail_always.c11.$kind.log"; then
        cat "$work/fail_always.c11.$kind".{verdict,log} >&2
        echo "c_tests.sh: fail_always ($kind) did not fail as it must: no result can be trusted" >&2
        exit 2
    fi
done

[[ $# -gt 0 ]] || set -- test jit cpp
sources=()
for name in "$@"; do
    for source in c_tests/{,*/}"$name".{c,cpp} c_tests/{,*/}"$name"_*.{c,cpp}; do
        [[ ! -e $source || " ${C_TESTS_EXCEPT-} " == *" $(stem "$source") "* ]] || sources+=("$source")
    done
done
if [[ ${#sources[@]} -eq 0 ]]; then
    echo "c_tests.sh: no C tests: $*" >&2
    exit 2
fi

read -ra standards <<<"${C_TESTS_STANDARDS:-c11 cxx17}"
skipped=0
if ! command -v "${CXX:-c++}" >/dev/null; then
    standards=(c11)
    echo "skipped: C++ (no c++ compiler)"
fi

programs=()
jobs=()
for source in "${sources[@]}"; do
    if [[ $source == *.cpp && " ${standards[*]} " != *" cxx17 "* ]]; then
        skipped=$((skipped + 1))
        echo "skipped: $(basename "$source"): not without C++17"
        continue
    fi
    for standard in "${standards[@]}"; do
        [[ $standard != c11 || $source != *.cpp ]] || continue
        jobs+=("$source" "$standard")
        for kind in $(kinds_of "$source"); do
            programs+=("$work/$(stem "$source").$standard.$kind")
        done
    done
done
printf '%s\0' "${jobs[@]}" | xargs -0 -n 2 -P "$(nproc)" bash -c 'build "$@"' build
printf '%s\0' "${programs[@]}" | xargs -0 -n 1 -P 2 bash -c 'run "$@"' run

passed=0
failed=0
for program in "${programs[@]}"; do
    name=$(basename "$program")
    verdict=$(<"$program.verdict")
    case $verdict in
    passed) passed=$((passed + 1)) ;;
    skipped)
        skipped=$((skipped + 1))
        echo "skipped: $name"
        ;;
    *)
        failed=$((failed + 1))
        echo "FAILED: $name: $verdict"
        sed 's/^/    /' "$program.log"
        ;;
    esac
done
echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0))
