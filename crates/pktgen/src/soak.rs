//! `pktgen soak`: a long run, reported now and then, judged by what it lost.

use crate::{args::Soak, counts::Totals, tx};
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::{cell::RefCell, fs::File, io::Write};

/// A line of the log: all since the start.
#[derive(Serialize)]
struct Entry<'a> {
    seconds: f64,
    #[serde(flatten)]
    totals: &'a Totals,
    /// Frames that have not come back yet: lost, or still under way.
    missing: u64,
}

/// Sends, reports, judges.
///
/// # Errors
/// Whatever [`tx::tx`] refuses, a log that cannot be written, and more loss than may be.
pub fn soak(soak: &Soak) -> Result<()> {
    ensure!(
        soak.tx.seconds.is_some() || soak.tx.count.is_some(),
        "how long? --seconds, or --count"
    );
    ensure!(
        !soak.tx.no_stamp && soak.tx.from_pcap.is_none(),
        "frames without a stamp are only counted, so nothing would be known of loss: no --no-stamp, no --from-pcap"
    );
    let log = match &soak.log {
        Some(path) => {
            let file = File::create(path).with_context(|| format!("--log {}", path.display()))?;
            Some(RefCell::new(file))
        }
        None => None,
    };
    let failed: RefCell<Option<anyhow::Error>> = RefCell::new(None);
    let told = |seconds: f64, totals: &Totals| {
        let Some(log) = &log else { return };
        let entry = Entry {
            seconds,
            totals,
            missing: totals
                .sent
                .saturating_sub(totals.received - totals.duplicates),
        };
        let written = serde_json::to_string(&entry)
            .map_err(anyhow::Error::from)
            .and_then(|line| Ok(writeln!(log.borrow_mut(), "{line}")?));
        if let Err(error) = written {
            failed.borrow_mut().get_or_insert(error);
        }
    };
    let report = tx::send(&soak.tx, soak.every, Some(&told))?;
    if let Some(error) = failed.into_inner() {
        return Err(error.context("--log"));
    }
    // A dry run loses nothing.
    let Some(report) = report else { return Ok(()) };
    let loss = report
        .measured
        .as_ref()
        .map_or(1.0, |measured| measured.loss)
        * 100.0;
    ensure!(
        loss <= soak.max_loss,
        "{loss:.6} % of the frames were lost; --max-loss {}",
        soak.max_loss
    );
    Ok(())
}
