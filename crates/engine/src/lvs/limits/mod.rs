//! Who may make connections to a service, and how many: `allow`, `deny`, `connection_limit`, `rate_limit`,
//! `client_rate_limit`. Asked for new connections only; a service without limits costs one look whether there are any.

mod clients;
mod pace;

pub(crate) use clients::Clients;
pub(crate) use pace::Pace;

use super::{family::Ip, roster::Roster, services::Service};
use crate::{
    DropReason,
    fib::{Fib, Prefix},
    model::{Limits, ServiceKey},
    shared::Shared,
    snapshot::Snapshot,
};
use hashbrown::HashMap;
use std::net::IpAddr;
use types::{Family, IpNet, Tick};

/// The limits of a snapshot's services.
#[derive(Debug, Default)]
pub(crate) struct Gates(HashMap<ServiceKey, Gate>);

/// One service's.
#[derive(Debug)]
struct Gate {
    lists: Option<Lists>,
    connections: Option<u32>,
    rate: Option<u32>,
    client_rate: Option<u32>,
    /// ANDed with an address it leaves what makes a client (see [`Ip::masked`]).
    client_mask: u128,
}

/// `allow` and `deny`, by longest prefix.
#[derive(Debug)]
struct Lists {
    four: Fib<u32>,
    six: Fib<u128>,
    /// Whether clients in neither may.
    others: bool,
}

/// Values in [`Lists`].
const MAY: u32 = 1;
const MAY_NOT: u32 = 0;

impl Gates {
    /// Compiles them.
    pub fn new(limits: &[(ServiceKey, Limits)]) -> Self {
        Self(limits.iter().map(|(k, l)| (*k, Gate::new(k, l))).collect())
    }

    fn of(&self, key: &ServiceKey) -> Option<&Gate> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(key)
    }
}

impl Gate {
    fn new(key: &ServiceKey, limits: &Limits) -> Self {
        let bits = |width: u8| width.saturating_sub(limits.client_prefix.min(width));
        let client_mask = match key.family() {
            Family::Ipv4 => (u32::MAX.checked_shl(bits(32).into()).unwrap_or(0)).into(),
            Family::Ipv6 => u128::MAX.checked_shl(bits(128).into()).unwrap_or(0),
        };
        Self {
            lists: Lists::new(limits),
            connections: limits.connections,
            rate: limits.rate,
            client_rate: limits.client_rate,
            client_mask,
        }
    }

    /// What can be said without counting.
    fn may_come<I: Ip>(
        &self,
        shared: &Shared,
        service: &Service,
        client: I::Addr,
    ) -> Result<(), DropReason> {
        if let Some(lists) = &self.lists
            && !lists.may(I::ip(client))
        {
            return Err(DropReason::Denied);
        }
        if let Some(most) = self.connections
            && connections(service, &shared.roster) >= u64::from(most)
        {
            return Err(DropReason::ConnectionLimit);
        }
        Ok(())
    }
}

impl Lists {
    fn new(limits: &Limits) -> Option<Self> {
        let allow = limits.allow.iter().map(|net| (net, MAY));
        let deny = limits.deny.iter().map(|net| (net, MAY_NOT));
        let all: Vec<(&IpNet, u32)> = allow.chain(deny).collect();
        let four = all.iter().filter_map(|(net, value)| match net.address() {
            IpAddr::V4(address) => Some(Prefix {
                address: address.to_bits(),
                len: net.prefix(),
                value: *value,
            }),
            IpAddr::V6(_) => None,
        });
        let six = all.iter().filter_map(|(net, value)| match net.address() {
            IpAddr::V6(address) => Some(Prefix {
                address: address.to_bits(),
                len: net.prefix(),
                value: *value,
            }),
            IpAddr::V4(_) => None,
        });
        (!all.is_empty()).then(|| Self {
            four: Fib::new(four.collect()),
            six: Fib::new(six.collect()),
            others: limits.allow.is_empty(),
        })
    }

    fn may(&self, client: IpAddr) -> bool {
        let found = match client {
            IpAddr::V4(address) => self.four.lookup(address.to_bits()),
            IpAddr::V6(address) => self.six.lookup(address.to_bits()),
        };
        found.map_or(self.others, |value| value == MAY)
    }
}

/// Whether `client` might make a connection to the service, as far as that can be said without counting it.
///
/// # Errors
/// What is against it.
pub(super) fn may_come<I: Ip>(
    shared: &Shared,
    snapshot: &Snapshot,
    service: &Service,
    client: I::Addr,
) -> Result<(), DropReason> {
    match snapshot.gates.of(&service.key) {
        Some(gate) => gate.may_come::<I>(shared, service, client),
        None => Ok(()),
    }
}

/// Whether `client` may make one more connection to the service now; it then counts.
///
/// # Errors
/// The limit that is reached.
pub(super) fn admit<I: Ip>(
    shared: &Shared,
    snapshot: &Snapshot,
    service: &Service,
    client: I::Addr,
    now: Tick,
) -> Result<(), DropReason> {
    let Some(gate) = snapshot.gates.of(&service.key) else {
        return Ok(());
    };
    gate.may_come::<I>(shared, service, client)?;
    // Before the service's: what one client has too much is nobody else's loss.
    if let Some(rate) = gate.client_rate {
        let client = I::masked(client, gate.client_mask);
        let service = u16::try_from(service.id.0 & 0xffff).unwrap_or(0);
        let digest = I::table(shared).digest(client, service);
        if !shared.clients.take(digest, now, rate) {
            return Err(DropReason::ClientRateLimit);
        }
    }
    if let Some(rate) = gate.rate
        && let Some(state) = shared.roster.service(service.id)
        && !state.pace.take(now, rate)
    {
        return Err(DropReason::RateLimit);
    }
    Ok(())
}

/// Those of the servers that the service has now.
fn connections(service: &Service, roster: &Roster) -> u64 {
    let servers = service.servers.iter();
    let loads = servers.filter_map(|candidate| Some(roster.server(candidate.id)?.load().total()));
    loads.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(allow: &[&str], deny: &[&str]) -> Option<Lists> {
        let nets = |texts: &[&str]| texts.iter().filter_map(|t| t.parse().ok()).collect();
        let limits = Limits {
            allow: nets(allow),
            deny: nets(deny),
            ..Limits::default()
        };
        assert_eq!(
            limits.allow.len() + limits.deny.len(),
            allow.len() + deny.len()
        );
        Lists::new(&limits)
    }

    fn may(lists: Option<&Lists>, client: &str) -> Option<bool> {
        Some(lists?.may(client.parse().ok()?))
    }

    #[test]
    fn the_longest_prefix_decides() {
        let some = lists(
            &["10.0.0.0/8", "10.1.2.3/32", "fd00::/8"],
            &["10.1.0.0/16", "fd00:1::/32"],
        );
        for (client, wanted) in [
            ("10.2.0.1", true),
            ("10.1.0.1", false),
            ("10.1.2.3", true),
            // With `allow` nobody else may.
            ("192.0.2.1", false),
            ("fd00::1", true),
            ("fd00:1::1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(may(some.as_ref(), client), Some(wanted), "{client}");
        }
        let only_deny = lists(&[], &["10.1.0.0/16"]);
        assert_eq!(may(only_deny.as_ref(), "192.0.2.1"), Some(true));
        assert_eq!(may(only_deny.as_ref(), "10.1.255.255"), Some(false));
        let both = lists(&["10.1.0.0/16"], &["10.1.0.0/16"]);
        assert_eq!(may(both.as_ref(), "10.1.0.1"), Some(true));
        assert!(lists(&[], &[]).is_none());
    }
}
