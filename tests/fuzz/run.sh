#!/usr/bin/env bash
# Fuzzes with libFuzzer on the stable toolchain; the layout is cargo-fuzz's, which also works with a nightly one.
#
# usage: tests/fuzz/run.sh SECONDS [TARGET...]        targets: audio transcript rttm checkpoint (default: all)
# Variables: FUZZ_CORPUS (where inputs that found something new are kept; default in the target folder), CARGO_TARGET_DIR.
# Exit 1 when a target crashed, was out of time (10 s an input) or memory (1 GiB); the input lies in FUZZ_CORPUS/TARGET-crash.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$here/../..
seconds=$1
shift
targets=("$@")
[[ ${#targets[@]} -gt 0 ]] || targets=(audio transcript rttm checkpoint)
target_dir=${CARGO_TARGET_DIR:-$root/target}/fuzz
corpus=${FUZZ_CORPUS:-$target_dir/corpus}
triple=$(rustc -vV | sed -n 's/^host: //p')
# What cargo-fuzz passes, without the address sanitizer (nightly only): coverage, comparisons, overflow checks.
coverage=(-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Cdebug-assertions
  -Ccodegen-units=4)
RUSTFLAGS="${coverage[*]}" cargo build -q --release --manifest-path "$here/Cargo.toml" --target "$triple" --target-dir "$target_dir"
python3 "$here/seeds.py" "$corpus/seeds" "${ROLLCALL_SHARED:-$root/../shared}"
worse=0
for target in "${targets[@]}"; do
  mkdir -p "$corpus/$target"
  length=65536
  [[ $target == audio ]] || length=8192
  echo "== $target, $seconds s"
  "$target_dir/$triple/release/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=$length \
    -artifact_prefix="$corpus/$target-crash-" -print_final_stats=1 -verbosity=0 "$corpus/$target" "$corpus/seeds/$target" \
    2>&1 | grep -E '^stat::|ERROR|SUMMARY|panicked|Test unit|artifact' || true
  if compgen -G "$corpus/$target-crash-*" >/dev/null; then worse=1; fi
done
exit $worse
