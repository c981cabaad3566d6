//! Transitions and timers on a virtual clock.

use super::*;
use crate::{Authentication, Interval, Version};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

/// A member at 192.0.2.10, 100 ms.
fn settings(priority: u8) -> MemberSettings {
    MemberSettings {
        version: Version::V3,
        router_id: 7,
        priority,
        interval: Interval::of_centiseconds(10).unwrap(),
        source: ip(10),
        addresses: vec![ip(100)],
        authentication: Authentication::None,
    }
}

fn heard(priority: u8) -> Advertisement {
    Member::new(settings(100)).advertisement(priority)
}

/// A started unit with what it last wanted.
struct Under {
    unit: Unit,
    actions: Vec<Action>,
}

impl Under {
    fn test(members: Vec<MemberSettings>, preemption: Preemption) -> Self {
        let mut this = Self {
            unit: Unit::new(members, preemption),
            actions: Vec::new(),
        };
        this.unit.start(ms(0), &mut this.actions);
        this
    }

    fn one(priority: u8) -> Self {
        Self::test(vec![settings(priority)], Preemption::default())
    }

    /// A master since 3 s.
    fn master(priority: u8) -> Self {
        let mut this = Self::one(priority);
        this.run(ms(3000));
        assert_eq!(this.unit.state(), State::Master);
        this
    }

    /// Polls on time until `until`.
    fn run(&mut self, until: Duration) {
        while let Some(due) = self.unit.due().filter(|due| *due <= until) {
            self.unit.poll(due, &mut self.actions);
        }
    }

    fn hear(&mut self, at: Duration, member: usize, from: u8, priority: u8) {
        self.run(at);
        self.actions.clear();
        let advertisement = heard(priority);
        self.unit
            .receive(at, member, ip(from), &advertisement, &mut self.actions);
    }
}

const SENT: Action = Action::Send {
    member: 0,
    priority: 100,
};
const RELEASED: Action = Action::Send {
    member: 0,
    priority: RELEASE,
};

#[test]
fn silence_for_the_master_down_interval_makes_a_master() {
    let mut this = Under::one(100);
    assert_eq!(this.unit.state(), State::Backup);
    let due = this.unit.due().unwrap();
    // 3 * 100 ms + 156/256 * 100 ms.
    assert_eq!(due.as_micros(), 360_937);
    this.unit.poll(due - ms(1), &mut this.actions);
    assert!(this.actions.is_empty());
    this.unit.poll(due, &mut this.actions);
    assert_eq!(this.actions, [Action::Take, SENT, Action::Announce]);
    assert_eq!(*this.unit.cause(), Cause::MasterSilent);
    assert_eq!(this.unit.due(), Some(due + ms(100)));
    assert_eq!(this.unit.lease(), Some(due + ms(300)));
}

#[test]
fn an_owner_does_not_wait() {
    let this = Under::one(255);
    assert_eq!(this.unit.state(), State::Master);
    assert_eq!(*this.unit.cause(), Cause::Owner);
}

#[test]
fn advertisements_do_not_drift() {
    let mut this = Under::master(100);
    let begin = this.unit.due().unwrap();
    for n in 0..10 {
        this.unit
            .poll(begin + ms(100 * n) + ms(7), &mut this.actions);
    }
    assert_eq!(this.unit.due(), Some(begin + ms(1000)));
}

/// As backup of priority 100: who is heard 50 ms before the interval ends, with which priority, and when it is due then (ms
/// from hearing it; `None`: at the time it was due before).
const AS_BACKUP: &[(u8, u8, Option<u64>)] = &[
    (20, 200, Some(360)),
    (20, 100, Some(360)),
    (5, 100, Some(360)),
    (20, 99, None),
    (20, 0, Some(60)),
    (20, 255, Some(360)),
];

#[test]
fn a_backup_waits_for_its_betters_and_equals() {
    for &(from, priority, due) in AS_BACKUP {
        let mut this = Under::one(100);
        let before = this.unit.due().unwrap();
        let at = before - ms(50);
        this.hear(at, 0, from, priority);
        let expected = due.map_or(before, |due| at + ms(due) + Duration::from_nanos(937_500));
        let what = format!("{priority} from .{from}");
        assert_eq!(this.unit.due(), Some(expected), "{what}");
        assert!(this.actions.is_empty(), "{what}");
    }
}

