use super::*;
use crate::{Kind, Timing};
use types::Protocol;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn id(server: u16, number: usize) -> CheckId {
    let [high, low] = server.to_be_bytes();
    CheckId {
        service: ServiceKey::Address {
            protocol: Protocol::Tcp,
            address: ([192, 0, 2, 10], 80).into(),
        },
        server: ([10, 0, high, low], 80).into(),
        number,
    }
}

fn tcp(timing: Timing) -> Check {
    Check {
        kind: Kind::Tcp {
            send: None,
            expect: None,
        },
        timing,
        address: None,
        port: None,
        bind: crate::Bind::default(),
        aim: None,
        detour: None,
    }
}

fn at_once() -> Timing {
    Timing {
        warmup: Some(Duration::ZERO),
        retry: 0,
        ..Timing::default()
    }
}

/// Makes what is due, each with this outcome, at `now`.
fn run(checks: &mut Checks, now: Duration, outcome: &Outcome) -> Vec<(CheckId, Option<Change>)> {
    let mut done = Vec::new();
    while let Some(due) = checks.begin(now) {
        let found = checks.finish(now, due.id, due.round, outcome);
        done.extend(found.iter().map(|found| (found.id, found.change)));
        if found.is_empty() {
            done.push((due.id, None));
        }
    }
    done
}

fn failed() -> Outcome {
    Outcome::Failed("refused".into())
}

#[test]
fn five_thousand_checks_make_no_stampede() {
    let mut checks = Checks::new(7);
    let timing = Timing {
        delay_loop: s(10),
        ..Timing::default()
    };
    checks.follow(s(0), (0..5000).map(|n| (id(n, 0), tcp(timing))).collect());
    // Two whole rounds, looked at every 10 ms: 5 a time on average.
    let mut most = 0;
    let mut made = 0;
    for step in 0..2000 {
        let now = Duration::from_millis(step * 10);
        let mut here = 0;
        while let Some(due) = checks.begin(now) {
            checks.finish(now, due.id, due.round, &Outcome::PASSED);
            here += 1;
        }
        most = most.max(here);
        made += here;
    }
    // Each round of each check ends up to 10 ms later than it began.
    assert!((9_980..=10_000).contains(&made), "{made}");
    assert!(most <= 25, "{most} at once");
}

#[test]
fn a_reload_keeps_the_verdict_and_the_next_moment() {
    let mut checks = Checks::new(1);
    let wanted = || vec![(id(1, 0), tcp(at_once())), (id(2, 0), tcp(at_once()))];
    checks.follow(s(0), wanted());
    assert_eq!(run(&mut checks, s(0), &failed()).len(), 2);
    assert!(!checks.is_up(id(1, 0).service, id(1, 0).server));
    checks.follow(s(1), wanted());
    assert!(!checks.is_up(id(1, 0).service, id(1, 0).server));
    assert_eq!(checks.next(), Some(s(5)));
    // One is gone, the other's question is another: asked at once, still down until it answers.
    let mut other = tcp(at_once());
    other.port = Some(8080);
    checks.follow(s(2), vec![(id(1, 0), other)]);
    assert_eq!(checks.views().count(), 1);
    assert!(!checks.is_up(id(1, 0).service, id(1, 0).server));
    assert_eq!(
        run(&mut checks, s(2), &Outcome::PASSED),
        [(id(1, 0), Some(Change::Up))]
    );
}

#[test]
fn another_kind_of_check_does_not_raise_the_dead() {
    let mut checks = Checks::new(1);
    checks.follow(s(0), vec![(id(1, 0), tcp(at_once()))]);
    run(&mut checks, s(0), &failed());
    let ping = Check {
        kind: Kind::Ping,
        ..tcp(at_once())
    };
    checks.follow(s(1), vec![(id(1, 0), ping)]);
    assert!(!checks.is_up(id(1, 0).service, id(1, 0).server));
    assert_eq!(
        run(&mut checks, s(1), &Outcome::PASSED),
        [(id(1, 0), Some(Change::Up))]
    );
}

