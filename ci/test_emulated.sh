#!/bin/sh
# Runs the AVX-512 and AMX kernels on any machine with AVX2: a build that emulates the instructions in software (SIMDe,
# and kernels/amx/software_tiles.h), the tests of everything that has such a form, and `adamoe check` of the kernels.
# Shows that the kernels compute what they should, at guarded memory; not that a compiler's instructions do the same, for
# which there are ci/emulate_avx512.sh and, for the tiles, amx_tiles_test where the processor has them; and nothing about
# speed.
#
#     sh ci/test_emulated.sh [PRESET]      default: emulated; emulated-asan runs under the sanitizers, in some minutes
#
# Needs the package libsimde-dev; skipped, visibly, where it is absent and cannot be installed.
set -eu
cd "$(dirname "$0")/.."
preset=${1:-emulated}
grep -qw avx2 /proc/cpuinfo 2>/dev/null || {
    echo "skipped: ci/test_emulated.sh: the processor has no AVX2"
    exit 0
}
sh ci/install.sh libsimde-dev || {
    echo "skipped: ci/test_emulated.sh: there is no libsimde-dev"
    exit 0
}

tests="avx512 amx_tiles peak vector_ops span_attention route packed interleave gemm experts backprop adamw lora lora_network forward forward_score forward_continue sharded"
targets=adamoe
for test in $tests; do
    targets="$targets ${test}_test"
done
cmake --preset "$preset" >/dev/null
# shellcheck disable=SC2086
cmake --build --preset "$preset" -j "$(nproc)" --target $targets >/dev/null
ctest --preset "$preset" -j "$(nproc)" -R "^($(echo "$tests" | tr ' ' '|'))_test\$"
kernels="avx512-f32 avx512-bf16 avx512-dpbf16 avx512-int8 amx-bf16 amx-int8 amx-split"
# shellcheck disable=SC2046
"build/$preset/bin/adamoe" check $(printf -- '--kernel %s ' $kernels)
# It is amx-split with more products: what is left out here are promises that hold by the code that both share.
for tier in exact bound; do
    "build/$preset/bin/adamoe" check --kernel amx-split-f32 --case "$tier/"
done
for layer in tests/golden/layer/*.safetensors ../shared/oracle/*.safetensors; do
    [ -e "$layer" ] || continue # ../shared may be absent
    for kernel in $kernels amx-split-f32; do
        "build/$preset/bin/adamoe" layer "$layer" --kernel "$kernel" >/dev/null || {
            echo "ci/test_emulated.sh: $layer by $kernel is wrong" >&2
            exit 1
        }
    done
done
