#!/bin/sh
# Installs what is missing of the packages that the project builds with, and of those given as arguments, on Debian 12
# and its kin; `mpi` stands for what runs over ranks need. Does nothing where all are there, so that it needs neither a
# network nor root then.
set -eu

for argument; do
    shift
    case $argument in
    mpi) set -- "$@" openmpi-bin libopenmpi-dev ;;
    *) set -- "$@" "$argument" ;;
    esac
done

packages="cmake gcc g++ make pkg-config libdnnl-dev libbenchmark-dev libcmocka-dev libnuma-dev libjansson-dev
libpcre2-dev $*"

missing=""
for package in $packages; do
    status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
    [ "$status" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        {
            echo "ci/install.sh: packages are missing, and installing them needs root. An administrator installs them by:"
            echo "    apt-get update && apt-get install -y --no-install-recommends$missing"
        } >&2
        exit 4
    fi
    as_root=sudo
fi
$as_root apt-get update
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
