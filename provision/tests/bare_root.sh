#!/usr/bin/env bash
# Proves `provision.sh --device cpu` in a bare Debian: a root of its own made by debootstrap, beside private Redis,
# RabbitMQ and S3 servers. It is started by the script of `cloud-init.yaml`, whose only credentials are those of a role, from a
# stand-in for AWS' metadata service. The worker that it leaves running does a job; a second run changes nothing; `--uninstall`
# leaves nothing; with a stand-in for systemd the units are as they should be. Prints a line for each of these with its figure, and
# ends with code 1 at the first that does not hold.
#
# usage: bare_root.sh --bin FOLDER --home DIR [--base DIR]
#   --bin FOLDER  rollcall, rollcall-worker, rollcall-provision and rollcall-local
#   --home DIR    a ROLLCALL_HOME with the starter bundle and ONNX Runtime, which go into the store
#   --base DIR    a bare root that is copied; made there if it does not exist [default: made anew each time]
# Needs root, debootstrap, Python 3, redis-server, rabbitmq-server, and a Debian mirror (ROLLCALL_TEST_MIRROR; default: that of debootstrap).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)
mirror=${ROLLCALL_TEST_MIRROR:-}
bin='' home='' base=''
while (($#)); do
  case $1 in
    --bin) bin=$(cd "$2" && pwd); shift 2 ;;
    --home) home=$(cd "$2" && pwd); shift 2 ;;
    --base) base=$2; shift 2 ;;
    *) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
  esac
done
[[ -n $bin && -n $home ]] || { echo 'error: --bin and --home are needed' >&2; exit 2; }
[[ $(id -u) == 0 ]] || { echo 'error: this has to run as root' >&2; exit 2; }

tmp=$(mktemp -d /tmp/rollcall-bare.XXXXXX)
root=$tmp/root began=$SECONDS metadata=''
chmod 755 "$tmp"

ok() { printf 'ok      %4d s  %s\n' $((SECONDS - began)) "$*"; }
die() { printf 'FAILED  %4d s  %s\n' $((SECONDS - began)) "$*" >&2; exit 1; }

clear_up() {
  local code=$? pid
  trap - EXIT
  # A loop that a failed run left.
  if pid=$(cat "$root/run/rollcall/supervisor.pid" 2>/dev/null); then kill "$pid" 2>/dev/null || true; sleep 2; fi
  "$bin/rollcall-local" stop --dir "$tmp/servers" >/dev/null 2>&1 || true
  if [[ -n $metadata ]]; then kill "$metadata" 2>/dev/null || true; fi
  if mountpoint -q "$root/proc"; then umount "$root/proc" || umount -l "$root/proc"; fi
  if ((code != 0)) && [[ -f $root/var/log/rollcall/worker.log ]]; then tail -n 20 "$root/var/log/rollcall/worker.log" >&2; fi
  # Never across a mount.
  rm -rf --one-file-system "$tmp"
  exit "$code"
}
trap clear_up EXIT
trap 'exit 130' INT TERM HUP

# Who may use the store: see keys and role below.
credentials=()
inside() {
  env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
    AWS_REGION="${AWS_REGION:-us-east-1}" AWS_ENDPOINT_URL_S3="$AWS_ENDPOINT_URL_S3" AWS_SESSION_TOKEN= "${credentials[@]}" \
    chroot "$root" "$@"
}

# everything: all that lies in the root, with mode, owner and content, but for what apt, dpkg and the programs of the system
# keep for themselves
everything() {
  (
    cd "$root"
    # listed EXPRESSION...
    listed() {
      find . -xdev \( -path ./proc -o -path ./tmp -o -path ./var/lib/apt -o -path ./var/cache -o -path ./var/log \
        -o -path ./var/lib/dpkg \) -prune -o "$@"
    }
    listed ! -name '*-' ! -path ./etc/ld.so.cache ! -type d -printf '%m %u %g %y %p %l\n' | LC_ALL=C sort
    listed ! -name '*-' ! -path ./etc/ld.so.cache -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    # Folders without their times.
    listed -type d -print | LC_ALL=C sort
    chroot . dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\n' | grep -v not-installed
  )
}

