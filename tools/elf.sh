#!/usr/bin/env bash
# shellcheck disable=SC2317 # the functions are called through expect
#
# What the shared library promises the dynamic loader.
set -euo pipefail
cd "$(dirname "$0")/.."

library=${CARGO_TARGET_DIR:-target}/release/libgoroutine.so
dynamic=$(LC_ALL=C readelf -dW "$library")
segments=$(LC_ALL=C readelf -lW "$library")
failed=0

# expect TEXT COMMAND...: the command says whether the promise holds.
expect() {
    "${@:2}" || {
        echo "elf.sh: $library: $1" >&2
        failed=1
    }
}

has() { grep -qE "$1" <<<"$2"; }
lacks() { ! has "$1" "$2"; }

# Static TLS is shared by all libraries of a process and is small: a program that loads us with dlopen must find room (glibc keeps 512 bytes for all of them).
small_tls() {
    local bytes
    bytes=$(awk '$1 == "TLS" { print $6 }' <<<"$segments")
    ((${bytes:-0} <= 256))
}

expect "the soname is not libgoroutine.so.1" has 'SONAME.*\[libgoroutine\.so\.1\]' "$dynamic"
expect "symbols are not bound at load time" has '\(FLAGS.*(BIND_NOW|NOW)|\(BIND_NOW\)' "$dynamic"
expect "no read-only relocations" has '^ *GNU_RELRO ' "$segments"
expect "there are text relocations" lacks 'TEXTREL' "$dynamic"
expect "the stack is executable, or nothing says that it is not" has '^ *GNU_STACK .* RW  *0' "$segments"
expect "a segment is writable and executable" lacks '^ *LOAD .* (RWE|RW E|WE) ' "$segments"
expect "more than 256 bytes of thread-local storage" small_tls
exit "$failed"
