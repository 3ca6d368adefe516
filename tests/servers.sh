#!/usr/bin/env bash
# Setup script of nextest: starts the shared servers, which stop when the test run ends, and says where they are.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
# Built just now, with the tests of its crate; the newest where several profiles have one.
program=$(ls -t "$target"/*/rollcall-local | head -n 1)
exports=$("$program" start --redis --amqp --dir "$(mktemp -d)" --watch "$PPID")
sed -n "s/^export ROLLCALL_\(REDIS\|AMQP\)_URL='\(.*\)'/ROLLCALL_TEST_\1_URL=\2/p" <<<"$exports" >>"$NEXTEST_ENV"
