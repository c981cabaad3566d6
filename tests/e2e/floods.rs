//! Floods of SYNs against `syn_cookies`: real clients and servers while it is on, while it comes and goes, and under a flood by `pktgen`.

use crate::{
    lab::{
        Lab, clients,
        router::{self, Driver, Router, Setup, with_router},
        run,
        runner::Case,
    },
    service::{FAMILIES, Family, METHODS, Method, Service, decapsulate},
};
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("floods::cookies_with_real_stacks", real_stacks),
        Case::new("floods::refused_by_the_server", refused),
        Case::new("floods::downloads_while_it_comes_and_goes", comes_and_goes),
        Case::new("floods::without_a_reply_path", by_hash),
        Case::new("floods::of_other_packets", of_other_packets),
    ]
}

/// Where the generator stands: on the clients' side, by an address of its own.
const ATTACKER: &str = "198.51.100.9";
/// The way back to where its packets say they come from.
const WAY_BACK: &str = "[[route]]\nto = \"198.18.0.0/15\"\nvia = \"198.51.100.9\"\n";

const fn always(service: Service) -> Service {
    Service {
        more: "syn_cookies = \"on\"",
        ..service
    }
}

fn real_stacks() -> Result<()> {
    let services = FAMILIES.map(|family| always(Service::http(Method::Masq, family)));
    let texts: String = services.iter().map(Service::text).collect();
    with_router(&Setup::new(texts), |router| {
        let lab = router.lab();
        let wanted = lab.publish("big", 40)?;
        for service in services {
            let before = router.dropped("syn_cookie_accepted")?;
            let answers = service.ask(lab, 30).with_context(|| service.to_string())?;
            clients::follow(&answers, service.cycle())?;
            let accepted = router.dropped("syn_cookie_accepted")? - before;
            ensure!(
                accepted == 30,
                "{accepted} of 30 connections began with a cookie"
            );
            // For five seconds from the last SYN.
            let shown = router.tarpon("services")?;
            ensure!(shown.contains("SYN cookies on: 3"), "{shown}");
            let sum = clients::download(lab, &service.address(), "big")?;
            ensure!(sum == wanted, "{service}: what came is not what was sent");
            agreed(lab, &service)?;
        }
        let events = router.tarpon("events")?;
        ensure!(
            events.contains("a flood of SYNs: nothing is kept of them"),
            "{events}"
        );
        Ok(())
    })
}

/// What client and server agree on is what they would agree on by themselves: seen on the server's wire, and by its kernel.
fn agreed(lab: &Lab, service: &Service) -> Result<()> {
    let to: SocketAddr = service.address().parse()?;
    let file = lab.dir.join(format!("{service}.pcap"));
    let line = format!(
        "tshark -q -i lan -f \"tcp port {}\" -a duration:20 -w {}",
        service.server_port,
        file.display()
    );
    let mut capture = lab.on("rs1", "sh -c");
    let capture = capture.arg(format!("exec {line}"));
    let mut capture = capture.stderr(Stdio::null()).spawn().context("tshark")?;
    run::until("tshark captures", 15, || Ok(file.exists()))?;
    // It says so a little before it does.
    thread::sleep(Duration::from_millis(500));
    let _held = lab.inside("client", || {
        let mut held = Vec::new();
        for _ in 0..3 {
            let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: vip\r\n\r\n")?;
            ensure!(stream.read(&mut [0; 1024])? > 0, "no answer");
            held.push(stream);
        }
        Ok(held)
    })?;
    let scales = |node: &str, filter: &str| -> Result<(u8, u8)> {
        let line = format!("ss -tinHO state established {filter}");
        let seen = lab.text(node, &line, 5)?;
        let scales = seen.split("wscale:").nth(1).and_then(|rest| {
            let (send, receive) = rest.split(' ').next()?.split_once(',')?;
            Some((send.parse().ok()?, receive.parse().ok()?))
        });
        scales.with_context(|| format!("{node}: {seen}"))
    };
    let sends_by = scales("rs1", &format!("sport = :{}", service.server_port))?.0;
    let told = scales("client", &format!("dport = :{}", service.port))?.1;
    ensure!(
        sends_by == told,
        "the server sends by {sends_by}, the client has {told}"
    );
    // What was sent is read a moment later.
    thread::sleep(Duration::from_secs(1));
    capture.kill()?;
    capture.wait()?;
    let mut read = Command::new("tshark");
    read.arg("-r").arg(&file).args(["-T", "fields"]);
    for field in [
        "flags",
        "options.timestamp.tsval",
        "options.sack_perm",
        "options.wscale.shift",
        "options.mss_val",
    ] {
        read.args(["-e", &format!("tcp.{field}")]);
    }
    let text = run::text(&mut read, 20)?;
    let lines: Vec<Vec<&str>> = text.lines().map(|l| l.split('\t').collect()).collect();
    let with = |flags: &str| lines.iter().find(|l| l[0] == flags);
    for flags in ["0x0002", "0x0012"] {
        let options = with(flags).with_context(|| format!("no segment {flags}: {text}"))?;
        ensure!(
            options.iter().all(|option| !option.is_empty()),
            "{flags}: {options:?}"
        );
    }
    ensure!(
        lines.iter().all(|l| !l[1].is_empty()),
        "a segment without a timestamp: {text}"
    );
    Ok(())
}

