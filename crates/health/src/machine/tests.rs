use super::*;
use proptest::prelude::*;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const TIMING: Timing = Timing {
    delay_loop: s(10),
    timeout: s(3),
    retry: 2,
    delay_before_retry: s(1),
    retry_when_down: false,
    rise: 1,
    warmup: Some(Duration::ZERO),
    alpha: false,
};

/// Plays a server that works in `alive` (seconds from, to) and otherwise fails after `takes`; moments of all changes.
fn play(
    timing: Timing,
    alive: &[(u64, u64)],
    takes: Duration,
    until: Duration,
) -> Vec<(Duration, Change)> {
    let mut machine = Machine::new(timing, Duration::ZERO, 0);
    let mut changes = Vec::new();
    while let Some(start) = machine.next().filter(|start| *start <= until) {
        assert!(machine.begin(start));
        assert!(!machine.begin(start), "one at a time");
        let works = alive
            .iter()
            .any(|(from, to)| (s(*from)..s(*to)).contains(&start));
        let (end, outcome) = if works {
            (start, Outcome::PASSED)
        } else {
            (start + takes, Outcome::Failed("x".into()))
        };
        changes.extend(machine.finish(end, &outcome).map(|change| (end, change)));
    }
    changes
}

#[test]
fn a_server_is_down_after_the_retries_and_up_at_the_first_success() {
    // Checks at 0, 10; dies at 15; fails at 20, 21, 22: down. Checks at 32, 42; back at 40: up at 42.
    assert_eq!(
        play(TIMING, &[(0, 15), (40, 100)], Duration::ZERO, s(90)),
        [(s(22), Change::Down), (s(42), Change::Up)]
    );
}

#[test]
fn a_server_comes_back_after_as_many_successes_as_asked_for() {
    let timing = Timing { rise: 3, ..TIMING };
    // Down at 22; checks at 32, 42 (well), 52 (not), 62, 72, 82 (well). Being up it needs none of this.
    assert_eq!(
        play(
            timing,
            &[(0, 15), (40, 50), (60, 100)],
            Duration::ZERO,
            s(95)
        ),
        [(s(22), Change::Down), (s(82), Change::Up)]
    );
    let alpha = Timing {
        alpha: true,
        ..timing
    };
    assert_eq!(
        play(alpha, &[(0, 100)], Duration::ZERO, s(95)),
        [(s(10), Change::Up)]
    );
}

#[test]
fn failures_are_repeated_while_down_if_asked_for() {
    let timing = Timing {
        retry_when_down: true,
        ..TIMING
    };
    // Down at 22; fails at 32, 33, 34, 44, 45, 46; up at 56, and not at 52 as without.
    for (back, up) in [(33, 33), (34, 34), (35, 44), (50, 56)] {
        assert_eq!(
            play(timing, &[(0, 15), (back, 100)], Duration::ZERO, s(90)),
            [(s(22), Change::Down), (s(up), Change::Up)]
        );
    }
}

#[test]
fn a_silent_server_costs_the_timeout_each_time() {
    // Fails at 20..23, 24..27, 28..31.
    assert_eq!(
        play(TIMING, &[(0, 15)], TIMING.timeout, s(90)),
        [(s(31), Change::Down)]
    );
}

#[test]
fn the_moment_of_down_follows_from_the_options() {
    for retry in 0..4 {
        for pause in [1, 2, 5] {
            for takes in [0, 3] {
                let timing = Timing {
                    retry,
                    delay_before_retry: s(pause),
                    ..TIMING
                };
                let down = s(20) + (s(pause) + s(takes)) * retry + s(takes);
                assert_eq!(
                    play(timing, &[(0, 15)], s(takes), s(90)),
                    [(down, Change::Down)],
                    "retry {retry}, delay_before_retry {pause}, takes {takes}"
                );
            }
        }
    }
}

#[test]
fn a_single_failure_is_forgotten() {
    // 0, 10 well, 20 fails, 21 well again.
    assert_eq!(
        play(TIMING, &[(0, 15), (21, 90)], Duration::ZERO, s(90)),
        []
    );
}

#[test]
fn with_alpha_a_server_is_down_until_it_has_answered() {
    let alpha = Timing {
        alpha: true,
        ..TIMING
    };
    assert!(!Machine::new(alpha, s(0), 0).is_up());
    assert_eq!(
        play(alpha, &[(0, 90)], Duration::ZERO, s(90)),
        [(s(0), Change::Up)]
    );
    assert_eq!(
        play(alpha, &[(25, 90)], Duration::ZERO, s(90)),
        [(s(30), Change::Up)]
    );
    assert_eq!(play(alpha, &[], Duration::ZERO, s(90)), []);
}

