#!/usr/bin/env bash
# Tests functions of `provision.sh` without a machine to install: its folders lie in a temporary one, and what would change the
# machine (packages, users, the worker) is replaced. `bare_root.sh` runs the whole of it. Prints a line for each test and ends
# with code 1 at the first that fails.
#
# usage: script.sh
set -euo pipefail

script=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/provision.sh
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

ok() { printf 'ok      %s\n' "$*"; }
die() { printf 'FAILED  %s\n' "$*" >&2; exit 1; }

# All of the script but its last part, which looks at the machine and installs.
sed -e '/^\[\[ $(uname -s) == /,$d' \
  -e "s#^readonly prefix=.*#readonly prefix=$tmp/opt home=$tmp/home etc=$tmp/etc logs=$tmp/logs run=$tmp/run#" \
  -e "s#^readonly unit=.*#readonly unit=$tmp/worker.service spot_unit=$tmp/spot.service#" \
  -e "s#^readonly user=.*#readonly user=rollcall-nobody links=$tmp/links#" "$script" >"$tmp/functions.sh"
[[ $(grep -c "$tmp" "$tmp/functions.sh") == 3 ]] || die 'the paths of provision.sh are not where they were'

# with CODE ARGUMENT...: runs the code among the script's functions
with() {
  env -i PATH="$PATH" LC_ALL=C code="$1" bash -c '. "$0"; eval "$code"' "$tmp/functions.sh" "${@:2}" >"$tmp/said" 2>&1
}

# ---- settings

# What needs root or a release is left out.
install='need_packages() { :; }; add_user() { :; }; make_home() { mkdir -p "$home"; }; check_written() { :; }
has_systemd() { false; }; install_runtime() { :; }; provision() { :; }; install_all'
digest=$(printf '0%.0s' {1..64})
arguments=(--release file:///nowhere --sha256 "$digest" --store s3://bucket/fleet --no-start)
mkdir -p "$tmp/opt/releases/$digest" "$tmp/links"
with "$install" "${arguments[@]}" --env 'ROLLCALL_ALLOW=a "b" $c' || die "settings: $(cat "$tmp/said")"
grep -qxF 'ROLLCALL_ALLOW="a \"b\" \$c"' "$tmp/etc/rollcall.env" || die "the settings: $(cat "$tmp/etc/rollcall.env")"
[[ $(head -n 1 "$tmp/etc/rollcall.env") == '#'* && $(stat -c %a "$tmp/etc/rollcall.env") == 640 ]] || die 'the file of the settings'
cp "$tmp/etc/rollcall.env" "$tmp/before.env"
if with "$install" "${arguments[@]}" --env ROLLCALL_ALLOW=$'a\nb'; then die 'a setting of several lines is taken'; fi
grep -qxF 'error: a setting has several lines: ROLLCALL_ALLOW' "$tmp/said" || die "a setting of several lines: $(cat "$tmp/said")"
cmp -s "$tmp/before.env" "$tmp/etc/rollcall.env" || die "a setting of several lines leaves: $(cat "$tmp/etc/rollcall.env")"
ok 'a setting of several lines is refused, and the settings stay as they were'
