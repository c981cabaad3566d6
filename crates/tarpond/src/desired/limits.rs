//! Each service's limits: its own, and the clients of `[access]`.

use config::{Config, Service};
use engine::model::Limits;
use std::collections::BTreeSet;
use types::{Family, IpNet, ServiceKey};

/// Of the services that have any.
pub(super) fn limits(config: &Config) -> Vec<(ServiceKey, Limits)> {
    let all = config.services.iter().map(|s| (s.key, of(config, s)));
    let none = |key: &ServiceKey| Limits {
        client_prefix: config::Limits::default_prefix(key.family()),
        ..Limits::default()
    };
    all.filter(|(key, limits)| *limits != none(key)).collect()
}

fn of(config: &Config, service: &Service) -> Limits {
    let (all, own) = (&config.access, &service.limits);
    let is_own: BTreeSet<&IpNet> = own.access.allow.iter().chain(&own.access.deny).collect();
    let family = service.key.family();
    let others = |nets: &[IpNet]| {
        let nets = nets.iter().filter(|net| !is_own.contains(net));
        let of_family = |net: &&IpNet| net.address().is_ipv4() == (family == Family::Ipv4);
        nets.filter(of_family).copied().collect::<Vec<_>>()
    };
    Limits {
        allow: [own.access.allow.clone(), others(&all.allow)].concat(),
        deny: [own.access.deny.clone(), others(&all.deny)].concat(),
        connections: own.connections,
        rate: own.rate,
        client_rate: own.client_rate,
        client_prefix: own
            .client_prefix
            .unwrap_or(config::Limits::default_prefix(family)),
        syn_cookies: own.syn_cookies,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
[[port]]
name = "wan"
device = "net_null0"
addresses = ["192.0.2.1/24"]

[access]
allow = ["10.0.0.0/8", "2001:db8::/32"]
deny = ["10.1.0.0/16", "10.2.0.0/16"]

[[service]]
protocol = "tcp"
address = "192.0.2.10:80"
allow = ["10.1.0.0/16"]
rate_limit = 9

[[service]]
protocol = "udp"
address = "192.0.2.10:53"
"#;

    #[test]
    fn a_service_s_own_word_counts_before_that_for_all() {
        let config = Config::parse(TEXT, "t").unwrap_or_else(|report| panic!("{report}"));
        let limits = limits(&config);
        let texts = |nets: &[IpNet]| nets.iter().map(IpNet::to_string).collect::<Vec<_>>();
        assert_eq!(limits.len(), 2);
        let (_, web) = &limits[0];
        assert_eq!(texts(&web.allow), ["10.1.0.0/16", "10.0.0.0/8"]);
        assert_eq!(texts(&web.deny), ["10.2.0.0/16"]);
        assert_eq!((web.rate, web.client_prefix), (Some(9), 32));
        let (_, dns) = &limits[1];
        assert_eq!(texts(&dns.deny), ["10.1.0.0/16", "10.2.0.0/16"]);
        let mut open = config;
        open.access = config::Access::default();
        assert_eq!(super::limits(&open).len(), 1);
    }
}
