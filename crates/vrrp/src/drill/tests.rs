use super::*;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn seen(state: State, heard: u64, priority: u8) -> Seen {
    let master = (priority > 0).then(|| (IpAddr::from([192, 0, 2, 3]), priority));
    Seen {
        state,
        heard,
        master,
        priority: 200,
        ready: true,
    }
}

/// Given up at 1 s, answered for by the other after 7 ms.
fn there(back: Option<Duration>) -> Drill {
    let mut drill = Drill::new(ms(1000), back);
    for n in 0..7 {
        assert_eq!(
            drill.step(ms(1000 + n), seen(State::Backup, 0, 0)),
            Step::Probe
        );
    }
    // An answer before an advertisement.
    assert_eq!(drill.step(ms(1007), seen(State::Backup, 1, 0)), Step::Probe);
    assert_eq!(*drill.progress(), Progress::Going);
    drill.step(ms(1009), seen(State::Backup, 2, 150));
    drill
}

#[test]
fn there_and_back_with_the_other_answering_for_a_moment_longer() {
    let mut drill = there(Some(ms(0)));
    assert_eq!(*drill.progress(), Progress::There);
    assert_eq!(drill.gap_there(), Some(ms(7)));
    assert_eq!(
        drill.step(ms(2000), seen(State::Backup, 900, 150)),
        Step::Probe
    );
    assert_eq!(
        drill.step(ms(2010), seen(State::Backup, 910, 150)),
        Step::TakeBack
    );
    assert_eq!(
        drill.step(ms(2100), seen(State::Backup, 1000, 150)),
        Step::Probe
    );
    assert_eq!(
        drill.step(ms(2320), seen(State::Master, 1200, 150)),
        Step::Probe
    );
    assert_eq!(
        drill.step(ms(2323), seen(State::Master, 1203, 150)),
        Step::Probe
    );
    assert_eq!(
        drill.step(ms(2330), seen(State::Master, 1203, 150)),
        Step::Probe
    );
    assert_eq!(
        drill.step(ms(2520), seen(State::Master, 1203, 150)),
        Step::End
    );
    assert_eq!(*drill.progress(), Progress::Passed);
    assert_eq!(
        (drill.gap_back(), drill.overlap()),
        (Some(ms(0)), Some(ms(3)))
    );
    assert!(drill.is_over());
}

#[test]
fn silence_before_they_are_back_is_a_gap() {
    let mut drill = there(Some(ms(0)));
    drill.step(ms(2010), seen(State::Backup, 900, 150));
    drill.step(ms(2050), seen(State::Backup, 901, 150));
    drill.step(ms(2081), seen(State::Master, 901, 150));
    assert_eq!(
        (drill.gap_back(), drill.overlap()),
        (Some(ms(31)), Some(ms(0)))
    );
}

/// What becomes of it, from when the other is there on.
#[test]
fn they_stay_where_they_would_not_come_back_from() {
    let ends = |back, seen: Seen, at| {
        let mut drill = there(back);
        assert_eq!(drill.step(at, seen), Step::End);
        match drill.progress() {
            Progress::Failed(why) => why.clone(),
            other => panic!("{other:?}"),
        }
    };
    let waiting = seen(State::Backup, 9, 150);
    let unready = Seen {
        ready: false,
        ..waiting
    };
    for (why, wanted) in [
        (ends(None, waiting, ms(1020)), "preempt = false"),
        (
            ends(Some(ms(0)), seen(State::Backup, 9, 220), ms(1020)),
            "priority 220, this one 200",
        ),
        (
            ends(Some(ms(0)), seen(State::Master, 9, 150), ms(1020)),
            "did not keep them",
        ),
        (
            ends(Some(ms(0)), unready, ms(12_100)),
            "not told of all connections",
        ),
    ] {
        assert!(why.contains(wanted), "{why}");
    }
}

#[test]
fn without_another_director_it_fails() {
    let mut drill = Drill::new(ms(0), Some(ms(0)));
    assert_eq!(drill.step(ms(300), seen(State::Master, 0, 0)), Step::End);
    assert_eq!(drill.gap_there(), Some(ms(300)));
    assert!(matches!(drill.progress(), Progress::Failed(_)));
    let mut drill = Drill::new(ms(0), Some(ms(0)));
    // Somebody who claims the address without advertising is no director.
    assert_eq!(drill.step(ms(5), seen(State::Backup, 3, 0)), Step::Probe);
    assert_eq!(drill.step(ms(9999), seen(State::Backup, 3, 0)), Step::Probe);
    assert_eq!(drill.step(ms(10_000), seen(State::Backup, 3, 0)), Step::End);
}