fn refused() -> Result<()> {
    // Nobody listens there.
    let closed = Service {
        server_port: 9,
        ..always(Service::http(Method::Masq, Family::Ipv4))
    };
    with_router(&Setup::new(closed.text()), |router| {
        let to: SocketAddr = closed.address().parse()?;
        router.lab().inside("client", || {
            // The reset may come before the connection was looked at.
            let read = TcpStream::connect_timeout(&to, Duration::from_secs(5)).and_then(|mut s| {
                s.set_read_timeout(Some(Duration::from_secs(5)))?;
                s.read(&mut [0; 10])
            });
            let error = read.err().context("an answer from nobody")?;
            ensure!(
                error.kind() == std::io::ErrorKind::ConnectionReset,
                "{error}"
            );
            Ok(())
        })
    })
}

/// What every client downloads, again and again.
const SMALL: usize = 20_000;

/// Clients that download one after the other, and how they fare.
#[derive(Default)]
struct Clients {
    right: AtomicU64,
    broken: AtomicU64,
    stop: AtomicBool,
}

impl Clients {
    fn go_on(&self, to: SocketAddr, wanted: &[u8]) {
        while !self.stop.load(Relaxed) {
            match download(to) {
                Ok(bytes) if bytes.ends_with(wanted) => self.right.fetch_add(1, Relaxed),
                Ok(bytes) => {
                    eprintln!("{} bytes that are not the file's", bytes.len());
                    self.broken.fetch_add(1, Relaxed)
                }
                Err(error) => {
                    eprintln!("a download: {error:#}");
                    self.broken.fetch_add(1, Relaxed)
                }
            };
            // A load that is no flood.
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Downloads a second over so long.
    fn rate(&self, seconds: u64) -> f64 {
        let (before, begun) = (self.right.load(Relaxed), Instant::now());
        thread::sleep(Duration::from_secs(seconds));
        (self.right.load(Relaxed) - before) as f64 / begun.elapsed().as_secs_f64()
    }
}

fn download(to: SocketAddr) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(8))?;
    stream.set_read_timeout(Some(Duration::from_secs(8)))?;
    stream.write_all(b"GET /files/small HTTP/1.0\r\n\r\n")?;
    let mut bytes = Vec::with_capacity(SMALL + 400);
    stream.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// So many packets a second for so long.
fn flood(
    router: &Router<'_>,
    kind: &str,
    to: &str,
    rate: u32,
    seconds: u32,
) -> Result<crate::lab::Background> {
    let pktgen = router::program("pktgen");
    let line = format!(
        "{} flood {kind} --quiet --to {to} --port af_packet:wan --address {ATTACKER} --gateway 198.51.100.1 --rate {rate} --seconds {seconds}",
        pktgen.display()
    );
    router.lab().start("rs1", &line)
}

fn connections(router: &Router<'_>) -> Result<u64> {
    Ok(router.ask::<api::Status>("status")?.connections.used)
}

/// Real clients download all the time; `pktgen` floods the service, twice. Cookies come and go with the flood; nobody notices, and nothing is
/// kept of the flood. The environment's `TARPON_FLOODS` says how often, `TARPON_DOWNLOADS` how many downloads it goes on for at least.
fn comes_and_goes() -> Result<()> {
    const ABOVE: u32 = 1000;
    let service = Service {
        more: "syn_cookies = { above = 1000 }",
        ..Service::http(Method::Masq, Family::Ipv4)
    };
    let setup = Setup {
        more: WAY_BACK.to_owned(),
        ..Setup::new(service.text())
    };
    let asked = |name: &str| -> Result<Option<u64>> {
        let Ok(text) = std::env::var(name) else {
            return Ok(None);
        };
        let number = text.parse();
        Ok(Some(number.with_context(|| format!("{name}={text}"))?))
    };
    let least = Least {
        floods: asked("TARPON_FLOODS")?.unwrap_or(2),
        downloads: asked("TARPON_DOWNLOADS")?.unwrap_or(500),
    };
    with_router(&setup, |router| {
        while_clients_download(router, &service, |all, idle| {
            watch(router, all, &service, (ABOVE, least), idle)
        })
    })
}

/// Does that while clients download from the service, all rightly, and others hold idle connections to it.
fn while_clients_download(
    router: &Router<'_>,
    service: &Service,
    does: impl FnOnce(&Clients, &mut [TcpStream]) -> Result<()>,
) -> Result<()> {
    let lab = router.lab();
    let noise: Vec<u8> = (0..SMALL as u64)
        .map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()[5])
        .collect();
    fs::write(lab.dir.join("www/small"), &noise)?;
    let to: SocketAddr = service.address().parse()?;
    let all = Clients::default();
    let mut idle = lab.inside("client", || {
        let hold = |_| Ok(TcpStream::connect_timeout(&to, Duration::from_secs(5))?);
        (0..20).map(hold).collect::<Result<Vec<_>>>()
    })?;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let went = lab.inside("client", || {
                    all.go_on(to, &noise);
                    Ok(())
                });
                went.unwrap_or_else(|error| eprintln!("{error:#}"));
            });
        }
        let done = does(&all, &mut idle);
        all.stop.store(true, Relaxed);
        done
    })?;
    let (right, broken) = (all.right.load(Relaxed), all.broken.load(Relaxed));
    eprintln!("{right} downloads as sent, {broken} broken");
    ensure!(broken == 0, "{broken} downloads broken, {right} right");
    ensure!(right > 500, "only {right} downloads");
    Ok(())
}

