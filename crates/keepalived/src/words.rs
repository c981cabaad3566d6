//! Blocks other than virtual servers: what is made of global_defs, and the names of what is not mapped yet.

use crate::{Context, Import, Timeouts, note::Notes, tell, tree::Statement, vrrp};
use config::{Sync, SyncRole};

/// How daemons of keepalived's run, of which there is one here.
const PROCESS: &[&str] = &[
    "bfd_cpu_affinity",
    "bfd_no_swap",
    "bfd_priority",
    "bfd_process_name",
    "bfd_rlimit_rttime",
    "bfd_rt_priority",
    "checker_cpu_affinity",
    "checker_log_all_failures",
    "checker_no_swap",
    "checker_priority",
    "checker_process_name",
    "checker_rlimit_rttime",
    "checker_rt_priority",
    "child_wait_time",
    "config_save_dir",
    "data_use_instance",
    "dbus_service_name",
    "default_interface",
    "dynamic_interfaces",
    "enable_script_security",
    "fifo_write_vrrp_states_on_reload",
    "include_check",
    "instance",
    "linkbeat_use_polling",
    "log_unknown_vrids",
    "lvs_netlink_cmd_rcv_bufs",
    "lvs_netlink_cmd_rcv_bufs_force",
    "lvs_netlink_monitor_rcv_bufs",
    "lvs_netlink_monitor_rcv_bufs_force",
    "max_auto_priority",
    "min_auto_priority_delay",
    "namespace_with_ipsets",
    "net_namespace",
    "net_namespace_ipvs",
    "process_monitor_rcv_bufs",
    "process_monitor_rcv_bufs_force",
    "json_version",
    "process_name",
    "process_names",
    "random_seed",
    "reload_check_config",
    "reload_file",
    "reload_repeat",
    "reload_time_file",
    "router_id",
    "tmp_config_directory",
    "umask",
    "use_pid_dir",
    "use_symlink_paths",
    "lvs_flush",
    "lvs_flush_on_stop",
    "lvs_id",
];

/// SNMP and D-Bus.
const TELLING: &[&str] = &[
    "enable_dbus",
    "enable_snmp_checker",
    "enable_snmp_rfc",
    "enable_snmp_rfcv2",
    "enable_snmp_rfcv3",
    "enable_snmp_vrrp",
    "enable_snmp_keepalived",
    "enable_traps",
    "snmp_socket",
];

pub(crate) fn global(
    statement: &Statement,
    context: &mut Context,
    import: &mut Import,
    notes: &mut Notes,
) {
    notes.exact(statement);
    for inner in statement.inner() {
        let word = inner.keyword();
        match word {
            "lvs_timeouts" => lvs_timeouts(inner, &mut import.timeouts, notes),
            "script_user" => {
                context.script_user = inner.argument(0).map(str::to_owned);
                notes.exact(inner);
            }
            "lvs_sync_daemon" | "lvs_sync_daemon_inteface" | "lvs_sync_daemon_interface" => {
                import.sync = sync_daemon(inner, notes);
            }
            "startup_script"
            | "startup_script_timeout"
            | "shutdown_script"
            | "shutdown_script_timeout" => {
                notes.unsupported_block(
                    inner,
                    "nothing is run then; systemd can (ExecStartPre=, ExecStopPost=)",
                );
            }
            _ if tell::WORDS.contains(&word) => tell::fifo(inner, &mut import.notify, notes),
            _ if tell::Post::WORDS.contains(&word) => context.post.word(inner, notes),
            _ if TELLING.contains(&word) => {
                notes.unsupported(
                    inner,
                    "[[notify]], [mail], `tarpon events` and notify programs tell",
                );
            }
            "rs_init_notifies" => {
                context.init_notifies = true;
                notes.exact(inner);
            }
            _ if PROCESS.contains(&word) => notes.harmless(inner, ""),
            _ if word.starts_with("vrrp_") => vrrp::global(inner, &mut context.vrrp, notes),
            _ if word.starts_with("vmac_") => notes.harmless(inner, ""),
            _ if word.starts_with("nftables") => {
                notes.harmless(inner, "marks need no firewall here")
            }
            _ => {
                let known: Vec<&str> = PROCESS
                    .iter()
                    .chain(TELLING)
                    .chain(tell::WORDS)
                    .chain(tell::Post::WORDS)
                    .copied()
                    .chain(["lvs_timeouts", "script_user", "lvs_sync_daemon"])
                    .collect();
                notes.unknown(inner, "global_defs", &known);
            }
        }
    }
    let user = context.script_user.as_deref();
    tell::readers(statement, user, &mut import.notify, notes);
}

