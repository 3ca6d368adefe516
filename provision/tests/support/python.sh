#!/bin/sh
# Stands for Python in tests: `-m pip download … --dest DIR REQUIREMENT`. Serves the wheels that lie beside the link it
# is called through, or fails with the text of `pip-complaint`.
set -eu
here=$(dirname "$0")
echo "$*" >>"$here/pip-calls"
if [ -f "$here/pip-complaint" ]; then cat "$here/pip-complaint" >&2; exit 1; fi
while [ "$1" != "--dest" ]; do shift; done
cp "$here"/*.whl "$2"/
