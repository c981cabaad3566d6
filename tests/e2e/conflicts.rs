//! Two masters, each on its side of links that were cut between them, and what stations hear when the links are whole again; and how long who
//! takes over a thousand addresses takes to announce them. A capture on a station tells, by the kernel's clock.

use crate::{
    lab::{Background, Lab, clients, raw::Raw, router::Router, run, runner::Case},
    takeover::{NODES, VIP, becomes, file},
};
use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("conflicts::a_cut_between_directors_and_its_end", cut),
        Case::new("conflicts::a_thousand_addresses", thousand),
    ]
}

/// A frame a station has heard.
struct Heard {
    /// Seconds of its clock.
    at: f64,
    /// Whose MAC it came from.
    mac: String,
    what: What,
}

enum What {
    /// An advertisement, with its priority.
    Advertisement(u8),
    /// Somebody says where an address is: unasked for, or not.
    Says { address: String, unasked: bool },
}

/// What comes to the client on its public link, until it is asked for.
struct Capture<'l> {
    lab: &'l Lab,
    running: Background,
    path: PathBuf,
}

impl<'l> Capture<'l> {
    fn start(lab: &'l Lab, name: &str) -> Result<Self> {
        let path = lab.dir.join(name);
        // A thousand announcements may wait for a busy machine.
        let line = format!(
            "dumpcap -q -i wan -B 16 -w {} -f (arp)||(vrrp)",
            path.display()
        );
        let running = lab.start("client", &line)?;
        run::until("nothing is captured", 10, || Ok(path.exists()))?;
        thread::sleep(Duration::from_millis(400));
        Ok(Self { lab, running, path })
    }

    fn end(mut self) -> Result<Vec<Heard>> {
        let pid = Pid::from_raw(i32::try_from(self.running.pid())?).context("no process")?;
        kill_process(pid, Signal::INT)?;
        run::until("the capture does not end", 10, || self.running.has_ended())?;
        let line = format!(
            "tshark -n -r {} -T fields -E separator=; -e frame.time_epoch -e eth.src -e vrrp.prio -e arp.opcode -e arp.src.proto_ipv4 -e \
             arp.dst.proto_ipv4",
            self.path.display()
        );
        let text = self.lab.text("client", &line, 60)?;
        Ok(text.lines().filter_map(heard).collect())
    }
}

fn heard(line: &str) -> Option<Heard> {
    let fields: Vec<&str> = line.split(';').collect();
    let [at, mac, priority, opcode, source, target] = fields[..] else {
        return None;
    };
    let unasked = source == target;
    let what = match (priority.parse(), opcode) {
        (Ok(priority), _) => What::Advertisement(priority),
        // A question that is no announcement says nothing of a virtual address.
        (_, "1") if !unasked => return None,
        (_, "1" | "2") => What::Says {
            address: source.to_owned(),
            unasked,
        },
        _ => return None,
    };
    Some(Heard {
        at: at.parse().ok()?,
        mac: mac.to_owned(),
        what,
    })
}

impl Heard {
    fn says(&self, wanted: &str) -> bool {
        matches!(&self.what, What::Says { address, .. } if address == wanted)
    }

    fn announces(&self, wanted: &str) -> bool {
        matches!(&self.what, What::Says { address, unasked: true } if address == wanted)
    }

    /// An advertisement, for who reads what went wrong.
    fn word(&self) -> Option<String> {
        match self.what {
            What::Advertisement(priority) => {
                Some(format!("{:.4} {} {priority}", self.at, self.mac))
            }
            What::Says { .. } => None,
        }
    }

    fn gives_up(&self) -> bool {
        matches!(self.what, What::Advertisement(0))
    }
}

/// Cuts the links between the directors, and no other; or mends them.
fn apart(lab: &Lab, cut: bool) -> Result<()> {
    let word = if cut { "on" } else { "off" };
    for switch in ["wan", "lan"] {
        for node in NODES {
            let line = format!("bridge link set dev {node}-{switch} isolated {word}");
            lab.text(switch, &line, 5)?;
        }
    }
    Ok(())
}

