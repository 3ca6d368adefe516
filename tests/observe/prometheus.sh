#!/usr/bin/env bash
# A real Prometheus over a fleet on this machine: pages scraped and linted, rules loaded, a killed worker raises the alerts.
#
# usage: tests/observe/prometheus.sh BIN [TMP]      BIN: rollcall, rollcall-local, rollcall-noop-worker (`cargo build --workspace`)
# Takes Debian's package of Prometheus from the archive, unpacked into TMP, never installed; PROMETHEUS and PROMTOOL name others.
# Takes two to three minutes, most of it the times that the alerts wait by themselves.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
deploy=$(cd "$here/../../deploy" && pwd)
bin=$(cd "${1:?usage: prometheus.sh BIN [TMP]}" && pwd)
tmp=${2:-$(mktemp -d)}
mkdir -p "$tmp"
tmp=$(cd "$tmp" && pwd)
failed=0
say() { printf '%3d s   %s\n' $SECONDS "$*"; }
check() { local name=$1; shift; if "$@"; then say "ok      $name"; else failed=1; say "FAILED  $name"; fi; }

prometheus=${PROMETHEUS:-$tmp/root/usr/bin/prometheus} promtool=${PROMTOOL:-$tmp/root/usr/bin/promtool}
if [[ ! -x $prometheus ]]; then
  if ! (cd "$tmp" && apt-get download -q prometheus >fetched 2>&1 && dpkg -x prometheus_*.deb root); then
    echo 'SKIPPED: no Prometheus: its package cannot be fetched'
    exit 0
  fi
fi

pids=()
stop() {
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  "$bin/rollcall-local" stop --dir "$tmp/fleet" >/dev/null 2>&1 || true
}
trap stop EXIT
eval "$("$bin/rollcall-local" start --dir "$tmp/fleet" --redis)"
mkdir -p "$tmp/store"
export ROLLCALL_QUEUE_URL=$ROLLCALL_REDIS_URL ROLLCALL_STORE_URL=file://$tmp/store
port() { "$bin/rollcall-local" free-port; }
api=$(port) first=$(port) second=$(port) web=$(port)
# start NAME COMMAND...: in the background; its process id in $started
start() { local name=$1; shift; "$@" >"$tmp/$name.log" 2>&1 & started=$!; pids+=("$started"); }
start api "$bin/rollcall" serve --listen "127.0.0.1:$api"
worker() { start "$1" "$bin/rollcall-noop-worker" --lease-ms 15000 --metrics-listen "127.0.0.1:$2"; }
worker first "$first"; victim=$started
worker second "$second"

# until SECONDS COMMAND...
until_true() { local end=$((SECONDS + $1)); shift; until "$@"; do ((SECONDS < end)) || return 1; sleep 0.5; done; }
answers() { curl -fsS -m 5 "http://127.0.0.1:$1" >/dev/null 2>&1; }
for page in "$api/metrics" "$first/readyz" "$second/readyz"; do check "$page answers" until_true 30 answers "$page"; done
# Each page twice: as it begins, and with counts in it.
lint() { curl -fsS "http://127.0.0.1:$1/metrics" | "$promtool" check metrics >"$tmp/lint" 2>&1 || { cat "$tmp/lint"; return 1; }; }
for where in "$api" "$first"; do check "promtool check metrics, $where" lint "$where"; done

sed -e "s/api:7700/127.0.0.1:$api/; s/scrape_interval: .*/scrape_interval: 2s/; s/evaluation_interval: .*/evaluation_interval: 2s/" \
  -e "s#/etc/prometheus/alerts#$deploy/alerts#" "$deploy/prometheus/prometheus.yaml" >"$tmp/prometheus.yaml"
# The workers are two processes here, not names of a network; at a loopback address no key is needed.
python3 - "$tmp/prometheus.yaml" "$first" "$second" <<'END'
import re, sys
path, *ports = sys.argv[1:]
text = open(path).read()
targets = ', '.join(f'"127.0.0.1:{port}"' for port in ports)
text = re.sub(r' +# Beyond.*\n +authorization:\n.*\n', '', text)
text = re.sub(r'dns_sd_configs:.*', f'static_configs:\n      - targets: [{targets}]\n', text, flags=re.S)
open(path, 'w').write(text)
END
check 'promtool check config, with the rules' "$promtool" check config "$tmp/prometheus.yaml"
start prometheus "$prometheus" --config.file="$tmp/prometheus.yaml" --storage.tsdb.path="$tmp/tsdb" --web.listen-address="127.0.0.1:$web"
check 'Prometheus is ready' until_true 30 answers "$web/-/ready"

# value QUERY: the first value of a query, or nothing where it has none; fails where Prometheus does not answer
value() {
  local answer
  answer=$(curl -fsS -m 10 -G "http://127.0.0.1:$web/api/v1/query" --data-urlencode "query=$1") || return 1
  python3 -c 'import json,sys; r=json.load(sys.stdin)["data"]["result"]; print(r[0]["value"][1] if r else "")' <<<"$answer"
}
is() { [[ $(value "$1") == "$2" ]]; }
above() { python3 -c 'import sys; sys.exit(not float(sys.argv[1] or "nan") > float(sys.argv[2]))' "$(value "$1")" "$2"; }
firing() { is "ALERTS{alertname=\"$1\",alertstate=\"firing\"}" 1; }
quiet() { local firing; firing=$(value 'ALERTS{alertstate="firing"}') && [[ -z $firing ]]; }
check 'every target is up' until_true 30 is 'count(up == 1)' 3
# A rule is of unknown health until its group's first turn; whether an alert waits meanwhile depends on what was up first.
expected=$(grep -c 'alert:' "$deploy/alerts/rollcall.yaml")
sound() { [[ $(curl -fsS "http://127.0.0.1:$web/api/v1/rules" | grep -o '"health":"ok"' | wc -l) == "$expected" ]]; }
check "all $expected rules are loaded and evaluated without an error" until_true 30 sound
check 'two workers are alive' until_true 20 is 'max(rollcall_workers_alive)' 2

say '        60 jobs'
for n in $(seq 60); do echo "recording $n" >"$tmp/$n.wav"; done
"$bin/rollcall" submit --tag work-ms=200 "$tmp"/*.wav >/dev/null
check 'what the workers settled arrives' until_true 30 above 'sum(rollcall_settled_jobs_total{state="completed"})' 59
for where in "$api" "$second"; do check "promtool check metrics, $where, with counts" lint "$where"; done
check 'no alert is raised' quiet

say '        jobs of ten minutes for both, then kill -9 of one worker'
for n in $(seq 20); do echo "long recording $n" >"$tmp/long-$n.wav"; done
"$bin/rollcall" submit --tag work-ms=600000 "$tmp"/long-*.wav >/dev/null
check 'both hold some' until_true 30 is 'count(rollcall_worker_jobs > 0)' 2
kill -9 "$victim"
killed=$SECONDS
check 'its leases are ended by the other' until_true 60 above 'sum(rollcall_expired_leases_total)' 0
say "        $((SECONDS - killed)) s after the kill"
check 'RollcallWorkersVanish is raised' until_true 60 firing RollcallWorkersVanish
say "        $((SECONDS - killed)) s after the kill"
check 'RollcallWorkerDown is raised' until_true 60 firing RollcallWorkerDown
say "        $((SECONDS - killed)) s after the kill"
check 'one worker is alive' until_true 30 is 'max(rollcall_workers_alive)' 1
check 'the jobs are with the other' until_true 30 is 'max(rollcall_worker_jobs)' 20
exit $failed