/// A flood that is no SYNs.
struct Other {
    kind: &'static str,
    /// What it goes to, besides the virtual address.
    port: &'static str,
    /// The connections it may make at most, of those that it asks for.
    may_make: u64,
    /// What then becomes of most of it.
    ends_as: &'static [&'static str],
}

/// What every UDP client together may begin in a second.
const DATAGRAMS: u64 = 500;

const OTHERS: [Other; 5] = [
    Other {
        kind: "ack",
        port: ":80",
        may_make: 0,
        ends_as: &["syn_cookie_wrong", "port_closed"],
    },
    Other {
        kind: "udp",
        port: ":53",
        may_make: DATAGRAMS * 8,
        ends_as: &["rate_limit"],
    },
    Other {
        kind: "frag",
        port: ":53",
        may_make: 0,
        ends_as: &["fragment_no_room", "fragment_timeout"],
    },
    Other {
        kind: "icmp",
        port: "",
        may_make: 0,
        // Beyond `icmp_rate`.
        ends_as: &["icmp_ignored"],
    },
    Other {
        kind: "arp",
        port: "",
        may_make: 0,
        ends_as: &["answered"],
    },
];

/// Acknowledgements, datagrams, fragments, pings and ARP in floods: clients go on, idle connections stand, and the table does not grow but
/// by what `rate_limit` lets in.
fn of_other_packets() -> Result<()> {
    const RATE: u32 = 10_000;
    const SECONDS: u32 = 5;
    let service = Service {
        more: "syn_cookies = { above = 1000 }",
        ..Service::http(Method::Masq, Family::Ipv4)
    };
    let to: SocketAddr = service.address().parse()?;
    let vip = to.ip();
    let datagrams = format!(
        "[[service]]\nprotocol = \"udp\"\naddress = \"{vip}:53\"\nrate_limit = {DATAGRAMS}\n[[service.server]]\naddress = \"10.1.0.11:53\"\n"
    );
    let setup = Setup {
        // The packet socket of `net_af_packet` keeps fragments back.
        driver: Driver::AfXdp,
        more: WAY_BACK.to_owned(),
        ..Setup::new(service.text() + &datagrams)
    };
    with_router(&setup, |router| {
        while_clients_download(router, &service, |all, idle| {
            let alone = all.rate(3);
            for other in &OTHERS {
                let dropped = || -> Result<u64> {
                    let counts = other.ends_as.iter().map(|reason| router.dropped(reason));
                    counts.sum()
                };
                let (before, ended) = (connections(router)?, dropped()?);
                let attack = flood(
                    router,
                    other.kind,
                    &format!("{vip}{}", other.port),
                    RATE,
                    SECONDS,
                )?;
                thread::sleep(Duration::from_secs(1));
                let under = all.rate(3);
                drop(attack);
                let (after, ended) = (connections(router)?, dropped()? - ended);
                eprintln!(
                    "{}: {alone:.0} downloads a second, {under:.0} under the flood; {ended} of it ended as {:?}; {before} connections, {after} after",
                    other.kind, other.ends_as
                );
                let own = alone.max(under) * f64::from(SECONDS) * 1.5 + 200.0;
                ensure!(
                    after as f64 <= before as f64 + own + other.may_make as f64,
                    "{}: {before} connections grew to {after}",
                    other.kind
                );
                ensure!(
                    ended > u64::from(RATE),
                    "{}: only {ended} of the flood ended as {:?}",
                    other.kind,
                    other.ends_as
                );
                ensure!(
                    under > alone / 4.0,
                    "{}: {under:.0} a second of {alone:.0}",
                    other.kind
                );
                ask_idle(router, idle)?;
            }
            Ok(())
        })
    })
}

