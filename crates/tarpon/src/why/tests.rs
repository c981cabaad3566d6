use super::*;
use serde_json::{from_value, json};

fn service(up: [bool; 2]) -> Service {
    let traffic = json!({ "connections": 0, "in_packets": 0, "out_packets": 0, "in_bytes": 0, "out_bytes": 0 });
    let server = |(n, up): (usize, bool)| {
        json!({
            "address": format!("10.1.0.1{}:80", n + 1), "method": "masq", "weight": 1, "upper_threshold": 0, "lower_threshold": 0,
            "overloaded": false, "draining": false, "active": 0, "inactive": 0, "templates": 0, "traffic": traffic,
            "health": { "up": up, "removed": !up, "sorry": false },
        })
    };
    let servers: Vec<_> = up.into_iter().enumerate().map(server).collect();
    from_value(json!({
        "protocol": "tcp", "address": "192.0.2.10:80", "scheduler": "rr", "traffic": traffic, "servers": servers,
    }))
    .expect("a service")
}

fn event(time_ms: u64, kind: EventKind, server: usize) -> Event {
    Event {
        number: time_ms,
        time_ms,
        kind,
        service: Some(service([true; 2]).key),
        server: Some(address(server)),
        vrrp: None,
        what: format!("{kind:?}"),
        cause: "a cause".into(),
    }
}

fn address(n: usize) -> SocketAddr {
    format!("10.1.0.1{n}:80").parse().expect("an address")
}

/// Who serves at a moment.
fn serving(up_now: [bool; 2], events: &[Event], at: u64) -> Vec<SocketAddr> {
    let answer = answer(&service(up_now), None, events, at, None);
    let serving = answer.servers.iter().filter(|then| then.serves);
    serving.map(|then| then.server).collect()
}

#[test]
fn the_last_event_before_tells_how_a_server_stood() {
    use EventKind::{ServerDown, ServerUp};
    let events = [event(1000, ServerDown, 1), event(2000, ServerUp, 1)];
    let all = [address(1), address(2)];
    let of = |at| serving([true; 2], &events, at);
    assert_eq!(of(999), all);
    assert_eq!(of(1000), [address(2)]);
    assert_eq!(of(1999), [address(2)]);
    assert_eq!(of(2000), all);
}

#[test]
fn without_one_the_next_tells_and_without_any_the_present() {
    use EventKind::ServerUp;
    // It began as down (`alpha`), without an event.
    let events = [event(1000, ServerUp, 1)];
    assert_eq!(serving([true; 2], &events, 500), [address(2)]);
    assert_eq!(serving([true, false], &[], 500), [address(1)]);
}

#[test]
fn a_daemon_that_starts_again_knows_nothing_of_what_was() {
    use EventKind::{ServerDown, ServerUp, Started};
    let all = [address(1), address(2)];
    let start = |time_ms| Event {
        service: None,
        server: None,
        ..event(time_ms, Started, 1)
    };
    let events = [
        start(100),
        event(1000, ServerDown, 1),
        start(2000),
        event(3000, ServerDown, 2),
        event(3500, ServerUp, 2),
        start(4000),
        event(5000, ServerUp, 2),
    ];
    let of = |at| serving([true, false], &events, at);
    assert_eq!(of(500), all);
    assert_eq!(of(1500), [address(2)]);
    // The first was taken for well again.
    assert_eq!(of(2500), all);
    assert_eq!(of(3200), [address(1)]);
    // It came up in the third run, so it was down at its beginning, whatever it was in the second.
    assert_eq!(of(3700), all);
    assert_eq!(of(4500), [address(1)]);
    // How they stand now says something of this run only.
    assert_eq!(
        serving([false, true], &events, 4500),
        Vec::<SocketAddr>::new()
    );
    assert_eq!(serving([false, true], &events, 2500), all);
}

#[test]
fn an_ejected_server_is_out_though_its_checks_pass() {
    use EventKind::{ServerDown, ServerEjected, ServerReadmitted, ServerUp};
    let events = [
        event(1000, ServerEjected, 1),
        event(1500, ServerDown, 1),
        event(1600, ServerUp, 1),
        event(2000, ServerReadmitted, 1),
    ];
    for (at, serves) in [(999, true), (1000, false), (1700, false), (2000, true)] {
        let who = serving([true; 2], &events, at);
        assert_eq!(who.contains(&address(1)), serves, "{at}");
    }
    let answer = answer(&service([true; 2]), None, &events, 1700, None);
    let since = answer.servers[0].since.as_ref().expect("an event");
    assert_eq!(
        since.kind, ServerEjected,
        "what keeps it out, not the latest"
    );
}

#[test]
fn servers_that_are_no_longer_configured_are_named_too() {
    let events = [event(1000, EventKind::ServerUp, 7)];
    let answer = answer(&service([true; 2]), None, &events, 1000, None);
    let gone = answer.servers.last().expect("three");
    assert_eq!((gone.server, gone.weight), (address(7), None));
}

#[test]
fn what_came_later_or_long_before_is_no_cause() {
    use EventKind::ServerDown;
    let events = [
        event(1, ServerDown, 1),
        event(WINDOW_MS, ServerDown, 2),
        event(WINDOW_MS + 2000, ServerDown, 2),
    ];
    let answer = answer(&service([true; 2]), None, &events, WINDOW_MS + 1000, None);
    let times: Vec<u64> = answer.events.iter().map(|e| e.time_ms).collect();
    assert_eq!(times, [WINDOW_MS]);
    let flow = packet::parse("tcp 198.51.100.7:4000 > 192.0.2.10:80").expect("a packet");
    let text = rendered(&flow, &answer);
    assert!(
        text.contains("10.1.0.12:80  out, since 1970-01-01 00:15:00.000: ServerDown (a cause)"),
        "{text}"
    );
}

#[test]
fn of_a_time_before_the_daemon_nothing_is_said_to_be_known() {
    let answer = answer(&service([true; 2]), None, &[], 1000, Some(5000));
    let flow = packet::parse("tcp 198.51.100.7:4000 > 192.0.2.10:80").expect("a packet");
    let text = rendered(&flow, &answer);
    let said = "of that time no events are kept\nevents are kept since 1970-01-01 00:00:05.000";
    assert!(text.contains(said), "{text}");
}

#[test]
fn a_mark_catches_first_then_the_port_then_every_port() {
    let mut every = service([true; 2]);
    every.key = from_value(json!({ "protocol": "tcp", "address": "192.0.2.10:0" })).expect("a key");
    let mut marked = service([true; 2]);
    marked.key = from_value(json!({ "mark": 7 })).expect("a key");
    let all = [every, service([true; 2]), marked];
    let key = |to: &str, mark| {
        let to = to.parse().expect("an address");
        catching(&all, Mark(mark), Protocol::Tcp, to).map(|s| s.key)
    };
    assert_eq!(key("192.0.2.10:80", 0), Some(all[1].key));
    assert_eq!(key("192.0.2.10:81", 0), Some(all[0].key));
    assert_eq!(key("192.0.2.11:80", 0), None);
    // The mark comes first; one without a service is none, and so is one of the other family.
    assert_eq!(key("192.0.2.10:80", 7), Some(all[2].key));
    assert_eq!(key("192.0.2.11:80", 7), Some(all[2].key));
    assert_eq!(key("192.0.2.10:80", 8), Some(all[1].key));
    assert_eq!(key("[2001:db8::1]:80", 7), None);
}
