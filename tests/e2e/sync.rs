//! Connections that survive a takeover, between two Tarpons: idle ones, ones opened before the other director was there, and a
//! download under way.

use crate::{
    lab::{Lab, router::Router, run, runner::Case},
    takeover::{NODES, VIP, becomes, file},
};
use anyhow::{Context, Result, ensure};
use rustix::net::{
    self,
    sockopt::{Timeout, set_socket_timeout},
};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("sync::connections_survive_a_kill_and_a_return", survive),
        Case::new("sync::what_began_with_a_cookie_survives", cookies),
        Case::new("sync::daemons_of_ipvsadm", daemons),
    ]
}

pub const SYNC: &str = "[sync]\nrole = \"vrrp\"\ninterface = \"lan\"\n";

fn with_sync(lab: &Lab, node: usize, priority: u8) -> String {
    file(lab, node, priority) + SYNC
}

/// A connection of the client's that is kept open.
pub struct Held(BufReader<TcpStream>);

impl Held {
    pub fn open(lab: &Lab) -> Result<Self> {
        let to: SocketAddr = format!("{VIP}:80").parse()?;
        lab.inside("client", || {
            let stream = TcpStream::connect_timeout(&to, Duration::from_secs(2))?;
            stream.set_read_timeout(Some(Duration::from_secs(4)))?;
            Ok(Self(BufReader::new(stream)))
        })
    }

    /// As [`Held::open`], in a thread that is on the client's node, from one of its addresses: each has ports of its own.
    pub fn open_from(source: Ipv4Addr) -> Result<Self> {
        let to: SocketAddr = format!("{VIP}:80").parse()?;
        let socket = net::socket(net::AddressFamily::INET, net::SocketType::STREAM, None)?;
        let patience = Some(Duration::from_secs(4));
        for which in [Timeout::Send, Timeout::Recv] {
            set_socket_timeout(&socket, which, patience)?;
        }
        net::bind(&socket, &SocketAddr::new(source.into(), 0))?;
        net::connect(&socket, &to)?;
        // There are many.
        let read = BufReader::with_capacity(512, TcpStream::from(socket));
        Ok(Self(read))
    }

    /// A request, and its answer.
    pub fn ask(&mut self, path: &str) -> Result<usize> {
        self.request(path)?;
        self.answer()
    }

    /// A request, whose answer is not waited for.
    pub fn request(&mut self, path: &str) -> Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: vip\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes())?;
        Ok(())
    }

    /// Its answer, until then at the latest.
    pub fn answer_until(&mut self, deadline: Instant) -> Result<usize> {
        let left = deadline.saturating_duration_since(Instant::now());
        let stream = self.0.get_ref();
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        self.answer()
    }

    fn answer(&mut self) -> Result<usize> {
        let mut body = vec![0; self.headers()?];
        self.0.read_exact(&mut body)?;
        Ok(body.len())
    }

    /// The answer's headers; the length of what follows.
    fn headers(&mut self) -> Result<usize> {
        let (mut line, mut len, mut first) = (String::new(), 0, true);
        loop {
            line.clear();
            ensure!(self.0.read_line(&mut line)? > 0, "it was closed");
            if first {
                ensure!(line.contains("200 OK"), "{line}");
                first = false;
            }
            let lower = line.to_ascii_lowercase();
            if let Some(n) = lower.strip_prefix("content-length:") {
                len = n.trim().parse()?;
            }
            if line == "\r\n" {
                return Ok(len);
            }
        }
    }

    /// The answer, as a client reads it that takes some seconds; how much of it there is meanwhile stands in `progress`.
    fn answer_slowly(&mut self, progress: &AtomicUsize) -> Result<Vec<u8>> {
        let mut body = vec![0; self.headers()?];
        // A takeover within it takes as long as it takes.
        let stream = self.0.get_ref();
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        for chunk in body.chunks_mut(PIECE) {
            self.0.read_exact(chunk)?;
            progress.fetch_add(chunk.len(), Relaxed);
            thread::sleep(Duration::from_millis(20));
        }
        Ok(body)
    }
}

