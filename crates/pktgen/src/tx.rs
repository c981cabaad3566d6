//! `pktgen tx`.

use crate::{
    args::Tx,
    pcap,
    prototype::Link,
    rate::Pace,
    recorded::Recorded,
    report::{Report, can_be_written, say, write_json},
    run::{self, Plan, Told},
    source::Recipe,
    template::FCS,
    wiring,
    worker::Frames,
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    process,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, SystemTime},
};
use types::MacAddr;

/// Frames a dry run writes when nobody says how many, and at most.
const DRY: u64 = 1000;
const DRY_MOST: u64 = 10_000_000;
/// Who dry runs are from and to, where nothing says: addresses for documentation (RFC 7042 2.1.1).
pub(crate) const DOCUMENTATION: Link = Link {
    from: MacAddr([0, 0, 0x5e, 0, 0x53, 1]),
    to: MacAddr([0, 0, 0x5e, 0, 0x53, 2]),
};

/// Sends, or writes what would be sent.
///
/// # Errors
/// Every mistake of the command line that its parser cannot see, and whatever ports refuse.
pub fn tx(tx: &Tx) -> Result<()> {
    send(tx, 1.0, None).map(drop)
}

/// As [`tx()`], with a line every so many seconds, and somebody who is told; the result, unless nothing was sent.
///
/// # Errors
/// As of [`tx()`].
pub fn send(tx: &Tx, every: f64, told: Option<&Told<'_>>) -> Result<Option<Report>> {
    let recording = match &tx.from_pcap {
        Some(path) => Some(pcap::read(path, usize::from(tx.wiring.mtu) + 18)?),
        None => None,
    };
    let mut recipe = Recipe {
        templates: tx.template.clone(),
        link: Link {
            to: tx.wiring.to_mac.unwrap_or(DOCUMENTATION.to),
            ..DOCUMENTATION
        },
        run: (!tx.no_stamp && recording.is_none()).then(run_number),
        seed: tx.seed,
        listed: None,
        first_stream: 0,
    };
    if recording.is_none() {
        recipe.check(tx.wiring.mtu)?;
    }
    if tx.dry_run {
        ensure!(
            recording.is_none(),
            "--dry-run of a recording would write the same file again"
        );
        return dry_run(tx, &recipe).map(|()| None);
    }
    run::place(&tx.wiring)?;
    can_be_written(&[("--json", tx.json.as_deref())])?;
    let stop = stop_on_signals()?;
    let mut wired = wiring::open(&tx.wiring, &tx.template)?;
    // A recording is sent to whom it was recorded, unless it is said.
    let readdress =
        recording.is_none() || tx.wiring.gateway.is_some() || tx.wiring.to_mac.is_some();
    if readdress {
        let to = wired.next_hop(&tx.wiring, &tx.template)?;
        let from = wired.ports.first().context("no port")?.mac();
        recipe.link = Link { from, to };
    }
    let plan = Plan {
        wiring: &tx.wiring,
        rate: tx.rate,
        count: tx.count,
        seconds: tx.seconds,
        drain: tx.drain,
        run: recipe.run,
        progress: !tx.quiet,
        every,
        told,
        learn: 0,
        then: None,
        follow: false,
    };
    let report = run::run(&mut wired, &plan, &stop, |worker, workers| {
        Ok(match &recording {
            Some(all) => {
                let link = readdress.then_some(recipe.link);
                Frames::Recorded(Recorded::new(all, worker, workers, link))
            }
            None => Frames::Made(recipe.source(worker, workers)?),
        })
    })?;
    match &tx.json {
        Some(path) => write_json(&report, path)?,
        None => say(&report.to_string())?,
    }
    Ok(Some(report))
}

/// Writes what would be sent, with the times the rate says.
fn dry_run(tx: &Tx, recipe: &Recipe) -> Result<()> {
    let link_bps = tx.wiring.link_speed;
    // Times in nanoseconds.
    let mut pace = Pace::new(tx.rate, link_bps, 1, 0, 1e9).map_err(anyhow::Error::msg)?;
    let mut source = recipe.source(0, 1)?;
    let count = match (tx.count, tx.seconds) {
        (None, None) => DRY,
        (count, _) => count.unwrap_or(u64::MAX),
    };
    let until = tx.seconds.unwrap_or(f64::INFINITY) * 1e9;
    let mut file = tx.pcap.as_deref().map(pcap::Writer::create).transpose()?;
    let (mut written, mut bytes) = (0_u64, 0_u64);
    while written < count && pace.due() < until {
        if written == DRY_MOST {
            bail!(
                "a dry run writes at most {DRY_MOST} frames; give a smaller --count or --seconds"
            );
        }
        let time = Duration::from_secs_f64(pace.due() / 1e9);
        let clock = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let frame = source.next_frame(clock);
        pace.sent(u16::try_from(frame.len()).unwrap_or(u16::MAX - FCS) + FCS);
        if let Some(file) = &mut file {
            file.write(time, &frame)?;
        }
        (written, bytes) = (written + 1, bytes + frame.len() as u64 + u64::from(FCS));
    }
    if let Some(file) = file {
        file.finish()?;
    }
    let flows: Vec<String> = recipe
        .templates
        .iter()
        .map(|t| t.flows().to_string())
        .collect();
    let mut text = format!(
        "{written} frames, {bytes} bytes in {:.6} s would be sent; flows of each template: {}\n",
        pace.due().min(until) / 1e9,
        flows.join(", ")
    );
    if tx.wiring.to_mac.is_none() {
        text += "their MAC addresses stand for the port's and the next hop's, as no port is opened
";
    }
    say(&text)
}

/// Tells this run's frames from another's.
pub(crate) fn run_number() -> u16 {
    let nanos = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |t| t.subsec_nanos());
    let [a, b, c, d] = (nanos ^ process::id().rotate_left(16)).to_be_bytes();
    u16::from_be_bytes([a ^ c, b ^ d])
}

/// Set by ctrl-C and SIGTERM; a second one ends the process at once.
pub(crate) fn stop_on_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}