/// As master of priority 100 at .10: who is heard, with which priority; whether it stays master, and answers.
const AS_MASTER: &[(u8, u8, bool)] = &[
    (20, 101, false),
    (5, 101, false),
    (20, 100, false),
    (5, 100, true),
    (20, 99, true),
    (20, 0, true),
];

#[test]
fn a_master_gives_way_to_its_betters_and_contradicts_the_rest() {
    for &(from, priority, stays) in AS_MASTER {
        let mut this = Under::master(100);
        this.hear(ms(3010), 0, from, priority);
        let what = format!("{priority} from .{from}");
        if stays {
            assert_eq!(this.actions, [SENT, Action::Announce], "{what}");
            assert_eq!(this.unit.state(), State::Master, "{what}");
            // Not more than once an interval.
            this.hear(ms(3011), 0, from, priority);
            assert_eq!(this.actions, [], "{what}");
        } else {
            // So that who has won announces the addresses again.
            assert_eq!(this.actions, [Action::Leave, RELEASED], "{what}");
            assert_eq!(this.unit.state(), State::Backup, "{what}");
            assert_eq!(
                *this.unit.cause(),
                Cause::Better {
                    from: ip(from),
                    priority,
                    own: 100
                }
            );
        }
    }
}

#[test]
fn what_does_not_fit_is_counted_and_changes_nothing() {
    let mut two = settings(100);
    (two.version, two.interval) = (Version::V2, Interval::of_seconds(1).unwrap());
    let mut this = Under::test(vec![two.clone()], Preemption::default());
    let due = this.unit.due();
    let right = Member::new(two).advertisement(200);
    let wrong = [
        Advertisement {
            interval: Interval::of_seconds(2).unwrap(),
            ..right.clone()
        },
        Advertisement {
            authentication: Authentication::password("other"),
            ..right.clone()
        },
        Advertisement {
            version: Version::V3,
            ..right.clone()
        },
    ];
    for (n, wrong) in (1..).zip(&wrong) {
        this.unit
            .receive(ms(9), 0, ip(20), wrong, &mut this.actions);
        assert_eq!(this.unit.members()[0].counters().mismatched, n);
    }
    let foreign = Advertisement {
        router_id: 8,
        ..right.clone()
    };
    this.unit
        .receive(ms(9), 0, ip(20), &foreign, &mut this.actions);
    this.unit
        .receive(ms(9), 0, ip(10), &right, &mut this.actions);
    assert_eq!(this.unit.members()[0].counters().own, 1);
    assert_eq!(this.unit.due(), due);
    this.unit
        .receive(ms(9), 0, ip(20), &right, &mut this.actions);
    assert!(this.unit.due() > due);
    assert_eq!(this.unit.members()[0].counters().received, 1);
}

#[test]
fn version_3_follows_the_masters_interval() {
    let mut this = Under::one(100);
    let slow = Advertisement {
        interval: Interval::of_centiseconds(100).unwrap(),
        ..heard(200)
    };
    this.unit
        .receive(ms(10), 0, ip(20), &slow, &mut this.actions);
    assert_eq!(this.unit.due().unwrap().as_micros(), 10_000 + 3_609_375);
}

#[test]
fn without_preemption_a_worse_master_stays() {
    let never = Preemption {
        allowed: false,
        ..Preemption::default()
    };
    let mut this = Under::test(vec![settings(200)], never);
    for n in 1..50 {
        this.hear(ms(n * 100), 0, 20, 50);
    }
    assert_eq!(this.unit.state(), State::Backup);
    this.run(ms(6000));
    assert_eq!(this.unit.state(), State::Master);
}

#[test]
fn a_preemption_delay_begins_when_the_worse_master_is_heard() {
    let later = Preemption {
        delay: ms(1000),
        ..Preemption::default()
    };
    let mut this = Under::test(vec![settings(200)], later);
    for n in 1..50 {
        this.hear(ms(n * 100), 0, 20, 50);
    }
    // Delayed until 1.1 s; the last advertisement let be was at 1.0 s; 300 ms and the skew of 56/256 later it takes over.
    assert_eq!(this.unit.state(), State::Master);
    assert_eq!(this.unit.since().as_micros(), 1_000_000 + 321_875);
}

