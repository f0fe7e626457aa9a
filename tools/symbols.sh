#!/usr/bin/env bash
# Compares what the shared library exports with include/goroutine.symbols. `--update` writes that list anew.
set -euo pipefail
cd "$(dirname "$0")/.."

library=${CARGO_TARGET_DIR:-target}/release/libgoroutine.so
list=include/goroutine.symbols

exported() { nm -D --defined-only "$library" | awk '{ print $NF }' | LC_ALL=C sort -u; }

if [[ ${1-} == --update ]]; then
    exported >"$list.new"
    mv "$list.new" "$list"
elif ! diff -u --label "$list" --label "$library" "$list" <(exported); then
    echo "symbols.sh: the exported names changed. If that is meant: make symbols" >&2
    exit 1
fi
