#!/usr/bin/env bash
# Sets the desired capacity of an Auto Scaling group to the gauge `rollcall_workers_wanted`, within the group's own bounds. The
# group grows at once, and shrinks to the most that was asked for within the last ten runs (five minutes, every 30 s).
# Without an answer, or without the gauge, it stays as it is.
#
# usage: scale.sh GROUP [METRICS_URL]      (default: http://127.0.0.1:7700/metrics)
# Variables: STATE, the file that keeps what was asked for (default: in $STATE_DIRECTORY, else the folder of temporary files);
# ROLLCALL_API_KEY, a key with the scope `read`, where the API asks for one
set -euo pipefail
group=${1:?usage: scale.sh GROUP [METRICS_URL]} url=${2:-http://127.0.0.1:7700/metrics}
state=${STATE:-${STATE_DIRECTORY:-${TMPDIR:-/tmp}}/rollcall-scale.$group}
# A header file keeps the key out of the list of processes.
wanted=$(curl -fsS -m 10 -H @<(printf '%s\n' "${ROLLCALL_API_KEY:+Authorization: Bearer $ROLLCALL_API_KEY}") "$url" | awk '$1 == "rollcall_workers_wanted" {print int($2)}')
[[ $wanted =~ ^[0-9]+$ ]] || { echo "error: no rollcall_workers_wanted at $url: the group stays as it is" >&2; exit 1; }
read -r min max desired < <(aws autoscaling describe-auto-scaling-groups --auto-scaling-group-names "$group" --output text \
  --query 'AutoScalingGroups[0].[MinSize,MaxSize,DesiredCapacity]')
{ cat "$state" 2>/dev/null || true; echo "$wanted"; } | tail -n 10 >"$state.new"
mv "$state.new" "$state"
wanted=$(sort -n "$state" | tail -n 1)
((wanted >= min)) || wanted=$min
((wanted <= max)) || wanted=$max
if ((wanted != desired)); then
  echo "$group: $desired to $wanted"
  aws autoscaling set-desired-capacity --auto-scaling-group-name "$group" --desired-capacity "$wanted"
fi