/// What a slow client reads at a time.
const PIECE: usize = 1 << 18;

pub fn status(router: &Router<'_>) -> Result<api::Sync> {
    let sync: Option<api::Sync> = router.ask("sync")?;
    sync.context("nothing is synchronised")
}

fn told_everything(router: &Router<'_>) -> Result<()> {
    run::until("the director is not told everything", 10, || {
        Ok(status(router)?.told_everything)
    })
    .with_context(|| router.log_tail(15))
}

fn survive() -> Result<()> {
    let lab = Lab::up(&["--twin"])?;
    let megabytes = 64;
    lab.publish("long", megabytes)?;
    let one = Router::start_on(&lab, NODES[0], &with_sync(&lab, 0, 220))?;
    becomes(&one, "master")?;
    let mut held = Vec::new();
    for _ in 0..20 {
        let mut connection = Held::open(&lab)?;
        connection.ask("/")?;
        held.push(connection);
    }
    // These the other has only because it is told everything when it comes.
    let two = Router::start_on(&lab, NODES[1], &with_sync(&lab, 1, 200))?;
    becomes(&two, "backup")?;
    told_everything(&two)?;
    // And these only because they are told as they come.
    for _ in 0..20 {
        let mut connection = Held::open(&lab)?;
        connection.ask("/")?;
        held.push(connection);
    }
    let never_used = Held::open(&lab)?;
    let mut download = Held::open(&lab)?;
    download
        .0
        .get_mut()
        .write_all(b"GET /files/long HTTP/1.1\r\nHost: vip\r\n\r\n")?;
    run::until(
        "the other director has not all active connections",
        5,
        || {
            let peers = status(&one)?.peers;
            Ok(peers.iter().any(|p| p.complete_percent == Some(100.0)))
        },
    )?;
    let killed = one.kill()?;
    becomes(&two, "master")?;
    let len = download.answer().context("the download under way")?;
    ensure!(
        len == megabytes as usize * 1_000_000 || len == megabytes as usize * 1_048_576,
        "{len} bytes"
    );
    held.push(never_used);
    for (number, connection) in held.iter_mut().enumerate() {
        connection
            .ask("/")
            .with_context(|| format!("connection {number} after the master was killed"))?;
    }
    // The better one comes back, is told everything, and only then takes over.
    let one = Router::start_after(&lab, NODES[0], &with_sync(&lab, 0, 220), killed)?;
    becomes(&one, "master")?;
    becomes(&two, "backup")?;
    run::until("nobody asked for the connections", 3, || {
        let counters = status(&two)?.counters;
        Ok(counters.contains_key("asked_for_everything"))
    })?;
    for (number, connection) in held.iter_mut().enumerate() {
        connection
            .ask("/")
            .with_context(|| format!("connection {number} after the master came back"))?;
    }
    one.stop()?;
    two.stop()
}

