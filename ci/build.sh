#!/bin/sh
# Configures and builds one preset: ci/build.sh PRESET. The folder is build/PRESET.
set -eu
cd "$(dirname "$0")/.."
preset=$1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! cmake --preset "$preset" >"$log" 2>&1 || ! cmake --build --preset "$preset" -j "$(nproc)" >"$log" 2>&1; then
    cat "$log" >&2
    echo "ci/build.sh: the build of preset $preset failed" >&2
    exit 1
fi
