#!/bin/sh
# Fuzzes one target from the committed cases on.
#
#     fuzz/run.sh TARGET [OPTION...]      zdt_toml or escape; the options are libFuzzer's, such as -max_total_time=300
#
# Needs `cargo install cargo-fuzz` and a C++ compiler. What it finds is in `fuzz/artifacts`, what it learnt in
# `fuzz/corpus`; neither is committed. A finding becomes a case of `tests/invariants.rs`, or a test beside the code.
set -eu
cd "$(dirname "$0")/.."
target=$1
shift
corpus=fuzz/corpus/$target
mkdir -p "$corpus"
for case in crates/zdt-units/tests/generate/*/zdt.toml crates/zdt-units/tests/mistakes/*.toml examples/*/zdt.toml; do
    name=$(echo "$case" | tr / -)
    cp "$case" "$corpus/$name"
done
# libFuzzer needs flags of the compiler that stable has, behind a switch.
RUSTC_BOOTSTRAP=1 exec cargo fuzz run "$target" -- "$@"
