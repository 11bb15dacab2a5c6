#!/bin/sh
# The second command of the README: installs what is missing, builds, and passes the tests. At the end it says what was
# skipped and why, and of each test that failed once more why, and how it is run alone.
set -eu
cd "$(dirname "$0")/.."
sh ci/install.sh
sh ci/build.sh release
code=0
# One more than there are processors: some tests wait, for disks and for what is meant to take too long.
ctest --test-dir "${ADAMOE_BUILD:-build}/release" --output-on-failure -j "$(($(nproc) + 1))" || code=$?
sh ci/show_tests.sh "${ADAMOE_BUILD:-build}/release"
exit "$code"
