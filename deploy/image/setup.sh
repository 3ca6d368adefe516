#!/usr/bin/env bash
# What an image needs besides the programs: certificates for https:// and s3://, a user of its own, its folders.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -qy --no-install-recommends ca-certificates
rm -rf /var/lib/apt/lists/*
getent group rollcall >/dev/null || groupadd --gid 10001 rollcall
id rollcall >/dev/null 2>&1 ||
  useradd --uid 10001 --gid 10001 --home-dir /var/lib/rollcall --no-create-home --shell /usr/sbin/nologin rollcall
# The cache as well: an empty volume that is mounted over a folder takes its owner, and over nothing it is root's.
install -d -o rollcall -g rollcall -m 0750 /var/lib/rollcall /var/lib/rollcall/cache
