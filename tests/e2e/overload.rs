//! More new connections than a director can take, while real downloads stand and a second director listens, Tarpon or a Linux host with
//! keepalived: what is new is refused first, what stands goes on byte for byte, nobody changes roles, and `tarpon status` says so while it lasts.

use crate::{
    lab::{
        Background, Lab,
        router::{self, Router},
        run,
        runner::Case,
    },
    linux::Linux,
    sync::SYNC,
    takeover::{Advertising, NODES, VIP, becomes, file_of},
};
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("overload::past_its_capacity", past_its_capacity),
        Case::new("overload::beside_keepalived", beside_keepalived),
    ]
}

/// Where the generator stands: on the clients' side, by an address of its own; and the way back to where its packets say they come from.
const ATTACKER: &str = "198.51.100.77";
const WAY_BACK: &str = "[[route]]\nto = \"198.18.0.0/15\"\nvia = \"198.51.100.77\"\n\n";
/// The interval people have. On cores of its own a worker is never kept waiting; here it shares them with the flood's generator.
const ADVERTISING: Advertising = Advertising {
    interval_ms: 1000,
    preempt: true,
};
/// Who downloads.
const CLIENTS: usize = 8;
/// What each reads again and again: numbers in turn, so that every byte has its place.
const FILE: usize = 32 << 20;
/// 1 MB/s each.
const PIECE: usize = 20_000;
const PACE: Duration = Duration::from_millis(20);
/// The flood lasts no longer than it takes to see what has to be seen.
const FLOOD_S: u64 = 45;
const LOOK_S: u64 = 8;

fn past_its_capacity() -> Result<()> {
    let lab = lab()?;
    let one = master(&lab, SYNC)?;
    let two = Router::start_on(&lab, NODES[1], &file(&lab, 1, 200, SYNC))?;
    becomes(&two, "backup")?;
    let before = takeovers(&two)?;
    flooded(&lab, &one)?;
    becomes(&two, "backup")?;
    let now = takeovers(&two)?;
    ensure!(
        now == before,
        "the backup has taken over, {before} times before, now {now}: {}",
        two.log_tail(20)
    );
    two.stop()?;
    one.stop()
}

/// The other director is a Linux host with keepalived, which takes over after three seconds and a little without an advertisement.
fn beside_keepalived() -> Result<()> {
    let lab = lab()?;
    let one = master(&lab, "")?;
    let two = Linux::start(&lab, NODES[1], 200, ADVERTISING.interval_ms)?;
    run::until("keepalived is no backup", 10, || {
        Ok(two.state()? == "backup")
    })?;
    // It would have the address for a moment only: the kernel tells of every one.
    let told = lab.dir.join("twin-addresses");
    let mut monitor = lab
        .on(NODES[1], "ip -o monitor address")
        .stdout(fs::File::create(&told)?)
        .spawn()
        .context("ip monitor")?;
    let went = flooded(&lab, &one).and_then(|()| {
        let state = two.state()?;
        ensure!(state == "backup", "keepalived is {state}");
        let addresses = fs::read_to_string(&told)?;
        ensure!(
            addresses.is_empty(),
            "keepalived has taken over:\n{addresses}"
        );
        // It would have been seen: it takes over from who ends.
        one.stop()?;
        run::until("keepalived does not take over from who ends", 10, || {
            Ok(two.state()? == "master" && fs::read_to_string(&told)?.contains(VIP))
        })
    });
    monitor.kill()?;
    monitor.wait()?;
    went
}

fn lab() -> Result<Lab> {
    let lab = Lab::up(&["--twin"])?;
    let numbers = (0..FILE as u64 / 8).flat_map(u64::to_le_bytes);
    fs::write(lab.dir.join("www/numbers"), numbers.collect::<Vec<u8>>())?;
    Ok(lab)
}

/// A full table refuses what is new for next to nothing: one that does not fill is what new connections are work for.
fn file(lab: &Lab, node: usize, priority: u8, more: &str) -> String {
    let text = file_of(lab, node, priority, ADVERTISING) + WAY_BACK + more;
    text.replace("connections = 100_000", "connections = 1_000_000")
}

