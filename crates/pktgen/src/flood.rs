//! `pktgen flood`: ready templates.

use crate::{
    args::{Flood, FloodKind, Tx},
    report::say,
    template::Template,
    tx,
};
use anyhow::{Context, Result, ensure};

/// Sends a flood.
///
/// # Errors
/// A target that does not fit the kind of flood, and whatever [`tx::tx`] refuses.
pub fn flood(flood: &Flood) -> Result<()> {
    let text = text(flood.kind, flood.from.as_deref(), &flood.to);
    let template: Template = text
        .parse()
        .with_context(|| format!("--to `{}` makes no flood of this kind", flood.to))?;
    if flood.dry_run {
        say(&format!("--template '{text}'\n"))?;
    }
    ensure!(
        flood.dry_run || flood.wiring.rx_port.is_none(),
        "nothing of a flood is measured: --rx-port has no use here"
    );
    tx::tx(&Tx {
        wiring: flood.wiring.clone(),
        template: vec![template],
        from_pcap: None,
        rate: flood.rate,
        count: flood.count,
        seconds: flood.seconds,
        drain: 0.0,
        no_stamp: true,
        seed: flood.seed,
        json: flood.json.clone(),
        dry_run: flood.dry_run,
        pcap: flood.pcap.clone(),
        quiet: flood.quiet,
    })
}

/// The template.
fn text(kind: FloodKind, from: Option<&str>, to: &str) -> String {
    // For tests of devices: RFC 2544 C.2.2, RFC 5180 8.
    let tests = if to.starts_with('[') {
        "[2001:2::/65]"
    } else {
        "198.18.0.0/15"
    };
    let from = from.unwrap_or(tests);
    let (protocol, ports, more) = match kind {
        FloodKind::Syn => ("tcp", "", " flags syn size 64"),
        FloodKind::Ack => ("tcp", "", " flags ack size 64"),
        FloodKind::Udp => ("udp", "", " size 64"),
        FloodKind::Frag => ("udp", "", " size 64 fragment first"),
        FloodKind::Icmp => ("icmp", ":0-65535", " size 64"),
        FloodKind::Arp => ("arp", "", " size 64"),
    };
    // The smallest frames; of IPv6, as small as its headers allow.
    let more = if to.starts_with('[') {
        more.replace(
            " size 64",
            match protocol {
                "tcp" => " size 78",
                _ => " size 66",
            },
        )
    } else {
        more.to_owned()
    };
    format!("{protocol} {from}{ports} > {to}{more} order uniform")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_kind_is_a_template() {
        for kind in FloodKind::value_variants() {
            for (host, service) in [("10.0.0.1", "10.0.0.1:80"), ("[fd00::1]", "[fd00::1]:80")] {
                let to = match kind {
                    FloodKind::Icmp | FloodKind::Arp => host,
                    _ => service,
                };
                let read = text(*kind, None, to).parse::<Template>();
                let ipv4_only = matches!(kind, FloodKind::Frag | FloodKind::Arp);
                assert_eq!(
                    read.is_ok(),
                    !ipv4_only || !to.starts_with('['),
                    "{kind:?}: {read:?}"
                );
            }
        }
    }
}
