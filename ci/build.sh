#!/bin/sh
# Configures and builds one preset: ci/build.sh PRESET. The folder is build/PRESET, or that below $ADAMOE_BUILD: the
# source tree is then only read. Says how far it is in a line of tenths, and of what fails everything.
set -eu
cd "$(dirname "$0")/.."
preset=$1
folder=${ADAMOE_BUILD:-build}/$preset
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Prints a number each time that another tenth is done, of lines as `[ 42%] Building C object ...`.
show_tenths() {
    shown=0
    while IFS= read -r line; do
        printf '%s\n' "$line" >>"$log"
        case $line in
        "["*"%]"*) done=${line#"["} done=${done%%"%"*} done=$((done / 10 * 10)) ;;
        *) continue ;;
        esac
        [ "$done" -le "$shown" ] || printf ' %s' "$done"
        [ "$done" -le "$shown" ] || shown=$done
    done
}

begin=$(date +%s)
printf 'ci/build.sh: %s, percent:' "$folder"
failed=$(mktemp)
trap 'rm -f "$log" "$failed"' EXIT
if ! cmake --preset "$preset" -B "$folder" >"$log" 2>&1; then
    echo configure >"$failed"
else
    { cmake --build "$folder" -j "$(nproc)" 2>&1 || echo build >"$failed"; } | show_tenths
fi
if [ -s "$failed" ]; then
    echo
    grep -v "Built target" "$log" >&2 || true
    echo "ci/build.sh: the build of preset $preset failed" >&2
    [ "$(cat "$failed")" = build ] || echo "ci/build.sh: if a package is missing: sh ci/install.sh" >&2
    exit 1
fi
echo " ($(($(date +%s) - begin)) s)"
