#!/bin/sh
# Stands for rollcall-worker in tests: `selftest DIR`. What it does is decided by files beside the link it is called
# through: `complaint` (fails with that text), `wait` (goes on when that file is gone).
set -eu
here=$(dirname "$0")
echo "$ROLLCALL_HOME $*" >>"$here/prover-calls"
if [ -f "$here/complaint" ]; then cat "$here/complaint" >&2; exit 1; fi
while [ -f "$here/wait" ]; do sleep 0.05; done
[ "$1" = selftest ] && [ -f "$2/manifest.json" ]