fn master<'l>(lab: &'l Lab, more: &str) -> Result<Router<'l>> {
    let one = Router::start_on(lab, NODES[0], &file(lab, 0, 220, more))?;
    becomes(&one, "master")?;
    Ok(one)
}

/// Real downloads go on while the master is flooded past its capacity; it stays master all the time.
fn flooded(lab: &Lab, one: &Router<'_>) -> Result<()> {
    let before = takeovers(one)?;
    let all = Standing::default();
    let to: SocketAddr = format!("{VIP}:80").parse()?;
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| lab.inside("client", || all.go_on(to))))
            .collect();
        let done = overloaded(lab, one, &all);
        all.stop.store(true, Relaxed);
        for client in clients {
            let ended = client.join().ok().context("a client ended badly")?;
            ended.context("a connection that stood is lost")?;
        }
        done
    })?;
    becomes(one, "master")?;
    let now = takeovers(one)?;
    ensure!(
        now == before,
        "the role has changed, {before} times before, now {now}: {}",
        one.log_tail(20)
    );
    Ok(())
}

fn takeovers(router: &Router<'_>) -> Result<u64> {
    let all: Vec<api::Vrrp> = router.ask("vrrp")?;
    Ok(all.first().context("no instance")?.takeovers)
}

/// Downloads that go on all the time, each at a pace of its own.
#[derive(Default)]
struct Standing {
    bytes: AtomicU64,
    stop: AtomicBool,
}

impl Standing {
    /// Until it is told to stop, or the connection is lost, or says something else than the file.
    fn go_on(&self, to: SocketAddr) -> Result<()> {
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut bytes = vec![0; PIECE];
        loop {
            stream.write_all(b"GET /files/numbers HTTP/1.1\r\nHost: vip\r\n\r\n")?;
            skip_head(&mut stream)?;
            let mut at = 0;
            while at < FILE {
                if self.stop.load(Relaxed) {
                    return Ok(());
                }
                let due = Instant::now() + PACE;
                let piece = PIECE.min(FILE - at);
                let bytes = bytes.get_mut(..piece).context("a piece")?;
                stream.read_exact(bytes)?;
                let wanted = (at as u64 / 8..).flat_map(u64::to_le_bytes);
                ensure!(
                    bytes.iter().copied().eq(wanted.take(piece)),
                    "other bytes than the file's from {at} on"
                );
                at += piece;
                self.bytes.fetch_add(piece as u64, Relaxed);
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        }
    }

    /// Megabytes a second, over so long.
    fn rate(&self, seconds: u64) -> f64 {
        let (before, begun) = (self.bytes.load(Relaxed), Instant::now());
        thread::sleep(Duration::from_secs(seconds));
        (self.bytes.load(Relaxed) - before) as f64 / 1e6 / begun.elapsed().as_secs_f64()
    }
}

fn skip_head(stream: &mut TcpStream) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
        ensure!(head.len() < 4000, "no head of an answer");
    }
    ensure!(
        head.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    Ok(())
}

fn flood(lab: &Lab) -> Result<Background> {
    let line = format!(
        "{} flood syn --quiet --to {VIP}:80 --port af_packet:wan --address {ATTACKER} --gateway 198.51.100.2 --rate 5M --seconds {FLOOD_S}",
        router::program("pktgen").display(),
    );
    lab.start("rs3", &line)
}

/// What is counted now.
#[derive(Clone, Copy)]
struct Counted {
    refused: u64,
    dropped: u64,
    begun: u64,
    /// Frames that came in, and those nobody took in time.
    received: u64,
    missed: u64,
}

impl Counted {
    fn now(router: &Router<'_>) -> Result<Self> {
        let ports: Vec<api::Port> = router.ask("ports")?;
        let wan = ports.iter().find(|port| port.name == "wan");
        let stats = &wan.context("the port wan")?.stats;
        Ok(Self {
            refused: router.dropped("overload_new")?,
            dropped: router.dropped("overload_established")?,
            begun: router.service(&format!("{VIP}:80"))?.traffic.connections,
            received: stats.rx_packets,
            missed: stats.rx_missed + stats.rx_no_buffer,
        })
    }
}

