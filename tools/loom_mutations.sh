#!/usr/bin/env bash
# Proves that the models can fail: each named mutation breaks one step of a protocol, and some model must find it.
# Prints a line per mutation; fails if one survives, or if it is not a model that finds it. With names: those mutations alone.
set -euo pipefail
cd "$(dirname "$0")/.."

mutations=("$@")
[[ $# -gt 0 ]] ||
    mapfile -t mutations < <(grep -rhoE 'mutated!\("[a-z_]+"\)' src | sed -E 's/.*"(.*)".*/\1/' | sort -u)
survived=0
export RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom RUST_BACKTRACE=0
models() { timeout 600 cargo test --profile loom --lib loom; }

# Built once: the name of the mutation is read at run time. A model that fails without one finds nothing.
cargo test --profile loom --lib --no-run
if ! models >target/loom-unmutated.log 2>&1; then
    echo "loom_mutations.sh: the models fail without a mutation (see target/loom-unmutated.log)" >&2
    exit 2
fi
for mutation in "${mutations[@]}"; do
    log=target/loom-$mutation.log
    status=0
    LOOM_MUTATION=$mutation models >"$log" 2>&1 || status=$?
    # A model that fails while loom takes its threads down ends the process before its verdict.
    finders=$(sed -nE -e 's/.*loom_models::[a-z_]+::([a-z_]+) \.\.\. FAILED.*/\1/p' \
        -e "s/^thread 'loom_models::[a-z_]+::([a-z_]+)'.* panicked at .*/\\1/p" "$log" | sort -u | tr '\n' ' ')
    if [[ $status -eq 0 || -z $finders ]]; then
        echo "survived: $mutation ($([[ $status -ne 124 ]] || echo "out of time, ")see $log)" >&2
        survived=$((survived + 1))
    else
        echo "found: $mutation, by $finders"
    fi
done
echo "${#mutations[@]} mutations, $survived survived"
[ "$survived" -eq 0 ]