# ---- the servers and what they hold

timeout 120 "$bin/rollcall-local" start --dir "$tmp/servers" --redis --amqp --s3 rollcall >"$tmp/exports" || die 'the servers do not start'
eval "$(grep '^export ' "$tmp/exports")"
store=$ROLLCALL_STORE_URL
unset ROLLCALL_BUNDLE ROLLCALL_DEVICE
started=$SECONDS
ROLLCALL_HOME=$home timeout 120 "$bin/rollcall-provision" push "$home/bundles/starter/current" "$store" 2>>"$tmp/log"
ROLLCALL_HOME=$home timeout 120 "$bin/rollcall-provision" pack-runtime "$store" 2>>"$tmp/log"
line=$(ROLLCALL_HOME=$home timeout 300 "$bin/rollcall-provision" release push "$store" --presign 1 --json 2>>"$tmp/log")
url=$(grep -o '"presigned":"[^"]*"' <<<"$line" | cut -d'"' -f4)
address=$(grep -o '"release":"[^"]*"' <<<"$line" | cut -d'"' -f4)
digest=$(grep -o '"sha256":"[0-9a-f]*"' <<<"$line" | cut -d'"' -f4)
ok "bundle, ONNX Runtime and release are in the store, after $((SECONDS - started)) s"

# The metadata service of an instance with a role: asks for a token, gives the keys of the store.
python3 - "$tmp/metadata.port" >/dev/null 2>>"$tmp/log" <<'END' &
import http.server, json, os, sys
class Metadata(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body='', **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace('_', '-'), value)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def do_PUT(self):
        ttl = self.headers.get('x-aws-ec2-metadata-token-ttl-seconds')
        good = self.path == '/latest/api/token' and ttl
        self.answer(200 if good else 400, 'token' if good else '', x_aws_ec2_metadata_token_ttl_seconds=ttl or '0')
    def do_GET(self):
        if self.headers.get('x-aws-ec2-metadata-token') != 'token':
            return self.answer(401)
        keys = {'Code': 'Success', 'Type': 'AWS-HMAC', 'LastUpdated': '2026-01-01T00:00:00Z', 'Expiration': '2099-01-01T00:00:00Z',
                'AccessKeyId': os.environ['AWS_ACCESS_KEY_ID'], 'SecretAccessKey': os.environ['AWS_SECRET_ACCESS_KEY'],
                'Token': 'session+of/the=role'}
        pages = {'iam/security-credentials/': 'rollcall-worker', 'iam/security-credentials/rollcall-worker': json.dumps(keys, indent=2),
                 'placement/region': 'us-east-1'}
        body = pages.get(self.path.removeprefix('/latest/meta-data/'))
        self.answer(404 if body is None else 200, body or '')
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Metadata)
with open(sys.argv[1] + '.new', 'w') as port:
    port.write(str(server.server_port))
os.rename(sys.argv[1] + '.new', sys.argv[1])
server.serve_forever()
END
metadata=$!
for ((tries = 0; tries < 100; tries++)); do
  if [[ -s $tmp/metadata.port ]]; then break; fi
  sleep 0.1
done
role=(AWS_EC2_METADATA_SERVICE_ENDPOINT="http://127.0.0.1:$(cat "$tmp/metadata.port")")
keys=(AWS_ACCESS_KEY_ID="$AWS_ACCESS_KEY_ID" AWS_SECRET_ACCESS_KEY="$AWS_SECRET_ACCESS_KEY")

# ---- the machine

if [[ -z $base ]]; then base=$tmp/base; fi
if [[ ! -f $base/etc/debian_version ]]; then debootstrap --variant=minbase bookworm "$base" ${mirror:+"$mirror"} >>"$tmp/log" 2>&1; fi
cp -a "$base" "$root"
cp /etc/resolv.conf "$root/etc/resolv.conf"
mount -t proc proc "$root/proc"
cp "$repository/provision/provision.sh" "$root/tmp/provision.sh"
everything >"$tmp/before"
ok "a bare $(cat "$root/etc/debian_version") with $(chroot "$root" dpkg-query -W | wc -l) packages"

