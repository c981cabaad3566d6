use super::*;

fn down() -> Finding {
    Finding::Down("broken".into())
}

fn weight(by: i32, reverse: bool) -> Weight {
    Weight { by, reverse }
}

fn add(n: i32) -> Option<i32> {
    Some(n)
}

/// Weight, reverse, finding, what is added (`None`: a fault).
#[test]
fn findings_mean_what_keepalived_says() {
    use Finding::{Number, Unknown, Up};
    for (by, reverse, finding, wanted) in [
        (0, false, Up, add(0)),
        (0, false, down(), None),
        (0, true, Up, None),
        (0, true, down(), add(0)),
        (10, false, Up, add(10)),
        (10, false, down(), add(0)),
        (10, true, Up, add(-10)),
        (10, true, down(), add(0)),
        (-10, false, Up, add(0)),
        (-10, false, down(), add(-10)),
        (-10, true, Up, add(0)),
        (-10, true, down(), add(10)),
        (0, false, Unknown, add(0)),
        (-10, false, Unknown, add(0)),
        (0, false, Number(0), add(0)),
        (0, false, Number(-5), None),
        (0, true, Number(0), None),
        (0, true, Number(1), add(0)),
        (1, false, Number(-253), add(-253)),
        (1, false, Number(-254), None),
        (2, false, Number(10), add(20)),
        (2, true, Number(10), add(-20)),
        (2, false, Number(500), add(253)),
        (254, false, Number(i32::MAX), add(253)),
        (254, true, Number(i32::MAX), None),
        (-254, false, Number(i32::MIN), add(253)),
    ] {
        let meant = match weight(by, reverse).meaning(&finding) {
            Meaning::Add(n) => Some(n),
            Meaning::Fault(_) => None,
        };
        assert_eq!(meant, wanted, "{by} {reverse} {finding:?}");
    }
}

#[test]
fn scripts_rise_and_fall() {
    let runs = |mut trials: Trials, results: &str| -> String {
        let each = |c| if trials.count(c == '+') { '+' } else { '-' };
        results.chars().map(each).collect()
    };
    assert_eq!(runs(Trials::new(1, 1, false), "+-+-"), "+-+-");
    // The first decides, as there.
    assert_eq!(runs(Trials::new(2, 2, false), "-++--+-+"), "--++----");
    assert_eq!(runs(Trials::new(3, 2, false), "+-+--"), "++++-");
    assert_eq!(runs(Trials::new(2, 1, true), "++"), "-+");
    assert_eq!(Trials::new(1, 1, false).up(), None);
    assert_eq!(Trials::new(1, 1, true).up(), Some(false));
}

fn tracker(kind: TrackerKind, name: &str) -> Tracker {
    let name = name.to_owned();
    Tracker { kind, name }
}

#[test]
fn findings_add_up_and_outlive_a_reload() {
    let (gate, lan) = (
        tracker(TrackerKind::Script, "gate"),
        tracker(TrackerKind::Interface, "lan"),
    );
    let s = Duration::from_secs;
    let mut all = Trackers::default();
    all.follow(
        s(0),
        &[
            (gate.clone(), weight(0, false)),
            (lan.clone(), weight(-20, false)),
        ],
    );
    assert_eq!(all.waits_for(), Some(&gate));
    assert_eq!(all.standing(), Standing::default());
    assert!(all.find(s(1), &gate, &Finding::Up).is_some());
    assert_eq!(all.find(s(2), &gate, &Finding::Up), None);
    // One that adds is not waited for.
    assert_eq!(all.waits_for(), None);
    assert!(
        all.find(s(3), &lan, &Finding::Down("no carrier".into()))
            .is_some()
    );
    assert_eq!(
        all.standing(),
        Standing {
            weight: -20,
            fault: None
        }
    );
    assert!(
        all.find(s(4), &gate, &Finding::Down("exit status 1".into()))
            .is_some()
    );
    assert_eq!(
        all.find(s(5), &gate, &Finding::Down("exit status 2".into())),
        None
    );
    let standing = all.standing();
    assert_eq!(
        standing.fault.as_deref(),
        Some("script gate: exit status 2")
    );
    assert_eq!(all.iter().next().map(|t| t.since), Some(s(4)));

    let maintenance = tracker(TrackerKind::File, "maintenance");
    assert_eq!(all.find(s(6), &maintenance, &Finding::Number(3)), None);
    all.follow(
        s(7),
        &[
            (maintenance.clone(), weight(1, true)),
            (lan, weight(-30, false)),
        ],
    );
    assert_eq!(
        all.standing(),
        Standing {
            weight: -30,
            fault: None
        }
    );
    assert!(all.find(s(8), &maintenance, &Finding::Number(3)).is_some());
    assert_eq!(all.standing().weight, -33);
}

