//! What phase 1 would send, without a port.

use super::{first, packets::recipe};
use crate::{
    args::Rfc9693,
    flows::{Flow, enumerated},
    pcap,
    prototype::Link,
    rate::{Pace, Rate},
    report::say,
    template::FCS,
    tx::DOCUMENTATION,
};
use anyhow::{Result, bail};
use std::{sync::Arc, time::Duration};

/// Writes what phase 1 would send.
pub(super) fn dry_run(args: &Rfc9693) -> Result<()> {
    let connections = first(args);
    let flows: Arc<[Flow]> = enumerated(&args.template, 0, connections, args.seed).into();
    let to = args.wiring.to_mac.unwrap_or(DOCUMENTATION.to);
    let link = Link {
        to,
        ..DOCUMENTATION
    };
    let mut source = recipe(args, link, 0, Some(flows)).source(0, 1)?;
    let rate = match args.fill_rate.unwrap_or(args.rate) {
        Rate::Percent(_) if args.wiring.link_speed.is_none() => Rate::Packets(1000.0),
        rate => rate,
    };
    let mut pace =
        Pace::new(rate, args.wiring.link_speed, 1, 0, 1e9).map_err(anyhow::Error::msg)?;
    let mut file = args.pcap.as_deref().map(pcap::Writer::create).transpose()?;
    if connections > 10_000_000 {
        bail!("a dry run writes at most 10000000 frames; give a smaller --connections");
    }
    for _ in 0..connections {
        let time = Duration::from_secs_f64(pace.due() / 1e9);
        let frame = source.next_frame(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        pace.sent(u16::try_from(frame.len()).unwrap_or(u16::MAX - FCS) + FCS);
        if let Some(file) = &mut file {
            file.write(time, &frame)?;
        }
    }
    if let Some(file) = file {
        file.finish()?;
    }
    say(&format!(
        "{connections} frames of phase 1 would be sent, one of each connection; those of phase 2 are made of what the device makes of them\n"
    ))
}