/// Asks who has the address, a thousand times a second, until `stop`; how often is counted in `asked`.
fn ask(lab: &Lab, asked: &AtomicUsize, stop: &AtomicBool) -> Result<()> {
    let raw = Raw::open(lab, "client", "wan")?;
    let mac = lab.mac("client", "wan")?;
    let mac: Vec<u8> = mac
        .split(':')
        .filter_map(|part| u8::from_str_radix(part, 16).ok())
        .collect();
    let vip: std::net::Ipv4Addr = VIP.parse()?;
    let own = [198, 51, 100, 100];
    let mut frame = vec![0xff; 6];
    frame.extend(&mac);
    frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(&mac);
    frame.extend(own);
    frame.extend([0; 6]);
    frame.extend(vip.octets());
    while !stop.load(Ordering::Relaxed) {
        raw.send(&frame)?;
        asked.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Both are master while the links between them are cut. When these are whole, whoever hears of the other first: the loser says that it gives
/// up and not another word, and then the winner announces the addresses.
fn cut() -> Result<()> {
    let lab = Lab::up(&["--twin"])?;
    let place = |name: &str| lab.dir.join(name).display().to_string();
    let (script, noted) = (place("again.sh"), place("again"));
    fs::write(&script, format!("#!/bin/sh\necho \"$*\" >>{noted}\n"))?;
    fs::write(&noted, "")?;
    run::text(Command::new("chmod").args(["0777", &script, &noted]), 5)?;
    let text = |node, priority| {
        file(&lab, node, priority)
            + &format!(
                "\n[[vrrp_notify]]\nrouter = 'lvs'\nnotify_master_rx_lower_pri = ['{script}', 'there is another']\n"
            )
    };
    let one = Router::start_on(&lab, NODES[0], &text(0, 220))?;
    becomes(&one, "master")?;
    let two = Router::start_on(&lab, NODES[1], &text(1, 200))?;
    becomes(&two, "backup")?;
    let [winner, loser] = [lab.mac(NODES[0], "wan")?, lab.mac(NODES[1], "wan")?];
    // The winner may hear the loser first, or the loser the winner: as it falls.
    let (mut by_winner, mut by_loser) = (0, 0);
    for round in 0..40 {
        apart(&lab, true)?;
        becomes(&two, "master")?;
        // No sooner than stations have heard the loser last.
        thread::sleep(Duration::from_millis(300 + 17 * round));
        let before = conflicts(&one)?;
        let capture = Capture::start(&lab, &format!("cut-{round}.pcapng"))?;
        let (asked, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let mended = thread::scope(|scope| {
            let asking = scope.spawn(|| ask(&lab, &asked, &stop));
            let mended = run::until(
                "nobody asks",
                10,
                || Ok(asked.load(Ordering::Relaxed) > 100),
            )
            .and_then(|()| apart(&lab, false))
            .and_then(|()| becomes(&two, "backup"))
            .and_then(|()| becomes(&one, "master"));
            // What the kernel has for the capture reaches it in its own time.
            thread::sleep(Duration::from_millis(600));
            stop.store(true, Ordering::Relaxed);
            asking
                .join()
                .map_err(|_| anyhow::anyhow!("who asks panicked"))??;
            mended
        });
        let all = capture.end()?;
        mended?;
        match conflicts(&one)? > before {
            true => by_winner += 1,
            false => by_loser += 1,
        }
        let answered = all.iter().filter(|f| f.mac == loser && f.says(VIP)).count();
        ensure!(
            answered > 3,
            "the loser answered {answered} times while it was master: nothing is tried"
        );
        let end = all.iter().rposition(|f| f.mac == loser && f.gives_up());
        let end = end.with_context(|| {
            let words: Vec<String> = all.iter().filter_map(Heard::word).collect();
            format!(
                "the loser, {loser}, does not say that it gives up:\n{}\n{}",
                words.join("\n"),
                two.log_tail(10)
            )
        })?;
        let after = &all[end + 1..];
        let more = after.iter().filter(|f| f.mac == loser).count();
        ensure!(
            more == 0,
            "the loser said {more} things after it had given up"
        );
        let again = after
            .iter()
            .find(|f| f.mac == winner && f.announces(VIP))
            .with_context(|| {
                format!(
                    "the winner does not announce again: {} frames, {by_winner} and {by_loser}",
                    after.len()
                )
            })?;
        println!(
            "announced again {:.1} ms after the other gave up; conflicts heard: {}",
            (again.at - all[end].at) * 1e3,
            conflicts(&one)? - before
        );
        clients::get(&lab, &format!("{VIP}:80"), "")?;
        if by_winner >= 2 && by_loser >= 2 {
            break;
        }
    }
    ensure!(
        by_winner > 0 && by_loser > 0,
        "{by_winner} times the winner heard the other, {by_loser} times only the loser did"
    );
    let events = one.tarpon("events")?;
    ensure!(
        events.contains("198.51.100.3 says that it is master, too"),
        "{events}"
    );
    let said = || Ok(fs::read_to_string(&noted)?.contains("there is another"));
    run::until("no program was run", 5, said)?;
    two.stop()?;
    one.stop()
}

/// How often a worse master was heard.
fn conflicts(router: &Router<'_>) -> Result<u64> {
    let all: Vec<api::Vrrp> = router.ask("vrrp")?;
    let counts = all.iter().filter_map(|v| v.counters.get("conflicts"));
    Ok(counts.sum())
}

/// Addresses beside the one that is advertised.
const MANY: usize = 1000;

/// All are announced within 50 ms, and paced.
fn thousand() -> Result<()> {
    let lab = Lab::up(&["--twin"])?;
    let address = |n: usize| format!("100.64.{}.{}", n / 250, n % 250 + 1);
    let all: Vec<String> = (0..MANY).map(|n| format!("\"{}\"", address(n))).collect();
    let one_of = format!("virtual_ipaddress = [\"{VIP}\"]\n");
    let more = format!(
        "{one_of}virtual_ipaddress_excluded = [{}]\n",
        all.join(", ")
    );
    let text = |node, priority| file(&lab, node, priority).replacen(&one_of, &more, 1);
    let mut one = Router::start_on(&lab, NODES[0], &text(0, 220))?;
    becomes(&one, "master")?;
    let two = Router::start_on(&lab, NODES[1], &text(1, 200))?;
    becomes(&two, "backup")?;
    let loaded = lab.mac(NODES[1], "wan")?;
    // A machine that is busy with other things may take the time of one, or of two.
    let mut best = f64::MAX;
    for round in 0..3 {
        let capture = Capture::start(&lab, &format!("many-{round}.pcapng"))?;
        let killed = one.kill()?;
        becomes(&two, "master")?;
        thread::sleep(Duration::from_millis(500));
        let all = capture.end()?;
        let mut first: BTreeMap<&str, f64> = BTreeMap::new();
        for frame in all.iter().filter(|frame| frame.mac == loaded) {
            if let What::Says { address, .. } = &frame.what {
                first.entry(address).or_insert(frame.at);
            }
        }
        let missing = (0..MANY).filter(|n| !first.contains_key(address(*n).as_str()));
        ensure!(
            missing.clone().count() == 0,
            "not announced: {:?}",
            missing.collect::<Vec<_>>()
        );
        let begun = first.values().copied().fold(f64::MAX, f64::min);
        let ended = first.values().copied().fold(f64::MIN, f64::max);
        let said = all.iter().find_map(|f| {
            let first_word =
                f.mac == loaded && matches!(f.what, What::Advertisement(priority) if priority > 0);
            first_word.then_some(f.at)
        });
        let said = said.context("no advertisement of the new master's")?;
        let half = first
            .values()
            .filter(|at| **at < begun + (ended - begun) / 2.0);
        let half = half.count();
        println!(
            "{MANY} addresses announced within {:.1} ms, the first {:.2} ms after the first advertisement; {half} in half of that time",
            (ended - begun) * 1e3,
            (begun - said) * 1e3
        );
        best = best.min(ended - begun);
        one = Router::start_after(&lab, NODES[0], &text(0, 220), killed)?;
        becomes(&one, "master")?;
        becomes(&two, "backup")?;
        // Not in one go: that would be the flood a switch drops.
        if best < 0.05 && (0.01..0.05).contains(&(ended - begun)) && half < MANY * 3 / 4 {
            break;
        }
    }
    ensure!(best < 0.05, "announced within {:.1} ms", best * 1e3);
    ensure!(
        best > 0.01,
        "a thousand at once: within {:.1} ms",
        best * 1e3
    );
    two.stop()?;
    one.stop()
}
