#!/bin/sh
# Stands for rollcall-worker in tests: `selftest --record DIR`. What it does is decided by files beside the link it is
# called through: `complaint` (fails with that text), `idle` (records nothing), `meddle` (changes more than it may).
set -eu
here=$(dirname "$0")
echo "$ROLLCALL_HOME $*" >>"$here/worker-calls"
if [ -f "$here/complaint" ]; then cat "$here/complaint" >&2; exit 1; fi
if [ -f "$here/idle" ]; then exit 0; fi
[ "$1 $2" = "selftest --record" ]
answer='{"segmentation_classes":[[0,589]],"segmentation_tolerance":0.01,"embedding":[1.0],"embedding_tolerance":0.0001}'
sed -i "s/\"selftest\": null/\"selftest\": $answer/" "$3/manifest.json"
if [ -f "$here/meddle" ]; then sed -i 's/"step_samples": 40000/"step_samples": 50000/' "$3/manifest.json"; fi