#[test]
fn an_outcome_that_comes_too_late_is_dropped() {
    let mut checks = Checks::new(1);
    checks.follow(s(0), vec![(id(1, 0), tcp(at_once()))]);
    let due = checks.begin(s(0)).expect("due");
    let mut other = tcp(at_once());
    other.port = Some(8080);
    checks.follow(s(1), vec![(id(1, 0), other)]);
    assert_eq!(checks.finish(s(2), due.id, due.round, &failed()), []);
    let again = checks.begin(s(2)).expect("asked anew");
    assert_eq!(again.check.port, Some(8080));
    checks.follow(s(2), Vec::new());
    assert_eq!(checks.finish(s(3), again.id, again.round, &failed()), []);
    assert_eq!(checks.next(), None);
}

#[test]
fn a_check_under_way_goes_on_through_a_reload() {
    let mut checks = Checks::new(1);
    checks.follow(s(0), vec![(id(1, 0), tcp(at_once()))]);
    let due = checks.begin(s(0)).expect("due");
    checks.follow(s(1), vec![(id(1, 0), tcp(at_once()))]);
    assert!(checks.begin(s(100)).is_none(), "it is not made twice");
    assert_eq!(
        checks.finish(s(2), due.id, due.round, &failed()),
        [Found {
            id: due.id,
            change: Some(Change::Down)
        }]
    );
}

#[test]
fn a_server_is_up_if_all_its_checks_are() {
    let mut checks = Checks::new(1);
    checks.follow(
        s(0),
        vec![
            (id(1, 0), tcp(at_once())),
            (id(1, 1), tcp(at_once())),
            (id(2, 0), tcp(at_once())),
        ],
    );
    while let Some(due) = checks.begin(s(0)) {
        let outcome = match due.id.number {
            1 => failed(),
            _ => Outcome::Passed {
                weight: Some(Wish::To(7)),
            },
        };
        checks.finish(s(0), due.id, due.round, &outcome);
    }
    let service = id(1, 0).service;
    assert!(!checks.is_up(service, id(1, 0).server));
    assert!(checks.is_up(service, id(2, 0).server));
    assert!(checks.is_up(service, id(3, 0).server), "it has none");
    assert_eq!(checks.wished(service, id(2, 0).server).to, Some(7));
    assert_eq!(checks.wished(service, id(3, 0).server).to, None);
    let ids = |views: Vec<View>| views.iter().map(|view| view.id).collect::<Vec<_>>();
    let all = ids(checks.views().collect());
    assert_eq!(all, [id(1, 0), id(1, 1), id(2, 0)]);
    assert_eq!(ids(checks.views_of(service).collect()), all);
    let other = ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: ([192, 0, 2, 9], 80).into(),
    };
    assert!(checks.views_of(other).next().is_none());
}

#[test]
fn a_weight_asked_for_stays_through_a_failure_that_does_not_count_yet() {
    let mut checks = Checks::new(1);
    let timing = Timing {
        retry: 1,
        ..at_once()
    };
    checks.follow(s(0), vec![(id(1, 0), tcp(timing))]);
    let (service, server) = (id(1, 0).service, id(1, 0).server);
    let wished = |weight: u32| Outcome::Passed {
        weight: Some(Wish::To(weight)),
    };
    run(&mut checks, s(0), &wished(7));
    run(&mut checks, s(5), &failed());
    assert!(checks.is_up(service, server));
    assert_eq!(checks.wished(service, server).to, Some(7));
    run(&mut checks, s(6), &wished(9));
    assert_eq!(checks.wished(service, server).to, Some(9));
    run(&mut checks, s(11), &Outcome::PASSED);
    assert_eq!(checks.wished(service, server).to, None);
}

/// The same server of the n-th service.
fn of(service: u8, number: usize) -> CheckId {
    CheckId {
        service: ServiceKey::Address {
            protocol: Protocol::Tcp,
            address: ([192, 0, 2, service], 80).into(),
        },
        ..id(1, number)
    }
}