provision() { inside timeout 900 bash /tmp/provision.sh "$@" >"$tmp/said" 2>&1; }
arguments=(--store "$store" --redis-url "$ROLLCALL_REDIS_URL" --queue-url "$ROLLCALL_AMQP_URL" --device cpu)

provision --release "$url" --sha256 "$digest" "${arguments[@]}" --dry-run || die "--dry-run: $(tail -n 3 "$tmp/said")"
everything >"$tmp/now"
cmp -s "$tmp/before" "$tmp/now" || die "--dry-run changed something: $(diff "$tmp/before" "$tmp/now" | head -n 5)"
ok '--dry-run changes nothing'

wrong=$(printf '0%.0s' {1..64})
# refused ADDRESS WAY
refused() {
  if provision --release "$1" --sha256 "$wrong" "${arguments[@]}"; then die "a wrong digest is taken: $2"; fi
  grep -q "has the digest $digest, not $wrong" "$tmp/said" || die "a wrong digest, $2: $(tail -n 5 "$tmp/said")"
  [[ ! -e $root/opt/rollcall/current ]] || die "a release of a wrong digest is installed: $2"
  ok "fetched $2; a wrong digest is refused"
}
refused "$url" 'from a presigned address'
credentials=("${keys[@]}")
refused "$address" 'with keys'
credentials=("${role[@]}")
refused "$address" "with the machine's role"
credentials=(AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:9)
if provision --release "$address" --sha256 "$wrong" "${arguments[@]}"; then die 'no credentials are enough'; fi
grep -q 'or a machine with a role' "$tmp/said" || die "no credentials: $(tail -n 5 "$tmp/said")"
ok 'without keys and role it says what it needs'
credentials=("${role[@]}")
for folder in file:///var/lib/rollcall/store file:///var/lib file:///opt/rollcall/%73tore; do
  if provision --release "$url" --sha256 "$digest" "${arguments[@]}" --store "$folder"; then die "$folder is taken"; fi
  grep -q 'the store cannot be' "$tmp/said" || die "$folder: $(tail -n 5 "$tmp/said")"
done
ok 'a store among its own folders is refused'

for seconds in 0.2 0.5 1 1.5 2 3; do
  # Kills the whole group, so that nothing of the run goes on.
  inside timeout -s KILL "$seconds" bash /tmp/provision.sh --release "$url" --sha256 "$digest" "${arguments[@]}" --no-start >"$tmp/said" 2>&1 || true
done
ok "killed after 0.2, 0.5, 1, 1.5, 2 and 3 s; it got as far as: $(grep '^provision: ' "$tmp/said" | tail -n 1 | cut -d' ' -f2-)"

# As cloud-init does it: the script of the user data, with its settings.
awk '/- path: .*rollcall-start.sh/ { here = 1 } here && /content:/ { text = 1; next } /^[a-z]/ { text = 0 } text { print substr($0, 7) }' \
  "$repository/provision/host/cloud-init.yaml" >"$root/tmp/rollcall-start.sh"
printf '%s\n' "RELEASE='$address' RELEASE_SHA256='$digest' SPOT=''" "export ROLLCALL_STORE_URL='$store' ROLLCALL_DEVICE=cpu" \
  "export ROLLCALL_REDIS_URL='$ROLLCALL_REDIS_URL' ROLLCALL_QUEUE_URL='$ROLLCALL_AMQP_URL'" >"$root/tmp/rollcall.env"
