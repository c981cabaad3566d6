//! `[[port]]`, `[[vlan]]`, `[[route]]`

use super::{
    section::{Reader, Section, Wrong},
    value::{alternatives, flag, integer, parsed, text, word},
};
use crate::{HostTap, Port, Route, Vlan};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use toml::de::DeValue;
use types::{IpNet, IpNetError, MacAddr, RpFilter, VlanId};

const NAME: &str = "a name of letters, digits, `-`, `_` and `.`, at most 15, like \"wan\"";
const ADDRESSES: (&str, &str) = (
    "an address with its prefix length, like \"192.0.2.1/24\"",
    "\"192.0.2.1/24\", \"2001:db8::1/64\"",
);

pub(super) fn port(reader: &mut Reader, section: &mut Section<'_>) -> Option<Port> {
    let name = section.need(reader, "name", NAME, name);
    let device = section.need(
        reader,
        "device",
        "a PCI address, like \"0000:03:00.0\", or a kernel interface, like \"af_packet:eth1\"",
        text,
    );
    let queues = section.get(
        reader,
        "queues",
        "a whole number from 1 to 128, like 2",
        integer(1..=128),
    );
    let mtu = section.get(
        reader,
        "mtu",
        "bytes as a whole number from 576 to 9600, like 1500",
        integer(576..=9600),
    );
    let mac = section.get(
        reader,
        "mac",
        "a MAC address, like \"02:00:00:00:00:01\"",
        parsed::<MacAddr>,
    );
    let (addresses, gateway, gateway6) = layer3(reader, section);
    let host = section.get(
        reader,
        "host",
        "true, false, or a name for the TAP interface of at most 15 characters, like \"tarpon-wan\"",
        |v| match v {
            DeValue::Boolean(true) => Ok(HostTap::Default),
            DeValue::Boolean(false) => Ok(HostTap::Off),
            other => name_of_interface(other).map(HostTap::Named),
        },
    );
    let promiscuous = section.get(reader, "promiscuous", "true or false", flag);
    let rp_filter = rp_filter(reader, section);
    // A port with a mistake keeps its place, so that what refers to it is not called unknown.
    Some(Port {
        name: name.unwrap_or_default(),
        device: device.unwrap_or_default(),
        queues,
        mtu: mtu.unwrap_or(1500),
        mac,
        addresses,
        gateway,
        gateway6,
        host: host.unwrap_or(HostTap::Default),
        promiscuous: promiscuous.unwrap_or(false),
        rp_filter,
    })
}

pub(super) fn vlan(reader: &mut Reader, section: &mut Section<'_>) -> Option<Vlan> {
    let name = section.need(reader, "name", NAME, name);
    let port = section.need(reader, "port", "the name of a [[port]], like \"wan\"", text);
    let id = section.need(reader, "id", "a VLAN id from 1 to 4094, like 10", |v| {
        VlanId::try_from(integer(0..=u16::MAX)(v)?).map_err(|_| None)
    });
    let (addresses, gateway, gateway6) = layer3(reader, section);
    let rp_filter = rp_filter(reader, section);
    Some(Vlan {
        name: name?,
        port: port?,
        id: id?,
        rp_filter,
        addresses,
        gateway,
        gateway6,
    })
}

pub(super) fn route(reader: &mut Reader, section: &mut Section<'_>) -> Option<Route> {
    let to = section.need(reader, "to", "a prefix, like \"10.9.0.0/16\"", |v| {
        let net = prefixed(v)?;
        if net.network() == net {
            Ok(net)
        } else {
            Err(Some(format!(
                "`{net}` has bits set beyond its prefix: it is inside {}",
                net.network()
            )))
        }
    });
    let via = section.get(
        reader,
        "via",
        "the gateway's address, like \"10.1.0.2\"",
        parsed::<IpAddr>,
    );
    let interface = section.get(
        reader,
        "interface",
        "the name of a [[port]] or [[vlan]], like \"lan\"",
        text,
    );
    let unreachable = section
        .get(reader, "unreachable", "true or false", flag)
        .unwrap_or(false);
    if unreachable && (via.is_some() || interface.is_some()) {
        reader.report(
            section.position_of("unreachable"),
            &format!("{}.unreachable", section.path()),
            "an unreachable route has neither `via` nor `interface`",
            "leave them out, or `unreachable`",
        );
    }
    Some(Route {
        to: to?,
        via,
        unreachable,
        interface,
    })
}

fn rp_filter(reader: &mut Reader, section: &mut Section<'_>) -> RpFilter {
    let words = alternatives(RpFilter::WORDS.iter().map(|(word, _)| *word));
    let asked = section.get(reader, "rp_filter", &words, word(RpFilter::WORDS));
    asked.unwrap_or_default()
}

fn layer3(
    reader: &mut Reader,
    section: &mut Section<'_>,
) -> (Vec<IpNet>, Option<Ipv4Addr>, Option<Ipv6Addr>) {
    let addresses = section
        .list(reader, "addresses", ADDRESSES, prefixed)
        .unwrap_or_default();
    let gateway = section.get(
        reader,
        "gateway",
        "the IPv4 address of the router, like \"192.0.2.254\" (an IPv6 one goes into `gateway6`)",
        parsed,
    );
    let gateway6 = section.get(
        reader,
        "gateway6",
        "the IPv6 address of the router, like \"2001:db8::fe\" (an IPv4 one goes into `gateway`)",
        parsed,
    );
    (addresses, gateway, gateway6)
}

/// An address with its prefix length written out: a bare address would silently be a network of its own.
fn prefixed(value: &DeValue<'_>) -> Result<IpNet, Wrong> {
    let text = value.as_str().ok_or(None)?;
    let net: IpNet = text
        .parse()
        .map_err(|error: IpNetError| Some(error.to_string()))?;
    if text.contains('/') {
        Ok(net)
    } else {
        Err(Some(format!("`{text}` has no prefix length")))
    }
}

/// The name of a port, VLAN or TAP: what the kernel takes as an interface's name.
fn name_of_interface(value: &DeValue<'_>) -> Result<String, Wrong> {
    let text = text(value)?;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fits =
        (1..=15).contains(&text.len()) && text.chars().all(good) && text != "." && text != "..";
    fits.then_some(text).ok_or(None)
}

fn name(value: &DeValue<'_>) -> Result<String, Wrong> {
    name_of_interface(value)
}
