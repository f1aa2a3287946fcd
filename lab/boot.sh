# Boot a machine and boot it again when it reboots itself: systemd-nspawn run outside a service ends with
# status 133 instead. Arguments: cgroup, overlay options, root, network namespace, then nspawn's command line.
# Runs in a mount namespace of its own, so that nothing stays mounted when it ends.
set -u
echo $$ >"$1/cgroup.procs" || exit 1
mount -t overlay overlay -o "$2" "$3" || exit 1
net=$4
shift 4
child=
trap '[ -z "$child" ] || kill "$child"' TERM

# A real reboot forgets addresses, rules and filters; a namespace that lives on would keep them.
# Rules are put back as the kernel's own: systemd-networkd removes those of other origin.
forget() {
    nsenter --net="$net" sh -c '
        nft flush ruleset
        ip -o link show type veth | cut -d: -f2 | cut -d@ -f1 | while read -r card; do
            ip addr flush dev "$card"; ip link set "$card" down
        done
        ip rule flush
        ip rule add pref 32766 lookup main protocol kernel
        ip rule add pref 32767 lookup default protocol kernel' 2>/dev/null
}

while :; do
    "$@" &
    child=$!
    wait "$child"
    code=$?
    while kill -0 "$child" 2>/dev/null; do
        wait "$child"
        code=$?
    done
    [ "$code" -eq 133 ] || exit "$code"
    forget
done
