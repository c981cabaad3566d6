//! Whether the real servers stay hidden: everything the client's wire carries that could tell of them is kept, and none of it may
//! have an address of theirs, in a header, an ICMP error's quotation or a line of FTP.

use super::{Lab, run};
use anyhow::{Context, Result, bail, ensure};
use std::{
    fs,
    path::PathBuf,
    process::{Child, Stdio},
    thread,
    time::Duration,
};

/// What may carry an address beside the headers, and what has a server's in them.
const FILTER: &str =
    "icmp or icmp6 or tcp port 21 or net 10.0.0.0/8 or net 2001:db8:2::/64 or net 2001:db8:9::/64";
/// No server's: a packet to it shows that the capture runs.
const CANARY: [u8; 4] = [10, 255, 255, 253];

/// A capture on the client's wire.
pub struct Watch<'a> {
    lab: &'a Lab,
    capture: Child,
    file: PathBuf,
}

impl<'a> Watch<'a> {
    /// Begins, and waits until it captures.
    pub fn begin(lab: &'a Lab) -> Result<Self> {
        let file = lab.dir.join("hidden.pcapng");
        let line = format!("dumpcap -q -i wan -w {} -f", file.display());
        let capture = lab
            .on("client", &line)
            .arg(FILTER)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting dumpcap (package tshark)")?;
        let watch = Self { lab, capture, file };
        watch.sing(0)?;
        Ok(watch)
    }

    /// Sends the canary until the capture has more than `seen` of it.
    fn sing(&self, seen: usize) -> Result<()> {
        run::until("dumpcap does not capture", 10, || {
            let canary = CANARY.map(|byte| byte.to_string()).join(".");
            let ping = format!("ping -c 1 -W 0.05 {canary}");
            run::end(&mut self.lab.on("client", &ping), 5)?;
            thread::sleep(Duration::from_millis(50));
            Ok(count(&self.bytes(), &CANARY) > seen)
        })
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.file).unwrap_or_default()
    }

    /// Ends it; fails if an address of a real server's was to be seen.
    pub fn end(self) -> Result<()> {
        self.sing(count(&self.bytes(), &CANARY))?;
        let bytes = self.bytes();
        for n in 1..=3u8 {
            for address in [[10, 1, 0, 10 + n], [10, 9, 0, 10 + n], [10, 1, 0, 254]] {
                let text = address.map(|byte| byte.to_string());
                self.lacks(&bytes, &address, &text.join("."))?;
                self.lacks(&bytes, text.join(".").as_bytes(), "its text")?;
                self.lacks(&bytes, text.join(",").as_bytes(), "its text")?;
            }
            for net in [2, 9] {
                let mut address = [0; 16];
                address[..6].copy_from_slice(&[0x20, 1, 0x0d, 0xb8, 0, net]);
                address[15] = 0x10 + n;
                self.lacks(&bytes, &address, &format!("2001:db8:{net}::1{n}"))?;
                let text = format!("2001:db8:{net}::1{n}");
                self.lacks(&bytes, text.as_bytes(), "its text")?;
            }
        }
        Ok(())
    }

    fn lacks(&self, bytes: &[u8], address: &[u8], name: &str) -> Result<()> {
        if count(bytes, address) == 0 {
            return Ok(());
        }
        let line = format!("tshark -r {}", self.file.display());
        let shown = run::text(&mut self.lab.on("client", &line), 30)?;
        bail!("a client was shown a real server's address ({name}):\n{shown}")
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.capture.kill();
        let _ = self.capture.wait();
    }
}

fn count(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).filter(|w| *w == wanted).count()
}

/// Runs `body` under watch.
pub fn hidden(lab: &Lab, body: impl FnOnce() -> Result<()>) -> Result<()> {
    let watch = Watch::begin(lab)?;
    body()?;
    watch.end()
}

/// The watch sees what it is there for: a packet with a server's address makes it fail.
pub fn proves_itself(lab: &Lab) -> Result<()> {
    let watch = Watch::begin(lab)?;
    run::end(&mut lab.on("client", "ping -c 1 -W 0.1 10.1.0.11"), 5)?;
    let found = watch.end();
    ensure!(
        found.is_err(),
        "a ping to a real server was not seen on the client's wire"
    );
    Ok(())
}