#[test]
fn what_services_ask_a_server_alike_is_asked_once() {
    let mut checks = Checks::new(1);
    let wanted = |services: &[u8]| -> Vec<(CheckId, Check)> {
        let each = services.iter().map(|n| (of(*n, 0), tcp(at_once())));
        each.collect()
    };
    let is_up = |checks: &Checks, n: u8| checks.is_up(of(n, 0).service, of(n, 0).server);
    let mut all = wanted(&[1, 2, 3]);
    // Another question, of the same server; and one asked twice in a service is meant to be.
    let mut other = tcp(at_once());
    other.port = Some(8080);
    all.push((of(2, 1), other));
    all.push((of(3, 1), tcp(at_once())));
    checks.follow(s(0), all);
    let mut made = Vec::new();
    while let Some(due) = checks.begin(s(0)) {
        made.push(due.id);
        checks.finish(s(0), due.id, due.round, &Outcome::PASSED);
    }
    made.sort_unstable();
    assert_eq!(made, [of(1, 0), of(2, 1)]);
    let shown = checks.views().filter(|view| view.last.is_some()).count();
    assert_eq!(shown, 5, "each has its outcome");

    // All go down by one run, which says so of each.
    checks.follow(s(1), wanted(&[1, 2, 3]));
    let found = run(&mut checks, s(5), &failed());
    let down = |n| (of(n, 0), Some(Change::Down));
    assert_eq!(found, [down(1), down(2), down(3)]);

    // A suspect's check is brought forward, whoever makes it; and one that joins knows what is known.
    checks.follow(s(6), wanted(&[1, 2, 3, 4]));
    assert!(!is_up(&checks, 4));
    checks.hurry(s(7), of(4, 0).service, of(4, 0).server);
    let up = |n| (of(n, 0), Some(Change::Up));
    assert_eq!(
        run(&mut checks, s(7), &Outcome::PASSED),
        [up(1), up(2), up(3), up(4)]
    );
}

#[test]
fn when_the_service_whose_check_is_made_goes_another_s_is() {
    let mut checks = Checks::new(1);
    let wanted = |services: &[u8]| -> Vec<(CheckId, Check)> {
        let each = services.iter().map(|n| (of(*n, 0), tcp(at_once())));
        each.collect()
    };
    checks.follow(s(0), wanted(&[1, 2, 3]));
    run(&mut checks, s(0), &Outcome::PASSED);
    // It keeps the moment.
    checks.follow(s(1), wanted(&[2, 3]));
    assert_eq!(checks.next(), Some(s(5)));
    // It goes while its run is under way, and one that has just joined is left.
    let due = checks.begin(s(5)).expect("due");
    assert_eq!(due.id, of(2, 0));
    checks.follow(s(5), wanted(&[2, 4]));
    checks.follow(s(6), wanted(&[4]));
    assert_eq!(checks.finish(s(6), due.id, due.round, &failed()), []);
    let due = checks.begin(s(6)).expect("made anew");
    assert_eq!(due.id, of(4, 0));
    // One that differs from now on is made by itself.
    let mut all = wanted(&[4, 5]);
    checks.follow(s(6), all.clone());
    checks.finish(s(6), due.id, due.round, &Outcome::PASSED);
    for (id, check) in &mut all {
        if *id == of(5, 0) {
            check.port = Some(1);
        }
    }
    checks.follow(s(7), all);
    let due = checks.begin(s(7)).expect("its own question");
    assert_eq!(due.id, of(5, 0));
    let found = checks.finish(s(7), due.id, due.round, &failed());
    assert_eq!(found.len(), 1);
    assert!(checks.is_up(of(4, 0).service, of(4, 0).server));
    assert_eq!(checks.next(), Some(s(11)));
}

#[test]
fn checks_are_cold_until_each_has_had_a_verdict() {
    let mut checks = Checks::new(1);
    let slow = Timing {
        retry: 1,
        ..at_once()
    };
    let wanted = || vec![(id(1, 0), tcp(at_once())), (id(2, 0), tcp(slow))];
    assert_eq!(checks.cold(), 0, "there are none");
    checks.follow(s(0), wanted());
    assert_eq!(checks.cold(), 2);
    run(&mut checks, s(0), &failed());
    assert_eq!(checks.cold(), 1, "one is to fail once more");
    checks.follow(s(0), wanted());
    assert_eq!(checks.cold(), 1, "a reload forgets nothing");
    run(&mut checks, s(1), &failed());
    assert_eq!(checks.cold(), 0);
    // Those that are gone are not waited for.
    let mut more = wanted();
    more.push((id(3, 0), tcp(at_once())));
    checks.follow(s(2), more);
    assert_eq!(checks.cold(), 1);
    checks.follow(s(2), wanted());
    assert_eq!(checks.cold(), 0);
}