started=$SECONDS
inside timeout 900 bash /tmp/rollcall-start.sh /tmp/rollcall.env >"$tmp/said" 2>&1 || die "provisioning: $(tail -n 20 "$tmp/said")"
rm "$root/tmp/rollcall-start.sh" "$root/tmp/rollcall.env"
cp "$tmp/said" "$tmp/first"
grep -q '^AWS_\(ACCESS\|SECRET\|SESSION\)' "$root/etc/rollcall/rollcall.env" && die 'keys of the role are in a file'
ok "by the script of cloud-init, with the machine's role: provisioned and seen after $((SECONDS - started)) s: $(grep -c '^ok ' "$tmp/first") checks ok, $(grep -c '^warning ' "$tmp/first" || true) warnings"
sed -n -E 's/^((ok|warning) )/              \1/p' "$tmp/first"

# ---- a job

export ROLLCALL_QUEUE_URL=$ROLLCALL_AMQP_URL
job=$(timeout 60 "$bin/rollcall" submit "$repository/tests/audio/sample.wav")
timeout 120 "$bin/rollcall" wait "$job" >/dev/null || die "the job: $(timeout 10 "$bin/rollcall" status "$job" --json)"
record=$(timeout 10 "$bin/rollcall" status "$job" --json)
worker=$(grep -o '"worker": *"[^"]*"' <<<"$record" | cut -d'"' -f4)
here_id=$(timeout 10 "$bin/rollcall" workers --json | grep -o '"id": *"[^"]*"' | cut -d'"' -f4)
[[ -n $worker && $worker == "$here_id" ]] || die "the job was done by '$worker', the worker is '$here_id'"
ok "job $job completed by $worker"

# ---- once more

everything >"$tmp/after"
supervisor=$(cat "$root/run/rollcall/supervisor.pid")
child=$(pgrep -P "$supervisor" -f 'rollcall-worker serve')
started=$SECONDS
provision --release "$url" --sha256 "$digest" "${arguments[@]}" || die "the second run: $(tail -n 20 "$tmp/said")"
everything >"$tmp/now"
cmp -s "$tmp/after" "$tmp/now" || die "the second run changed something: $(diff "$tmp/after" "$tmp/now" | head -n 5)"
[[ $(cat "$root/run/rollcall/supervisor.pid") == "$supervisor" && $(pgrep -P "$supervisor" -f 'rollcall-worker serve') == "$child" ]] || die 'the second run started another worker'
ok "a second run changes nothing, in $((SECONDS - started)) s; the same worker runs"

kill -9 "$child"
for ((tries = 0; tries < 100; tries++)); do
  now=$(pgrep -P "$supervisor" -f 'rollcall-worker serve' || true)
  if [[ -n $now && $now != "$child" ]]; then break; fi
  sleep 0.1
done
[[ -n $now && $now != "$child" ]] || die 'a killed worker is not started again within 10 s'
ok 'a killed worker is started again'

provision --release "$address" --sha256 "$digest" "${arguments[@]}" --env ROLLCALL_LOG=debug || die "another setting: $(tail -n 20 "$tmp/said")"
[[ $(cat "$root/run/rollcall/supervisor.pid") != "$supervisor" && ! -d /proc/$now ]] || die 'another setting does not restart the worker'
grep -q '^ROLLCALL_LOG="debug"$' "$root/etc/rollcall/rollcall.env" || die 'a setting is not kept'
ok 'another setting restarts the worker'

# ---- and away

provision --uninstall --dry-run || die "--uninstall --dry-run: $(tail -n 5 "$tmp/said")"
[[ -d $root/opt/rollcall ]] || die '--uninstall --dry-run removes something'
supervisor=$(cat "$root/run/rollcall/supervisor.pid")
child=$(pgrep -P "$supervisor" -f 'rollcall-worker serve')
provision --uninstall || die "--uninstall: $(tail -n 20 "$tmp/said")"
[[ ! -d /proc/$supervisor && ! -d /proc/$child ]] || die 'something still runs'
everything >"$tmp/now"
cmp -s "$tmp/before" "$tmp/now" || die "--uninstall leaves something: $(diff "$tmp/before" "$tmp/now" | head -n 20)"
left=$(find "$root/tmp" "$root/var/log" "$root/var/cache" -iname '*rollcall*' | head -n 3)
[[ -z $left ]] || die "--uninstall leaves $left"
ok '--uninstall leaves nothing'
provision --uninstall || die "a second --uninstall: $(tail -n 5 "$tmp/said")"
ok 'a second --uninstall finds nothing to do'

