//! `pktgen tcp`, `pktgen http` and `pktgen serve`: their arguments as plans, and dry runs.

use super::{
    clients::{Clients, Close, Script},
    http::{self, Content},
    rehearsal::{Rehearsal, WIRE_NS},
    report::Report,
    run::{self, Plan},
    segment::Path,
    servers::{Servers, Service},
    tcb::Timing,
    tuples::Tuples,
};
use crate::{
    args::{Addresses, Http, Life, Serve, Tcp},
    pcap,
    rate::Pace,
    report::{can_be_written, say, write_json},
    template::{Kind, Order, Template},
    tx::{DOCUMENTATION, stop_on_signals},
    wiring::{self, Wired, to_ip},
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    fs,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, SystemTime},
};
use types::MacAddr;

/// Connections of a dry run when nobody says how many, and frames it writes at most.
const DRY: u64 = 100;
const DRY_MOST: u64 = 10_000_000;
/// A run within these seconds.
const LONGEST_S: f64 = 1e6;

/// What is asked on each connection.
struct Exchange {
    close: Close,
    requests: u32,
    requests_text: [Arc<[u8]>; 2],
    response_bytes: u32,
    expected_len: Option<u64>,
    expected: Option<Arc<[u8]>>,
}

/// Connections without an exchange.
///
/// # Errors
/// Mistakes of the command line, and whatever ports refuse.
pub fn tcp(args: &Tcp) -> Result<()> {
    ensure!(
        args.close != Close::Server,
        "--close server: a server that is asked nothing has no reason to close; `pktgen http` asks"
    );
    let nothing: Arc<[u8]> = Arc::new([]);
    let exchange = Exchange {
        close: args.close,
        requests: 0,
        requests_text: [Arc::clone(&nothing), nothing],
        response_bytes: 0,
        expected_len: None,
        expected: None,
    };
    live(&args.life, &exchange)
}

/// Connections with requests.
///
/// # Errors
/// As of [`tcp`].
pub fn http(args: &Http) -> Result<()> {
    let template = &args.life.template;
    ensure!(
        args.close != Close::Server || args.life.hold == 0.0,
        "--hold keeps connections open when all is answered, and --close server asks the server to close then: --close client, or reset"
    );
    let host = args.host.clone().unwrap_or_else(|| {
        match to_ip(template.axes[2].at(0), template.is_ipv6) {
            std::net::IpAddr::V6(address) => format!("[{address}]"),
            address => address.to_string(),
        }
    });
    let size = usize::try_from(args.request_bytes)?;
    let get = |closes| -> Arc<[u8]> { http::get(&host, &args.path, size, closes).into() };
    let requests_text = [get(false), get(args.close == Close::Server)];
    let asked = requests_text[0].len() as u64 * u64::from(args.requests);
    ensure!(
        asked < 1 << 31,
        "--requests {}: all requests of a connection have {asked} bytes; at most 2 GiB",
        args.requests
    );
    let expected = args.expect.as_ref().map(|path| {
        let file = fs::read(path).with_context(|| format!("--expect {}", path.display()))?;
        anyhow::Ok(Arc::from(file))
    });
    let exchange = Exchange {
        close: args.close,
        requests: args.requests,
        requests_text,
        response_bytes: args.response_bytes,
        expected_len: args.expect_bytes,
        expected: expected.transpose()?,
    };
    live(&args.life, &exchange)
}

/// Servers alone.
///
/// # Errors
/// As of [`tcp`].
pub fn serve(args: &Serve) -> Result<()> {
    ensure!(
        !args.wiring.address.is_empty(),
        "servers need an address: --address ADDRESS, like `--address 10.0.0.1`"
    );
    for (is_given, name) in [
        (args.wiring.rx_port.is_some(), "--rx-port"),
        (args.wiring.gateway.is_some(), "--gateway"),
        (args.wiring.to_mac.is_some(), "--to-mac"),
    ] {
        ensure!(
            !is_given,
            "{name} has no use here: answers go back the way the question came, by --port"
        );
    }
    crate::run::place(&args.wiring)?;
    can_be_written(&[("--json", args.json.as_deref())])?;
    let stop = stop_on_signals()?;
    let mut wired = wiring::open(&args.wiring, &[])?;
    let timing = timing((1.0, args.timeout, 1.0), false, args.wiring.mtu, false);
    let plan = Plan {
        wiring: &args.wiring,
        clients: None,
        servers: Some(Service {
            content: args.response_bytes,
            ports: Some(args.listen.0.clone()),
            addresses: addresses(&args.wiring.address, None),
            timing,
            first_sequence: first_sequence(),
        }),
        concurrent: args.concurrent,
        seconds: args.seconds,
        drain: 0.0,
        progress: (!args.quiet).then_some(args.every),
        seed: 1,
    };
    let report = run::run(&mut wired, &plan, &stop)?;
    show(&report, args.json.as_deref())
}

