#!/bin/sh
# The first process of a guest whose kernel has tunnels (user-mode Linux). DIR is the lab's directory of the server, its files the host's:
#   tarpon=new    is prepared when the test says so, and taken back
#   tarpon=again  boots as it was left prepared
# The test and the guest tell each other how far they are by files.
DIR=@dir@
BINARY=@binary@
export PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin MODPROBE_OPTIONS="-d /run/kernel"
exec >>"$DIR/guest.log" 2>&1
mount -t proc none /proc
mount -t sysfs none /sys
mount -t tmpfs none /run
mkdir -p /run/kernel/lib
ln -s /usr/lib/uml/modules /run/kernel/lib/modules
# What this kernel would load by itself, were its modules where it looks.
for module in ipv6 veth sch_ingress act_mirred cls_matchall cls_u32; do modprobe $module; done
ip link set lo up
ip link set vec0 name eth0
# The harder case: strict filtering everywhere, and a kernel that talks about its addresses.
sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.all.arp_notify=1 net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0

network() {
    ip link set eth0 addrgenmode none
    ip link set eth0 up
    ip addr add 10.7.0.3/24 dev eth0
    ip -6 addr add fd07::3/64 dev eth0 nodad
    ip -6 addr add fe80::3/64 dev eth0 nodad
    ip route add default via 10.7.0.1
    ip -6 route add default via fd07::1
}
reached() { : >"$DIR/at-$1"; }
await() {
    tries=0
    until [ -e "$DIR/go-$1" ]; do
        tries=$((tries + 1))
        [ $tries -lt 1800 ] || finish
        sleep 0.1
    done
}
dump() {
    ip -o addr | sed 's/valid_lft.*//'
    ip -o link show tunl0 2>/dev/null
    sysctl -a -r '^net.ipv4.conf.(all|eth0)' 2>/dev/null
    find /etc /var/lib/tarpon -type f -exec md5sum {} + 2>/dev/null | sort
}
finish() {
    reached end
    busybox poweroff -f
}

case $(cat /proc/cmdline) in
*tarpon=new*)
    network
    nginx -c "$DIR/guest-nginx.conf"
    dump >"$DIR/before"
    reached unprepared
    await apply
    $BINARY apply --method tunnel --vip @vip@ --vip @vip6@ --port 80 --interface eth0 && reached applied-well
    $BINARY check >"$DIR/check" && reached checked-well
    reached applied
    await undo
    $BINARY undo && reached undone-well
    dump >"$DIR/after"
    $BINARY apply --method tunnel --vip @vip@ --vip @vip6@ --port 80 --interface eth0
    ;;
*)
    for file in /etc/sysctl.d/*.conf; do sysctl -q -e -p "$file"; done
    sed -n 's/^ExecStart=//p' /etc/systemd/system/multi-user.target.wants/tarpon-realserver-tunnel.service >/run/start
    while read -r line; do $line || echo "failed: $line"; done </run/start
    network
    nginx -c "$DIR/guest-nginx.conf"
    $BINARY check >"$DIR/check-again" && reached checked-well-again
    reached booted
    await off
    ;;
esac
finish
