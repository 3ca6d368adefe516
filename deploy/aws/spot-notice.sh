#!/usr/bin/env bash
# Drains the worker of this machine when its time is over: at a spot interruption notice, and when the Auto Scaling group wants
# to terminate it. Asks the instance's metadata (IMDSv2) every few seconds, and ends once the worker is gone.
#
# usage: spot-notice.sh [STOP COMMAND...]      (default: systemctl stop rollcall-worker, which waits for the worker's end)
# Variables: IMDS (http://169.254.169.254), EVERY (5 s), ROLLCALL_GROUP and ROLLCALL_HOOK (to complete a lifecycle hook).
set -euo pipefail
imds=${IMDS:-http://169.254.169.254} every=${EVERY:-5}
stop=("$@")
[[ ${#stop[@]} -gt 0 ]] || stop=(systemctl stop rollcall-worker)

# ask PATH: what the metadata say, or nothing
ask() {
  local token
  token=$(curl -fsS -m 2 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$imds/latest/api/token" 2>/dev/null) || return 1
  curl -fsS -m 2 -H "X-aws-ec2-metadata-token: $token" "$imds/latest/meta-data/$1" 2>/dev/null
}

until reason=$(ask spot/instance-action) || { reason=$(ask autoscaling/target-lifecycle-state) && [[ $reason == Terminated ]]; }; do
  sleep "$every"
done
echo "draining the worker: $reason"
began=$SECONDS
"${stop[@]}"
echo "drained after $((SECONDS - began)) s"
if [[ -n ${ROLLCALL_GROUP:-} && -n ${ROLLCALL_HOOK:-} ]]; then
  aws autoscaling complete-lifecycle-action --lifecycle-action-result CONTINUE --auto-scaling-group-name "$ROLLCALL_GROUP" \
    --lifecycle-hook-name "$ROLLCALL_HOOK" --instance-id "$(ask instance-id)" || echo 'the group was not told; it goes on by itself'
fi
