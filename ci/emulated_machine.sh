# What the scripts that emulate a machine share: an initramfs with busybox, programs of a build, what those need, and
# the verdict on what the machine printed. Sourced, not run. The machine's /init prints a line "WHAT: exit CODE" for each
# thing that it tried, and "emulation: done" at its end.
#
# Sets $kernel (Debian's cloud kernel), $work (a folder, removed at the end) and $root (the initramfs).

skip() {
    echo "skipped: $1"
    exit 0
}

# emulation_begin COMMAND...: skips, visibly, where a command, the kernel or busybox is absent.
emulation_begin() {
    for need in "$@" cpio gzip; do
        command -v "$need" >/dev/null 2>&1 || skip "there is no $need"
    done
    kernel=$(ls /boot/vmlinuz-*-cloud-amd64 2>/dev/null | tail -n 1)
    busybox=$(command -v busybox || true)
    [ -n "$kernel" ] && [ -n "$busybox" ] || skip "there is no cloud kernel or no busybox"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    root=$work/root
    mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/tmp"
    cp "$busybox" "$root/bin/busybox"
}

# emulation_programs FILE...: into /bin, with the libraries that they are linked with.
emulation_programs() {
    cp "$@" "$root/bin/"
    for library in $(ldd "$@" | grep -oE '/[^ ]+' | grep -vE ':$' | sort -u); do
        mkdir -p "$root$(dirname "$library")"
        cp -L "$library" "$root$library"
    done
}

# emulation_folders PATH...: where they stand here too, because tests look for their files there.
emulation_folders() {
    for path in "$@"; do
        [ -e "$path" ] || continue
        path=$(cd "$(dirname "$path")" && pwd)/$(basename "$path")
        mkdir -p "$root$(dirname "$path")"
        cp -r "$path" "$root$(dirname "$path")/"
    done
}

# emulation_init: the first lines of /init; the rest comes from standard input.
emulation_init() {
    {
        cat <<'END'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
export PATH=/bin
END
        cat
        cat <<'END'
echo "emulation: done"
/bin/busybox poweroff -f
END
    } >"$root/init"
    chmod +x "$root/init"
}

# emulation_pack FILE: the initramfs.
emulation_pack() {
    (cd "$root" && find . | cpio -o -H newc 2>/dev/null | gzip -1) >"$1"
}

# emulation_verdict FILE: prints what the machine printed; false where it did not finish, or where something failed.
emulation_verdict() {
    tr -d '\r' <"$1"
    grep -q '^emulation: done' "$1" || {
        echo "the emulation did not finish" >&2
        return 1
    }
    ! tr -d '\r' <"$1" | grep -qE ': exit [1-9]'
}
