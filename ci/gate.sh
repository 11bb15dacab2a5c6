#!/bin/sh
# The regression gate of a change: sh ci/gate.sh BASE [OPTION...] builds the commit BASE (a branch, a tag, a hash) beside
# this tree's own release build, and runs `adamoe gate` of this one against that one and against the stored baseline.
# Options go to `adamoe gate`, as --markdown comment.md. Exit code 0: no regression, 1: a regression, 2 and above: an error.
set -eu
cd "$(dirname "$0")/.."
base=${1:?"usage: sh ci/gate.sh BASE [OPTION of adamoe gate...]"}
shift
commit=$(git rev-parse --verify --quiet "$base^{commit}") || {
    echo "ci/gate.sh: $base: no such commit; a shallow clone may lack it" >&2
    exit 2
}
unset ADAMOE_BUILD # both builds stand where the worktree does
tree=build/gate-base
remove_tree() {
    git worktree remove --force "$tree" 2>/dev/null || rm -rf "$tree"
    git worktree prune
}
begin=$(date +%s)
say() {
    echo "ci/gate.sh: after $(($(date +%s) - begin)) s: $*"
}
remove_tree
# Signals too: a shell that is killed by one runs nothing on EXIT otherwise.
trap remove_tree EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
say "checking out $base ($commit) into $tree, which is removed at the end"
git worktree add --quiet --detach "$tree" "$commit"
say "building this tree"
sh ci/build.sh release
say "building $base"
sh "$tree/ci/build.sh" release
say "comparing: checks, work, accuracy, then rounds of both builds in turn, two to four minutes"
code=0
build/release/bin/adamoe gate --against "$tree/build/release" --baseline ci/baselines/gate.json "$@" || code=$?
say "done, exit code $code"
exit "$code"
