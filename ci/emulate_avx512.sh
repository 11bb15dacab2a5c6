#!/bin/sh
# Runs kernels of a build on an emulated processor with AVX-512, for machines that have none: Bochs (which emulates
# AVX-512F, BW, DQ and VL; QEMU does not) boots Debian's cloud kernel with an initramfs that holds the program, the
# tests, and the golden layers. Correctness only: it is some hundred times slower than a processor.
#
#     sh ci/emulate_avx512.sh build/release [layers|packed|onednn|vector|train]...
#
#   layers  the golden layers by every AVX-512 kernel
#   packed  packed_test, its AVX-512 kernels
#   onednn  onednn_test, onednn-bf16
#   vector  norms, softmax, attention and routing of the fast model
#   train   the products of training, their gradients, AdamW
#
# Needs the packages bochs, bochs-term, bochsbios, vgabios, grub-pc-bin, grub-common, xorriso, mtools, busybox-static,
# linux-image-cloud-amd64 and cpio; skipped, visibly, where one is absent. Takes about an hour on an idle core.
set -eu
build=$(cd "${1:-build/release}" && pwd)
source=$(cd "$(dirname "$0")/.." && pwd)
shared=$source/../shared
[ $# -gt 0 ] && shift
parts=${*:-layers packed onednn vector train}

. "$source/ci/emulated_machine.sh"

emulation_begin bochs-bin grub-mkrescue xorriso mformat script
mkdir -p "$work/iso/boot/grub"
# shellcheck disable=SC2046
emulation_programs "$build/bin/adamoe" $(printf "$build/bin/%s " onednn_test packed_test vector_ops_test \
    span_attention_test route_test interleave_test gemm_test backprop_test adamw_test)
emulation_folders "$source/tests/golden/layer" "$shared/oracle"
emulation_init <<END
try() {
    "\$@"
    echo "\$*: exit \$?"
}
adamoe info
for part in $parts; do
    case \$part in
    layers)
        for file in $source/tests/golden/layer/*.safetensors; do
            for kernel in onednn-bf16 avx512-f32 avx512-bf16; do
                try adamoe layer \$file --kernel \$kernel >/tmp/out
                tail -n 1 /tmp/out
            done
        done ;;
    packed) try packed_test '*avx512*' ;;
    onednn) try onednn_test '*onednn-bf16' ;;
    vector) for test in vector_ops_test span_attention_test route_test; do try \$test; done ;;
    train) for test in interleave_test gemm_test backprop_test adamw_test; do try \$test; done ;;
    *) echo "no part is called \$part: exit 2" ;;
    esac
done
END
emulation_pack "$work/iso/boot/initrd.gz"
cp "$kernel" "$work/iso/boot/vmlinuz"
# Bochs reports the compacted and the protection-key state wrongly, upon which Linux would switch AVX off; without
# those two features (XSAVEC 321, XSAVES 323, PKU 515) it does not.
cat >"$work/iso/boot/grub/grub.cfg" <<'END'
set timeout=0
menuentry test {
 linux /boot/vmlinuz console=ttyS0,115200 quiet mitigations=off tsc=reliable lpj=1000000 nosmp panic=-1 clearcpuid=515,321,323
 initrd /boot/initrd.gz
}
END
grub-mkrescue -o "$work/test.iso" "$work/iso" >/dev/null 2>&1
cat >"$work/bochsrc" <<END
display_library: term
cpu: model=corei7_skylake_x, count=1, ips=200000000, reset_on_triple_fault=0, ignore_bad_msrs=1
memory: guest=1024, host=1024
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=$work/test.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$work/serial.txt
clock: sync=none
log: $work/bochs.log
panic: action=fatal
error: action=ignore
info: action=ignore
END
echo c >"$work/continue" # Debian's Bochs has its debugger on, and waits for this
: >"$work/serial.txt"
TERM=xterm timeout "${EMULATION_SECONDS:-7200}" script -qfc "bochs-bin -q -f $work/bochsrc -rc $work/continue" \
    "$work/typescript" >/dev/null 2>&1 </dev/null &
bochs=$!
while kill -0 "$bochs" 2>/dev/null && ! grep -q '^emulation: done' "$work/serial.txt"; do
    sleep 2
done
pkill -9 -P "$bochs" 2>/dev/null || true
pkill -9 -f "$work/bochsrc" 2>/dev/null || true
emulation_verdict "$work/serial.txt"
