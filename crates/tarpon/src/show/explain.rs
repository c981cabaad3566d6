//! A packet explained, for people.

use crate::{table::Table, units::count};
use api::{CaughtBy, Explained, ExplainedServer, Fragments, Sender, filter::Headers};
use std::net::SocketAddr;
use types::{ForwardingMethod, Scheduler};

pub fn explained(explained: &Explained) -> String {
    let mut out = String::new();
    let mut line = |name: &str, text: String| out.push_str(&format!("{name:<11} {text}\n"));
    line(
        "packet",
        match &explained.interface {
            Some(interface) => format!("{}, received on {interface}", explained.packet),
            None => explained.packet.clone(),
        },
    );
    // Of what is no IP packet, or is refused before anything is asked, there is no more to tell.
    if explained.interface.is_none() {
        for (name, text) in fate(explained) {
            line(name, text);
        }
        return out;
    }
    if let Some(of) = &explained.fragments {
        line("fragments", fragments(of));
    }
    line("mark", mark(explained));
    line("service", service(explained));
    line("connection", connection(explained));
    if let Some(template) = &explained.template {
        line(
            "template",
            format!(
                "client {} goes to {} for another {} s",
                template.client,
                template.server,
                template.expires_ms / 1000
            ),
        );
    } else if explained
        .service
        .as_ref()
        .is_some_and(|s| s.persistence_s.is_some())
    {
        line("template", "none yet of this client".into());
    }
    if !explained.servers.is_empty() {
        line("servers", in_order(explained));
        for row in servers(explained).to_string().lines() {
            line("", row.to_owned());
        }
    }
    for (name, text) in fate(explained) {
        line(name, text);
    }
    out
}

/// What is held of the packet, and of others.
fn fragments(of: &Fragments) -> String {
    let beside = match of.held_beside {
        0 => String::new(),
        n => format!("; {} of other packets in its part of the room", count(n)),
    };
    let Some(ms) = of.expires_ms else {
        return format!("none of its packet are held{beside}");
    };
    let total = match of.total {
        Some(total) => format!(" of {}", count(total.into())),
        None => ", the last is not among them".into(),
    };
    let first = match of.has_first {
        true => "",
        false => ", nor is the first, which tells whose it is",
    };
    let first = match (of.total, of.has_first) {
        (Some(_), false) => ", the first, which tells whose it is, is not among them",
        _ => first,
    };
    format!(
        "{} of its packet are held: {} bytes{total}{first}; given up in {} s{beside}",
        of.held,
        count(of.bytes.into()),
        ms / 1000
    )
}

fn mark(explained: &Explained) -> String {
    let Some((last, before)) = explained.mark_rules.split_last() else {
        return "none: no mark rule matches".into();
    };
    let mut text = format!(
        "{} by mark rule {} ({})",
        explained.mark.0, last.number, last.rule
    );
    if !before.is_empty() {
        let numbers: Vec<String> = before.iter().map(|rule| rule.number.to_string()).collect();
        text += &format!(", which overrules {}", numbers.join(", "));
    }
    if !explained.mark_counts {
        text += "; it does not count: with compat = \"ipvs\" a mark only does on packets for the director itself";
    }
    text
}

fn service(explained: &Explained) -> String {
    let Some(service) = &explained.service else {
        return match explained.fragments {
            Some(_) => "none has a fragment like this; only the first says for which port".into(),
            None => "none has packets like this".into(),
        };
    };
    let name = match &service.name {
        Some(name) => format!(" {name:?}"),
        None => String::new(),
    };
    let by = match service.by {
        CaughtBy::Mark => "by its mark",
        CaughtBy::Exact => "by protocol, address and port",
        CaughtBy::FtpData => "as a data connection of persistent FTP",
        CaughtBy::EveryPort => "by protocol and address; it has every port",
    };
    let persistence = match service.persistence_s {
        Some(seconds) => format!(", persistent {seconds} s"),
        None => String::new(),
    };
    format!(
        "{}{name} {by}; {}{persistence}",
        service.key, service.scheduler
    )
}

fn connection(explained: &Explained) -> String {
    let Some(connection) = &explained.connection else {
        return match explained.chosen {
            Some(_) => "none; this packet makes one".into(),
            None if explained.service.is_some() => "none, and this packet makes none".into(),
            None => "none".into(),
        };
    };
    let of = match explained.sender {
        Some(Sender::Server) => "from the server",
        _ => "from the client",
    };
    format!(
        "{} {} > {} to {} by {}, {}, expires in {} s; the packet is {of}, so neither mark nor service is asked",
        connection.protocol,
        connection.client,
        connection.vip,
        connection.server,
        connection.method,
        connection.state,
        connection.expires_ms / 1000,
    )
}

