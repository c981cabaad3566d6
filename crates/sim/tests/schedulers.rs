//! Schedulers of which there is no recording, against models of their own; and what holds for all of them.
#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use engine::model::Desired;
use sim::{
    Packet, World, packet,
    world::{MACS, network, service},
};
use std::{collections::BTreeMap, net::SocketAddr};
use types::{ForwardingMethod::Masq, PortId, Protocol::Tcp, Scheduler, SchedulerFlags, Weight};

const SYN: u8 = 2;
const RST: u8 = 4;
const VIP: &str = "10.0.0.100:80";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A director with a service whose servers .11, .12 ... have these weights.
fn director(scheduler: Scheduler, weights: &[u32]) -> (World, Desired) {
    let mut desired = network();
    let names: Vec<String> = (0..weights.len())
        .map(|n| format!("10.1.0.{}:80", 11 + n))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut service = service(Tcp, VIP, scheduler, Masq, &names);
    for (server, weight) in service.servers.iter_mut().zip(weights) {
        server.weight = Weight(*weight);
    }
    desired.services = vec![service];
    (World::new(&desired, 1), desired)
}

/// Which server a SYN (or a later packet) of client `n` goes to, as an index; `None` if it is refused.
fn sent(world: &mut World, n: u16, flags: u8) -> Option<usize> {
    let client = SocketAddr::from(([172, 16, (n >> 8) as u8, (n & 0xff) as u8], 40_000));
    let frame = Packet::tcp(client, at(VIP), flags).frame(MACS[0]);
    let out = world.give(0, 0, &frame);
    let to = out.iter().find(|s| s.port == PortId(1))?;
    let SocketAddr::V4(server) = packet::read(&to.bytes).unwrap().destination else {
        panic!("an IPv4 server");
    };
    Some(usize::from(server.ip().octets()[3]) - 11)
}

#[test]
fn sed_takes_the_shortest_expected_delay() {
    let weights = [1u32, 3, 5];
    let (mut world, _) = director(Scheduler::Sed, &weights);
    let mut active = [0u32; 3];
    for n in 0..200 {
        // (active + 1) / weight, smallest; of equals the one added last.
        let best = (0..3)
            .rev()
            .fold(None, |best: Option<usize>, i| match best {
                Some(b) if (active[b] + 1) * weights[i] <= (active[i] + 1) * weights[b] => best,
                _ => Some(i),
            });
        let found = sent(&mut world, n, SYN);
        assert_eq!(found, best, "connection {n} with {active:?}");
        active[found.unwrap()] += 1;
    }
}

#[test]
fn ovf_fills_the_heaviest_first_and_refuses_when_all_are_full() {
    let (mut world, _) = director(Scheduler::Ovf, &[2, 4, 3]);
    let chosen: Vec<_> = (0..13).map(|n| sent(&mut world, n, SYN)).collect();
    let (a, b, c) = (Some(0), Some(1), Some(2));
    assert_eq!(chosen, [b, b, b, b, b, c, c, c, c, a, a, a, None]);
    // One that ends makes room where it was.
    let reset = Packet::tcp(at("10.1.0.13:80"), at("172.16.0.5:40000"), RST).frame(MACS[1]);
    world.give(0, 1, &reset);
    assert_eq!(sent(&mut world, 20, SYN), c);
    assert_eq!(sent(&mut world, 21, SYN), None);
}

#[test]
fn twos_keeps_the_loads_together() {
    let weights = [1, 2, 3, 0];
    let (mut world, _) = director(Scheduler::Twos, &weights);
    let mut counts = BTreeMap::new();
    for n in 0..3000 {
        *counts
            .entry(sent(&mut world, n, SYN).unwrap())
            .or_insert(0u32) += 1;
    }
    for (server, expected) in [(0, 500), (1, 1000), (2, 1500)] {
        let found = counts[&server];
        // Draws by weight alone would stray further than this in one of three runs.
        assert!(found.abs_diff(expected) <= 25, "{counts:?}");
    }
    assert_eq!(counts.get(&3), None);
}

#[test]
fn every_scheduler_leaves_quiesced_and_full_servers_alone() {
    for &scheduler in Scheduler::ALL {
        let (mut world, mut desired) = director(scheduler, &[0, 1, 1]);
        desired.services[0].servers[1].upper_threshold = 2;
        desired.services[0].flags = SchedulerFlags {
            third: false,
            fallback: true,
            port: false,
        };
        world.apply(&desired);
        let mut counts = [0; 3];
        for n in 0..40 {
            if let Some(server) = sent(&mut world, n, SYN) {
                counts[server] += 1;
            }
        }
        assert_eq!(counts[0], 0, "{scheduler}: quiesced");
        // lblc goes on with the server it has for an address, full or not, as IPVS does.
        assert!(
            counts[1] <= 2 || scheduler == Scheduler::Lblc,
            "{scheduler}: over its threshold: {counts:?}"
        );
        // dh has one server for this address, ovf two places.
        if !matches!(scheduler, Scheduler::Dh | Scheduler::Ovf) {
            assert_eq!(counts[1] + counts[2], 40, "{scheduler}: {counts:?}");
        }
    }
}

#[test]
fn hashing_schedulers_send_a_client_to_one_server_whatever_else_happens() {
    for scheduler in [Scheduler::Sh, Scheduler::Mh] {
        let (mut world, mut desired) = director(scheduler, &[1, 1, 1]);
        let first: Vec<_> = (0..100).map(|n| sent(&mut world, n, SYN)).collect();
        world = World::new(&desired, 1);
        let again: Vec<_> = (0..100).rev().map(|n| sent(&mut world, n, SYN)).collect();
        assert!(first.iter().eq(again.iter().rev()), "{scheduler}");
        // Quiesced: its clients are refused, the others stay; with the flag all are served.
        desired.services[0].servers[1].weight = Weight(0);
        let mut world = World::new(&director(scheduler, &[1, 1, 1]).1, 1);
        world.apply(&desired);
        for (n, before) in (0..100).zip(&first) {
            let expected = before.filter(|server| *server != 1);
            // sh moves nobody else: the buckets stay as they are while the weights are all 1 or 0.
            assert_eq!(sent(&mut world, n, SYN), expected, "{scheduler}");
        }
        desired.services[0].flags.fallback = true;
        world.apply(&desired);
        for n in 100..200 {
            assert!(sent(&mut world, n, SYN).is_some(), "{scheduler}");
        }
    }
}