/// Runs clients, and servers if they have a port; or writes what would be sent.
fn live(life: &Life, exchange: &Exchange) -> Result<()> {
    check(life)?;
    if life.dry_run {
        return dry_run(life, exchange);
    }
    crate::run::place(&life.wiring)?;
    can_be_written(&[("--json", life.json.as_deref())])?;
    let stop = stop_on_signals()?;
    // Ports are closed when all has been told: a driver that fails then takes no result with it.
    let (report, _wired) = on_ports(life, exchange, &stop)?;
    show(&report, life.json.as_deref())?;
    let failure = report
        .clients
        .as_ref()
        .map_or(0.0, super::report::OfClients::failure)
        * 100.0;
    if let Some(most) = life.max_failed
        && failure > most
    {
        bail!(
            "{failure:.4} % of the connections failed or were answered wrong; --max-failed {most}"
        );
    }
    Ok(())
}

/// What the parser of the command line cannot see.
fn check(life: &Life) -> Result<()> {
    let template = &life.template;
    ensure!(
        matches!(
            template.kind,
            Kind::Tcp {
                flags: wire::tcp::SYN
            }
        ),
        "--template: connections are TCP's, and their flags come of themselves: `tcp 10.0.0.1 > 10.0.1.1:80`"
    );
    ensure!(
        !template.first_fragment && !template.dont_fragment,
        "--template: `df` and `fragment` are words of `pktgen tx`; segments of connections are never fragmented"
    );
    ensure!(
        !matches!(template.order, Order::Zipf { .. }),
        "--template: connections have their source addresses and ports in turn (`order sequential`) or at random (`order uniform`)"
    );
    let least = template.headers_len() - if template.vlan.is_some() { 4 } else { 0 };
    let unsaid = (least + crate::template::FCS + 18).max(64);
    ensure!(
        template.sizes.all() == [(unsaid, 1)],
        "--template: the sizes of segments come of requests and answers (--request-bytes, --response-bytes) and of --mtu, not of `size`"
    );
    if let Some(seconds) = life.seconds {
        ensure!(
            seconds < LONGEST_S,
            "--seconds {seconds}: at most {LONGEST_S}"
        );
    }
    let flows = template.flows();
    ensure!(
        flows >= life.wiring.workers.into(),
        "the template has {flows} combinations of addresses and ports; each of {} workers needs its own",
        life.wiring.workers
    );
    Ok(())
}

fn on_ports(life: &Life, exchange: &Exchange, stop: &AtomicBool) -> Result<(Report, Wired)> {
    let templates = std::slice::from_ref(&life.template);
    let mut wired = wiring::open(&life.wiring, templates)?;
    let to = wired.next_hop(&life.wiring, templates)?;
    let from = wired.ports.first().context("no port")?.mac();
    let script = script(life, exchange, from, to);
    let servers = life.wiring.rx_port.is_some();
    let plan = Plan {
        wiring: &life.wiring,
        clients: Some((script, &life.template, life.rate)),
        servers: servers.then(|| service(life, exchange)),
        concurrent: life.concurrent,
        seconds: life.seconds,
        drain: life.drain,
        progress: (!life.quiet).then_some(life.every),
        seed: life.seed,
    };
    let report = run::run(&mut wired, &plan, stop)?;
    Ok((report, wired))
}

fn script(life: &Life, exchange: &Exchange, from: MacAddr, to: MacAddr) -> Script {
    let template = &life.template;
    let vlan = template.vlan;
    Script {
        requests: exchange.requests,
        request: Arc::clone(&exchange.requests_text[0]),
        last_request: Arc::clone(&exchange.requests_text[1]),
        close: exchange.close,
        hold_ns: nanoseconds(life.hold),
        expected_len: exchange.expected_len,
        expected: exchange.expected.clone(),
        timing: timing(
            (life.rto, life.timeout, life.time_wait),
            life.timestamps,
            life.wiring.mtu,
            template.is_ipv6,
        ),
        path: Path {
            from,
            to,
            vlan: vlan.map(|(id, priority)| u16::from(priority) << 13 | id.get()),
            ttl: template.ttl,
            tos: template.tos,
        },
        first_sequence: if life.dry_run { 1 } else { first_sequence() },
        count: life.count,
    }
}

