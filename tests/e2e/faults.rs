//! Hostile input at the live router while it serves.
#![expect(
    clippy::cast_possible_truncation,
    reason = "values of frames made by hand: small, and this file's own"
)]

use crate::{
    lab::{
        clients,
        raw::{self, Raw},
        router::{Router, Setup, with_router},
        run,
        runner::Case,
    },
    service::{Family, Method, Service},
};
use anyhow::{Result, ensure};
use std::{thread, time::Duration};

const FRAMES: u32 = 100_000;

/// Fragments that are never completed are let go while the test still looks: all buffers must come back.
const FRAGMENTS_WAIT: &str = "[settings]\nipfrag_time = 3\nip6frag_time = 3\n";

pub fn cases() -> Vec<Case> {
    vec![Case::new(
        "faults::a_hundred_thousand_malformed_frames",
        malformed,
    )]
}

fn malformed() -> Result<()> {
    let http = Service::http(Method::Masq, Family::Ipv4);
    let http6 = Service::http(Method::Masq, Family::Ipv6);
    let dns = Service::dns(Method::Masq, Family::Ipv4);
    with_router(
        &Setup::new(http.text() + &http6.text() + &dns.text() + FRAGMENTS_WAIT),
        |router| {
            let lab = router.lab();
            // Both ends know each other, so that what is counted from here on is the test's own.
            http.ask(lab, 9)?;
            let (wire_before, router_before) = received(router)?;
            let load = thread::scope(|scope| {
                let load = scope.spawn(|| clients::wrk(lab, &http.address(), 20, 8));
                let sent = throw(router);
                let load = load
                    .join()
                    .map_err(|_| anyhow::anyhow!("the load panicked"))?;
                sent.and(load)
            })?;
            // A mutated frame may well be a new connection: where the walk stands is not known, but it goes round.
            clients::follow_from_anywhere(&http6.ask(lab, 99)?, http6.cycle())?;
            let (mut wire, mut counted) = (0, 0);
            run::until(
                "frames the wire delivered and the router did not count",
                5,
                || {
                    let (wire_now, router_now) = received(router)?;
                    (wire, counted) = (wire_now - wire_before, router_now - router_before);
                    Ok(wire == counted)
                },
            )
            .map_err(|e| {
                e.context(format!(
                    "{wire} frames came to the port, the router counted {counted}"
                ))
            })?;
            ensure!(counted > u64::from(FRAMES), "only {counted} frames arrived");
            let counters: api::Counters = router.ask("counters")?;
            let kinds = counters.drops.iter().filter(|d| d.count > 0).count();
            ensure!(
                kinds >= 8,
                "malformed in so many ways, dropped for {kinds} reasons only: {:?}",
                counters.drops
            );
            print!(
                "[{:.0} requests/s meanwhile, {kinds} reasons] ",
                load.per_second
            );
            Ok(())
        },
    )
}

/// Frames the kernel delivered to the port "wan", and frames the router counts there.
fn received(router: &Router<'_>) -> Result<(u64, u64)> {
    let wire = router
        .lab()
        .text("router", "cat /sys/class/net/wan/statistics/rx_packets", 5)?;
    let ports: Vec<api::Port> = router.ask("ports")?;
    let counted = ports
        .iter()
        .filter(|p| p.name == "wan")
        .map(|p| p.stats.rx_packets)
        .sum();
    Ok((wire.trim().parse()?, counted))
}

