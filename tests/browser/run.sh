#!/usr/bin/env bash
# Runs the worker on the sample, once as it is and once with a hostile file name and transcript, and uses both pages in
# headless Chromium. Neither page, nor the terminal, takes what stands in names and texts for anything but text.
# usage: run.sh BIN_FOLDER TMP_FOLDER [SCREENSHOT_FOLDER]
set -euo pipefail
bin=$1 tmp=$2 shots=${3:-}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$tmp"
name=$(printf '<img src=x onerror=alert(1)>"&'"'"'{{data}} \u0645\u0631\u062d\u0628\u0627 \u202egpj\u202c \033]0;title\007')
cp "$here/../audio/sample.wav" "$tmp/$name.wav"
python3 "$here/hostile.py" >"$tmp/hostile.json"
"$bin/rollcall-worker" run --out "$tmp/plain" "$here/../audio/sample.wav" >/dev/null 2>&1
"$bin/rollcall-worker" run --formats json,srt,vtt,txt,html --out "$tmp/hostile" --transcript "$tmp/hostile.json" "$tmp/$name.wav" >"$tmp/said" 2>&1
if LC_ALL=C grep -naP '[\x00-\x08\x0b-\x1f\x7f]|\xe2\x80[\xaa-\xae]' "$tmp/said"; then
  echo 'the terminal was sent a command'; exit 1
fi
# A folder with a name that can be typed, for what follows.
mv "$tmp/hostile/"* "$tmp/hostile-page"
shoot=(); [[ -z $shots ]] || shoot=(--shots "$shots")
"$here/timeline.py" "${shoot[@]}" "$tmp/plain/sample/timeline.html"
"$here/timeline.py" "${shoot[@]}" --text '</script><script>window.pwned=1;alert(1)</script>' --text 'onerror="window.pwned=1">&amp;{{data}}<!--' \
  --text '<img src=x onerror=alert(1)>"&'"'"'{{data}}' --text "' onmouseover='alert(1)" "$tmp/hostile-page/timeline.html"
