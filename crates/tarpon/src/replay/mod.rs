//! `tarpon replay`: recorded packets through the forwarding engine, offline and on virtual time.

mod files;
mod listings;

use crate::{args::ReplayArgs, failure::Failure, output};
use serde_json::{Value, json};
use sim::{
    Sent, differential,
    golden::{self, Player, Topology},
};
use std::{fs, path::Path, time::Duration};
use types::{MacAddr, Tick};

const SIDES: [&str; 2] = ["cl", "rs"];

/// Replays, and writes what came of it.
pub fn replay(args: &ReplayArgs) -> Result<(), Failure> {
    let rest = settle(args)?;
    let topology = Topology::standard();
    let mut frames = Vec::new();
    for (side, file) in [("cl", &args.cl), ("rs", &args.rs)] {
        for (time, bytes) in file
            .iter()
            .map(|f| files::read(f))
            .collect::<Result<Vec<_>, _>>()?
            .concat()
        {
            let own = &topology.director[&format!("{side}0")].mac;
            frames.push((time, side, addressed(bytes, own, args.keep_mac)));
        }
    }
    // Of the same moment the clients' first, each file in its own order.
    frames.sort_by_key(|(time, ..)| *time);
    let mut player = Player::new(topology, 1);
    configure(&mut player, args)?;
    fs::create_dir_all(&args.out).map_err(wrong(&args.out))?;
    let mut sent = Vec::new();
    let mut steps = Vec::new();
    let start = frames.first().map_or(Duration::ZERO, |(time, ..)| *time);
    let mut now = Tick(0);
    for (time, side, bytes) in &frames {
        let passed = if args.realtime {
            time.saturating_sub(start)
        } else {
            Duration::ZERO
        };
        now = Tick(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX));
        let late = player.pass_to(now);
        record_late(&mut steps, now, &late);
        sent.extend(late.into_iter().map(|frame| (*time, frame)));
        let out = player.receive(side, bytes).map_err(Failure::failed)?;
        output::text(&told(side, bytes, &out))?;
        steps.push(step(now, side, bytes, &out));
        sent.extend(out.into_iter().map(|frame| (*time, frame)));
    }
    let last = frames.last().map_or(Duration::ZERO, |(time, ..)| *time);
    let settled = now + u64::try_from(rest.as_millis()).unwrap_or(u64::MAX);
    let late = player.pass_to(settled);
    record_late(&mut steps, settled, &late);
    sent.extend(late.into_iter().map(|frame| (last, frame)));
    for (port, side) in SIDES.iter().enumerate() {
        let own = sent.iter().filter(|(_, frame)| frame.port.index() == port);
        let frames = own.map(|(time, frame)| (*time, frame.bytes.as_slice()));
        files::write(&args.out.join(format!("{side}.pcap")), frames)?;
    }
    let put = |name: &str, text: String| {
        let path = args.out.join(name);
        fs::write(&path, text).map_err(wrong(&path))
    };
    put("steps.json", pretty(&Value::from(steps)))?;
    let connections = player.connections();
    put("conns.json", pretty(&json!(connections)))?;
    put("conns.txt", listings::connections(&connections))?;
    let services = player.services();
    put("list.txt", listings::list(&services))?;
    put("stats.txt", listings::stats(&services))?;
    put("rules.txt", listings::rules(&services))
}

fn configure(player: &mut Player, args: &ReplayArgs) -> Result<(), Failure> {
    for (line, text) in lines(args.marks.as_deref())? {
        // iptables-save's frame.
        if text.starts_with(['*', ':']) || text == "COMMIT" {
            continue;
        }
        let six = text.starts_with("ip6tables");
        let rule = match text.split_once(' ') {
            Some((word, rest)) if word.starts_with("ip") => rest,
            _ => &text,
        };
        let program = if six { "ip6tables" } else { "iptables" };
        let table = if rule.contains("-t ") {
            ""
        } else {
            "-t mangle "
        };
        carried_out(
            player,
            args.marks.as_deref(),
            line,
            &format!("{program} {table}{rule}"),
        )?;
    }
    for (line, text) in lines(args.setup.as_deref())? {
        carried_out(player, args.setup.as_deref(), line, &text)?;
    }
    for setting in &args.settings {
        let Some((key, value)) = setting.split_once('=') else {
            return Err(Failure::failed(format!(
                "-s {setting}: write KEY=VALUE, as net/ipv4/vs/sloppy_tcp=1"
            )));
        };
        let done = player.set(&key.replace('.', "/"), value);
        done.map_err(|why| Failure::failed(format!("-s {setting}: {why}")))?;
    }
    for (line, text) in lines(Some(&args.rules))? {
        let text = text.strip_prefix("ipvsadm ").unwrap_or(&text);
        carried_out(player, Some(&args.rules), line, &format!("ipvsadm {text}"))?;
    }
    Ok(())
}

