#!/usr/bin/env bash
# The memory of `rollcall serve` during one large upload:   upload.sh [GIB] [--bin FOLDER]
# Starts a fleet without workers of its own (Redis Streams, the test S3 server), posts a form with a file of GIB gibibytes
# (2), and prints the time, the server's largest resident memory, and whether the stored object has the file's digest.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
gib=2 bin=()
while (($#)); do
  case $1 in
    --bin) bin=(--bin "$2"); shift 2 ;;
    *) gib=$1; shift ;;
  esac
done
tmp=$(mktemp -d)
server=
trap '[[ -z $server ]] || kill "$server" 2>/dev/null || true; "$repo/deploy/local/down.sh" --dir "$tmp/fleet" >&2 || true; rm -rf "$tmp"' EXIT
"$repo/deploy/local/up.sh" --workers 0 --queue redis --dir "$tmp/fleet" "${bin[@]}" >"$tmp/env"
eval "$(grep '^export ' "$tmp/env")"
rollcall serve --listen 127.0.0.1:0 --log-format json 2>"$tmp/log" &
server=$!
for ((tries = 0; tries < 100; tries++)); do grep -q listening "$tmp/log" && break; sleep 0.1; done
address=$(grep -o '127.0.0.1:[0-9]*' "$tmp/log" | head -1)
# Blocks that differ, quickly made: a counter through a cipher.
head -c "${gib}G" /dev/zero | openssl enc -aes-128-ctr -nosalt -pass pass:upload -pbkdf2 2>/dev/null >"$tmp/large.wav" || true
before=$(awk '/VmHWM/ {print $2}' "/proc/$server/status")
began=$(date +%s.%N)
answer=$(curl -sS -F "audio=@$tmp/large.wav" "http://$address/v1/jobs")
took=$(echo "$(date +%s.%N) - $began" | bc)
peak=$(awk '/VmHWM/ {print $2}' "/proc/$server/status")
digest=$(sha256sum "$tmp/large.wav" | cut -d' ' -f1)
kill "$server"
server=
case $answer in *"inbox/$digest.wav"*) same=yes ;; *) same="no: $answer" ;; esac
printf '%s GiB in %.1f s; resident: %d MiB before, %d MiB at most; stored under its digest: %s\n' \
  "$gib" "$took" $((before / 1024)) $((peak / 1024)) "$same"
[[ $same == yes ]]