/// `lvs_sync_daemon INTERFACE [[inst] INSTANCE] [id N] [maxlen N] [port N] [ttl N] [group ADDRESS]`
fn sync_daemon(inner: &Statement, notes: &mut Notes) -> Option<Sync> {
    let mut sync = Sync {
        role: SyncRole::Vrrp,
        interface: inner.argument(0)?.to_owned(),
        ..Sync::default()
    };
    let mut words = inner.arguments().get(1..).unwrap_or_default().iter();
    let mut instance = None;
    while let Some(word) = words.next() {
        let known = matches!(
            word.as_str(),
            "inst" | "id" | "maxlen" | "port" | "ttl" | "group"
        );
        // The instance may stand without its word.
        let value = match known {
            true => words.next().map_or("", String::as_str),
            false => word,
        };
        let well = match word.as_str() {
            "id" => value.parse().map(|id| sync.syncid = id).is_ok(),
            "maxlen" => value.parse().map(|n| sync.sync_maxlen = Some(n)).is_ok(),
            "port" => value.parse().map(|port| sync.mcast_port = port).is_ok(),
            "ttl" => value.parse().map(|ttl| sync.mcast_ttl = ttl).is_ok(),
            "group" => value.parse().map(|group| sync.mcast_group = group).is_ok(),
            _ => instance.replace(value).is_none() && !value.is_empty(),
        };
        if !well {
            notes.wrong(inner, format!("{word} {value}: write `lvs_sync_daemon INTERFACE [inst INSTANCE] [id N] [maxlen N] [port N] [ttl N] [group ADDRESS]`"));
            return None;
        }
    }
    match instance {
        Some(_) => notes.mapped(
            inner,
            "this director tells while it is master of any virtual router, not of that one alone",
        ),
        None => notes.exact(inner),
    }
    Some(sync)
}

fn lvs_timeouts(inner: &Statement, timeouts: &mut Timeouts, notes: &mut Notes) {
    for pair in inner.arguments().chunks(2) {
        let [name, value] = pair else {
            return notes.wrong(inner, "write `lvs_timeouts tcp N tcpfin N udp N`");
        };
        let seconds = value
            .parse()
            .ok()
            .filter(|s| (1..=config::MAX_TIMEOUT_S).contains(s));
        let slot = match name.as_str() {
            "tcp" => &mut timeouts.tcp,
            "tcpfin" => &mut timeouts.tcp_fin,
            "udp" => &mut timeouts.udp,
            _ => return notes.wrong(inner, format!("{name:?} is neither tcp, tcpfin nor udp")),
        };
        if seconds.is_none() {
            return notes.wrong(inner, format!("{value:?} is no timeout"));
        }
        *slot = seconds;
    }
    notes.exact(inner);
}

/// A block of the file that is not about virtual servers.
pub(crate) fn top(statement: &Statement, notes: &mut Notes) {
    match statement.keyword() {
        "garp_group" | "track_group" | "static_track_group" | "interface_up_down_delays" => {
            notes.unsupported_block(statement, "it does not change anything here");
        }
        "static_ipaddress" => {
            notes.unsupported_block(statement, "addresses are those of [[port]] in tarpon.toml");
        }
        "static_rules" => notes.unsupported_block(
            statement,
            "the way of a packet depends on its destination alone: [[route]]",
        ),
        "linkbeat_interfaces" => notes.unsupported_block(statement, "links are watched by DPDK"),
        // These may also stand at the top.
        "net_namespace"
        | "instance"
        | "use_pid_dir"
        | "namespace_with_ipsets"
        | "child_wait_time"
        | "linkbeat_use_polling"
        | "process_names" => notes.harmless(statement, ""),
        _ => {
            let known = [
                "global_defs",
                "virtual_server",
                "virtual_server_group",
                "vrrp_instance",
                "vrrp_sync_group",
                "vrrp_script",
                "static_ipaddress",
                "static_routes",
                "static_rules",
                "track_file",
                "bfd_instance",
                "SSL",
                "garp_group",
            ];
            notes.unknown(statement, "keepalived.conf", &known);
        }
    }
}