/// What the scheduler goes by.
fn in_order(explained: &Explained) -> String {
    let Some(service) = &explained.service else {
        return "of the connection".into();
    };
    if explained.connection.is_some() {
        return "as they are; the connection has its own".into();
    }
    let how = match service.scheduler {
        Scheduler::Rr => "the next after the last one chosen",
        Scheduler::Wrr => "in turn, by weight",
        Scheduler::Lc => "the least overhead",
        Scheduler::Wlc => "the least overhead for its weight",
        Scheduler::Sed => "the least active connections, one more counted, for its weight",
        Scheduler::Nq => "one without active connections, else as sed",
        Scheduler::Lblc | Scheduler::Lblcr => "the one that had this address last, else as wlc",
        Scheduler::Dh => "by a hash of the destination",
        Scheduler::Sh | Scheduler::Mh => "by a hash of the client",
        Scheduler::Fo => "the largest weight",
        Scheduler::Ovf => "the largest weight with room for active connections",
        Scheduler::Twos => "the less loaded of two drawn by weight",
    };
    format!(
        "in the order {} walks them; it takes {how}",
        service.scheduler
    )
}

fn servers(explained: &Explained) -> Table {
    let mut table = Table::new(&[
        "SERVER",
        "METHOD",
        ">WEIGHT",
        ">ACTIVE",
        ">INACTIVE",
        ">OVERHEAD",
        "NEXT HOP",
        "",
    ]);
    for server in &explained.servers {
        table.row(vec![
            address(server.address),
            server.method.to_string(),
            server.weight.0.to_string(),
            count(server.active),
            count(server.inactive),
            count(server.overhead),
            next_hop(server),
            notes(server),
        ]);
    }
    table
}

/// A server without a port of its own has the one the client asked for.
fn address(server: SocketAddr) -> String {
    match server.port() {
        0 => server.ip().to_string(),
        _ => server.to_string(),
    }
}

fn next_hop(server: &ExplainedServer) -> String {
    match (&server.interface, server.next_hop, server.mac) {
        (Some(interface), Some(hop), Some(mac)) => format!("{hop} {mac} on {interface}"),
        (Some(interface), Some(hop), None) => format!("{hop} on {interface}, MAC not known"),
        _ if server.out.is_some() => "-".into(),
        _ => "no route".into(),
    }
}

/// Why a server has no new connections, and its thresholds.
fn notes(server: &ExplainedServer) -> String {
    let mut notes = Vec::new();
    notes.extend(server.out.clone());
    if server.out.is_none() && server.weight.0 == 0 {
        notes.push("quiesced: weight 0".into());
    }
    if server.overloaded {
        notes.push("overloaded".into());
    }
    if server.upper_threshold > 0 {
        let lower = match server.lower_threshold {
            0 => "three quarters of that".into(),
            lower => count(lower.into()),
        };
        let upper = count(server.upper_threshold.into());
        notes.push(format!("at most {upper}, again below {lower}"));
    }
    notes.join(", ")
}

fn fate(explained: &Explained) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let Some(chosen) = explained.chosen {
        let method = explained.servers.iter().find(|s| s.address == chosen);
        let method = method.map_or(ForwardingMethod::Masq, |s| s.method);
        lines.push(("chosen", format!("{} by {method}", address(chosen))));
    }
    for frame in &explained.sent {
        let headers = Headers::read(&frame.data.0, frame.original_len as usize);
        let macs = match headers.macs {
            Some((from, to)) => format!(" {from} > {to}"),
            None => String::new(),
        };
        lines.push((
            "sent",
            format!(
                "on {}:{macs} {headers}, {} bytes",
                frame.port, frame.original_len
            ),
        ));
    }
    if explained.punted {
        lines.push(("host", "it goes to the host's stack".into()));
    }
    if explained.held {
        let why = match explained.sent.is_empty() {
            true if explained.fragments.is_some() => {
                "it waits for the other fragments of its packet"
            }
            true => "it waits for its next hop's MAC",
            false => "it waits for its next hop's MAC, which is asked for",
        };
        lines.push(("held", why.into()));
    }
    if explained.unanswered {
        let why = "nobody is told: icmp_rate is used up for now";
        lines.push(("unanswered", why.into()));
    }
    for note in &explained.dropped {
        // It is not this packet that ends, if that waits.
        let for_room = matches!(
            note.reason.as_str(),
            "neighbour_queue_full" | "fragment_no_room"
        );
        let another = match explained.held && for_room {
            true => "another goes for it, ",
            false => "",
        };
        let text = format!("{another}{}: {}", note.reason, note.meaning);
        lines.push(("dropped", text));
    }
    if lines.is_empty() {
        lines.push(("sent", "nothing".into()));
    }
    lines
}
