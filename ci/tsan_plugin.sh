#!/bin/sh
# Looks for data races in the kernels of a plugin: builds the program and the plugin under ThreadSanitizer, and runs the
# tiers bitwise and property of `adamoe check`: teams of 1 to 7 threads that take tasks in turn, and of 4 that take them in
# random order with random delays. It sees races that change no bit today.
#
#     sh ci/tsan_plugin.sh SOURCE.c [COMPILER ARGUMENT ...]
#
# What the compiler needs besides one source follows it: more sources, `-I FOLDER`, `-D NAME`. KERNELS="a b" checks
# these alone; without, all that the plugin brings. Exit code 0: no race, and the cases pass; 1: a race, whose two
# places are printed, or a failed case; 2: the plugin cannot be built.
#
# Needs clang, and half a minute after the first build. Only threads of the team are seen: a library that brings its
# own, such as libgomp, is not built for ThreadSanitizer, and what it does looks like races.
set -eu
[ $# -ge 1 ] || {
    echo "usage: sh ci/tsan_plugin.sh SOURCE.c [COMPILER ARGUMENT ...]" >&2
    exit 2
}
root=$(cd "$(dirname "$0")/.." && pwd)
command -v clang >/dev/null || {
    echo "skipped: ci/tsan_plugin.sh: there is no clang"
    exit 0
}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
clang -std=c17 -O1 -g -fsanitize=thread -fno-omit-frame-pointer -shared -fPIC -I "$root/reference" "$@" \
    -o "$folder/plugin.so" -lm || exit 2

(
    cd "$root"
    cmake --preset tsan
    cmake --build --preset tsan -j "$(nproc)" --target adamoe
) >"$folder/build.log" 2>&1 || {
    cat "$folder/build.log" >&2
    echo "ci/tsan_plugin.sh: the build of preset tsan failed" >&2
    exit 2
}
adamoe=$root/build/tsan/bin/adamoe

# The kernels that `adamoe info` lists with the plugin, and not without.
names() {
    "$adamoe" info "$@" | sed -n 's/^kernel *\([^ :]*\).*/\1/p' | sort
}
if [ -z "${KERNELS:-}" ]; then
    names >"$folder/built-in"
    names --plugin "$folder/plugin.so" >"$folder/all" || exit 2
    KERNELS=$(comm -13 "$folder/built-in" "$folder/all")
fi
options=
for kernel in $KERNELS; do
    options="$options --kernel $kernel"
done

# A race ends the process of its case, and fails it.
# shellcheck disable=SC2086
TSAN_OPTIONS="halt_on_error=1 ${TSAN_OPTIONS:-}" \
    "$adamoe" check --plugin "$folder/plugin.so" $options --tier bitwise --tier property --threads 4 --fail-fast
