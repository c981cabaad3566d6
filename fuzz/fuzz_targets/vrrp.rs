//! VRRP: any frame. What is read is written again as it was, and what a unit hears leaves it in one piece.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use vrrp::{
    Advertisement, Authentication, Checksum, Interval, MemberSettings, Preemption, Received, State,
    Unit,
};

fuzz_target!(|bytes: &[u8]| {
    let read = match Received::parse(bytes) {
        Ok(read) => read,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let said = &read.advertisement;
    let again = said.emit(read.source, read.destination, Checksum::PseudoHeader);
    assert_eq!(
        Advertisement::parse(&again, read.source, read.destination).as_ref(),
        Ok(said)
    );

    let Some(interval) = Interval::of_centiseconds(10) else {
        return;
    };
    let member = MemberSettings {
        version: said.version,
        router_id: said.router_id,
        priority: 100,
        interval,
        source: [192, 0, 2, 10].into(),
        addresses: said.addresses.clone(),
        authentication: Authentication::None,
    };
    let mut unit = Unit::new(vec![member], Preemption::default());
    let mut actions = Vec::new();
    unit.start(Duration::ZERO, &mut actions);
    unit.receive(Duration::from_millis(1), 0, read.source, said, &mut actions);
    // However long the interval it was told: without another word it becomes master.
    for _ in 0..2 {
        if let Some(due) = unit.due() {
            unit.poll(due, &mut actions);
        }
    }
    assert_eq!(unit.state(), State::Master);
    unit.receive(
        unit.since() + Duration::from_millis(1),
        0,
        read.source,
        said,
        &mut actions,
    );
    assert_eq!(unit.state() == State::Master, unit.lease().is_some());
});