/// Sends well-formed frames with a few bytes changed, cut short or with lengths that lie.
fn throw(router: &Router<'_>) -> Result<()> {
    let wire = Raw::open(router.lab(), "client", "wan")?;
    let us = raw::mac(&router.lab().mac("client", "wan")?)?;
    let them = raw::mac(&router.lab().mac("router", "wan")?)?;
    let good = well_formed(them, us);
    let mut random = Random(0x7461_7270_6f6e);
    for number in 0..FRAMES {
        let mut frame = good[random.below(good.len())].clone();
        // The Ethernet addresses stay: a frame for another station says nothing about the parsers.
        match random.below(4) {
            0 => frame.truncate(14 + random.below(frame.len() - 14)),
            1 => frame.resize(frame.len() + random.below(64), 0xa5),
            _ => {
                for _ in 0..=random.below(6) {
                    let at = 12 + random.below(frame.len() - 12);
                    frame[at] = random.below(256) as u8;
                }
            }
        }
        arrive_whole(&mut frame);
        wire.send(&frame)?;
        // The ring holds 4096 frames: what is lost before the router sees it proves nothing.
        if number % 128 == 127 {
            thread::sleep(Duration::from_millis(2));
        }
    }
    Ok(())
}

/// Makes an IPv4 fragment whole: the packet socket below the port keeps fragments to itself until it has them all, so that
/// they could not be counted. (Fragments meet the engine in its own tests.)
fn arrive_whole(frame: &mut [u8]) {
    for (ethertype, fragment) in [(12, 20), (16, 24)] {
        if frame.get(ethertype..ethertype + 2) == Some(&[8, 0])
            && let Some([flags, offset]) = frame.get_mut(fragment..fragment + 2)
        {
            *flags &= 0xc0;
            *offset = 0;
        }
    }
}

/// One of each kind the router reads.
fn well_formed(them: [u8; 6], us: [u8; 6]) -> Vec<Vec<u8>> {
    // Nobody's address: what these frames make the router learn or answer harms no real client.
    const FROM: [u8; 4] = [198, 51, 100, 200];
    const VIP: [u8; 4] = [198, 51, 100, 10];
    let four = |protocol, payload: &[u8]| {
        raw::ethernet(
            them,
            us,
            None,
            0x0800,
            &raw::ipv4(protocol, FROM, VIP, payload),
        )
    };
    let mut segment = vec![
        0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0,
    ];
    let syn = four(6, &segment);
    segment[13] = 0x10;
    let ack = four(6, &segment);
    let inner = raw::ipv4(6, VIP, FROM, &segment);
    let mut unreachable = vec![3, 1, 0, 0, 0, 0, 0, 0];
    unreachable.extend(&inner);
    let sum = raw::checksum(&unreachable);
    unreachable[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut fragment = raw::ipv4(17, FROM, VIP, &raw::udp(4001, 53, &[0; 64]));
    fragment[6] = 0x20;
    let six = |next: u8, payload: &[u8]| {
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend((payload.len() as u16).to_be_bytes());
        packet.extend([next, 255]);
        packet.extend([0x20, 1, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0]);
        packet.extend([0x20, 1, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10]);
        packet.extend(payload);
        raw::ethernet(them, us, None, 0x86dd, &packet)
    };
    let mut solicitation = vec![135, 0, 0, 0, 0, 0, 0, 0];
    solicitation.extend([
        0x20, 1, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 1, 1,
    ]);
    solicitation.extend(us);
    let extensions = [[0u8, 0, 1, 4, 0, 0, 0, 0], [6, 0, 1, 4, 0, 0, 0, 0]].concat();
    vec![
        syn,
        ack,
        four(17, &raw::udp(4000, 53, b"\x12\x34\x01\x00")),
        four(1, &raw::echo_request(1, &[0x55; 40])),
        four(1, &unreachable),
        four(132, &[0; 12]),
        raw::ethernet(them, us, None, 0x0800, &fragment),
        raw::ethernet(
            them,
            us,
            None,
            0x0806,
            &raw::arp(1, (us, FROM), ([0; 6], VIP)),
        ),
        raw::ethernet(
            them,
            us,
            Some(10),
            0x0800,
            &raw::ipv4(1, FROM, VIP, &raw::echo_request(1, b"")),
        ),
        six(6, &segment),
        six(58, &solicitation),
        six(0, &extensions),
        six(44, &[17, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 8, 0, 0]),
        raw::ethernet(them, us, None, 0x88cc, &[0; 46]),
    ]
}

/// The same sequence every time (xorshift64): a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}
