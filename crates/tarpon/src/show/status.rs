//! `tarpon status`

use crate::{
    table::Table,
    units::{bytes, count, duration, plural, share},
};
use api::{Claim, Fill, Loss, Overload, Status};

pub fn status(s: &Status) -> String {
    let mut out = format!(
        "{}: tarpon {} ({}), up {}, pid {}\n",
        s.name,
        s.version,
        s.dpdk,
        duration(s.uptime_s),
        s.pid
    );
    let mut line = |what: &str, text: String| out.push_str(&format!("{what:<14} {text}\n"));
    let profile = if s.compat_ipvs {
        ", compat = \"ipvs\""
    } else {
        ""
    };
    line("configuration", format!("{}{profile}", s.config_file));
    line("memory", s.memory.text.clone());
    let (used, all) = (s.memory.buffers_in_use, s.memory.buffers);
    line(
        "packet buffers",
        format!("{} of {} in use", count(used), count(all)),
    );
    line("workers", count(s.workers.len() as u64));
    line("ports", format!("{} of {} up", s.ports_up, s.ports));
    line(
        "services",
        format!(
            "{}, with {}{}",
            count(s.services),
            plural(s.servers, "server"),
            match s.servers_down {
                0 => String::new(),
                n => format!(", {} of them down (`tarpon health`)", count(n)),
            }
        ),
    );
    if !s.vrrp.is_empty() {
        line("vrrp", super::vrrp::summary(&s.vrrp));
    }
    if let Some(mail) = &s.mail {
        let mut text = format!("{} sent", count(mail.sent));
        for (n, what) in [
            (mail.waiting, "changes waiting"),
            (mail.failed, "attempts failed"),
            (mail.given_up, "changes given up"),
        ] {
            if n > 0 {
                text += &format!(", {} {what}", count(n));
            }
        }
        line("mail", text);
    }
    if let Some(overload) = &s.overload {
        line("overload", self::overload(overload));
    }
    let rate = &s.rate;
    line(
        "rate",
        format!(
            "{}/s, {}/s in ({}/s), {} out ({}/s)",
            plural(rate.connections, "connection"),
            plural(rate.in_packets, "packet"),
            bytes(rate.in_bytes),
            count(rate.out_packets),
            bytes(rate.out_bytes)
        ),
    );
    let fill = |f: &Fill| {
        format!(
            "{} of {} ({})",
            count(f.used),
            count(f.capacity),
            share(f.used, f.capacity)
        )
    };
    line(
        "connections",
        format!(
            "IPv4 {}, IPv6 {}",
            fill(&s.connections),
            fill(&s.connections6)
        ),
    );
    out.push('\n');
    let mut workers = Table::new(&[">WORKER", ">CORE", ">BUSY", ">PACKETS/S", ""]);
    for w in &s.workers {
        workers.row(vec![
            w.id.to_string(),
            w.core.to_string(),
            format!("{:.1} %", w.busy_percent),
            count(w.packets_per_s),
            if w.paused {
                "pausing".into()
            } else {
                String::new()
            },
        ]);
    }
    out.push_str(&workers.to_string());
    let claims: Vec<String> = s.claims.iter().map(claim).collect();
    section(
        &mut out,
        "virtual addresses that somebody else claims, too:",
        &claims,
    );
    let losses: Vec<String> = s.losses.iter().map(loss).collect();
    section(
        &mut out,
        "lost since the start because something was full:",
        &losses,
    );
    section(&mut out, "what this machine does not do:", &s.limitations);
    section(
        &mut out,
        "edits since the last apply (the next apply or restart replaces them):",
        &s.edits,
    );
    out
}

/// `192.0.2.10 is at 02:00:00:00:01:11 on lan, real server 10.1.0.11 (heard 5 times, 12 s ago)`
fn claim(claim: &Claim) -> String {
    let servers = claim.servers.iter().map(|s| format!(", real server {s}"));
    format!(
        "{} is at {} on {}{} (heard {}, {} ago)",
        claim.address,
        claim.mac,
        claim.interface,
        servers.collect::<String>(),
        plural(claim.times, "time"),
        duration(claim.age_ms / 1000)
    )
}

/// `worker 0 past its capacity for 12 s: 40 % of what is new refused (1,234 packets); because ...`
fn overload(overload: &Overload) -> String {
    let numbers: Vec<String> = overload.workers.iter().map(u16::to_string).collect();
    let word = if numbers.len() == 1 {
        "worker"
    } else {
        "workers"
    };
    let established = match overload.established_percent {
        0 => String::new(),
        n => format!(
            ", and {n} % of what stands dropped ({})",
            plural(overload.established, "packet")
        ),
    };
    format!(
        "{word} {} past capacity for {}: {} % of what is new refused ({}){established}; because {}",
        numbers.join(", "),
        duration(overload.age_ms / 1000),
        overload.new_percent,
        plural(overload.new, "packet"),
        overload.cause
    )
}

/// `1,234 packets (wan, rx_missed): came faster than they were taken from the port`
fn loss(loss: &Loss) -> String {
    let port = loss.port.iter().map(|port| format!("{port}, "));
    format!(
        "{} ({}{}): {}",
        plural(loss.packets, "packet"),
        port.collect::<String>(),
        loss.reason,
        loss.meaning
    )
}

fn section(out: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    out.push_str(&format!("\n{title}\n"));
    for line in lines {
        out.push_str(&format!("  {line}\n"));
    }
}
