//! `static_routes` and the `virtual_routes` of instances: routes of the director's own, as `[[route]]` has them.

use crate::{note::Notes, tree::Statement};
use config::Route;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use types::IpNet;

/// Kinds that lead nowhere.
const NOWHERE: &[&str] = &["unreachable", "blackhole", "prohibit", "throw"];
/// Words with a value that make no difference to what is forwarded.
const OF_LINUX: &[&str] = &[
    "advmss",
    "congctl",
    "cwnd",
    "features",
    "hoplimit",
    "initcwnd",
    "initrwnd",
    "metric",
    "mtu",
    "preference",
    "proto",
    "protocol",
    "quickack",
    "reordering",
    "rto_min",
    "rtt",
    "rttvar",
    "scope",
    "src",
    "ssthresh",
    "track_group",
    "window",
];
/// Words without one.
const FLAGS: &[&str] = &["no_track", "onlink"];

/// The routes of a block, added to those there are. `while_master`: of an instance, there for as long as it is master.
pub(crate) fn read(
    block: &Statement,
    while_master: bool,
    routes: &mut Vec<Route>,
    notes: &mut Notes,
) {
    notes.exact(block);
    for line in block.inner() {
        match route(line) {
            Ok(route) => {
                if while_master {
                    notes.mapped(
                        line,
                        "a [[route]], there on every director: a backup has no packets for it",
                    );
                } else {
                    notes.exact(line);
                }
                if !routes.contains(&route) {
                    routes.push(route);
                }
            }
            Err(Why::Wrong(why)) => notes.wrong(line, why),
            Err(Why::Unsupported(why)) => notes.unsupported(line, why),
        }
    }
}

/// Why a line is no route here.
enum Why {
    Wrong(String),
    Unsupported(String),
}

/// `[src ADDRESS] [to] PREFIX [via|gw ADDRESS] [dev INTERFACE] ...`
fn route(line: &Statement) -> Result<Route, Why> {
    let mut words = line.words.iter().map(String::as_str);
    let mut to = None;
    let mut unreachable = false;
    let (mut via, mut interface) = (None, None);
    while let Some(word) = words.next() {
        let mut value = || {
            let value = words.next();
            value.ok_or_else(|| Why::Wrong(format!("`{word}` needs a value")))
        };
        match word {
            "via" | "gw" => {
                let text = match value()? {
                    "inet" | "inet6" => value()?,
                    text => text,
                };
                let address = text.parse::<IpAddr>();
                via = Some(
                    address.map_err(|_| Why::Wrong(format!("{text:?} is no gateway's address")))?,
                );
            }
            "dev" | "oif" => interface = Some(value()?.to_owned()),
            "table" => match value()? {
                "main" | "254" => {}
                other => {
                    return Err(Why::Unsupported(format!(
                        "there is one table of routes, and none called {other}"
                    )));
                }
            },
            "or" | "nexthop" | "encap" | "tos" | "dsfield" => {
                return Err(Why::Unsupported(format!(
                    "a route has one gateway for all its packets: `{word}`"
                )));
            }
            "to" => to = Some(value()?),
            _ if NOWHERE.contains(&word) => unreachable = true,
            _ if OF_LINUX.contains(&word) => {
                value()?;
            }
            _ if FLAGS.contains(&word) => {}
            _ if to.is_none() => to = Some(word),
            _ => return Err(Why::Wrong(format!("{word:?} is no word of a route"))),
        }
    }
    let to = to.ok_or_else(|| Why::Wrong("it has no destination".to_owned()))?;
    let to = prefix(to, via).ok_or_else(|| Why::Wrong(format!("{to:?} is no destination")))?;
    if !unreachable && via.is_none() && interface.is_none() {
        let why = "it has neither a gateway (`via`) nor an interface (`dev`)";
        return Err(Why::Wrong(why.to_owned()));
    }
    Ok(Route {
        to,
        via: via.filter(|_| !unreachable),
        unreachable,
        interface: interface.filter(|_| !unreachable),
    })
}

