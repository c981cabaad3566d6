//! Clients of the virtual address that must not notice a takeover: idle connections, downloads under way, requests one after the other.

use crate::{lab::Lab, sync::Held, takeover::VIP};
use anyhow::{Context, Result, ensure};
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// What every real server serves for the downloads.
pub const FILE: &str = "long";
/// Its megabytes.
pub const MEGABYTES: u32 = 64;

/// How long something that was asked may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connections that were asked something before a takeover and are asked again after it.
pub struct Idle {
    held: Vec<Held>,
    wanted: usize,
}

impl Idle {
    /// `wanted` of them, all of which are missing.
    pub const fn new(wanted: usize) -> Self {
        Self {
            held: Vec::new(),
            wanted,
        }
    }

    /// Opens those that are missing.
    pub fn fill(&mut self, lab: &Lab) -> Result<()> {
        let (held, wanted) = (&mut self.held, self.wanted);
        lab.inside("client", || {
            let mut failures = 0;
            while held.len() < wanted {
                let source = Ipv4Addr::new(198, 51, 100, 100 + u8::try_from(held.len() % 4)?);
                let opened = Held::open_from(source).and_then(|mut connection| {
                    connection.ask("/")?;
                    Ok(connection)
                });
                match opened {
                    Ok(connection) => held.push(connection),
                    // It may have met a takeover.
                    Err(_) if failures < 10 => failures += 1,
                    Err(error) => {
                        return Err(error.context("an idle connection cannot be opened"));
                    }
                }
            }
            Ok(())
        })
    }

    /// Asks each again; how many answered, and what became of the others.
    pub fn ask(&mut self) -> (u64, Vec<String>) {
        let mut gone = Vec::new();
        let mut keep = |what: Result<()>| {
            let lost = what.map_err(|error| gone.push(format!("an idle connection: {error:#}")));
            lost.is_ok()
        };
        // For all together: where the new director knows nothing of them, nobody may answer at all.
        let many = u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        self.held
            .retain_mut(|connection| keep(connection.request("/")));
        let deadline = Instant::now() + PATIENCE + many * Duration::from_micros(200);
        self.held
            .retain_mut(|connection| keep(connection.answer_until(deadline).map(drop)));
        (self.held.len() as u64, gone)
    }
}

/// Something a client does again and again.
#[derive(Default)]
pub struct Work {
    /// Bytes, or answers, so far.
    pub progress: AtomicU64,
    /// Connections that broke.
    pub broken: AtomicU64,
    /// Of the download under way: since when its connection is open.
    opened: Mutex<Option<Instant>>,
    /// Why the last one broke.
    why: Mutex<String>,
    /// The connection under way is to be given up: nothing comes on it any more.
    give_up: AtomicBool,
}

impl Work {
    /// Downloads one after the other, slowly, until `stop`.
    pub fn download(&self, lab: &Lab, stop: &AtomicBool) -> Result<()> {
        lab.inside("client", || {
            while !stop.load(Ordering::Relaxed) {
                if let Err(error) = self.one_download(stop) {
                    let age = self.age().unwrap_or_default();
                    let why = format!("a download that was open for {age:.1?}: {error:#}");
                    *self.why.lock().expect("no panic holds it") = why;
                    self.broken.fetch_add(1, Ordering::Release);
                    thread::sleep(Duration::from_millis(100));
                }
            }
            Ok(())
        })
    }

    /// For how long the connection of the download under way has been open.
    pub fn age(&self) -> Option<Duration> {
        let opened = *self.opened.lock().expect("no panic holds it");
        opened.map(|at| at.elapsed())
    }

    /// Why the last download broke.
    pub fn why(&self) -> String {
        self.why.lock().expect("no panic holds it").clone()
    }

    /// The bytes of the download under way, and how many broke before it.
    pub fn course(&self) -> (u64, u64) {
        let broken = self.broken.load(Ordering::Acquire);
        (self.progress.load(Ordering::Relaxed), broken)
    }

    /// Whether the download that was under way at `before` goes on. One that does not is given up, and the next begun.
    pub fn goes_on(&self, before: (u64, u64)) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (bytes, broken) = self.course();
            if broken != before.1 {
                return false;
            }
            if bytes != before.0 {
                return true;
            }
            if Instant::now() >= deadline {
                self.give_up.store(true, Ordering::Relaxed);
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn one_download(&self, stop: &AtomicBool) -> Result<()> {
        *self.opened.lock().expect("no panic holds it") = None;
        let mut stream = connect()?;
        *self.opened.lock().expect("no panic holds it") = Some(Instant::now());
        self.give_up.store(false, Ordering::Relaxed);
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        write!(stream, "GET /files/{FILE} HTTP/1.0\r\n\r\n")?;
        let mut bytes = vec![0; 64 * 1024];
        let mut all = 0;
        while !stop.load(Ordering::Relaxed) {
            let n = match stream.read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ensure!(!self.give_up.load(Ordering::Relaxed), "nothing comes");
                    continue;
                }
                read => read?,
            };
            if n == 0 {
                ensure!(
                    all > u64::from(MEGABYTES) << 20,
                    "it ended after {all} bytes"
                );
                return Ok(());
            }
            all += n as u64;
            self.progress.fetch_add(n as u64, Ordering::Relaxed);
            // So that it lasts.
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Requests one after the other, each on a connection of its own, until `stop`.
    pub fn request(&self, lab: &Lab, stop: &AtomicBool) -> Result<()> {
        lab.inside("client", || {
            while !stop.load(Ordering::Relaxed) {
                let what = match one_request() {
                    Ok(()) => &self.progress,
                    Err(_) => &self.broken,
                };
                what.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        })
    }
}

fn connect() -> Result<TcpStream> {
    let to: SocketAddr = format!("{VIP}:80").parse()?;
    // Longer than a SYN takes to be sent again.
    let stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(stream)
}

fn one_request() -> Result<()> {
    let mut stream = connect()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("its answer")?;
    ensure!(answer.contains("200 OK"), "{answer}");
    Ok(())
}
