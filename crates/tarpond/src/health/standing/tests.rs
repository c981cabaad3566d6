use super::*;
use crate::desired::desired;

const TEXT: &str = "
[[port]]
name = 'lan'
device = 'net_null0'
addresses = ['10.1.0.1/24']
[[service]]
protocol = 'tcp'
address = '192.0.2.10:80'
method = 'masq'
quorum = 2
sorry_server = '10.1.0.99:80'
[[service.check]]
type = 'tcp'
[[service.server]]
address = '10.1.0.11:80'
weight = 3
[[service.server]]
address = '10.1.0.12:80'
[[service]]
protocol = 'udp'
address = '192.0.2.10:53'
method = 'masq'
[[service.server]]
address = '10.1.0.11:53'
";

/// Servers that are down.
struct Down(Vec<SocketAddr>);

impl Verdicts for Down {
    fn now(&self) -> Duration {
        Duration::from_secs(1)
    }
    fn is_up(&self, _: ServiceKey, server: SocketAddr) -> bool {
        !self.0.contains(&server)
    }
    fn wished(&self, _: ServiceKey, _: SocketAddr) -> Wished {
        Wished::default()
    }
}

/// Servers and weights of both services.
fn table(
    standing: &mut Standing,
    config: &Config,
    down: &[&str],
) -> (Vec<Vec<(String, u32)>>, Vec<Quorum>) {
    let mut wanted = desired(config, &[]);
    let down = Down(
        down.iter()
            .map(|a| a.parse().expect("an address"))
            .collect(),
    );
    let quorums = standing.impose(config, &down, &mut wanted);
    let shown = |s: &engine::model::Service| {
        s.servers
            .iter()
            .map(|s| (s.address.to_string(), s.weight.0))
            .collect()
    };
    (wanted.services.iter().map(shown).collect(), quorums)
}

fn row(address: &str, weight: u32) -> (String, u32) {
    (address.to_owned(), weight)
}

#[test]
fn verdicts_edits_and_quorum_compose() {
    let config = Config::parse(TEXT, "t").unwrap_or_else(|report| panic!("{report}"));
    let mut standing = Standing::default();
    let dns = vec![row("10.1.0.11:53", 1)];
    let (all, quorums) = table(&mut standing, &config, &[]);
    assert_eq!(
        all,
        [
            vec![row("10.1.0.11:80", 3), row("10.1.0.12:80", 1)],
            dns.clone()
        ]
    );
    assert!(quorums.len() == 1 && quorums[0].won, "told at the start");
    // The light one dies: weight 3 is quorum enough.
    let (all, quorums) = table(&mut standing, &config, &["10.1.0.12:80"]);
    assert_eq!(all[0], [row("10.1.0.11:80", 3)]);
    assert_eq!(quorums, []);
    // The operator quiesces the heavy one: no live weight is left.
    let mut edited = config.clone();
    edited.services[0].servers[0].weight = Weight(0);
    let (all, quorums) = table(&mut standing, &edited, &["10.1.0.12:80"]);
    assert_eq!(all[0], [row("10.1.0.11:80", 0), row("10.1.0.99:80", 1)]);
    assert_eq!(quorums.len(), 1);
    assert!(!quorums[0].won && quorums[0].live == 0 && standing.is_sorry(config.services[0].key));
    // And gives the weight back: it serves again, and the dead one is still dead.
    let (all, quorums) = table(&mut standing, &config, &["10.1.0.12:80"]);
    assert_eq!(all, [vec![row("10.1.0.11:80", 3)], dns]);
    assert!(quorums[0].won && !standing.is_sorry(config.services[0].key));
}

#[test]
fn a_service_without_checks_is_left_alone() {
    let config = Config::parse(TEXT, "t").unwrap_or_else(|report| panic!("{report}"));
    let (all, _) = table(&mut Standing::default(), &config, &["10.1.0.11:53"]);
    assert_eq!(all[1], [row("10.1.0.11:53", 1)]);
}

#[test]
fn an_inhibited_sorry_server_stays_with_weight_0() {
    let text = TEXT.replace("quorum = 2", "quorum = 2\nsorry_inhibit = true");
    let config = Config::parse(&text, "t").unwrap_or_else(|report| panic!("{report}"));
    let mut standing = Standing::default();
    let (all, _) = table(&mut standing, &config, &["10.1.0.12:80"]);
    assert_eq!(all[0], [row("10.1.0.11:80", 3), row("10.1.0.99:80", 0)]);
    assert!(!standing.is_sorry(config.services[0].key));
    let (all, _) = table(&mut standing, &config, &["10.1.0.11:80"]);
    assert_eq!(all[0], [row("10.1.0.12:80", 0), row("10.1.0.99:80", 1)]);
    assert!(standing.is_sorry(config.services[0].key));
}