/// `192.0.2.0/24`, an address, or `default` of the gateway's family; without host bits.
fn prefix(text: &str, via: Option<IpAddr>) -> Option<IpNet> {
    if text == "default" {
        let any = match via {
            Some(IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
            _ => Ipv4Addr::UNSPECIFIED.into(),
        };
        return IpNet::new(any, 0).ok();
    }
    let net = match text.split_once('/') {
        Some((address, bits)) => IpNet::new(address.parse().ok()?, bits.parse().ok()?).ok()?,
        None => IpNet::host(text.parse().ok()?),
    };
    Some(net.network())
}

#[cfg(test)]
mod tests {
    use crate::{Class, NoIncludes, read};

    const ROUTER: &str = "vrrp_instance A {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n192.0.2.1\n}\n";

    #[test]
    fn the_manual_page_s_routes_are_the_director_s() {
        let text = format!(
            "static_routes {{\n10.9.0.0/16 via 10.1.0.254 dev eth1 track_group G\nblackhole 192.168.114.0/24\n}}\n\
             {ROUTER}virtual_routes {{\nsrc 192.168.100.1 to 192.168.109.7/24 via 192.168.200.254 dev eth1\n\
             192.168.111.0/24 dev eth2 no_track\n192.168.112.1 via 192.168.100.254 scope site\ndefault via inet6 fe80::1 dev eth2\n\
             10.9.0.0/16 gw 10.1.0.254 dev eth1\n\
             192.168.113.0/24 via 192.168.200.254 or 192.168.100.254 dev eth1\n0.0.0.0/0 gw 192.168.0.1 table 100\n\
             10.0.0.0/33 via 10.1.0.1\n10.0.0.0/8\n10.0.0.0/8 via\n}}\nvirtual_rules {{\nfrom 192.168.2.0/24 table 1\n}}\n}}\n"
        );
        let import = read(&text, "k.conf", "n", &mut NoIncludes);
        let routes: Vec<String> = import
            .routes
            .iter()
            .map(|r| {
                let via = r.via.map_or_else(String::new, |via| format!(" via {via}"));
                let dev = r.interface.as_deref().unwrap_or("-");
                format!("{}{via} {dev} {}", r.to, r.unreachable)
            })
            .collect();
        assert_eq!(
            routes,
            [
                "10.9.0.0/16 via 10.1.0.254 eth1 false",
                "192.168.114.0/24 - true",
                "192.168.109.0/24 via 192.168.200.254 eth1 false",
                "192.168.111.0/24 eth2 false",
                "192.168.112.1/32 via 192.168.100.254 - false",
                "::/0 via fe80::1 eth2 false",
            ]
        );
        let of = |class: Class| {
            let notes = import.notes.iter().filter(move |note| note.class == class);
            notes.map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            of(Class::Unsupported),
            [
                "k.conf:17:1: unsupported: 192.168.113.0/24: a route has one gateway for all its packets: `or`",
                "k.conf:18:1: unsupported: 0.0.0.0/0: there is one table of routes, and none called 100",
                "k.conf:23:1: unsupported: virtual_rules: the way of a packet depends on its destination alone: [[route]]",
                "k.conf:24:1: unsupported: from",
            ]
        );
        let wrong = of(Class::Wrong);
        for (line, why) in wrong.iter().zip([
            "is no destination",
            "neither a gateway",
            "`via` needs a value",
        ]) {
            assert!(line.contains(why), "{why}: {line}");
        }
        assert_eq!(wrong.len(), 3, "{wrong:?}");
    }

    #[test]
    fn a_route_takes_the_place_of_the_machine_s() {
        let text = "static_routes {\n10.9.0.0/16 via 10.1.0.254 dev eth1\n}\n";
        let import = read(text, "k.conf", "n", &mut NoIncludes);
        let machine = "[[port]]\nname = 'lan'\ndevice = 'net_af_packet0,iface=eth1'\naddresses = ['10.1.0.2/24']\n\
             [[route]]\nto = '10.9.0.0/16'\nvia = '10.1.0.1'\n[[route]]\nto = '10.8.0.0/16'\nvia = '10.1.0.1'\n";
        let mut config = config::Config::parse(machine, "m").unwrap_or_default();
        import.apply(&mut config);
        let written = config.to_toml();
        assert_eq!(config.routes.len(), 2, "{written}");
        assert!(
            written.contains("via = \"10.1.0.254\"\ninterface = \"lan\""),
            "{written}"
        );
        assert!(
            config
                .without_machine_to_toml()
                .contains("[[route]]\nto = \"10.8.0.0/16\"")
        );
    }
}