fn service(life: &Life, exchange: &Exchange) -> Service {
    let is_ipv6 = life.template.is_ipv6;
    // A connection that is held is quiet for so long.
    let timeout = life.timeout + life.hold;
    Service {
        content: exchange.response_bytes,
        ports: life.listen.as_ref().map(|ports| ports.0.clone()),
        addresses: addresses(&life.wiring.rx_address, Some(&life.template)),
        timing: timing(
            (life.rto, timeout, life.time_wait),
            false,
            life.wiring.mtu,
            is_ipv6,
        ),
        first_sequence: if life.dry_run { 1 } else { first_sequence() },
    }
}

/// Addresses that are ours, IPv4 and IPv6: those given, and the template's destinations.
fn addresses(given: &[Addresses], template: Option<&Template>) -> [Vec<crate::axis::Axis>; 2] {
    [false, true].map(|is_ipv6| {
        let given = given.iter().filter(|a| a.is_ipv6 == is_ipv6);
        let template = template.filter(|t| t.is_ipv6 == is_ipv6);
        given
            .map(|a| a.axis.clone())
            .chain(template.map(|t| t.axes[2].clone()))
            .collect()
    })
}

fn timing(
    (rto, timeout, time_wait): (f64, f64, f64),
    stamps: bool,
    mtu: u16,
    is_ipv6: bool,
) -> Timing {
    Timing {
        rto_ns: nanoseconds(rto),
        timeout_ns: nanoseconds(timeout),
        time_wait_ns: nanoseconds(time_wait),
        mss: (mtu - if is_ipv6 { 60 } else { 40 }).max(64),
        stamps,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "seconds are checked where they are read"
)]
fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

/// Where this run's sequence numbers begin: behind those of an earlier run between the same ports (RFC 9293 3.4.1), which real
/// servers remember for a minute.
#[expect(clippy::cast_possible_truncation, reason = "a sequence number wraps")]
fn first_sequence() -> u32 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| (since.as_micros() / 4) as u32)
}

/// Writes what both sides would send, on wires that lose nothing.
fn dry_run(life: &Life, exchange: &Exchange) -> Result<()> {
    let to = life.wiring.to_mac.unwrap_or(DOCUMENTATION.to);
    let mut script = script(life, exchange, DOCUMENTATION.from, to);
    if life.count.is_none() && life.seconds.is_none() {
        script.count = Some(DRY);
    }
    let content = Arc::new(Content::new());
    let pace = Pace::new(life.rate, None, 1, 0, 1e9).map_err(anyhow::Error::msg)?;
    let tuples = Tuples::new(&life.template, 0, 1, life.seed);
    let clients = Clients::new(script, life.concurrent, tuples, pace, Arc::clone(&content));
    let servers = Servers::new(service(life, exchange), life.concurrent, content);
    let mut rehearsal = Rehearsal::new(clients, Some(servers));
    let mut file = life.pcap.as_deref().map(pcap::Writer::create).transpose()?;
    let until = nanoseconds(life.seconds.unwrap_or(LONGEST_S));
    let (mut frames, mut bytes, mut result) = ([0_u64; 2], 0_u64, Ok(()));
    let mut last = 0;
    for (is_opening, until) in [(true, until), (false, nanoseconds(2.0 * LONGEST_S))] {
        while rehearsal.step(until, is_opening, |now, to_servers, frame| {
            frames[usize::from(!to_servers)] += 1;
            bytes += frame.len() as u64 + 4;
            last = now;
            if let (Some(file), Ok(())) = (&mut file, &result) {
                result = file.write(Duration::from_nanos(now), frame);
            }
            vec![now + WIRE_NS]
        }) {
            if frames[0] + frames[1] > DRY_MOST {
                bail!(
                    "a dry run writes at most {DRY_MOST} frames; give a smaller --count or --seconds"
                );
            }
        }
    }
    result?;
    if let Some(file) = file {
        file.finish()?;
    }
    let tally = &rehearsal.clients.tally;
    say(&format!(
        "{} connections, {} requests: {} frames of the clients, {} of the servers, {bytes} bytes in {:.6} s would be sent\n\
         the far end is played by our own servers; MAC addresses stand for the port's and the next hop's, as no port is opened\n",
        tally.opened,
        tally.requests,
        frames[0],
        frames[1],
        Duration::from_nanos(last).as_secs_f64()
    ))
}

fn show(report: &Report, json: Option<&std::path::Path>) -> Result<()> {
    match json {
        Some(path) => write_json(report, path),
        None => say(&report.to_string()),
    }
}
