#!/usr/bin/env bash
# A whole fleet on this machine: Redis, RabbitMQ, an S3 endpoint, workers, the HTTP API.
# Prints `export` lines for a shell and returns:   eval "$(deploy/local/up.sh --workers 3 | grep '^export ')"
# What it leaves running holds none of the caller's file descriptors. Running it again with the same options prints the
# same lines; with others it starts anew. `down.sh` stops it and leaves nothing behind.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)

usage() {
  cat <<'END'
usage: up.sh [--workers N] [--queue amqp|redis] [--dir DIR] [--bin FOLDER] [--everysec]
  --workers N      worker processes (2)
  --queue KIND     amqp: RabbitMQ; redis: Redis Streams (amqp)
  --dir DIR        state of the fleet ($XDG_STATE_HOME/rollcall/local)
  --bin FOLDER     programs (target/release; built when missing)
  --everysec       Redis waits for the disk each second instead of before each answer
END
}
say() { echo "up.sh: $*" >&2; }
die() { echo "error: $1" >&2; shift; for hint in "$@"; do echo "hint: $hint" >&2; done; exit 1; }

workers=2 queue=amqp bin= everysec=
dir=${XDG_STATE_HOME:-${HOME:?}/.local/state}/rollcall/local
while (($#)); do
  case $1 in
    --workers) workers=${2:?--workers needs a number}; shift 2 ;;
    --queue) queue=${2:?--queue needs amqp or redis}; shift 2 ;;
    --dir) dir=${2:?--dir needs a folder}; shift 2 ;;
    --bin) bin=${2:?--bin needs a folder}; shift 2 ;;
    --everysec) everysec=--everysec; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done
[[ $workers =~ ^[0-9]{1,3}$ ]] || { echo "error: not a number of workers: $workers" >&2; exit 2; }
[[ $queue == amqp || $queue == redis ]] || { echo "error: not a kind of queue: $queue" >&2; exit 2; }

# The programs.
if [[ -z $bin ]]; then
  bin=${CARGO_TARGET_DIR:-$repo/target}/release
  if [[ ! -x $bin/rollcall || ! -x $bin/rollcall-worker || ! -x $bin/rollcall-local ]]; then
    say "building the programs (minutes, once)"
    (cd "$repo" && cargo build --release --workspace --bins >&2) || die "the programs cannot be built"
  fi
fi
bin=$(cd "$bin" 2>/dev/null && pwd) || die "no such folder: $bin"
for program in rollcall rollcall-worker rollcall-local; do
  [[ -x $bin/$program ]] || die "missing program: $bin/$program" "build it with \`cargo build --release --workspace --bins\`"
done
"$bin/rollcall-worker" serve --help >/dev/null 2>&1 || die "this \`rollcall-worker\` has no \`serve\`: $bin/rollcall-worker"
"$bin/rollcall" serve --help >/dev/null 2>&1 || die "this \`rollcall\` has no \`serve\`: $bin/rollcall"
"$bin/rollcall" workers --help >/dev/null 2>&1 || die "this \`rollcall\` has no \`workers\`: $bin/rollcall"

# Running already?
settings="workers=$workers queue=$queue everysec=$everysec bin=$bin home=${ROLLCALL_HOME:-} bundle=${ROLLCALL_BUNDLE:-}"
if [[ -e $dir ]]; then
  if [[ -f $dir/env && $(cat "$dir/settings" 2>/dev/null) == "$settings" ]] && "$bin/rollcall-local" status --dir "$dir" 2>/dev/null; then
    cat "$dir/env"
    exit 0
  fi
  say "stopping what an earlier run left"
  "$here/down.sh" --dir "$dir" >&2
fi

# The servers.
packages=()
command -v redis-server >/dev/null || packages+=(redis-server)
[[ $queue != amqp || -x /usr/lib/rabbitmq/bin/rabbitmq-server ]] || packages+=(rabbitmq-server)
if ((${#packages[@]})); then
  install="apt-get install --no-install-recommends -y ${packages[*]}"
  [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || die "not installed: ${packages[*]}" "\`sudo $install\`"
  say "installing ${packages[*]}"
  { apt-get update && DEBIAN_FRONTEND=noninteractive $install; } >&2 || die "cannot be installed: ${packages[*]}"
fi

mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
trap 'say "stopping what was started"; "$bin/rollcall-local" stop --dir "$dir" >&2 || true' EXIT
# down.sh has to work even when the build folder is gone by then.
ln -f "$bin/rollcall-local" "$dir/rollcall-local" 2>/dev/null || cp "$bin/rollcall-local" "$dir/rollcall-local"
mkdir -p "$dir/run"
say "starting redis, $([[ $queue == amqp ]] && echo 'rabbitmq, ')s3"
servers=$("$dir/rollcall-local" start --dir "$dir" --redis --s3 rollcall $everysec $([[ $queue == amqp ]] && echo --amqp))
eval "$servers"
if [[ $queue == amqp ]]; then queue_url=$ROLLCALL_AMQP_URL; else queue_url=$ROLLCALL_REDIS_URL; fi
{
  grep -v '^export ROLLCALL_AMQP_URL=' <<<"$servers"
  echo "export ROLLCALL_QUEUE_URL='$queue_url'"
  [[ -z ${ROLLCALL_HOME:-} ]] || printf 'export ROLLCALL_HOME=%q\n' "$ROLLCALL_HOME"
  printf 'export PATH=%q:"$PATH"\n' "$bin"
} >"$dir/env.new"
eval "$(cat "$dir/env.new")"

# The programs of the fleet.
api=$("$dir/rollcall-local" free-port --prefer 7700)
say "starting the HTTP API and $workers workers"
"$dir/rollcall-local" spawn --dir "$dir" --name api -- "$bin/rollcall" serve --listen "127.0.0.1:$api"
for ((number = 1; number <= workers; number++)); do
  "$dir/rollcall-local" spawn --dir "$dir" --name "worker-$number" -- "$bin/rollcall-worker" serve --grace 10
done

alive() { "$bin/rollcall" workers --json 2>/dev/null | grep -o '"last_seen_s"' | wc -l; }
for ((tries = 0; ; tries++)); do
  "$dir/rollcall-local" status --dir "$dir" || { tail -n 5 "$dir"/{api,worker-*}.log >&2 || true; die "the fleet did not start"; }
  (($(alive) < workers)) || break
  ((tries < 240)) || { tail -n 5 "$dir"/worker-*.log >&2; die "only $(alive) of $workers workers came up within 120 s"; }
  sleep 0.5
done

echo "# HTTP API: http://127.0.0.1:$api   state and logs: $dir" >>"$dir/env.new"
echo "$settings" >"$dir/settings"
mv "$dir/env.new" "$dir/env"
trap - EXIT
cat "$dir/env"
