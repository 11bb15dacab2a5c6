#!/bin/sh
# Runs the tests of placement on machines with several NUMA nodes, for those who have none: QEMU emulates them in software
# and boots Debian's cloud kernel with an initramfs that holds the program and the tests. Correctness only: it is some
# twenty times slower than a processor.
#
#     sh ci/emulate_numa.sh build/release [two|four|old]...
#
#   two   two nodes of two processors: every policy places every page where it says (move_pages), threads are on the
#         processors of their nodes, results have the same bits as on one node, the AVX2 kernels pass `adamoe check`
#   four  four nodes of one processor, with distances that differ
#   old   a processor that has nothing beyond SSE3: the reference, and what else runs there, and no crash
#
# Needs the packages qemu-system-x86, busybox-static, linux-image-cloud-amd64 and cpio; skipped, visibly, where one is
# absent. Takes about ten minutes on two idle cores.
set -eu
build=$(cd "${1:-build/release}" && pwd)
source=$(cd "$(dirname "$0")/.." && pwd)
. "$source/ci/emulated_machine.sh"
[ $# -gt 0 ] && shift
machines=${*:-two four old}

emulation_begin qemu-system-x86_64
# shellcheck disable=SC2046
emulation_programs "$build/bin/adamoe" $(printf "$build/bin/%s " topology_test placement_test team_test \
    placed_memory_test program_numa_test)
emulation_folders "$source/tests/golden/layer"
# The test runs the program where the build put it.
mkdir -p "$root$build/bin"
ln -s /bin/adamoe "$root$build/bin/adamoe"

emulation_init <<'END'
machine=$(sed -n 's/.*machine=\([a-z]*\).*/\1/p' /proc/cmdline)
# QEMU's masked loads (7.2) read the whole vector, so a tail that ends at an inaccessible page is a fault there.
export ADAMOE_CHECK_FLAGS=--readable-guards
try() { # WHAT COMMAND...
    what=$1
    shift
    "$@" >/tmp/out 2>&1
    code=$?
    grep -vE '^\[ RUN|^\[       OK|^\[====' /tmp/out
    echo "$machine: $what: exit $code"
}
says() { # TEXT: of info
    grep -qF "$1" /tmp/info
    echo "$machine: info says \"$1\": exit $?"
}
runs() { # KERNEL: what check says of it, where it can run
    if grep -A1 "^kernel    $1[ :]" /tmp/info | grep -q "runs here"; then
        # shellcheck disable=SC2086
        try "check --kernel $1" adamoe check --kernel "$1" --timeout 900 $ADAMOE_CHECK_FLAGS
    else
        echo "$machine: check --kernel $1: cannot run here, as info says"
    fi
}
try info adamoe info
cp /tmp/out /tmp/info
case $machine in
two)
    says "NUMA node 0: 2 processors, memory of the machine's node 0:"
    says "          1: 2 processors, memory of the machine's node 1:"
    says "distances 21 10" ;;
four)
    says "          3: 1 processor, memory of the machine's node 3:"
    says "distances 40 20 30 10" ;;
esac
if [ "$machine" = old ]; then
    for kernel in $(sed -n 's/^kernel    \([a-z0-9-]*\).*/\1/p' /tmp/info); do
        runs "$kernel"
    done
else
    for test in topology_test placement_test team_test placed_memory_test program_numa_test; do
        try "$test" "$test"
    done
fi
[ "$machine" = two ] && for kernel in avx2-f32 avx2-bf16 avx2-int8; do runs "$kernel"; done
END
emulation_pack "$work/initrd.gz"

node() { # NUMBER CPUS: a node with its memory
    echo "-object memory-backend-ram,id=memory$1,size=512M -numa node,nodeid=$1,cpus=$2,memdev=memory$1"
}
distance() { # FROM TO VALUE
    echo "-numa dist,src=$1,dst=$2,val=$3"
}
boot() { # MACHINE CPU-MODEL MEMORY NODE-OPTIONS...
    machine=$1 model=$2 memory=$3
    shift 3
    timeout "${EMULATION_SECONDS:-3000}" qemu-system-x86_64 -accel tcg,thread=multi -cpu "$model" -smp 4 -m "$memory" \
        "$@" -kernel "$kernel" -initrd "$work/initrd.gz" -nographic -no-reboot \
        -append "console=ttyS0 quiet panic=-1 mitigations=off machine=$machine" \
        >"$work/$machine.txt" 2>&1 </dev/null || true
    emulation_verdict "$work/$machine.txt"
}

failed=0
for machine in $machines; do
    case $machine in
    # shellcheck disable=SC2046
    two) boot two max 1G $(node 0 0-1) $(node 1 2-3) $(distance 0 1 21) || failed=1 ;;
    # shellcheck disable=SC2046
    four) boot four max 2G $(node 0 0) $(node 1 1) $(node 2 2) $(node 3 3) $(distance 0 1 20) $(distance 0 2 30) \
        $(distance 0 3 40) $(distance 1 2 20) $(distance 1 3 20) $(distance 2 3 30) || failed=1 ;;
    # shellcheck disable=SC2046
    old) boot old qemu64 1G $(node 0 0-1) $(node 1 2-3) $(distance 0 1 21) || failed=1 ;;
    *) echo "ci/emulate_numa.sh: $machine: not one of two, four, old" >&2; exit 2 ;;
    esac
done
exit $failed
