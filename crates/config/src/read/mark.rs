//! `[[mark]]`

use super::{
    section::{Reader, Section, Wrong},
    value::{flag, integer, parsed, text},
};
use crate::{MarkRule, PortRange, TcpFlags};
use std::net::IpAddr;
use toml::de::DeValue;
use types::{IpNet, Mark, Protocol};

const PORTS: (&str, &str) = (
    "a port or a range, like 80 or \"8000-8010\"",
    "80, 443, \"8000-8010\"",
);

pub(super) fn rule(reader: &mut Reader, section: &mut Section<'_>) -> Option<MarkRule> {
    let mark = section.need(
        reader,
        "mark",
        "the firewall mark as a whole number from 1 to 4294967295, like 80",
        value,
    );
    let protocol = section.get(
        reader,
        "protocol",
        "\"tcp\" or \"udp\", or leave it out for both",
        parsed::<Protocol>,
    );
    let source = section.get(
        reader,
        "source",
        "an address or a prefix, like \"198.51.100.0/24\"",
        net,
    );
    let destination = section.get(
        reader,
        "destination",
        "an address or a prefix, like \"192.0.2.10\"",
        net,
    );
    let source_ports = section.list(reader, "source_ports", PORTS, range);
    let ports = section.list(reader, "ports", PORTS, range);
    let interface = section.get(
        reader,
        "interface",
        "the name of a port or VLAN, like \"wan\"",
        text,
    );
    let dscp = section.get(
        reader,
        "dscp",
        "a whole number from 0 to 63, like 46",
        integer(0..=63u8),
    );
    let tcp_flags = section.get(
        reader,
        "tcp_flags",
        "flags that must be set, and with ! such that must not, like \"syn !ack\" (fin, syn, rst, psh, ack, urg, ece, cwr)",
        |v| {
            let text = v.as_str().ok_or(None)?;
            text.parse::<TcpFlags>().map_err(|()| None)
        },
    );
    let goes_on = section.get(reader, "continue", "true or false", flag);
    Some(MarkRule {
        mark: mark?,
        protocol,
        source,
        destination,
        source_ports: source_ports.unwrap_or_default(),
        ports: ports.unwrap_or_default(),
        interface,
        dscp,
        tcp_flags,
        goes_on: goes_on.unwrap_or(false),
    })
}

/// A firewall mark.
pub(super) fn value(value: &DeValue<'_>) -> Result<Mark, Wrong> {
    integer(1..=u32::MAX)(value).map(Mark)
}

/// A prefix without host bits, or a single address.
pub(super) fn net(value: &DeValue<'_>) -> Result<IpNet, Wrong> {
    let text = value.as_str().ok_or(None)?;
    if let Ok(host) = text.parse::<IpAddr>() {
        return Ok(IpNet::host(host));
    }
    let net: IpNet = text.parse().map_err(|_| None)?;
    if net.network() == net {
        Ok(net)
    } else {
        Err(Some(format!(
            "{net} has bits beyond its prefix (the network is {})",
            net.network()
        )))
    }
}

fn range(value: &DeValue<'_>) -> Result<PortRange, Wrong> {
    match value {
        DeValue::Integer(_) => {
            let port = integer(0..=u16::MAX)(value)?;
            Ok(PortRange(port, port))
        }
        other => {
            let text = other.as_str().ok_or(None)?;
            text.parse().map_err(|()| None)
        }
    }
}