#[test]
fn who_gives_up_says_so_and_comes_back_only_when_the_other_fails() {
    let mut this = Under::master(100);
    this.actions.clear();
    assert!(this.unit.give_up(ms(3010), &mut this.actions));
    assert_eq!(this.actions, [Action::Leave, RELEASED]);
    assert!(!this.unit.give_up(ms(3010), &mut this.actions));
    for n in 31..60 {
        this.hear(ms(n * 100), 0, 20, 50);
    }
    assert_eq!(this.unit.state(), State::Backup);
    this.run(ms(6300));
    assert_eq!(this.unit.state(), State::Master);
    // And then it is as before.
    this.hear(ms(6310), 0, 20, 200);
    this.hear(ms(6400), 0, 20, 50);
    this.run(ms(6700));
    assert_eq!(this.unit.state(), State::Master);
}

#[test]
fn the_end_is_said() {
    let mut this = Under::master(100);
    this.actions.clear();
    this.unit.stop(ms(3010), &mut this.actions);
    assert_eq!(this.actions, [Action::Leave, RELEASED]);
    assert_eq!(this.unit.due(), None);
}

/// It has heard nothing meanwhile: what it says is that it gives up, so that who took over announces again.
#[test]
fn a_master_that_wakes_late_steps_down_and_claims_nothing() {
    let mut this = Under::master(100);
    this.actions.clear();
    let lease = this.unit.lease().unwrap();
    this.unit.poll(lease, &mut this.actions);
    assert_eq!(this.actions, [Action::Leave, RELEASED]);
    assert_eq!(*this.unit.cause(), Cause::WokeLate);
    assert_eq!(this.unit.state(), State::Backup);
    assert_eq!(this.unit.late(), 1);
    // Not even to contradict a worse master, who has taken over meanwhile (the simulation found that).
    let mut this = Under::master(100);
    this.actions.clear();
    let worse = heard(50);
    this.unit
        .receive(lease, 0, ip(20), &worse, &mut this.actions);
    assert_eq!(this.actions, [Action::Leave, RELEASED]);
    assert_eq!(this.unit.state(), State::Backup);
    // However it ends.
    let mut this = Under::master(100);
    this.actions.clear();
    this.unit
        .fault(lease, Some("stalled".into()), &mut this.actions);
    assert_eq!(this.actions, [Action::Leave, RELEASED]);
    assert_eq!((this.unit.state(), this.unit.late()), (State::Fault, 1));
    let mut this = Under::master(100);
    this.actions.clear();
    this.unit.stop(lease, &mut this.actions);
    assert_eq!(this.actions, [Action::Leave, RELEASED]);
    // Just in time is in time.
    let mut this = Under::master(100);
    let lease = this.unit.lease().unwrap();
    this.unit
        .poll(lease - Duration::from_nanos(1), &mut this.actions);
    assert_eq!(this.unit.state(), State::Master);
}

#[test]
fn a_master_whose_words_did_not_leave_in_time_steps_down() {
    let mut this = Under::master(100);
    this.actions.clear();
    let now = this.unit.since() + ms(1);
    this.unit.overslept(now, &mut this.actions);
    assert_eq!(this.actions, [Action::Leave, RELEASED]);
    assert_eq!((this.unit.state(), this.unit.late()), (State::Backup, 1));
    // A backup has said nothing.
    this.unit.overslept(now, &mut this.actions);
    assert_eq!((this.actions.len(), this.unit.late()), (2, 1));
}

#[test]
fn a_backup_that_wakes_late_listens_anew() {
    let mut this = Under::one(100);
    let due = this.unit.due().unwrap();
    this.unit.poll(due + ms(101), &mut this.actions);
    assert!(this.actions.is_empty());
    assert_eq!(this.unit.due(), Some(due + ms(101) + due));
    this.run(ms(2000));
    assert_eq!(this.unit.state(), State::Master);
}

#[test]
fn a_fault_takes_it_out_until_it_is_over() {
    let mut this = Under::master(100);
    this.actions.clear();
    this.unit
        .fault(ms(3010), Some("no carrier".into()), &mut this.actions);
    assert_eq!(this.actions, [Action::Leave, RELEASED]);
    assert_eq!((this.unit.state(), this.unit.due()), (State::Fault, None));
    assert_eq!(this.unit.cause().to_string(), "no carrier");
    this.hear(ms(3020), 0, 20, 50);
    assert_eq!(this.unit.state(), State::Fault);
    this.unit.fault(ms(4000), None, &mut this.actions);
    assert_eq!(this.unit.state(), State::Backup);
    assert_eq!(this.unit.due().unwrap().as_micros(), 4_000_000 + 360_937);
}

