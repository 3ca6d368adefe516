#!/usr/bin/env bash
# Compiles every kernel for each architecture with the pinned NVRTC, without a GPU or driver.
#
# usage: tests/gpu/kernels.sh BIN_FOLDER CACHE_FOLDER
#   BIN_FOLDER    has rollcall-worker (built with its default features)
#   CACHE_FOLDER  keeps NVRTC, 150 MB, between runs
# Where the package cannot be had, it says so and ends well; a file with another digest is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bin=${1:?the folder of rollcall-worker} cache=${2:?a folder for NVRTC}
pin=$(grep '^nvidia-cuda-nvrtc==' provision/wheels-gpu.txt)
requirement=${pin%% *} sha256=${pin##*sha256:}
folder=$cache/nvrtc-$sha256

if [[ ! -f $folder/libnvrtc.so.13 ]]; then
  mkdir -p "$cache"
  tmp=$(mktemp -d "$cache/partial.XXXXXX")
  trap 'rm -rf "$tmp"' EXIT
  if ! python3 -m pip download --quiet --no-deps --only-binary=:all: --disable-pip-version-check --no-input --retries 2 \
    --timeout 20 --implementation cp --python-version 3.12 --abi none --platform manylinux2014_x86_64 \
    --platform manylinux_2_17_x86_64 --platform manylinux2010_x86_64 --dest "$tmp" "$requirement" 2>"$tmp/log"; then
    printf 'SKIPPED: kernels for GPUs were not compiled: pip cannot download %s: %s\n' "$requirement" "$(tail -n 1 "$tmp/log")"
    exit 0
  fi
  wheel=("$tmp"/*.whl)
  found=$(sha256sum "${wheel[0]}"); found=${found%% *}
  [[ $found == "$sha256" ]] || { printf 'error: %s has the digest %s, not %s\n' "${wheel[0]##*/}" "$found" "$sha256" >&2; exit 1; }
  python3 - "${wheel[0]}" "$tmp/lib" <<'END'
import pathlib
import sys
import zipfile

folder = pathlib.Path(sys.argv[2])
folder.mkdir()
with zipfile.ZipFile(sys.argv[1]) as wheel:
    for member in wheel.namelist():
        name = pathlib.PurePosixPath(member).name
        if name.startswith("libnvrtc"):
            (folder / name).write_bytes(wheel.read(member))
END
  mv "$tmp/lib" "$folder"
fi
# A toolkit on the machine may have an NVRTC of its own where the loader looks first: this one has none of its functions.
mkdir -p "$cache/toolkit"
ln -sfn "$(ldd "$bin/rollcall-worker" | awk '$1 ~ /^libc\.so/ { print $3 }')" "$cache/toolkit/libnvrtc.so"
LD_LIBRARY_PATH=$cache/toolkit "$bin/rollcall-worker" gpu compile --nvrtc "$folder"
