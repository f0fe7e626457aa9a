#!/usr/bin/env bash
# The demonstration: functions emitted as machine code, by hand and by Cranelift's JIT, run as goroutines; the same
# in Go if Go is installed. One table at the end. Exit status 1: a result was wrong, or something does not build.
#
# `make demo` builds the library first. DEMO_GOROUTINES: how many, 100,000 by default.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
libraries=$target/release
work=$target/demo
goroutines=${DEMO_GOROUTINES:-100000}
mkdir -p "$work"
ln -sfn libgoroutine.so "$libraries/libgoroutine.so.1" # the loader looks for the soname

"${CC:-cc}" -std=c11 -O2 -Wall -Wextra -Wpedantic -Iinclude demo/hand/*.c -o "$work/hand" \
    -L"$libraries" -lgoroutine "-Wl,-rpath,$libraries"

# The dev profile: it compiles Cranelift in a minute where the release profile takes many, and what is measured is the
# emitted code and the library.
GOROUTINE_LIB_DIR=$libraries CARGO_PROFILE_DEV_DEBUG=false "${CARGO:-cargo}" build --package demo-cranelift

go=$(command -v go || echo "$target/peers/go-sdk/go/bin/go")
no_go=
if [[ ! -x $go ]]; then
    no_go="not installed"
elif ! GOTOOLCHAIN=local GOFLAGS='' CGO_ENABLED=0 GOCACHE=${GOCACHE:-$target/peers/go-cache} \
    "$go" build -trimpath -o "$work/go" demo/go/main.go >"$work/go.log" 2>&1; then
    no_go="demo/go does not build: see $work/go.log"
fi

columns=("by hand" "Cranelift")
programs=("$work/hand" "$target/debug/demo-cranelift")
if [[ -z $no_go ]]; then
    columns+=("Go")
    programs+=("$work/go")
fi

outputs=()
for i in "${!programs[@]}"; do
    output=$work/${columns[i]// /-}.txt
    # Stderr is left alone: it has the progress, and what was wrong.
    if ! "${programs[i]}" "$goroutines" >"$output"; then
        echo "demo: FAILED: ${columns[i]}" >&2
        exit 1
    fi
    head -n 1 "$output"
    outputs+=("$output")
done
[[ -z $no_go ]] || echo "Go: skipped ($no_go)"

# The rows of all programs; a column per program, "-" where one has no such row.
echo
awk -v columns="$(IFS=,; echo "${columns[*]}")" '
    BEGIN {
        n = split(columns, name, ",")
        printf "%-42s", ""
        for (c = 1; c <= n; c++) printf "%12s", name[c]
        print ""
    }
    FNR == 1 { column++; next }
    {
        label = $0
        sub(/^ +/, "", label)
        sub(/ +[0-9.]+$/, "", label)
        if (!(label in known)) row[++rows] = label
        known[label]
        value[label, column] = $NF
    }
    END {
        for (r = 1; r <= rows; r++) {
            printf "%-42s", row[r]
            for (c = 1; c <= n; c++) printf "%12s", (row[r], c) in value ? value[row[r], c] : "-"
            print ""
        }
    }
' "${outputs[@]}"
