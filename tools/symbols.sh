#!/usr/bin/env bash
# Compares what the shared library exports with include/*.symbols: UltraScript's names, which start with two underscores
# (as those of the C++ ABI do: __cxa_), have a list of their own. `--update` writes the lists anew.
set -euo pipefail
cd "$(dirname "$0")/.."

library=${CARGO_TARGET_DIR:-target}/release/libgoroutine.so
failed=0

exported() { nm -D --defined-only "$library" | awk '{ print $NF }' | LC_ALL=C sort -u; }

# list FILE GREP...: the file has those names that grep gives.
list() {
    local file=include/$1
    if [[ $update == --update ]]; then
        exported | "${@:2}" >"$file.new"
        mv "$file.new" "$file"
    elif ! diff -u --label "$file" --label "$library" "$file" <(exported | "${@:2}"); then
        echo "symbols.sh: the exported names changed. If that is meant: make symbols" >&2
        failed=1
    fi
}

update=${1-}
list goroutine.symbols grep -P '^(?!__(?!cxa_))'
list ultrascript.symbols grep -P '^__(?!cxa_)'
# What a header declares is there, and nothing else.
declared() { grep -oE '^[a-z].*[ *]__[a-z0-9_]+\(' include/ultrascript_runtime.h | sed -E 's/.*[ *](__[a-z0-9_]+)\($/\1/' | LC_ALL=C sort -u; }
if ! diff -u --label include/ultrascript_runtime.h --label include/ultrascript.symbols <(declared) include/ultrascript.symbols; then
    failed=1
fi
# Emitted code calls them with rsp at 8 mod 16, too. Most of what is behind them would not notice, today.
unaligned() {
    LC_ALL=C objdump -d --no-show-raw-insn -M intel "$library" | awk '
        /^[0-9a-f]+ <.*>:$/ { name = substr($2, 2, length($2) - 3); n = 0; text = ""; next }
        name ~ /^__[a-z]/ && ++n <= 3 { sub(/^ *[0-9a-f]+:[ \t]*/, ""); gsub(/[ \t]+/, " "); text = text $0 "; " }
        n == 3 { print name, text }' | grep -F -f include/ultrascript.symbols |
        awk '{ name = $1; $1 = ""; if ($0 == " push rbp; mov rbp,rsp; and rsp,0xfffffffffffffff0;") print name }' | LC_ALL=C sort -u |
        LC_ALL=C comm -13 - include/ultrascript.symbols
}
missing=$(unaligned)
if [[ -n $missing ]]; then
    echo "symbols.sh: these do not realign the stack first: $missing" >&2
    failed=1
fi
exit "$failed"
