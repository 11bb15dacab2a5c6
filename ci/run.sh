#!/bin/sh
# The first command of the README: installs what is missing, builds, and runs the main job on what ships with the
# project.
set -eu
cd "$(dirname "$0")/.."
sh ci/install.sh
sh ci/build.sh release
"${ADAMOE_BUILD:-build}/release/bin/adamoe" reproduce
