//! Clients of the virtual address that must not notice a takeover: idle connections, downloads under way, requests one after the other.

use crate::{lab::Lab, sync::Held, takeover::VIP};
use anyhow::{Context, Result, ensure};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

/// What every real server serves for the downloads.
pub const FILE: &str = "long";
/// Its megabytes.
pub const MEGABYTES: u32 = 64;

/// Connections that were asked something before a takeover and are asked again after it.
pub struct Idle {
    held: Vec<Held>,
    wanted: usize,
}

impl Idle {
    /// `wanted` of them.
    pub fn open(lab: &Lab, wanted: usize) -> Result<Self> {
        let mut idle = Self {
            held: Vec::new(),
            wanted,
        };
        idle.fill(lab)?;
        Ok(idle)
    }

    /// Opens those that are missing.
    pub fn fill(&mut self, lab: &Lab) -> Result<()> {
        while self.held.len() < self.wanted {
            let mut connection = Held::open(lab)?;
            connection.ask("/")?;
            self.held.push(connection);
        }
        Ok(())
    }

    /// Asks each again; how many answered and how many are gone.
    pub fn ask(&mut self) -> (u64, u64) {
        let before = self.held.len();
        self.held
            .retain_mut(|connection| connection.ask("/").is_ok());
        let left = self.held.len();
        (left as u64, (before - left) as u64)
    }
}

/// Something a client does again and again.
#[derive(Default)]
pub struct Work {
    /// Bytes, or answers, so far.
    pub progress: AtomicU64,
    /// Connections that broke.
    pub broken: AtomicU64,
}

impl Work {
    /// Downloads one after the other, slowly, until `stop`.
    pub fn download(&self, lab: &Lab, stop: &AtomicBool) -> Result<()> {
        lab.inside("client", || {
            while !stop.load(Ordering::Relaxed) {
                if self.one_download(stop).is_err() {
                    self.broken.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(100));
                }
            }
            Ok(())
        })
    }

    fn one_download(&self, stop: &AtomicBool) -> Result<()> {
        let mut stream = connect()?;
        write!(stream, "GET /files/{FILE} HTTP/1.0\r\n\r\n")?;
        let mut bytes = vec![0; 64 * 1024];
        let mut all = 0;
        while !stop.load(Ordering::Relaxed) {
            let n = stream.read(&mut bytes)?;
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
