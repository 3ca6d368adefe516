#!/usr/bin/env bash
# Runs the tests of the repository on a bare machine: installs what is missing, builds once, tests, and closes with the
# line `rollcall: N passed, N failed`.
#
# usage: tests/run.sh [--long]
#   --long   everything: 100,000 seeds of the simulator instead of 2,000, 10 minutes of chaos instead of 1, and besides: chaos over
#            Redis Streams, chaos with the real engine, 5 minutes of fuzzing for each target, provisioning of a bare Debian
#            (that needs root and debootstrap). An hour more, on 2 cores.
#
# Needs Linux on x86_64, the Rust toolchain, Python 3 with pip, and the package registries. Variables: CARGO_TARGET_DIR,
# ROLLCALL_TEST_HOME (bundle and ONNX Runtime for the tests; default: in the target folder), ROLLCALL_SHARED (recorded
# references and labelled recordings; default: `shared` beside the checkout; tests that need it say when they skip).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
long=''
for argument; do
  case $argument in
    --long) long=yes ;;
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' tests/run.sh; exit 0 ;;
    *) printf 'error: not an option: %s\nhint: `tests/run.sh --help` shows them\n' "$argument" >&2; exit 2 ;;
  esac
done
# The suite must not depend on what the caller's shell is set up for.
unset ROLLCALL_BUNDLE ROLLCALL_DEVICE ROLLCALL_HOME ROLLCALL_LOG ROLLCALL_LOG_FORMAT ROLLCALL_SIM_SEEDS ORT_DYLIB_PATH
[[ -z $long ]] || export ROLLCALL_SIM_SEEDS=100000
export CARGO_TERM_COLOR=never CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
home=${ROLLCALL_TEST_HOME:-$CARGO_TARGET_DIR/test-home}
shared=${ROLLCALL_SHARED:-$PWD/../shared}
bin=$CARGO_TARGET_DIR/debug
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0
began=$SECONDS

say() { printf '\n== %4d s  %s\n' $((SECONDS - began)) "$*"; }

# check NAME COMMAND...: one test of its own, with its output only when it fails
check() {
  local name=$1 started=$SECONDS
  shift
  if "$@" >"$tmp/log" 2>&1; then
    passed=$((passed + 1)); printf 'ok      %s (%d s)\n' "$name" $((SECONDS - started))
  else
    failed=$((failed + 1)); printf 'FAILED  %s (%d s)\n' "$name" $((SECONDS - started)); tail -n 40 "$tmp/log" | sed 's/^/    /'
  fi
}

# Builds have to succeed: nothing after them means anything otherwise.
must() {
  "$@" || { printf 'FAILED  %s\n\nrollcall: %d passed, %d failed\n' "$*" "$passed" $((failed + 1)); exit 1; }
}

# only PATTERN FOLDER HOME: the pattern stands in no file of the folder but those whose path begins with HOME
only() { ! grep -rnE --include='*.rs' -- "(^|[^a-z_:])$1" "$2" | grep -v "^$3"; }

# absent CRATE PACKAGE: the package's tree without features does not contain the crate
absent() {
  local tree; tree=$(cargo tree -q -p "$2" --no-default-features -e normal --prefix none) || return 1
  ! grep -E "^$1 v" <<<"$tree"
}

# install PACKAGE...: Debian packages, when this is root or may become it
install() {
  local as=() try; [[ $(id -u) == 0 ]] || as=(sudo -n)
  # A machine that has just started is often installing something itself, and `update` does not wait for its lock.
  for try in {1..6}; do
    "${as[@]}" apt-get update -q && DEBIAN_FRONTEND=noninteractive "${as[@]}" apt-get install -qy --no-install-recommends \
      -o DPkg::Lock::Timeout=300 -o Acquire::Retries=5 "$@" && return
    ((try == 6)) || sleep 30
  done
  return 1
}

