#!/bin/sh
# The README's two commands on a system with nothing installed: makes a minimal Debian with debootstrap, copies this
# checkout into it without .git and build/, to a path with blanks and a letter beyond ASCII, and runs there, each with
# its time,
#
#     ci/run.sh and ci/test.sh as root, which install what is missing,
#     adamoe check, and that of oneDNN's kernels with less than the processor has (ONEDNN_MAX_CPU_ISA),
#     ci/test.sh as an ordinary user without a network, who cannot write into the checkout and builds elsewhere.
#
#     sh ci/bare.sh bookworm|trixie [MIRROR]        MIRROR: http://deb.debian.org/debian, or $ADAMOE_MIRROR
#
# Needs root, debootstrap, util-linux, 3 GB below $TMPDIR, and about a quarter of an hour on two cores. The system is
# removed at the end. Exit code: that of the first command that fails; 4 where something that it needs is missing.
set -eu
system=${1:?"usage: ci/bare.sh bookworm|trixie [MIRROR]"}
mirror=${2:-${ADAMOE_MIRROR:-http://deb.debian.org/debian}}
[ "$(id -u)" -eq 0 ] || { echo "ci/bare.sh: needs root, to make a system and to change into it" >&2; exit 4; }
for need in debootstrap unshare chroot tar; do
    command -v "$need" >/dev/null 2>&1 || { echo "ci/bare.sh: there is no $need; apt-get install debootstrap util-linux" >&2; exit 4; }
done
# In a mount namespace of its own: nothing stays mounted, whatever ends this script.
[ -n "${ADAMOE_BARE_INSIDE:-}" ] || exec env ADAMOE_BARE_INSIDE=1 unshare --mount --propagation private sh "$0" "$@"

cd "$(dirname "$0")/.."
root=$(mktemp -d)
chmod 755 "$root" # an ordinary user has it for "/"
checkout="/home/tester/Mes projets ü/adamoe"
mounted=""
clean() {
    for folder in $mounted; do
        umount "$root/$folder" || return # and leave the files, rather than remove what is not ours
    done
    rm -rf --one-file-system "$root"
}
trap clean EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# timed WHAT COMMAND...: runs it, and says how long it took and how it ended.
timed() {
    what=$1
    shift
    begin=$(date +%s) code=0
    "$@" || code=$?
    seconds=$(($(date +%s) - begin))
    echo "ci/bare.sh: $system: $what: $((seconds / 60)) min $((seconds % 60)) s, exit code $code"
    [ "$code" -eq 0 ] || exit "$code"
}

make_system() {
    debootstrap --variant=minbase "$system" "$root" "$mirror" >"$root.log" 2>&1 || {
        tail -n 20 "$root.log" >&2
        return 4
    }
}

inside() { # COMMAND...: as root, in the copied checkout
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 ${http_proxy:+http_proxy="$http_proxy"} \
        sh -c "cd '$checkout' && $*"
}

as_user() { # COMMAND...: as the ordinary user, in a network namespace without a way out
    unshare --net chroot --userspec=tester:tester "$root" \
        env -i PATH=/usr/bin:/bin HOME=/home/tester LANG=C.UTF-8 ADAMOE_BUILD="/home/tester/autre dossier" \
        sh -c "cd '$checkout' && $*"
}

timed "debootstrap" make_system
rm -f "$root.log"
for folder in proc sys dev dev/shm; do
    mount --bind "/$folder" "$root/$folder" && mounted="$folder $mounted"
done
cp /etc/resolv.conf "$root/etc/resolv.conf"
chroot "$root" useradd --create-home tester
mkdir -p "$root$checkout"
tar --exclude=./build --exclude=./.git -cf - . | tar -xf - -C "$root$checkout"
timed "ci/run.sh, with nothing installed" inside sh ci/run.sh
timed "ci/test.sh" inside sh ci/test.sh
timed "adamoe check" inside build/release/bin/adamoe check
lesser="SSE41"
grep -qw avx512f /proc/cpuinfo && lesser="$lesser AVX2"
grep -qw avx512_bf16 /proc/cpuinfo && lesser="$lesser AVX512_CORE"
grep -qw amx_tile /proc/cpuinfo && lesser="$lesser AVX512_CORE_BF16"
for isa in $lesser; do
    kernels="--kernel onednn-f32"
    case $isa in AVX512*) kernels="$kernels --kernel onednn-bf16" ;; esac
    timed "adamoe check, oneDNN at $isa" inside "ONEDNN_MAX_CPU_ISA=$isa build/release/bin/adamoe check $kernels"
done
rm -rf "${root:?}$checkout/build"
timed "ci/test.sh as an ordinary user without a network, the checkout read-only" as_user sh ci/test.sh
