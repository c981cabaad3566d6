//! `virtual_server_group`

use crate::{Context, note::Notes, tree::Statement};
use std::net::{IpAddr, SocketAddr};
use types::Family;

/// Addresses one range may stand for.
const RANGE: u128 = 4096;

/// What a group has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    pub members: Vec<Member>,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Member {
    Address(SocketAddr),
    Mark(u32, Option<Family>),
}

pub(crate) fn read(statement: &Statement, context: &mut Context, notes: &mut Notes) {
    let Some(name) = statement.argument(0) else {
        notes.wrong(statement, "the group has no name");
        return;
    };
    notes.exact(statement);
    let mut group = Group::default();
    for inner in statement.inner() {
        match members(inner) {
            Ok(members) => {
                notes.exact(inner);
                group.members.extend(members);
            }
            Err(why) => notes.wrong(inner, why),
        }
    }
    if context.groups.insert(name.to_owned(), group).is_some() {
        notes.wrong(statement, format!("there is a group {name:?} already"));
    }
}

fn members(statement: &Statement) -> Result<Vec<Member>, String> {
    let first = statement.keyword();
    if first == "fwmark" {
        let mark = statement.argument(0).and_then(|text| text.parse().ok());
        let mark = mark
            .filter(|mark| *mark > 0)
            .ok_or("a mark is a number from 1")?;
        let family = match statement.argument(1) {
            None => None,
            Some("inet") => Some(Family::Ipv4),
            Some("inet6") => Some(Family::Ipv6),
            Some(other) => return Err(format!("{other:?} is neither inet nor inet6")),
        };
        return Ok(vec![Member::Mark(mark, family)]);
    }
    let port = match statement.argument(0) {
        None => 0,
        Some(text) => text.parse().map_err(|_| format!("{text:?} is no port"))?,
    };
    let addresses = range(first)
        .ok_or_else(|| format!("{first:?} is no address, nor a range of at most {RANGE}"))?;
    Ok(addresses
        .into_iter()
        .map(|ip| Member::Address(SocketAddr::new(ip, port)))
        .collect())
}

/// `192.0.2.1`, `192.0.2.1-10`, `192.0.2.1-192.0.3.4`, `192.0.2.8/29`
fn range(text: &str) -> Option<Vec<IpAddr>> {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    let (first, last) = if let Some((from, to)) = text.split_once('-') {
        let from: IpAddr = from.parse().ok()?;
        let to = to.parse::<IpAddr>().or_else(|_| {
            // Only the end of the address.
            let separator = if from.is_ipv4() { '.' } else { ':' };
            let whole = from.to_string();
            let cut = whole.rfind(separator).map_or(0, |at| at + 1);
            format!("{}{to}", whole.get(..cut).unwrap_or_default()).parse()
        });
        (from, to.ok()?)
    } else if text.contains('/') {
        let net: types::IpNet = text.parse().ok()?;
        let size = if net.address().is_ipv4() { 32 } else { 128 } - u32::from(net.prefix());
        let span = 1_u128.checked_shl(size)?.checked_sub(1)?;
        let first = net.network().address();
        let last = bits(first) | span;
        let last: IpAddr = match first {
            IpAddr::V4(_) => std::net::Ipv4Addr::from_bits(u32::try_from(last).ok()?).into(),
            IpAddr::V6(_) => std::net::Ipv6Addr::from_bits(last).into(),
        };
        (first, last)
    } else {
        let ip = text.parse().ok()?;
        (ip, ip)
    };
    let (from, to) = (bits(first), bits(last));
    if first.is_ipv4() != last.is_ipv4() || from > to || to - from >= RANGE {
        return None;
    }
    (from..=to)
        .map(|n| match first {
            IpAddr::V4(_) => Some(std::net::Ipv4Addr::from_bits(u32::try_from(n).ok()?).into()),
            IpAddr::V6(_) => Some(std::net::Ipv6Addr::from_bits(n).into()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_of_the_manual_page() {
        let count = |text| range(text).map(|all| (all.len(), all.last().map(ToString::to_string)));
        let last = |n, text: &str| Some((n, Some(text.to_owned())));
        assert_eq!(count("192.168.200.1-10"), last(10, "192.168.200.10"));
        assert_eq!(
            count("192.168.200.250-192.168.201.10"),
            last(17, "192.168.201.10")
        );
        assert_eq!(count("192.168.202.8/29"), last(8, "192.168.202.15"));
        assert_eq!(count("2001:db8::1-f"), last(15, "2001:db8::f"));
        assert_eq!(count("192.0.2.9"), last(1, "192.0.2.9"));
        for wrong in [
            "192.0.2.9-1",
            "10.0.0.0/8",
            "x",
            "192.0.2.1-2001:db8::1",
            "::/0",
        ] {
            assert_eq!(range(wrong), None, "{wrong}");
        }
    }
}
