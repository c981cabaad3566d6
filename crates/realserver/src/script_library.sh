# shellcheck disable=SC2034,SC2317,SC2329
# POSIX sh. The functions below are the same in apply.sh, check.sh and undo.sh; each uses its part of them.
set -u
LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
RES_OPTIONS='timeout:1 attempts:1'
export LC_ALL PATH RES_OPTIONS
state=${TARPON_STATE:-/var/lib/tarpon/realserver-script}
journal=$state/journal
changed=0
rules_changed=0
failed=0
first_line=0
arp_in=
arp_out=

die() {
    echo "$0: $*" >&2
    exit 2
}

# A change failed: take back what this run did.
fail() {
    echo "$0: $*; taking back what this run did" >&2
    roll_back "$first_line"
    exit 1
}

record() {
    echo "$*" >>"$journal" || die "cannot write $journal"
}

did() {
    echo "changed: $*"
    changed=1
}

need_root() {
    [ "$(id -u)" = 0 ] || die "needs root; run it with sudo. Nothing was changed"
}

need_tool() {
    command -v "$1" >/dev/null 2>&1 || die "$1 is not installed; $2. Nothing was changed"
}

need_interface() {
    [ "$1" = all ] || [ -d "/proc/sys/net/ipv4/conf/$1" ] || die "no interface $1 here. Nothing was changed"
}

# vip_only_on VIP NET DEVICE: the VIP may be on DEVICE as NET (empty: nowhere).
vip_only_on() {
    ip -o addr show | while read -r _ device _ net _; do
        case $net in
            "$1" | "$1"/*) [ "$device" = "$3" ] && { [ "$net" = "$2" ] || [ "$net" = "$1" ]; } || echo "$net on $device" ;;
        esac
    done | grep . >&2 && die "$1 is already elsewhere (above); take it off there first. Nothing was changed"
    return 0
}

# All rules of a tool as `-A CHAIN ...`, without counters. arptables-save would ask the DNS to spell addresses.
all_rules() {
    if [ "$1" = arptables ] && [ "$arp_in" = INPUT ]; then
        arptables -L -n 2>/dev/null | while read -r word chain_name rest; do
            case $word in
                Chain) in_chain=$chain_name ;;
                -*) echo "-A ${in_chain:-} $word $chain_name $rest" ;;
            esac
        done
    else
        "$1-save" 2>/dev/null | sed -n -e 's/^\[[0-9:]*\] *//' -e '/^-A /p'
    fi
}

# Rules of one chain: saved TOOL CHAIN
saved() { all_rules "$1" | grep -e "^-A $2 "; }

# Rules of one chain that have all the patterns: matching TOOL CHAIN PATTERN...
matching() {
    matching_rules=$(saved "$1" "$2")
    shift 2
    for pattern in "$@"; do
        matching_rules=$(echo "$matching_rules" | grep -Fw -e "$pattern")
    done
    echo "$matching_rules" | grep .
}

# foreign TOOL PATTERN OURS: somebody else's rules about a VIP, when OURS of them are known.
foreign() {
    found=$(all_rules "$1" | grep -Fw -e "$2")
    [ "$(echo "$found" | grep -c .)" -le "$3" ] || {
        echo "$found" >&2
        die "rules about this VIP are already there and not ours (above); remove them or choose another method. Nothing was changed"
    }
}

# What this arptables calls its chains: arptables_jf says IN and OUT.
arp_chains() {
    arp_in=INPUT
    arp_out=OUTPUT
    case $(arptables -V 2>/dev/null) in
        *nf_tables*) ;;
        *) if arptables -L -n 2>/dev/null | grep -q '^Chain IN '; then arp_in=IN arp_out=OUT; fi ;;
    esac
}

systemd() {
    if [ -d /run/systemd/system ]; then systemctl "$@"; else systemctl --root=/ "$@"; fi
}

