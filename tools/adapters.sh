#!/usr/bin/env bash
# The tests of the adapters (include/goroutine_curl.h, _pq.h, _openssl.h) against the real things: libcurl and nginx, libpq and PostgreSQL,
# OpenSSL, with servers of their own in a scratch directory, on ports of the loopback, as an unprivileged user.
# Usage: tools/adapters.sh [NAME...]. NAME: curl, pq, openssl. Each is compiled as C11 and as C++17.
# What is not installed is reported by name as skipped (`make deps-adapters` installs it). ADAPTERS_WRAP: a command in front of each program;
# ADAPTERS_STANDARDS (c11 c++17), ADAPTERS_SECONDS (how long each may take).
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
libraries=$target/release
work=$target/adapters
mkdir -p "$work"
# shellcheck source=tools/servers.sh
. tools/servers.sh

[[ $# -gt 0 ]] || set -- curl pq openssl

[[ -e $libraries/libgoroutine.so ]] || cargo build --quiet --release --lib
ln -sfn libgoroutine.so "$libraries/libgoroutine.so.1" # the loader looks for the soname

flags=(-O2 -g -Wall -Wextra -Wpedantic -Werror -Iinclude -pthread)
link=(-L"$libraries" -lgoroutine "-Wl,-rpath,$libraries" -ldl -lm)

# needs NAME: what is missing for it, on stdout. Its compiler flags go to `own`, its libraries to `with`.
needs() {
    own=() with=()
    case $1 in
    curl)
        with=(-lcurl)
        has curl/curl.h || echo "no curl/curl.h"
        [[ -n $nginx ]] || echo "no nginx"
        ;;
    pq)
        read -ra own <<<"$(pg_config --includedir 2>/dev/null | sed 's/^/-isystem /')"
        with=(-lpq)
        has libpq-fe.h "${own[@]}" || echo "no libpq-fe.h"
        [[ -n $postgres ]] || echo "no PostgreSQL"
        ;;
    openssl)
        with=(-lssl -lcrypto)
        has openssl/ssl.h || echo "no openssl/ssl.h"
        ;;
    *)
        echo "adapters.sh: nothing is called $1" >&2
        exit 2
        ;;
    esac
    [[ -n $openssl ]] || echo "no openssl"
}

# run LABEL PROGRAM
run() {
    local log=$work/$1.log status=0
    # shellcheck disable=SC2086 # a command with its arguments
    timeout --kill-after=10 "${ADAPTERS_SECONDS:-600}" ${ADAPTERS_WRAP-} "$2" </dev/null >"$log" 2>&1 || status=$?
    case $status in
    0)
        echo "passed: adapters: $1"
        passed=$((passed + 1))
        grep -h '^stack: ' "$log" | sed 's/^/    /' || true
        ;;
    77)
        echo "skipped: adapters: $1 ($(tail -n 1 "$log"))"
        skipped=$((skipped + 1))
        ;;
    *)
        echo "FAILED: adapters: $1: status $status"
        failed=$((failed + 1))
        sed 's/^/    /' "$log"
        ;;
    esac
}

passed=0 failed=0 skipped=0
for name in "$@"; do
    needs "$name" >"$work/missing"
    missing=$(paste -sd, "$work/missing" | sed 's/,/, /g')
    if [[ -n $missing ]]; then
        echo "skipped: adapters: $name ($missing: make deps-adapters)"
        skipped=$((skipped + 1))
        continue
    fi
    make_authority
    [[ $name != curl && $name != openssl ]] || [[ -z $nginx ]] || start_nginx
    [[ $name != pq ]] || start_postgres
    for standard in ${ADAPTERS_STANDARDS:-c11 c++17}; do
        compiler=("${CC:-cc}" -std=c11)
        if [[ $standard == c++17 ]]; then
            command -v "${CXX:-c++}" >/dev/null || { echo "skipped: adapters: $name as C++17 (no compiler)" && continue; }
            compiler=("${CXX:-c++}" -std=c++17 -x c++)
        fi
        program=$work/$name.$standard
        if ! "${compiler[@]}" "${flags[@]}" "${own[@]}" -c "c_tests/adapters/$name.c" -o "$program.o" ||
            ! "${compiler[0]}" "$program.o" -o "$program" -pthread "${with[@]}" "${link[@]}"; then
            echo "FAILED: adapters: $name as $standard: it does not build"
            failed=$((failed + 1))
            continue
        fi
        run "$name.$standard" "$program"
    done
done
echo "$passed passed, $failed failed, $skipped skipped: adapters"
((failed == 0))
