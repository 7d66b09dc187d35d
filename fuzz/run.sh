#!/usr/bin/env bash
# Runs every fuzz target for so many seconds (default 60): `fuzz/run.sh 600`. A crash is kept in fuzz/artifacts/.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}

command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked --quiet
# cargo-fuzz asks for a nightly compiler's flags; the one that is here knows them too.
export RUSTC_BOOTSTRAP=1
for target in $(cargo fuzz list); do
  echo "fuzzing $target for $seconds s"
  cargo fuzz run "$target" -- -max_total_time="$seconds" -print_final_stats=1 -verbosity=0 -timeout=10
done
