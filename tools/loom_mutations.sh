#!/usr/bin/env bash
# Proves that the models can fail: each named mutation breaks one step of a protocol, and some model must find it.
# Prints a line per mutation; fails if one survives.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t mutations < <(grep -rhoE 'mutated!\("[a-z_]+"\)' src | sed -E 's/.*"(.*)".*/\1/' | sort -u)
survived=0
for mutation in "${mutations[@]}"; do
    log=target/loom-$mutation.log
    if RUSTFLAGS="--cfg loom --cfg mutation=\"$mutation\"" CARGO_TARGET_DIR=target/loom-mutations \
        timeout 300 cargo test --release --lib loom >"$log" 2>&1; then
        echo "survived: $mutation" >&2
        survived=$((survived + 1))
    elif grep -q 'error\[' "$log"; then
        echo "did not compile: $mutation (see $log)" >&2
        survived=$((survived + 1))
    else
        echo "found: $mutation, by $(grep -oE 'loom_models::[a-z_]+ \.\.\. FAILED' "$log" | sed -E 's/.*::(.*) \.\.\. .*/\1/' | tr '\n' ' ')"
    fi
done
echo "${#mutations[@]} mutations, $survived survived"
[ "$survived" -eq 0 ]