enabled() {
    for link in /etc/systemd/system/*.wants/"$1" /etc/systemd/system/*.requires/"$1"; do
        [ -L "$link" ] && return 0
    done
    return 1
}

# A program's path; `command -v` names busybox's own without one.
program() {
    echo "$PATH" | tr : '\n' | while read -r directory; do
        if [ -x "$directory/$1" ]; then
            echo "$directory/$1"
            break
        fi
    done | grep . || echo "/usr/sbin/$1"
}

# Programs' paths into a text.
fill() {
    fill_script=$state/fill
    : >"$fill_script"
    for name in ip sysctl arptables iptables ip6tables nft modprobe; do
        echo "s|@$name@|$(program "$name")|g" >>"$fill_script"
    done
    echo "s|@IN@|$arp_in|g" >>"$fill_script"
    echo "s|@OUT@|$arp_out|g" >>"$fill_script"
    sed -f "$fill_script"
    rm -f "$fill_script"
}

begin() {
    need_root
    if [ ! -d "$state" ]; then
        parent=$(dirname "$state")
        new_parent=
        [ -d "$parent" ] || new_parent=$parent
        mkdir -p "$state" || die "cannot make $state"
        chmod 700 "$state"
        : >"$journal"
        [ -z "$new_parent" ] || : >"$state/parent"
    fi
    first_line=$(wc -l <"$journal")
}

make_parents() {
    case $1 in
        */*) ;;
        *) return 0 ;;
    esac
    parent=${1%/*}
    [ -z "$parent" ] || [ -d "$parent" ] && return 0
    # A subshell: this function calls itself, and POSIX sh has no local variables.
    (make_parents "$parent") || return 1
    mkdir "$parent" || return 1
    record undo_directory "$parent"
}

# Keep a file as it was: keep PATH. The number is in $kept.
keep() {
    kept=$(($(wc -l <"$journal") + 1))
    had=none
    if [ -e "$1" ]; then
        had=had
        cp -p "$1" "$state/$kept.before" || return 1
    fi
    record undo_file "$kept" "$1" "$had"
}

# --- the changes: each does nothing where it is in force already ---------------------------------

sysctl_set() { [ "$(cat "/proc/sys/$1" 2>/dev/null)" = "$2" ]; }
do_sysctl() {
    sysctl_set "$1" "$2" && return 0
    before=$(cat "/proc/sys/$1") || fail "cannot read /proc/sys/$1"
    record undo_sysctl "$1" "$before"
    echo "$2" >"/proc/sys/$1" || fail "cannot write /proc/sys/$1"
    did "echo $2 > /proc/sys/$1"
}
undo_sysctl() { [ ! -e "/proc/sys/$1" ] || echo "$2" >"/proc/sys/$1"; }

# address_there NET DEVICE
address_there() {
    ip -o addr show dev "$2" 2>/dev/null | while read -r _ _ _ net _; do
        if [ "$net" = "$1" ] || [ "$net" = "${1%/*}" ]; then echo yes; fi
    done | grep -q yes
}
do_address() {
    address_there "$1" "$2" && return 0
    net=$1 device=$2
    shift 2
    ip addr add "$net" dev "$device" "$@" || fail "ip addr add $net dev $device failed"
    record undo_address "$net" "$device"
    did "ip addr add $net dev $device $*"
}
undo_address() { if address_there "$1" "$2"; then ip addr del "$1" dev "$2"; fi; }

do_table() {
    command -v nft >/dev/null 2>&1 || return 0
    nft list tables 2>/dev/null | grep -q -x "table $1 $2" || {
        grep -q -x "undo_table $1 $2" "$journal" || record undo_table "$1" "$2"
    }
}
undo_table() {
    left=$(nft list table "$1" "$2" 2>/dev/null) || return 0
    # Nothing in it but chains that accept.
    if echo "$left" | grep -v -e '^#' -e '^table ' -e '^[[:space:]]*chain [A-Z]* {$' -e 'policy accept;$' -e '^[[:space:]]*}$' | grep -q .; then return 0; fi
    nft delete table "$1" "$2"
}

# do_rule TOOL CHAIN PATTERN... -- RULE...; patterns find it again in what the tool saves.
rule_there() {
    tool=$1 chain=$2
    shift 2
    patterns=
    rule_found=$(saved "$tool" "$chain")
    while [ "$1" != -- ]; do
        rule_found=$(echo "$rule_found" | grep -Fw -e "$1")
        shift
    done
    [ -n "$rule_found" ]
}
change_rule() {
    verb=$1 tool=$2 chain=$3
    shift 3
    while [ "$1" != -- ]; do shift; done
    shift
    if [ "$tool" = arptables ]; then arptables "$verb" "$chain" "$@"; else "$tool" -t nat "$verb" "$chain" "$@"; fi
}
do_rule() {
    rule_there "$@" && return 0
    change_rule -A "$@" || fail "adding a rule failed: $*"
    line=undo_rule
    for word in "$@"; do line="$line '$word'"; done
    record "$line"
    rules_changed=1
    did "$1 -A $2 ... ($3)"
}
undo_rule() {
    while rule_there "$@"; do change_rule -D "$@" || return 1; done
}

# do_firewalld FAMILY RULE...
firewalld_there() { firewall-cmd --permanent --direct --query-rule "$@" >/dev/null 2>&1 && firewall-cmd --direct --query-rule "$@" >/dev/null 2>&1; }
do_firewalld() {
    firewalld_there "$@" && return 0
    grep -q 'undo_firewalld_files' "$journal" || {
        keep /etc/firewalld/direct.xml
        keep /etc/firewalld/direct.xml.old
        record undo_firewalld_files
    }
    firewall-cmd --permanent --direct --add-rule "$@" || fail "firewall-cmd failed"
    record undo_firewalld "$@"
    rules_changed=1
    did "firewall-cmd --permanent --direct --add-rule $*"
}
firewalld_reload() {
    [ "$rules_changed" = 1 ] || return 0
    firewall-cmd --reload || fail "firewall-cmd --reload failed"
    # firewalld rewrites its files by itself: an empty mark, for undo not to expect them as they are now.
    sed -n 's|^undo_file \([0-9]*\) /etc/firewalld/.*|\1|p' "$journal" | while read -r number; do : >"$state/$number.after"; done
}
undo_firewalld() { firewall-cmd --permanent --direct --remove-rule "$@"; }
# Backwards this runs after the rules are out; the files themselves come back next.
undo_firewalld_files() { firewall-cmd --reload; }

# do_nft FAMILY RULES <text
nft_there() { [ "$(nft list table "$1" tarpon_realserver 2>/dev/null | grep -c ' redirect$')" = "$2" ]; }
do_nft() {
    cat >"$state/nft"
    same=1
    grep ' redirect$' "$state/nft" >"$state/nft.rules"
    while read -r rule; do
        nft list table "$1" tarpon_realserver 2>/dev/null | grep -qF "$rule" || same=0
    done <"$state/nft.rules"
    if [ "$same" = 0 ] || ! nft_there "$1" "$(wc -l <"$state/nft.rules" | tr -d ' ')"; then
        nft -f "$state/nft" || fail "nft -f failed"
        record undo_nft "$1"
        did "nft -f: table $1 tarpon_realserver"
    fi
    rm -f "$state/nft" "$state/nft.rules"
}
undo_nft() { nft list table "$1" tarpon_realserver >/dev/null 2>&1 || return 0; nft delete table "$1" tarpon_realserver; }

# do_file PATH MODE <text
do_file() {
    fill >"$state/new" || fail "cannot write $state/new"
    if [ -f "$1" ] && cmp -s "$1" "$state/new"; then rm -f "$state/new"; return 0; fi
    make_parents "$1" || fail "cannot make the directory of $1"
    keep "$1" || fail "cannot keep $1"
    { cat "$state/new" >"$1" && chmod "$2" "$1"; } || fail "cannot write $1"
    cp "$1" "$state/$kept.after"
    rm -f "$state/new"
    did "$1"
}
# do_append PATH MODE <lines
do_append() {
    cat >"$state/new"
    if [ -f "$1" ] && ! grep -v -x -F -f "$1" "$state/new" | grep -q .; then rm -f "$state/new"; return 0; fi
    make_parents "$1" || fail "cannot make the directory of $1"
    keep "$1" || fail "cannot keep $1"
    cat "$state/new" >>"$1" || fail "cannot write $1"
    [ "$had" = had ] || chmod "$2" "$1"
    cp "$1" "$state/$kept.after"
    rm -f "$state/new"
    did "$1"
}
# do_save PATH STDOUT SED COMMAND...; SED puts addresses back where arptables-save wrote names.
do_save() {
    save_path=$1 save_stdout=$2 save_sed=$3
    shift 3
    [ "$rules_changed" = 0 ] && [ -f "$save_path" ] && return 0
    make_parents "$save_path" || fail "cannot make the directory of $save_path"
    if grep -q "^undo_file [0-9]* $save_path " "$journal"; then
        kept=$(sed -n "s|^undo_file \([0-9]*\) $save_path .*|\1|p" "$journal")
    else
        keep "$save_path" || fail "cannot keep $save_path"
    fi
    if [ "$save_stdout" = 1 ]; then
        "$@" >"$state/new" || fail "$* failed"
        sed -e "$save_sed" "$state/new" >"$save_path" || fail "cannot write $save_path"
        rm -f "$state/new"
    else
        "$@" || fail "$* failed"
    fi
    cp "$save_path" "$state/$kept.after"
    did "$* > $save_path"
}
undo_file() {
    if [ "$3" = had ]; then cp -p "$state/$1.before" "$2"; else rm -f "$2"; fi
    case $2 in /etc/systemd/system/*) [ ! -d /run/systemd/system ] || systemctl daemon-reload ;; esac
}
undo_directory() { rmdir "$1" 2>/dev/null || :; }

do_enable() {
    enabled "$1" && return 0
    [ ! -d /run/systemd/system ] || systemctl daemon-reload
    systemd enable "$1" >/dev/null 2>&1 || fail "systemctl enable $1 failed"
    record undo_enable "$1"
    did "systemctl enable $1"
}
undo_enable() { systemd disable "$1" >/dev/null 2>&1; }

do_start() {
    case $1 in
        firewalld.service) firewall-cmd --state >/dev/null 2>&1 && return 0 ;;
        *) systemctl is-active "$1" >/dev/null 2>&1 && return 0 ;;
    esac
    systemctl start "$1" || fail "systemctl start $1 failed"
    record undo_start "$1"
    did "systemctl start $1"
}
undo_start() { systemctl stop "$1"; }

at_boot() {
    for link in /etc/rc[2345].d/S??"$1" /etc/rc.d/rc[2345].d/S??"$1"; do
        [ -e "$link" ] && return 0
    done
    return 1
}
do_chkconfig() {
    at_boot "$1" && return 0
    record undo_chkconfig "$1"
    if command -v chkconfig >/dev/null 2>&1; then
        { chkconfig --add "$1" && chkconfig --level 2345 "$1" on; } || fail "chkconfig $1 failed"
    else
        update-rc.d "$1" defaults || fail "update-rc.d $1 failed"
    fi
    did "chkconfig --level 2345 $1 on"
}
undo_chkconfig() {
    case $1 in
        tarpon-realserver*) if command -v chkconfig >/dev/null 2>&1; then chkconfig --del "$1"; else update-rc.d -f "$1" remove; fi ;;
        *) chkconfig --level 2345 "$1" off ;;
    esac
}

do_module() {
    [ -d "/proc/sys/net/ipv4/conf/$2" ] && return 0
    { modprobe "$1" && [ -d "/proc/sys/net/ipv4/conf/$2" ]; } || fail "modprobe $1 gave no $2: this kernel cannot decapsulate here"
    record undo_module "$1"
    did "modprobe $1"
}
undo_module() { modprobe -r "$1"; }

is_up() { ip -o link show dev "$1" 2>/dev/null | grep -q '[<,]UP[,>]'; }
do_up() {
    is_up "$1" && return 0
    ip link set "$1" up || fail "ip link set $1 up failed"
    record undo_up "$1"
    did "ip link set $1 up"
}
undo_up() { ip link set "$1" down; }

# do_route FAMILY GATEWAY DEVICE
route_there() { [ "$(ip "$1" route show default | wc -l | tr -d ' ')" = 1 ] && ip "$1" route show default | grep -qF "via $2 dev $3"; }
do_route() {
    route_there "$@" && return 0
    ip "$1" route show default >"$state/routes$1"
    record undo_route "$1"
    while ip "$1" route del default 2>/dev/null; do :; done
    ip "$1" route replace default via "$2" dev "$3" || fail "ip route replace default via $2 failed"
    did "ip $1 route replace default via $2 dev $3"
}
undo_route() {
    while ip "$1" route del default 2>/dev/null; do :; done
    while read -r route; do
        # shellcheck disable=SC2086 # a route is many words
        ip "$1" route append ${route%% linkdown*}
    done <"$state/routes$1"
}

# --- taking back ----------------------------------------------------------------------------------

# Undo the journal's lines after line $1, the last first.
roll_back() {
    [ -f "$journal" ] || return 0
    sed -n "$(($1 + 1)),\$p" "$journal" | sed -n '1!G;h;$p' >"$state/backwards"
    while read -r undo_line <&3; do
        eval "$undo_line" </dev/null || failed=1
    done 3<"$state/backwards"
    rm -f "$state/backwards"
    head -n "$1" "$journal" >"$state/journal.new" && mv "$state/journal.new" "$journal"
    if [ "$1" = 0 ] && [ "$failed" = 0 ]; then
        keep_parent=1
        [ ! -e "$state/parent" ] || keep_parent=0
        rm -f "$state"/*.before "$state"/*.after "$state"/routes* "$journal" "$state/parent" "$state/new"
        rmdir "$state"
        [ "$keep_parent" = 1 ] || rmdir "$(dirname "$state")" 2>/dev/null || :
    fi
}

# --- looking --------------------------------------------------------------------------------------

look() {
    what=$1
    shift
    if "$@"; then echo "ok    $what"; else
        echo "FAIL  $what"
        failed=1
    fi
}
file_there() { [ -f "$1" ]; }
silent_about() { ! ip -o addr show | grep -Fw -e "$1" | grep -q .; }