fn overloaded(lab: &Lab, router: &Router<'_>, all: &Standing) -> Result<()> {
    thread::sleep(Duration::from_secs(1));
    let alone = all.rate(3);
    ensure!(alone > 0.5, "{alone:.2} MB/s without a flood");
    let attack = flood(lab)?;
    let overload =
        || -> Result<Option<api::Overload>> { Ok(router.ask::<api::Status>("status")?.overload) };
    run::until("it is past its capacity", 15, || Ok(overload()?.is_some()))?;
    // The share that is refused grows for some tenths of a second.
    thread::sleep(Duration::from_secs(2));
    let (before, begun) = (Counted::now(router)?, Instant::now());
    let (under, pings, named) = thread::scope(|scope| {
        // Its own address, which is no service's: control.
        let ping = scope.spawn(|| lab.text("client", "ping -c 30 -i 0.2 -W 2 -q 198.51.100.2", 30));
        let rate = scope.spawn(|| all.rate(LOOK_S));
        // Shares fall while nothing is lost, and grow again: it is past its capacity most of the time, not at each moment.
        let mut named = Vec::new();
        while !rate.is_finished() {
            named.push(router.tarpon("status")?);
            thread::sleep(Duration::from_millis(250));
        }
        let under = rate.join().ok().context("the rate")?;
        let said = ping.join().ok().context("ping")?;
        Ok::<_, anyhow::Error>((under, said?, named))
    })?;
    let (after, seconds) = (Counted::now(router)?, begun.elapsed().as_secs_f64());
    drop(attack);
    let asked = named.len();
    let named: Vec<String> = named
        .into_iter()
        .filter(|shown| shown.contains("past capacity for"))
        .collect();
    let mut lines = named.iter().flat_map(|shown| shown.lines());
    let last = lines.rfind(|line| line.starts_with("overload"));
    let shown = last.unwrap_or("not named").to_owned();
    let per_second = |of: fn(&Counted) -> u64| (of(&after) - of(&before)) as f64 / seconds;
    let answered = pings.lines().find(|line| line.contains("received"));
    let lost = answered.and_then(|line| {
        line.split(", ")
            .find_map(|p| p.strip_suffix("% packet loss"))
    });
    let lost: f64 = lost.context("what ping says")?.parse()?;
    println!(
        "{CLIENTS} downloads: {alone:.2} MB/s alone, {under:.2} while past its capacity; of what came a second {:.0} refused as new, {:.0} begun, \
         {:.0} of what stood dropped, {:.0} lost in the port of {:.0}; {}; named {} times of {asked}:\n{shown}",
        per_second(|c| c.refused),
        per_second(|c| c.begun),
        per_second(|c| c.dropped),
        per_second(|c| c.missed),
        per_second(|c| c.received + c.missed),
        answered.unwrap_or(&pings),
        named.len()
    );
    ensure!(
        named.len() * 4 >= asked && shown.contains("of what is new refused"),
        "named {} times of {asked}: {shown}",
        named.len()
    );
    // What is lost in the port's ring is lost whatever it is, before anybody can look at it.
    ensure!(lost <= 50.0, "{pings}");
    let (refused, dropped) = (
        after.refused - before.refused,
        after.dropped - before.dropped,
    );
    let begun = after.begun - before.begun;
    ensure!(
        refused > 10_000 && refused > 2 * begun,
        "{refused} refused as new, {begun} begun"
    );
    ensure!(
        dropped * 10 < refused,
        "{dropped} packets of what stood dropped, {refused} new ones refused"
    );
    // A machine that shares its cores with the flood's generator carries less of everything.
    ensure!(under > alone / 10.0, "{under:.2} MB/s of {alone:.2}");
    run::until("it is within its capacity again", 20, || {
        Ok(overload()?.is_none())
    })?;
    let events = router.tarpon("events")?;
    for told in ["past its capacity", "within its capacity again"] {
        ensure!(events.contains(told), "{told}: {events}");
    }
    let after = all.rate(3);
    ensure!(after > alone / 4.0, "{after:.2} of {alone:.2} after it");
    Ok(())
}
