#!/usr/bin/env bash
# Sets the desired capacity of an Auto Scaling group to the gauge `rollcall_workers_wanted`, within the group's own bounds.
# Without an answer, or without the gauge, the group stays as it is.
#
# usage: scale.sh GROUP [METRICS_URL]      (default: http://127.0.0.1:7700/metrics)
set -euo pipefail
group=${1:?usage: scale.sh GROUP [METRICS_URL]} url=${2:-http://127.0.0.1:7700/metrics}
wanted=$(curl -fsS -m 10 "$url" | awk '$1 == "rollcall_workers_wanted" {print int($2)}')
[[ $wanted =~ ^[0-9]+$ ]] || { echo "error: no rollcall_workers_wanted at $url: the group stays as it is" >&2; exit 1; }
read -r min max desired < <(aws autoscaling describe-auto-scaling-groups --auto-scaling-group-names "$group" --output text \
  --query 'AutoScalingGroups[0].[MinSize,MaxSize,DesiredCapacity]')
((wanted >= min)) || wanted=$min
((wanted <= max)) || wanted=$max
if ((wanted != desired)); then
  echo "$group: $desired to $wanted"
  aws autoscaling set-desired-capacity --auto-scaling-group-name "$group" --desired-capacity "$wanted"
fi