/// The numbered lines of a file that say something.
fn lines(file: Option<&Path>) -> Result<Vec<(usize, String)>, Failure> {
    let Some(file) = file else {
        return Ok(Vec::new());
    };
    let text = fs::read_to_string(file).map_err(wrong(file))?;
    let numbered = text.lines().map(str::trim).zip(1..);
    Ok(numbered
        .filter(|(line, _)| !line.is_empty() && !line.starts_with('#'))
        .map(|(line, number)| (number, line.to_owned()))
        .collect())
}

fn carried_out(
    player: &mut Player,
    file: Option<&Path>,
    line: usize,
    command: &str,
) -> Result<(), Failure> {
    let name = file.map(|f| f.display().to_string()).unwrap_or_default();
    player
        .command(command)
        .map_err(|why| Failure::failed(format!("{name}:{line}: {command}: {why}")))
}

fn addressed(mut bytes: Vec<u8>, own: &str, keep: bool) -> Vec<u8> {
    if let (false, Some(destination), Ok(MacAddr(mac))) =
        (keep, bytes.first_chunk_mut(), own.parse())
    {
        *destination = mac;
    }
    bytes
}

fn settle(args: &ReplayArgs) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(args.settle)
        .map_err(|why| Failure::failed(format!("--settle {}: {why}", args.settle)))
}

fn record_late(steps: &mut Vec<Value>, now: Tick, late: &[Sent]) {
    if !late.is_empty() {
        let out: Vec<Value> = late.iter().map(|frame| described(frame, &[])).collect();
        steps.push(json!({"op": "late", "t": seconds(now), "out": out}));
    }
}

fn step(now: Tick, side: &str, bytes: &[u8], out: &[Sent]) -> Value {
    let out: Vec<Value> = out.iter().map(|frame| described(frame, bytes)).collect();
    json!({
        "op": "tx", "t": seconds(now), "if": side, "frame": golden::to_hex(bytes),
        "brief": golden::describe(bytes), "out": out,
    })
}

fn described(sent: &Sent, cause: &[u8]) -> Value {
    let mut value = json!({
        "if": side(sent),
        "frame": golden::to_hex(&sent.bytes),
        "brief": golden::describe(&sent.bytes),
        "dmac": destination(sent),
    });
    let volatile = differential::volatile(cause, &sent.bytes);
    if !volatile.is_empty() {
        value["volatile"] = json!(volatile);
    }
    value
}

fn told(from: &str, bytes: &[u8], out: &[Sent]) -> String {
    let mut text = format!("{from}> {}\n", golden::describe(bytes));
    for sent in out {
        let (brief, mac) = (golden::describe(&sent.bytes), destination(sent));
        text += &format!("   => {}: {brief} -> {mac}\n", side(sent));
    }
    if out.is_empty() {
        text += "   => (nothing)\n";
    }
    text
}

fn side(sent: &Sent) -> &'static str {
    SIDES.get(sent.port.index()).copied().unwrap_or("?")
}

fn destination(sent: &Sent) -> String {
    let mac = sent.bytes.first_chunk().map(|mac| MacAddr(*mac));
    mac.map(|mac| mac.to_string()).unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "seconds with milliseconds")]
fn seconds(now: Tick) -> f64 {
    now.0 as f64 / 1000.0
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn wrong(path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    let path = path.display().to_string();
    move |why| Failure::failed(format!("{path}: {why}"))
}