# unsafe_only_there: `unsafe` outside tests stands only in files that are exempt from the lint, all of them in one folder
unsafe_only_there() {
  local file
  for file in $(grep -rlE --include='*.rs' '^#!\[allow\(unsafe_code\)\]' common worker dispatcher provision); do
    [[ $file == worker/src/device/cuda/* ]] || { echo "$file"; return 1; }
  done
}

say 'formatting, lints, purity'
check 'cargo fmt' cargo fmt --all --check
must cargo clippy -q --workspace --all-targets -- -D warnings
passed=$((passed + 1)); echo 'ok      cargo clippy'
for package in common worker; do
  for crate in tokio ort cudarc redis lapin aws-sdk-s3 hyper; do
    check "$package without features has no $crate" absent "$crate" "$package"
  done
done
# The rules of ARCHITECTURE.md that are about who may know what.
check 'only the device knows ort' only 'ort::' worker/src 'worker/src/device/\(ort\|cuda\)/'
check 'only the device knows cudarc' only 'cudarc::' worker/src 'worker/src/device/cuda/'
# Each of these modules says why, and each block why it is right.
check 'unsafe code stays in the modules that say so' unsafe_only_there
for crate in common worker dispatcher provision; do
  check "only clock reads the wall clock: $crate" only 'SystemTime::now' "$crate" 'common/src/clock'
done
check 'mathematics knows no file, thread or clock' only 'std::(fs|thread|time|net)' worker/src/diarize 'none'
for script in provision/*.sh provision/tests/*.sh tests/*.sh tests/*/*.sh deploy/*/*.sh .ci/run; do
  if [[ -f $script ]]; then check "bash -n $script" bash -n "$script"; fi
done

check 'functions of provision.sh' provision/tests/script.sh
grep SKIPPED "$tmp/log" || true
check 'the scripts that score' python3 -m unittest discover -q -s tests/accuracy

say 'servers'
# The fleet's tests run on real servers, which they start themselves.
packages=()
command -v redis-server >/dev/null || packages+=(redis-server)
[[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]] || packages+=(rabbitmq-server)
[[ ${#packages[@]} -eq 0 ]] || check "apt-get install ${packages[*]}" install "${packages[@]}"
# The page is also used in a browser, where there is one or one can be had.
command -v chromium chromium-browser google-chrome >/dev/null || timeout 600 bash -c "$(declare -f install); install chromium" >"$tmp/log" 2>&1 || true

say 'build'
must cargo build -q --workspace --all-targets

say 'ONNX Runtime and the starter bundle'
export ROLLCALL_HOME=$home ORT_DISABLE_TELEMETRY=1
must "$bin/rollcall-provision" runtime
must "$bin/rollcall-provision" build starter
check 'the bundle is intact' "$bin/rollcall-provision" verify starter
check 'the bundle passes its self-test' "$bin/rollcall-worker" selftest "$home/bundles/starter/current"

say 'test suite'
# As it goes, so that whoever watches sees where it is; bounded, so that a test which waits for ever is a failure.
timeout --kill-after=10 2400 cargo test --workspace --no-fail-fast 2>&1 | tee "$tmp/tests" |
  grep --line-buffered -E '^ +Running|^test result|SKIPPED|panicked|FAILED|^error|for over 60 seconds'
ended=${PIPESTATUS[0]}
sed -n '/^failures:/,/^test result/p' "$tmp/tests" | head -n 200
counts=$(awk '/^test result:/ {p += $4; f += $6} END {print p + 0, f + 0}' "$tmp/tests")
passed=$((passed + ${counts% *})) failed=$((failed + ${counts#* }))
# A suite that did not compile, crashed or never ended prints no result of its own.
if [[ $ended -ge 124 ]] || ! grep -q '^test result' "$tmp/tests" || grep -qE '^error' "$tmp/tests"; then
  [[ ${counts#* } -gt 0 ]] || failed=$((failed + 1))
fi

say 'as a user would'
check 'the sample: three speakers, DER at most 10 %' tests/cli/sample.sh "$bin" tests/audio "$tmp/sample"
check 'one document whatever the batches and jobs' tests/cli/same_document.sh "$bin" tests/audio "$tmp/same"
check 'a call of two channels' tests/cli/call.sh "$bin" tests/audio "$tmp/call"
check 'known voices' tests/cli/voices.sh "$bin" tests/audio "$tmp/voices"
check 'doctor' tests/cli/doctor.sh "$bin"
check 'errors say what to do' tests/cli/errors.sh "$bin" "$tmp/errors"
check 'kernels compile for every GPU' tests/gpu/kernels.sh "$bin" "$CARGO_TARGET_DIR/test-gpu"
grep SKIPPED "$tmp/log" || true
check 'timeline.html in a browser' tests/browser/run.sh "$bin" "$tmp/browser"
check 'the dashboard in a browser' tests/browser/dashboard.sh "$bin" "$tmp/dashboard"
grep SKIPPED "$tmp/log" || true
check 'a real Prometheus, and a killed worker' tests/observe/prometheus.sh "$bin" "$tmp/observe"
grep SKIPPED "$tmp/log" || true
check 'manifests by their schemas' env PROMTOOL="$tmp/observe/root/usr/bin/promtool" tests/observe/manifests.sh "$tmp/manifests"
grep SKIPPED "$tmp/log" || true

if [[ -d $shared/audio ]]; then
  say 'labelled recordings'
  for part in real sim; do
    check "accuracy on $part" "$shared/accept/engine.sh" "$bin/rollcall-worker" "$part"
    tail -n 30 "$tmp/log"
  done
else
  printf 'SKIPPED: accuracy on labelled recordings: there is no %s\n' "$shared/audio"
fi

say 'chaos'
# chaos QUEUE SECONDS JOBS: workers, servers and leases under deaths and pauses; every promise is looked after
chaos() {
  check "$2 s of chaos, $1" timeout --kill-after=10 $(($2 + 600)) "$bin/rollcall-chaos" chaos --queue "$1" --seconds "$2" --jobs "$3"
  grep '^chaos:' "$tmp/log" || true
}
if [[ -z $long ]]; then
  chaos amqp 60 2000
else
  chaos amqp 600 10000
  chaos redis 60 2000
  check 'chaos with the real engine' timeout --kill-after=10 1200 tests/chaos/real_engine.sh --jobs 100 --bin "$bin"
  tail -n 1 "$tmp/log"
  say 'fuzzing'
  check 'fuzzing, 300 s for each target' tests/fuzz/run.sh 300
  grep -E '^==|stat::number_of_executed_units' "$tmp/log" || true
  say 'a bare Debian'
  if [[ $(id -u) == 0 ]] && command -v debootstrap >/dev/null; then
    check 'provision.sh in a bare Debian' provision/tests/bare_root.sh --bin "$bin" --home "$home"
    cat "$tmp/log"
  else
    echo 'SKIPPED: provision.sh in a bare Debian: needs root and debootstrap'
  fi
fi

say 'done'
printf '\nrollcall: %d passed, %d failed\n' "$passed" "$failed"
[[ $failed -eq 0 ]]
