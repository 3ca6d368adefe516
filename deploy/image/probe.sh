#!/usr/bin/env bash
# usage: rollcall-probe PORT...: whether `GET /healthz` is answered with 200 on one of these ports of this machine.
# The image has no HTTP client besides.
for port; do
  exec 3<>"/dev/tcp/127.0.0.1/$port" || continue
  printf 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
  read -r -t 3 _ status _ <&3
  exec 3>&-
  if [[ $status == 200 ]]; then exit 0; fi
done 2>/dev/null
exit 1