/// The master has answered every client's SYN itself, and changes sequence numbers, timestamps and windows in each packet since. It is
/// killed while one downloads: the other director, which has made up none of them, has to change them just so.
fn cookies() -> Result<()> {
    let lab = Lab::up(&["--twin"])?;
    lab.publish("long", 48)?;
    let sent = fs::read(lab.dir.join("www/long"))?;
    let text = |node, priority| {
        with_sync(&lab, node, priority).replace(
            "method = \"masq\"\n",
            "method = \"masq\"\nsyn_cookies = \"on\"\n",
        )
    };
    let one = Router::start_on(&lab, NODES[0], &text(0, 220))?;
    becomes(&one, "master")?;
    let open = |n: usize| -> Result<Vec<Held>> {
        let mut all = Vec::new();
        for _ in 0..n {
            let mut connection = Held::open(&lab)?;
            connection.ask("/")?;
            all.push(connection);
        }
        Ok(all)
    };
    let mut held = open(10)?;
    let two = Router::start_on(&lab, NODES[1], &text(1, 200))?;
    becomes(&two, "backup")?;
    told_everything(&two)?;
    held.extend(open(10)?);
    let mut download = Held::open(&lab)?;
    download.request("/files/long")?;
    let progress = AtomicUsize::new(0);
    let before = |bytes| {
        run::until("the download does not go on", 20, || {
            Ok(progress.load(Relaxed) > bytes)
        })
    };
    let (came, at_kill, at_takeover) = thread::scope(|scope| {
        let slowly = scope.spawn(|| download.answer_slowly(&progress));
        before(4 * PIECE)?;
        run::until(
            "the other director has not all active connections",
            5,
            || {
                let peers = status(&one)?.peers;
                Ok(peers.iter().any(|p| p.complete_percent == Some(100.0)))
            },
        )?;
        let accepted = one.dropped("syn_cookie_accepted")?;
        ensure!(
            accepted == 21,
            "{accepted} of 21 connections began with a cookie"
        );
        let at_kill = progress.load(Relaxed);
        one.kill()?;
        becomes(&two, "master")?;
        let at_takeover = progress.load(Relaxed);
        let came = slowly
            .join()
            .map_err(|_| anyhow::anyhow!("the client panicked"))?;
        anyhow::Ok((came?, at_kill, at_takeover))
    })
    .context("the download under way")?;
    ensure!(
        at_takeover < sent.len(),
        "it was over before the other director took it"
    );
    eprintln!(
        "{at_kill} of {} bytes before the kill, {at_takeover} when the other was master",
        sent.len()
    );
    ensure!(came == sent, "what came is not what was sent");
    for (number, connection) in held.iter_mut().enumerate() {
        connection
            .ask("/")
            .with_context(|| format!("connection {number} after the master was killed"))?;
    }
    // And it answers SYNs itself now.
    open(5)?;
    let accepted = two.dropped("syn_cookie_accepted")?;
    ensure!(
        accepted == 5,
        "{accepted} of 5 new connections began with a cookie"
    );
    two.stop()
}

/// The daemons as ipvsadm starts, lists and stops them; the words are those of Linux 6.1.
fn daemons() -> Result<()> {
    let lab = Lab::up(&["--twin"])?;
    let one = Router::start_on(&lab, NODES[0], &file(&lab, 0, 220))?;
    let expect = |line: &str, code: i32, out: &str| -> Result<()> {
        let ended = one.cli(&format!("ipvsadm {line}"))?;
        let text = format!("{}{}", ended.stdout, ended.stderr);
        ensure!(
            ended.code == Some(code) && text == out,
            "{line}: {:?} {text:?}",
            ended.code
        );
        Ok(())
    };
    let line = |role: &str| {
        format!(
            "{role} sync daemon (mcast=lan, syncid=3, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)\n"
        )
    };
    expect("--stop-daemon master", 255, "No daemon is running\n")?;
    expect("-L --daemon", 0, "")?;
    expect(
        "--start-daemon master --mcast-interface lan --syncid 3",
        0,
        "",
    )?;
    expect(
        "--start-daemon master --mcast-interface lan",
        255,
        "Daemon has already run\n",
    )?;
    let runs = || Ok(status(&one).is_ok());
    run::until("the daemon does not run", 5, runs)?;
    expect("-L --daemon", 0, &line("master"))?;
    expect(
        "--start-daemon backup --mcast-interface lan --syncid 3",
        0,
        "",
    )?;
    run::until("the other daemon does not run", 5, || {
        Ok(status(&one)?.role == "both")
    })?;
    expect("-l --daemon", 0, &(line("master") + &line("backup")))?;
    expect("--stop-daemon master", 0, "")?;
    expect("--stop-daemon backup", 0, "")?;
    expect(
        "--start-daemon master --syncid 256",
        2,
        "illegal syncid specified\n",
    )?;
    expect(
        "--start-daemon master --mcast-ttl 0",
        2,
        "illegal mcast-ttl specified\n",
    )?;
    expect(
        "--start-daemon master --mcast-group 10.0.0.1",
        2,
        "invalid IPv4 mcast-group `10.0.0.1'\n",
    )?;
    one.stop()
}