#[test]
fn weights_change_the_priority_but_never_to_or_from_an_owners() {
    for (priority, weight, expected) in [
        (100, -30, 70),
        (100, 200, 254),
        (100, -200, 1),
        (255, -100, 255),
    ] {
        let mut unit = Unit::new(vec![settings(priority)], Preemption::default());
        unit.weigh(weight);
        assert_eq!(unit.members()[0].priority(), expected);
    }
}

#[test]
fn a_master_that_is_weighed_down_is_preempted_and_both_know_why() {
    let mut master = Under::master(200);
    master.unit.weigh(-60);
    assert_eq!(master.unit.members()[0].priority(), 140);
    master.hear(ms(3010), 0, 20, 150);
    assert_eq!(master.unit.state(), State::Backup);
    assert_eq!(
        master.unit.cause().to_string(),
        "192.0.2.20 advertises priority 150, this director has 140"
    );
    // The other side of it: it had let the better one be until that became worse.
    let mut backup = Under::one(150);
    backup.hear(ms(100), 0, 20, 200);
    for n in 2..8 {
        backup.hear(ms(n * 100), 0, 20, 140);
    }
    assert_eq!(backup.unit.state(), State::Master);
    assert_eq!(
        backup.unit.cause().to_string(),
        "192.0.2.20 advertises only priority 140, this director has 150"
    );
}

#[test]
fn what_was_given_up_is_preempted_only_once_it_may_be() {
    let mut this = Under::master(200);
    assert!(this.unit.give_up(ms(3010), &mut this.actions));
    for n in 31..60 {
        this.hear(ms(n * 100), 0, 20, 150);
    }
    assert_eq!(this.unit.state(), State::Backup);
    this.unit.take_back();
    for n in 60..64 {
        this.hear(ms(n * 100), 0, 20, 150);
        this.run(ms(n * 100 + 50));
    }
    assert_eq!(this.unit.state(), State::Master);
}

fn group() -> Under {
    let second = MemberSettings {
        router_id: 7,
        source: ip(11),
        ..settings(100)
    };
    Under::test(vec![settings(100), second], Preemption::default())
}

#[test]
fn a_group_becomes_master_only_when_no_member_hears_one() {
    let mut this = group();
    for n in 1..20 {
        this.hear(ms(n * 100), 1, 20, 200);
    }
    assert_eq!(this.unit.state(), State::Backup);
    this.run(ms(5000));
    assert_eq!(this.unit.state(), State::Master);
    assert_eq!(this.unit.since().as_micros(), 1_900_000 + 360_937);
}

#[test]
fn who_gives_up_what_another_has_changes_nothing() {
    let mut this = Under::one(100);
    this.hear(ms(100), 0, 20, 200);
    let due = this.unit.due();
    this.hear(ms(101), 0, 30, RELEASE);
    assert_eq!(this.unit.due(), due, "the master is .20, and lasts");
    this.hear(ms(102), 0, 20, RELEASE);
    assert_eq!(this.unit.due().unwrap().as_micros(), 102_000 + 60_937);
}

#[test]
fn a_master_announces_again_when_another_gives_way_to_it() {
    let mut this = Under::master(100);
    this.hear(ms(3010), 0, 20, 99);
    assert_eq!(this.actions, [SENT, Action::Announce]);
    // It may have announced meanwhile.
    this.hear(ms(3012), 0, 20, RELEASE);
    assert_eq!(this.actions, [SENT, Action::Announce]);
    this.hear(ms(3013), 0, 20, RELEASE);
    assert_eq!(this.actions, [], "not more than once an interval");
}

#[test]
fn a_group_leaves_as_one() {
    let mut this = group();
    this.run(ms(3000));
    assert_eq!(this.unit.state(), State::Master);
    let second = Action::Send {
        member: 1,
        priority: RELEASE,
    };
    this.hear(ms(3010), 1, 20, 200);
    assert_eq!(this.actions, [Action::Leave, RELEASED, second]);
    assert_eq!(this.unit.state(), State::Backup);
    let mut this = group();
    this.run(ms(3000));
    this.actions.clear();
    this.unit.stop(ms(3010), &mut this.actions);
    assert_eq!(this.actions, [Action::Leave, RELEASED, second]);
}

#[test]
fn a_group_released_on_all_links_takes_over_after_the_skew() {
    let mut this = group();
    this.hear(ms(100), 0, 20, 0);
    this.hear(ms(101), 1, 20, 0);
    assert_eq!(this.unit.due().unwrap().as_micros(), 101_000 + 60_937);
    this.run(ms(200));
    assert_eq!(*this.unit.cause(), Cause::MasterReleased(ip(20)));
}
