//! `tarpon ports`

use crate::{
    table::Table,
    units::{bytes, count},
};
use api::Port;

pub fn ports(ports: &[Port]) -> String {
    let mut table = Table::new(&[
        "PORT",
        "LINK",
        "MAC",
        ">MTU",
        ">QUEUES",
        ">RECEIVED",
        ">SENT",
        ">BYTES IN",
        ">BYTES OUT",
        ">LOST",
    ]);
    for p in ports {
        let link = match (p.link.up, p.link.mbps) {
            (false, _) => "down".to_owned(),
            (true, None) => "up".to_owned(),
            (true, Some(mbps)) if mbps >= 1000 && mbps % 1000 == 0 => format!("{}G", mbps / 1000),
            (true, Some(mbps)) => format!("{mbps}M"),
        };
        let queues = if p.rx_queues == p.tx_queues {
            p.rx_queues.to_string()
        } else {
            format!("{}/{}", p.rx_queues, p.tx_queues)
        };
        let s = &p.stats;
        let lost = [s.rx_missed, s.rx_errors, s.rx_no_buffer, s.tx_errors]
            .iter()
            .fold(0_u64, |a, n| a.saturating_add(*n));
        table.row(vec![
            p.name.clone(),
            link,
            p.mac.to_string(),
            p.mtu.to_string(),
            queues,
            count(s.rx_packets),
            count(s.tx_packets),
            bytes(s.rx_bytes),
            bytes(s.tx_bytes),
            count(lost),
        ]);
    }
    let mut out = table.to_string();
    for p in ports {
        out.push_str(&details(p));
    }
    out
}

fn details(p: &Port) -> String {
    let mut out = format!("\n{}: {} ({}", p.name, p.device, p.driver);
    if let Some(node) = p.numa_node {
        out.push_str(&format!(", NUMA node {node}"));
    }
    out.push_str(")\n");
    let mut line = |what: &str, text: &str| {
        if !text.is_empty() {
            out.push_str(&format!("  {what:<12} {text}\n"));
        }
    };
    let addresses: Vec<String> = p
        .addresses
        .iter()
        .map(|a| match a.vlan {
            Some(id) => format!("{} (VLAN {})", a.address, id.get()),
            None => a.address.to_string(),
        })
        .collect();
    line("addresses", &addresses.join(", "));
    line(
        "host",
        p.tap
            .as_deref()
            .unwrap_or("none: what is for the host stack is dropped"),
    );
    line("offloads", &p.offloads.join(", "));
    let s = &p.stats;
    let lost = [
        (s.rx_missed, "missed (receive queue full)"),
        (s.rx_errors, "receive errors"),
        (s.rx_no_buffer, "without a buffer"),
        (s.tx_errors, "send errors"),
    ];
    let lost: Vec<String> = lost
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{} {what}", count(*n)))
        .collect();
    line("lost", &lost.join(", "));
    for limitation in &p.limitations {
        line("limitation", limitation);
    }
    out
}