/// As keepalived 2.2.7 does (tests/keepalived/recorded.txt, `start_alpha`, `http_alpha`).
#[test]
fn a_server_that_has_not_failed_yet_needs_one_success_less() {
    let alpha = Timing {
        alpha: true,
        rise: 3,
        retry: 0,
        ..TIMING
    };
    let mut machine = Machine::new(alpha, s(0), 0);
    let mut turn = |outcome| {
        let now = machine.next().expect("a next check");
        machine.begin(now);
        machine.finish(now, &outcome)
    };
    let failed = || Outcome::Failed("x".into());
    assert_eq!(turn(Outcome::PASSED), None);
    assert_eq!(turn(Outcome::PASSED), Some(Change::Up));
    assert_eq!(turn(failed()), Some(Change::Down));
    let back: Vec<_> = (0..3).map(|_| turn(Outcome::PASSED)).collect();
    assert_eq!(back, [None, None, Some(Change::Up)]);
    // One that failed at first has to come back, too.
    let mut machine = Machine::new(alpha, s(0), 0);
    let mut turn = |outcome| {
        let now = machine.next().expect("a next check");
        machine.begin(now);
        machine.finish(now, &outcome)
    };
    assert_eq!(turn(failed()), None);
    let back: Vec<_> = (0..3).map(|_| turn(Outcome::PASSED)).collect();
    assert_eq!(back, [None, None, Some(Change::Up)]);
}

#[test]
fn the_first_check_falls_within_the_warm_up() {
    let at = |warmup, draw| Machine::new(Timing { warmup, ..TIMING }, s(5), draw).next();
    assert_eq!(at(None, 0), Some(s(5)));
    assert_eq!(at(None, 32_768), Some(s(10)));
    assert!(at(None, u16::MAX) < Some(s(15)));
    assert_eq!(at(Some(s(2)), 32_768), Some(s(6)));
    assert_eq!(at(Some(s(0)), u16::MAX), Some(s(5)));
}

#[test]
fn what_could_not_be_checked_says_nothing() {
    let mut machine = Machine::new(TIMING, s(0), 0);
    for second in 0..20 {
        assert!(machine.begin(s(second)));
        assert_eq!(
            machine.finish(s(second), &Outcome::Undecided("no socket".into())),
            None
        );
        assert_eq!(machine.next(), Some(s(second + 1)));
    }
    assert!(machine.is_up() && !machine.is_decided());
}

#[test]
fn other_timing_keeps_the_verdict() {
    let mut machine = Machine::new(Timing { retry: 0, ..TIMING }, s(0), 0);
    machine.begin(s(0));
    machine.finish(s(0), &Outcome::Failed("x".into()));
    machine.set_timing(
        s(1),
        Timing {
            delay_loop: s(2),
            ..TIMING
        },
    );
    assert!(!machine.is_up());
    assert_eq!(machine.next(), Some(s(3)), "not at 10, as before");
    machine.hurry(s(2));
    assert_eq!(machine.next(), Some(s(2)));
}

proptest! {
    /// Whatever comes: down needs `retry` + 1 failures without a success between, up needs a success just now, and there is
    /// always a next check, no later than the longer delay.
    #[test]
    fn verdicts_follow_from_the_outcomes(
        retry in 0_u32..5, alpha: bool, delay in 1_u64..20, pause in 1_u64..20,
        outcomes in prop::collection::vec((0_u8..3, 0_u64..4), 0..60),
    ) {
        let timing = Timing { retry, alpha, delay_loop: s(delay), delay_before_retry: s(pause), ..TIMING };
        let mut machine = Machine::new(timing, s(0), 0);
        let mut failed_in_a_row = 0;
        for (what, takes) in outcomes {
            let start = machine.next().expect("always a next");
            prop_assert!(machine.begin(start));
            let end = start + s(takes);
            let before = machine.is_up();
            let outcome = match what {
                0 => Outcome::PASSED,
                1 => Outcome::Failed("x".into()),
                _ => Outcome::Undecided("x".into()),
            };
            let change = machine.finish(end, &outcome);
            match outcome {
                Outcome::Passed { .. } => failed_in_a_row = 0,
                Outcome::Failed(_) => failed_in_a_row += 1,
                Outcome::Undecided(_) => {}
            }
            match change {
                Some(Change::Down) => prop_assert!(before && failed_in_a_row == retry + 1),
                Some(Change::Up) => prop_assert!(!before && what == 0),
                None => prop_assert_eq!(machine.is_up(), before),
            }
            let next = machine.next().expect("always a next");
            prop_assert!(next > end && next <= end + s(delay.max(pause)));
        }
    }
}

/// The first verdict is there when the first runs have said all that the timing asks of them, not with the first run.
#[test]
fn a_first_verdict_takes_as_many_runs_as_a_change_would() {
    let failed = || Outcome::Failed("x".into());
    let verdict_after = |timing, outcomes: &[Outcome]| {
        let mut machine = Machine::new(timing, s(0), 0);
        outcomes.iter().position(|outcome| {
            let now = machine.next().expect("a next check");
            machine.begin(now);
            machine.finish(now, outcome);
            machine.is_judged()
        })
    };
    let undecided = || Outcome::Undecided("x".into());
    assert_eq!(verdict_after(TIMING, &[Outcome::PASSED]), Some(0));
    assert_eq!(verdict_after(TIMING, &[undecided(), undecided()]), None);
    // Two retries, and so three failures.
    let failures = [failed(), failed(), failed(), failed()];
    assert_eq!(verdict_after(TIMING, &failures), Some(2));
    assert_eq!(verdict_after(TIMING, &[failed(), Outcome::PASSED]), Some(1));
    let alpha = Timing {
        alpha: true,
        rise: 3,
        ..TIMING
    };
    let passes = [Outcome::PASSED, Outcome::PASSED, Outcome::PASSED];
    assert_eq!(verdict_after(alpha, &passes), Some(1));
    assert_eq!(verdict_after(alpha, &failures), Some(0));
}
