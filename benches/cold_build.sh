#!/usr/bin/env bash
# What `cargo add ployer-core` costs: how many crates come with the default features, and how long a first build takes.
# Cargo's download cache is used, so that it is the compiler that is measured.
set -euo pipefail

core=$(cd "$(dirname "$0")/../ployer-core" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cargo init --quiet --name embedder "$scratch"
cd "$scratch"
cp "$core/../Cargo.lock" .
cargo add --quiet ployer-core --path "$core"
cargo fetch --quiet
crates=$(cargo tree --edges normal,build --prefix none --no-dedupe | sed 's/ (.*//' | sort -u | wc -l)
echo "crates with default features: $((crates - 1))"
for profile in dev release; do
    began=$EPOCHREALTIME
    CARGO_INCREMENTAL=0 cargo build --quiet --profile "$profile"
    awk -v began="$began" -v ended="$EPOCHREALTIME" -v profile="$profile" \
        'BEGIN { printf "cold build, profile %s: %.0f s\n", profile, ended - began }'
done
