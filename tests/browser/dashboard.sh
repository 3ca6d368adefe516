#!/usr/bin/env bash
# Starts a fleet of its own and uses its dashboard in headless Chromium, as `dashboard.py` says.
# usage: dashboard.sh BIN_FOLDER TMP_FOLDER [SCREENSHOT_FOLDER]     ROLLCALL_HOME holds ONNX Runtime and the starter bundle
set -euo pipefail
bin=$1 tmp=$2 shots=${3:-}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v chromium chromium-browser google-chrome >/dev/null || { echo 'SKIPPED: the dashboard in a browser: there is no chromium'; exit 0; }
mkdir -p "$tmp"
trap '"$here/../../deploy/local/down.sh" --dir "$tmp/fleet"' EXIT
# No workers yet: the script starts those that it needs.
"$here/../../deploy/local/up.sh" --dir "$tmp/fleet" --bin "$bin" --workers 0 --queue redis >/dev/null
shoot=(); [[ -z $shots ]] || shoot=(--shots "$shots")
"$here/dashboard.py" "${shoot[@]}" --bin "$bin" --fleet "$tmp/fleet" --tmp "$tmp"