/// Who was there before the flood is there still.
fn ask_idle(router: &Router<'_>, idle: &mut [TcpStream]) -> Result<()> {
    router.lab().inside("client", || {
        for stream in idle {
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: vip\r\n\r\n")?;
            let read = stream.read(&mut [0; 1000])?;
            ensure!(read > 0, "an idle connection is gone");
        }
        Ok(())
    })
}

/// How long it goes on.
#[derive(Clone, Copy)]
struct Least {
    floods: u64,
    downloads: u64,
}

fn watch(
    router: &Router<'_>,
    all: &Clients,
    service: &Service,
    (above, least): (u32, Least),
    idle: &mut [TcpStream],
) -> Result<()> {
    let flooded = || -> Result<bool> {
        let flood = router.service(&service.address())?.flood;
        Ok(flood.context("it has syn_cookies")?.on)
    };
    let mut rounds: usize = 0;
    while (rounds as u64) < least.floods || all.right.load(Relaxed) < least.downloads {
        // Nobody waits for downloads that do not come.
        ensure!(all.broken.load(Relaxed) == 0, "a download is broken");
        rounds += 1;
        let alone = all.rate(3);
        ensure!(!flooded()?, "on without a flood");
        let sent = router.dropped("syn_cookie_sent")?;
        let attack = flood(router, "syn", &service.address(), above * 5, 9)?;
        // On a busy machine the generator takes its time to begin.
        run::until("the flood is noticed", 20, &flooded)?;
        let before = connections(router)?;
        let under = all.rate(4);
        let after = connections(router)?;
        let answered = router.dropped("syn_cookie_sent")? - sent;
        drop(attack);
        eprintln!(
            "round {rounds}: {alone:.0} downloads a second, {under:.0} under the flood; {answered} cookies sent; {before} connections, {after} after 4 s"
        );
        // Connections of the downloads themselves, in TIME_WAIT, come on top.
        let own = under * 4.0 * 1.5 + 200.0;
        ensure!(
            after as f64 <= before as f64 + own,
            "{before} connections grew to {after}"
        );
        ensure!(answered > u64::from(above), "{answered} cookies were sent");
        ensure!(under > alone / 4.0, "{under:.0} a second of {alone:.0}");
        run::until("it is over", 20, || Ok(!flooded()?))?;
        ask_idle(router, idle)?;
    }
    // They are looked for once a second.
    run::until("events tell of each flood", 5, || {
        let events = router.tarpon("events")?;
        let told = |what: &str| events.matches(what).count();
        Ok(told("a flood of SYNs: nothing") == rounds
            && told("the flood of SYNs is over") == rounds)
    })
}

/// Direct routing and tunnels: SYNs go by hash, the connection is made of what follows.
fn by_hash() -> Result<()> {
    let services: Vec<Service> = METHODS
        .iter()
        .filter(|method| **method != Method::Masq)
        .flat_map(|method| FAMILIES.map(|family| always(Service::http(*method, family))))
        .collect();
    let text: String = services.iter().map(Service::text).collect();
    with_router(&Setup::new(text), |router| {
        let lab = router.lab();
        let _tunnel_ends = decapsulate(lab)?;
        let wanted = lab.publish("some", 8)?;
        for service in &services {
            let answers = service.ask(lab, 60).with_context(|| service.to_string())?;
            let shares = clients::shares(&answers);
            ensure!(
                shares.len() == 3 && shares.values().all(|n| *n >= 8),
                "{service}: {shares:?}"
            );
            let sum = clients::download(lab, &service.address(), "some")?;
            ensure!(sum == wanted, "{service}: what came is not what was sent");
            let flood = router.service(&service.address())?.flood;
            let flood = flood.context("it has syn_cookies")?;
            ensure!(
                flood.hashed >= 61 && flood.accepted >= 61 && flood.cookies_sent == 0,
                "{service}: {flood:?}"
            );
        }
        Ok(())
    })
}
