#!/bin/sh
# Runs a command on several nodes with a slow network between them, on one machine: a network namespace for each node,
# so many microseconds of delay one way and so many Mbit/s each way on every node's link to a switch. `mpirun` works in
# it as it does on a cluster, one rank on a node, over TCP.
#
#     sh ci/emulate_network.sh [-n NODES] [-d DELAY_US] [-b MBIT] [COMMAND...]       (4 nodes, 1000 us, 1000 Mbit/s)
#     sh ci/emulate_network.sh -n 2 mpirun -n 2 hostname
#
# The command runs on the first node; NETWORK_HOSTS holds the addresses, NETWORK_RELAY the process that carries packets.
# First the network is measured: the median round trip of one byte and a bulk transfer, by TCP, between the first two
# nodes. Where it is not what was asked for, to within a quarter, nothing is run: exit code 4.
#
# The delay is tc's netem where the kernel has it, else a program of our own between tun devices (network_relay.c). Needs
# root, ip, nsenter and a C compiler; skipped, visibly, where one is absent. Takes everything down however it ends.
set -eu
nodes=4 delay=1000 mbit=1000
while getopts n:d:b: option; do
    case $option in
    n) nodes=$OPTARG ;;
    d) delay=$OPTARG ;;
    b) mbit=$OPTARG ;;
    *) sed -n 's/^#     //p' "$0" >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
for number in "$nodes" "$delay" "$mbit"; do
    case $number in
    '' | *[!0-9]*) echo "ci/emulate_network.sh: $number: not a whole number" >&2; exit 2 ;;
    ???????*) echo "ci/emulate_network.sh: $number: not below 1,000,000" >&2; exit 2 ;;
    esac
done
if [ "$nodes" -lt 2 ] || [ "$nodes" -gt 60 ] || [ "$mbit" -lt 1 ]; then
    echo "ci/emulate_network.sh: 2 to 60 nodes and at least 1 Mbit/s" >&2
    exit 2
fi
skip() {
    echo "skipped: $1"
    exit 0
}
[ "$(id -u)" -eq 0 ] || skip "network namespaces need root"
for need in ip tc cc unshare; do
    command -v "$need" >/dev/null 2>&1 || skip "there is no $need"
done

source=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
prefix=adamoe$$
last=$((nodes - 1))
each() { # COMMAND...: with the number of each node behind it
    i=0
    while [ $i -le $last ]; do
        "$@" $i
        i=$((i + 1))
    done
}
end_namespace() {
    pids=$(ip netns pids "$prefix-$1" 2>/dev/null || true)
    # shellcheck disable=SC2086
    [ -z "$pids" ] || kill -9 $pids 2>/dev/null || true
    ip netns del "$prefix-$1" 2>/dev/null || true
}
relay=
finish() {
    trap '' HUP INT TERM
    [ -z "$relay" ] || { kill "$relay" 2>/dev/null && wait "$relay" 2>/dev/null; } || true
    each end_namespace
    end_namespace switch
    [ ! -s "$work/relay.txt" ] || cat "$work/relay.txt" >&2
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

cc -std=c17 -O2 "$source/network_relay.c" -o "$work/network_relay"
add_namespace() {
    ip netns add "$prefix-$1"
    ip -n "$prefix-$1" link set lo up
}
on() { # NODE COMMAND...
    node=$1
    shift
    ip netns exec "$prefix-$node" "$@"
}
each add_namespace
address() {
    ip -n "$prefix-$1" address add "10.77.0.$(($1 + 1))/24" dev net0
}

if ip netns exec "$prefix-0" tc qdisc add dev lo root netem delay 1us 2>/dev/null; then
    how=netem
    ip netns exec "$prefix-0" tc qdisc del dev lo root
    add_namespace switch
    ip -n "$prefix-switch" link add bridge type bridge
    ip -n "$prefix-switch" link set bridge up
    connect() {
        ip -n "$prefix-$1" link add net0 type veth peer name "node$1" netns "$prefix-switch"
        ip -n "$prefix-switch" link set "node$1" master bridge up
        address "$1"
        ip -n "$prefix-$1" link set net0 up
        on "$1" tc qdisc add dev net0 root netem delay "${delay}us" rate "${mbit}mbit" limit 10000
        on switch tc qdisc add dev "node$1" root netem rate "${mbit}mbit" limit 10000
    }
    each connect
else
    how="a relay between tun devices (this kernel has no netem)"
    names=
    name() {
        names="$names $prefix-$1"
    }
    each name
    # shellcheck disable=SC2086
    "$work/network_relay" relay "$delay" "$mbit" $names >"$work/ready" 2>"$work/relay.txt" &
    relay=$!
    export NETWORK_RELAY="$relay"
    tries=0
    until grep -q ready "$work/ready" 2>/dev/null; do
        kill -0 "$relay" 2>/dev/null && [ $tries -lt 100 ] || { echo "the relay did not start" >&2; exit 4; }
        tries=$((tries + 1))
        sleep 0.05
    done
    connect() {
        address "$1"
        ip -n "$prefix-$1" link set net0 mtu 9000 up
    }
    each connect
fi

on 1 "$work/network_relay" echo 5999 &
sleep 0.2
on 0 "$work/network_relay" measure 10.77.0.2 5999 >"$work/measured"
kill $! 2>/dev/null || true
trip=$(sed -n 's/^round_trip_us //p' "$work/measured")
bulk=$(sed -n 's/^bulk_mbit //p' "$work/measured")
echo "network: $nodes nodes by $how: round trip $trip us (asked for $((2 * delay))), bulk $bulk Mbit/s (asked for $mbit)"
# A round trip of a machine's own takes some tens of microseconds.
if [ "$trip" -gt $((2 * delay * 5 / 4 + 200)) ] || [ "$trip" -lt $((2 * delay * 3 / 4)) ] ||
    [ "$bulk" -lt $((mbit * 3 / 4)) ] || [ "$bulk" -gt $((mbit * 5 / 4)) ]; then
    echo "network: not what was asked for" >&2
    exit 4
fi
[ $# -gt 0 ] || exit 0

# How mpirun finds and enters the nodes.
cat >"$work/agent" <<END
#!/bin/sh
node=\$((\${1##*.} - 1))
shift
exec ip netns exec "$prefix-\$node" unshare -u sh -c "hostname node\$node; \$*"
END
chmod +x "$work/agent"
host() {
    echo "10.77.0.$(($1 + 1)) slots=1"
}
each host >"$work/hosts"
NETWORK_HOSTS=$(sed 's/ .*//' "$work/hosts" | tr '\n' ',' | sed 's/,$//')
export NETWORK_HOSTS
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_plm_rsh_agent="$work/agent" OMPI_MCA_orte_default_hostfile="$work/hosts" OMPI_MCA_orte_keep_fqdn_hostnames=1
export OMPI_MCA_pml=ob1 OMPI_MCA_btl=tcp,self OMPI_MCA_btl_tcp_if_include=net0 OMPI_MCA_oob_tcp_if_include=net0
# Nodes share the processors of one machine: each rank bound to its first core would be all on one.
export OMPI_MCA_hwloc_base_binding_policy=none
code=0
on 0 unshare -u sh -c 'hostname node0; exec "$@"' sh "$@" || code=$?
exit $code