# ---- where systemd runs, with a store that is a folder; on a machine that has a user and a folder of these names

mkdir -p "$root/run/systemd/system" "$root/etc/rollcall" "$root/srv/a store"
printf '#!/bin/sh\necho "$*" >>/run/systemctl\n' >"$root/usr/local/bin/systemctl"
chmod 755 "$root/usr/local/bin/systemctl"
echo 'ROLLCALL_GROUP=workers' >"$root/etc/rollcall/scale.env"
chroot "$root" useradd --system --user-group rollcall
chroot "$root" chown rollcall:rollcall '/srv/a store'
everything >"$tmp/before"
ROLLCALL_HOME=$home timeout 120 "$bin/rollcall-provision" push "$home/bundles/starter/current" "file://$root/srv/a%20store" 2>>"$tmp/log"
ROLLCALL_HOME=$home timeout 120 "$bin/rollcall-provision" pack-runtime "file://$root/srv/a%20store" 2>>"$tmp/log"
chroot "$root" chown -R rollcall:rollcall '/srv/a store'
arguments=(--store 'file:///srv/a%20store' --redis-url "$ROLLCALL_REDIS_URL" --queue-url "$ROLLCALL_AMQP_URL" --device cpu --spot --no-start)
if provision --release "$url" --sha256 "$digest" "${arguments[@]}" --store file:///home/store; then die 'a store in /home is taken'; fi
grep -q 'the service does not see /home' "$tmp/said" || die "a store in /home: $(tail -n 5 "$tmp/said")"
# A caller whose files nobody else reads.
inside timeout 900 bash -c 'umask 077; exec bash /tmp/provision.sh "$@"' - --release "$url" --sha256 "$digest" "${arguments[@]}" >"$tmp/said" 2>&1 ||
  die "with a stand-in for systemd: $(tail -n 20 "$tmp/said")"
[[ $(stat -c %a "$root/opt/rollcall" "$root/opt/rollcall/releases" "$root/etc/systemd/system" | sort -u) == 755 ]] || die 'folders are closed to the worker'
worker_unit=$root/etc/systemd/system/rollcall-worker.service spot_unit=$root/etc/systemd/system/rollcall-spot.service
grep -qxF 'ReadWritePaths=/var/lib/rollcall "/srv/a store"' "$worker_unit" || die "the unit: $(cat "$worker_unit")"
script=$(sed -n 's/^ExecStart=//p' "$spot_unit")
[[ -x $root$script && $script == /opt/rollcall/current/spot/spot-notice.sh ]] || die "the unit for spot machines: $(cat "$spot_unit")"
if command -v systemd-analyze >/dev/null; then
  for file in "$worker_unit" "$spot_unit"; do
    # What they start lies in the root.
    wrong=$(systemd-analyze verify "$file" 2>&1 | grep -v 'is not executable' | grep -F "${file##*/}" || true)
    [[ -z $wrong ]] || die "systemd-analyze: $wrong"
  done
else
  echo 'SKIPPED: systemd-analyze is not here'
fi
ok 'the units for systemd: a folder as store can be written, the end of a spot machine is watched'
provision --uninstall || die "--uninstall: $(tail -n 20 "$tmp/said")"
grep -q 'keeping the user rollcall' "$tmp/said" || die "--uninstall: $(tail -n 20 "$tmp/said")"
everything >"$tmp/now"
# What the store holds is not the script's, and the list of what ran is the stand-in's.
mine() { grep -vE 'systemctl|/srv/a store' "$1"; }
cmp -s <(mine "$tmp/before") <(mine "$tmp/now") || die "--uninstall changes what was here before: $(diff "$tmp/before" "$tmp/now" | head -n 20)"
[[ -d $root/srv/a\ store/bundles/starter ]] || die '--uninstall touches the store'
ok '--uninstall leaves the user and the settings that were here before'
