#!/bin/sh
# Makes the baselines anew, after a change that is meant to change them: more or fewer checks, other work, another
# model that ships. Look at the difference before it is committed: sh ci/renew_baselines.sh && git diff ci/baselines
set -eu
cd "$(dirname "$0")/.."
sh ci/build.sh release
mkdir -p ci/baselines
build/release/bin/adamoe gate --write-baseline ci/baselines/gate.json