/// What keepalived 2.2.7 makes of such files.
#[test]
fn a_file_says_the_number_it_begins_with() {
    for (text, number) in [
        ("", Some(0)),
        ("abc", Some(0)),
        ("-", Some(0)),
        ("5", Some(5)),
        ("-5\n", Some(-5)),
        (" +7 is", Some(7)),
        ("99999999999", None),
    ] {
        assert_eq!(file_number(text.as_bytes()), number, "{text:?}");
    }
    assert_eq!(file_number(&[0xff, 0xfe]), Some(0));
}

/// Each second it is asked; `+` is an answer to the question before.
fn course(mut gateway: Gateway, answers: &str) -> String {
    let second = |n: u64| Duration::from_secs(n);
    let mut heard = None;
    let mut poll = |now: Duration, heard| {
        let asked = gateway.poll(now, now, heard, Duration::ZERO);
        (asked, gateway.due(), gateway.up())
    };
    assert!(poll(second(100), heard).0, "at once");
    let mut course = String::new();
    for (n, answer) in (100..).zip(answers.chars()) {
        if answer == '+' {
            heard = Some(second(n) + Duration::from_millis(1));
        }
        let early = second(n) + Duration::from_millis(999);
        let (asked, due, _) = poll(early, heard);
        assert!(!asked, "not yet due");
        assert_eq!(due, second(n + 1));
        let (asked, _, up) = poll(second(n + 1), heard);
        assert!(asked);
        course.push(match up {
            None => '?',
            Some(true) => '+',
            Some(false) => '-',
        });
    }
    course
}

#[test]
fn a_gateway_rises_and_falls_by_its_answers() {
    let gateway =
        |rise, fall| Gateway::new(Duration::from_secs(100), Duration::from_secs(1), rise, fall);
    assert_eq!(
        course(gateway(1, 3), "+++"),
        "+++",
        "the first answer will do"
    );
    assert_eq!(course(gateway(1, 3), "----+-"), "??--++");
    assert_eq!(course(gateway(2, 2), "+-+--++-"), "++++--++");
}

#[test]
fn what_was_heard_before_the_question_is_no_answer_to_it() {
    let (second, ms) = (Duration::from_secs(1), Duration::from_millis(1));
    let mut gateway = Gateway::new(second, second, 1, 1);
    assert!(gateway.poll(second, second, None, ms));
    let late = Some(second - 2 * ms);
    assert!(gateway.poll(2 * second, 2 * second, late, ms));
    assert_eq!(gateway.up(), Some(false));
    // A clock that is read late by no more than it may be.
    let heard = Some(2 * second - ms);
    assert!(gateway.poll(3 * second, 3 * second, heard, ms));
    assert_eq!(gateway.up(), Some(true));
}

/// Whichever moments of a coarse clock's step the questions fall on, an answer within 50 us is one.
#[test]
fn a_coarse_clock_loses_no_answers() {
    let us = |n: u64| Duration::from_micros(n);
    let coarse = |precise: Duration| {
        let ms = precise.as_millis() / 4 * 4;
        Duration::from_millis(u64::try_from(ms).unwrap())
    };
    for phase in (0..5_000).step_by(10) {
        let start = Duration::from_secs(100) + us(phase);
        let mut gateway = Gateway::new(start, Duration::from_millis(400), 1, 1);
        let mut heard = None;
        for n in 0..5 {
            let now = start + n * Duration::from_millis(400);
            assert!(gateway.poll(now, coarse(now), heard, Duration::ZERO));
            assert_eq!(gateway.up(), (n > 0).then_some(true), "{phase} us, {n}");
            heard = Some(coarse(now + us(50)));
        }
    }
}

#[test]
fn a_share_of_the_servers_must_be_up() {
    for (up, all, percent, wanted) in [
        (0, 0, 100, true),
        (1, 2, 50, true),
        (1, 3, 50, false),
        (2, 3, 67, false),
        (2, 3, 66, true),
        (3, 3, 100, true),
        (2, 3, 100, false),
        (0, 3, 1, false),
        (1, 100, 1, true),
    ] {
        let found = share_of_servers(up, all, percent);
        assert_eq!(found == Finding::Up, wanted, "{up} of {all}, {percent} %");
    }
    let Finding::Down(why) = share_of_servers(1, 3, 50) else {
        panic!("up");
    };
    assert_eq!(why, "1 of 3 servers up, 50 % needed");
}
