use super::*;
use crate::{ServerPolicy, SorryServer};
use proptest::prelude::*;
use types::ForwardingMethod;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn member(n: u8, weight: u32, up: bool) -> Member {
    Member {
        address: ([10, 0, 0, n], 80).into(),
        weight,
        up,
        wished: Wished::default(),
    }
}

fn sorry() -> Option<SorryServer> {
    Some(SorryServer {
        inhibit: false,
        address: ([10, 0, 0, 99], 80).into(),
        method: ForwardingMethod::Masq,
    })
}

fn places(policy: &Policy, members: &[Member]) -> Vec<Place> {
    Pool::default().judge(policy, members, s(0)).places
}

#[test]
fn a_dead_server_goes_or_is_quiesced() {
    let members = [member(1, 3, true), member(2, 2, false)];
    let mut policy = Policy::new();
    assert_eq!(places(&policy, &members), [Place::In(3), Place::Out]);
    policy.on_failure = OnFailure::Quiesce;
    assert_eq!(places(&policy, &members), [Place::In(3), Place::In(0)]);
    let own = ServerPolicy {
        on_failure: Some(OnFailure::Remove),
        ..ServerPolicy::default()
    };
    policy.servers.insert(members[1].address, own);
    assert_eq!(places(&policy, &members), [Place::In(3), Place::Out]);
}

/// (quorum, hysteresis, live weight, had it) -> has it. By the rule in keepalived.conf(5): won at quorum + hysteresis, lost below
/// quorum - hysteresis, and hysteresis is at most quorum - 1.
#[test]
fn quorum_table() {
    let table = [
        (1, 0, 0, true, false),
        (1, 0, 1, true, true),
        (1, 0, 1, false, true),
        (2, 0, 1, true, false),
        (2, 0, 2, false, true),
        (4, 1, 4, true, true),
        (4, 1, 3, true, true),
        (4, 1, 2, true, false),
        (4, 1, 4, false, false),
        (4, 1, 5, false, true),
        (1, 5, 1, false, true),
        (1, 5, 1, true, true),
        (3, 9, 1, true, true),
        (3, 9, 0, true, false),
        (3, 9, 4, false, false),
        (3, 9, 5, false, true),
    ];
    for (quorum, hysteresis, live, had, has) in table {
        let policy = Policy {
            quorum,
            hysteresis,
            ..Policy::new()
        };
        let mut pool = Pool {
            quorum: Some(had),
            ..Pool::default()
        };
        let judgement = pool.judge(&policy, &[member(1, live, true)], s(0));
        let row = format!("quorum {quorum} hysteresis {hysteresis} live {live} had {had}");
        assert_eq!(pool.has_quorum(), has, "{row}");
        assert_eq!(
            judgement.quorum_changed,
            (had != has).then_some(has),
            "{row}"
        );
    }
}

#[test]
fn the_sorry_server_serves_without_quorum_and_the_living_keep_their_connections() {
    let policy = Policy {
        quorum: 2,
        sorry_server: sorry(),
        ..Policy::new()
    };
    let mut pool = Pool::default();
    let both = [member(1, 1, true), member(2, 1, true)];
    let one = [member(1, 1, true), member(2, 1, false)];
    let first = pool.judge(&policy, &both, s(0));
    assert_eq!((first.sorry, first.quorum_changed), (false, Some(true)));
    let lost = pool.judge(&policy, &one, s(1));
    assert_eq!((lost.sorry, lost.quorum_changed), (true, Some(false)));
    assert_eq!(lost.places, [Place::In(0), Place::Out]);
    let won = pool.judge(&policy, &both, s(2));
    assert_eq!((won.sorry, won.quorum_changed), (false, Some(true)));
    assert_eq!(won.places, [Place::In(1), Place::In(1)]);
}

#[test]
fn without_a_sorry_server_the_living_serve_on() {
    let policy = Policy {
        quorum: 2,
        ..Policy::new()
    };
    let judgement = Pool::default().judge(&policy, &[member(1, 1, true)], s(0));
    assert_eq!(judgement.places, [Place::In(1)]);
    assert_eq!(judgement.quorum_changed, None, "it was never there");
}

