//! What is on the segment: ARP and neighbour discovery recorded, and somebody who never stops asking.

use super::{CLIENT, CLIENT6, COUNT, Lab, SERVERS};
use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::Ordering,
    thread::sleep,
    time::Duration,
};

impl Lab {
    /// Record ARP and neighbour discovery sent by a server.
    pub fn capture(&self, server: usize) -> Capture {
        let file = self
            .directory
            .join(format!("capture{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let out = fs::File::create(&file).unwrap();
        let said = file.with_extension("said");
        // Every port of the switch: they come and go with a server's boot, and a bridge shows only what it floods.
        let child = Command::new("ip")
            .args([
                "netns",
                "exec",
                &format!("{}w", self.name),
                "tcpdump",
                "-l",
                "-e",
                "-n",
                "-p",
                "-i",
                "any",
                "--immediate-mode",
            ])
            .arg("arp or (icmp6 and (ip6[40] == 135 or ip6[40] == 136))")
            .stdout(out)
            .stderr(fs::File::create(&said).unwrap())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        // A capture that never began has heard nothing, too.
        let listening = || fs::read_to_string(&said).unwrap().contains("listening on");
        for _ in 0..100 {
            if listening() {
                break;
            }
            sleep(Duration::from_millis(100));
        }
        assert!(
            listening(),
            "tcpdump does not listen: {}",
            fs::read_to_string(&said).unwrap()
        );
        Capture {
            child,
            file,
            source: format!("{} ethertype", SERVERS[server].2),
        }
    }

    /// Somebody on the segment who never stops asking a server for `vips`, to it alone and to all.
    pub fn nag(&self, server: usize, vips: &[&str]) -> Nag {
        let script = self.directory.join("nag.py");
        fs::write(&script, include_str!("nag.py")).unwrap();
        let mut child = Command::new("ip")
            .args(["netns", "exec", &format!("{}c", self.name), "python3"])
            .arg(script)
            .args([CLIENT, CLIENT6, SERVERS[server].2])
            .args(vips)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Silence before anybody asks is no silence.
        let mut said = String::new();
        let out = child.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut said).unwrap();
        assert_eq!(said, "asking\n", "nobody asks");
        Nag(child)
    }
}

pub struct Nag(Child);

impl Drop for Nag {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Capture {
    child: Child,
    file: PathBuf,
    source: String,
}

/// ARP and neighbour discovery on the segment, one frame a line.
pub struct Heard {
    /// What the captured server sent.
    pub sent: Vec<String>,
    all: Vec<String>,
}

impl Heard {
    /// The MACs that said a VIP is theirs.
    pub fn claimants(&self, vip: &str) -> BTreeSet<String> {
        naming(&self.all, vip)
            .into_iter()
            .filter(|f| {
                f.contains(&format!("Reply {vip} is-at"))
                    || f.contains(&format!("neighbor advertisement, tgt is {vip}"))
            })
            .filter_map(|f| {
                f.split_whitespace()
                    .find(|w| w.len() == 17 && w.matches(':').count() == 5)
                    .map(str::to_owned)
            })
            .collect()
    }
}

impl Capture {
    /// Waits a moment for the last frames.
    pub fn stop(mut self) -> Heard {
        sleep(Duration::from_millis(400));
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.so_far()
    }

    /// What was heard until now.
    pub fn so_far(&self) -> Heard {
        let all: Vec<String> = fs::read_to_string(&self.file)
            .unwrap()
            .lines()
            .filter(|l| !l.contains(" Out "))
            .map(str::to_owned)
            .collect();
        let sent = all
            .iter()
            .filter(|l| l.contains(&self.source))
            .cloned()
            .collect();
        Heard { sent, all }
    }
}

/// Frames that name an address (`10.7.0.10` is not in `10.7.0.100`).
pub fn naming<'a>(frames: &'a [String], address: &str) -> Vec<&'a String> {
    frames
        .iter()
        .filter(|f| {
            f.split(|c: char| c.is_whitespace() || c == ',')
                .any(|w| w == address)
        })
        .collect()
}
