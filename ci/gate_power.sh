#!/bin/sh
# What the gate can tell on this machine: how often it flags a slowdown of 5 % (10 runs, at least 9 wanted), and a build
# against itself (20 runs, at most 1 wanted). For a machine that has nothing else to do; takes about 10 minutes.
#
#     sh ci/gate_power.sh [BUILD_DIR [RUNS_SLOWED [RUNS_UNCHANGED [OPTION of adamoe gate...]]]]
#
# Both sides are the default kernel inside a plugin, tests/plugin/slowed.c, that can wait after each call.
set -eu
build=${1:-$(dirname "$0")/../build/release}
slowed_runs=${2:-10}
unchanged_runs=${3:-20}
shift $(($# < 3 ? $# : 3))

# flagged PERCENT RUNS: counts the runs in which a plugin slowed by PERCENT is flagged against one that is not.
flagged() {
    percent=$1 runs=$2 count=0 run=0
    shift 2
    while [ "$run" -lt "$runs" ]; do
        run=$((run + 1))
        code=0
        output=$("$build/bin/adamoe" gate --only-speed --against "$build" --kernel slowed --seed "$run" \
            --plugin "$build/plugins/slowed_$percent.so" --plugin-against "$build/plugins/slowed_0.so" "$@" 2>&1) || code=$?
        [ "$code" -le 1 ] || { echo "$output" >&2; exit 2; }
        count=$((count + code))
        echo "slowed by $percent %, run $run of $runs: exit code $code" >&2
        echo "$output" | grep -E ' speed |^Disturbed' >&2 || true
    done
    echo "$count"
}

found=$(flagged 5 "$slowed_runs" "$@")
alarms=$(flagged 0 "$unchanged_runs" "$@")
echo "flagged: $found of $slowed_runs runs slowed by 5 %, $alarms of $unchanged_runs unchanged runs"
[ $((10 * found)) -ge $((9 * slowed_runs)) ] && [ $((20 * alarms)) -le "$unchanged_runs" ]