/// What keepalived 2.2.7 does at its start (tests/keepalived/recorded.txt, `start_*`): a quorum that is there is told, one that is not only if
/// the sorry server serves for it; and it must be won, hysteresis and all.
#[test]
fn the_first_judgement_is_told_as_keepalived_tells_it() {
    let table = [
        // (live weight, hysteresis, sorry server, told)
        (2, 0, false, Some(true)),
        (2, 0, true, Some(true)),
        (1, 0, false, None),
        (1, 0, true, Some(false)),
        (2, 1, false, None),
        (2, 1, true, Some(false)),
        (3, 1, true, Some(true)),
    ];
    for (live, hysteresis, has_sorry, told) in table {
        let policy = Policy {
            quorum: 2,
            hysteresis,
            sorry_server: if has_sorry { sorry() } else { None },
            ..Policy::new()
        };
        let first = Pool::default().judge(&policy, &[member(1, live, true)], s(0));
        let row = format!("live {live} hysteresis {hysteresis} sorry server {has_sorry}");
        assert_eq!(first.quorum_changed, told, "{row}");
        assert_eq!(first.sorry, told == Some(false), "{row}");
    }
}

#[test]
fn a_server_that_came_back_grows_to_its_weight() {
    let policy = Policy {
        slow_start: s(10),
        ..Policy::new()
    };
    let mut pool = Pool::default();
    let mut at = |second, up| {
        let judgement = pool.judge(&policy, &[member(1, 20, up)], s(second));
        (judgement.places[0], judgement.grows)
    };
    assert_eq!(at(0, true), (Place::In(20), false), "new is not back");
    assert_eq!(at(5, false), (Place::Out, false));
    assert_eq!(at(10, true), (Place::In(1), true));
    assert_eq!(at(11, true), (Place::In(2), true));
    assert_eq!(at(15, true), (Place::In(10), true));
    assert_eq!(at(20, true), (Place::In(20), false));
    assert_eq!(at(21, false), (Place::Out, false));
    assert_eq!(at(22, true), (Place::In(1), true), "from the beginning");
}

#[test]
fn what_the_operator_quiesced_no_script_brings_back() {
    let mut quiesced = member(1, 0, true);
    quiesced.wished.to = Some(9);
    let mut wished = member(2, 1, true);
    wished.wished.to = Some(9);
    assert_eq!(
        places(&Policy::new(), &[quiesced, wished]),
        [Place::In(0), Place::In(9)]
    );
}

proptest! {
    /// Judging again what has not changed changes nothing, however often; and nobody gets more than the full weight.
    #[test]
    fn a_judgement_converges(
        quorum in 0_u32..5, hysteresis in 0_u32..5, slow in 0_u64..4, has_sorry: bool,
        rounds in prop::collection::vec(prop::collection::vec((0_u32..4, any::<bool>()), 3), 1..20),
    ) {
        let policy = Policy {
            quorum, hysteresis, slow_start: s(slow), sorry_server: if has_sorry { sorry() } else { None }, ..Policy::new()
        };
        let mut pool = Pool::default();
        for (round, states) in (0..).zip(rounds) {
            let members: Vec<Member> = (1..).zip(states).map(|(n, (weight, up))| member(n, weight, up)).collect();
            let first = pool.judge(&policy, &members, s(round));
            let again = pool.judge(&policy, &members, s(round));
            prop_assert_eq!(&again.places, &first.places);
            prop_assert_eq!((again.sorry, again.quorum_changed), (first.sorry, None));
            for (place, member) in first.places.iter().zip(&members) {
                match place {
                    Place::In(weight) => prop_assert!(member.up && *weight <= member.weight),
                    Place::Out => prop_assert!(!member.up),
                }
            }
            prop_assert!(!first.sorry || policy.sorry_server.is_some());
        }
    }
}

#[test]
fn what_checks_add_to_a_weight_stays_within_its_bounds() {
    let table = [
        (10, None, 0, 10),
        (10, None, 5, 15),
        (10, None, -3, 7),
        (10, None, -10, 0),
        (10, None, -20, 0),
        (10, Some(4), 5, 9),
        (10, Some(0), 5, 5),
        // Quiesced by the operator.
        (0, None, 5, 0),
        (10, None, i64::MIN, 0),
        (10, None, i64::MAX, i32::MAX as u32),
        (u32::MAX, None, 0, i32::MAX as u32),
    ];
    for (weight, to, by, wanted) in table {
        let found = Wished { to, by }.of(weight);
        assert_eq!(found, wanted, "{weight} {to:?} {by}");
    }
}
