//! Datagrams larger than any link: the stacks of client and server cut them, the director puts them together, balances them and cuts
//! them again. On `net_af_xdp`: the packet socket of `net_af_packet` puts IPv4 fragments together by itself.

use crate::{
    lab::{
        Lab,
        router::{Driver, Router, Setup, with_router},
        runner::Case,
    },
    service::{FAMILIES, METHODS, Method, Protocol, Service, decapsulate},
};
use anyhow::{Context, Result, ensure};
use std::{
    net::UdpSocket,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

/// Bytes of a datagram: six fragments.
const SIZE: usize = 8000;
const DATAGRAMS: usize = 50;
const PORT: u16 = 9000;

pub fn cases() -> Vec<Case> {
    let all = METHODS.into_iter().flat_map(|m| FAMILIES.map(|f| (m, f)));
    let service = |(method, family)| Service {
        protocol: Protocol::Udp,
        port: PORT,
        server_port: PORT,
        weights: &[1],
        ..Service::http(method, family)
    };
    all.map(service)
        .map(|service| {
            Case::new(format!("fragments::large_datagrams_{service}"), move || {
                let setup = Setup {
                    driver: Driver::AfXdp,
                    ..Setup::new(service.text())
                };
                with_router(&setup, |router| large_datagrams(router, &service))
            })
        })
        .collect()
}

/// An echo server gives every datagram back as it was.
fn large_datagrams(router: &Router<'_>, service: &Service) -> Result<()> {
    let lab = router.lab();
    let _tunnel_ends = match service.method {
        Method::Tunnel => decapsulate(lab)?,
        _ => Vec::new(),
    };
    // Under direct routing and in tunnels the server answers as the virtual address.
    let address = match service.method {
        Method::Masq => service.server(1),
        Method::Route | Method::Tunnel => service.address(),
    };
    let server = lab.inside("rs1", || {
        let socket = UdpSocket::bind(&address).with_context(|| address.clone())?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(socket)
    })?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| echo(&server, &stop));
        let asked = ask(lab, service);
        stop.store(true, Relaxed);
        asked
    })?;
    let counters: api::Counters = router.ask("counters")?;
    let dropped = |name: &str| {
        let reasons = counters.drops.iter();
        reasons
            .filter(|d| d.reason == name)
            .map(|d| d.count)
            .sum::<u64>()
    };
    // Requests, and under NAT replies: of each datagram all fragments but the first are joined to it.
    let ways = if service.method == Method::Masq { 2 } else { 1 };
    let least = (DATAGRAMS * ways * (SIZE / 1500)) as u64;
    ensure!(
        dropped("reassembled") >= least && dropped("fragmented") >= (DATAGRAMS * ways) as u64,
        "{} fragments were put together, {} packets cut; at least {least} were sent: {:?}",
        dropped("reassembled"),
        dropped("fragmented"),
        counters.drops
    );
    Ok(())
}

fn echo(server: &UdpSocket, stop: &AtomicBool) {
    let mut datagram = [0; 65_536];
    while !stop.load(Relaxed) {
        if let Ok((len, from)) = server.recv_from(&mut datagram) {
            let _ = server.send_to(datagram.get(..len).unwrap_or_default(), from);
        }
    }
}

/// Every datagram comes back whole. The first ones may teach the client what the path takes (IPv6 in a tunnel).
fn ask(lab: &Lab, service: &Service) -> Result<()> {
    let client = lab.inside("client", || {
        let any = match service.family {
            crate::service::Family::Ipv4 => "0.0.0.0:0",
            crate::service::Family::Ipv6 => "[::]:0",
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(service.address())?;
        Ok(socket)
    })?;
    client.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut answer = [0; 65_536];
    let mut lost = 0;
    for number in 0..DATAGRAMS {
        let pattern = (0..251u8).map(|n| n.wrapping_mul(7) ^ number.to_le_bytes()[0]);
        let question: Vec<u8> = pattern.cycle().take(SIZE).collect();
        let mut tries = 0..5;
        let back = tries.find_map(|_| {
            // A message that an earlier one was too large ends the call, not the datagram.
            let _ = client.send(&question);
            client.recv(&mut answer).map_err(|_| lost += 1).ok()
        });
        let len = back.with_context(|| format!("datagram {number} never came back"))?;
        ensure!(
            answer.get(..len) == Some(question.as_slice()),
            "datagram {number} came back otherwise, with {len} bytes"
        );
    }
    ensure!(lost <= 4, "{lost} datagrams were lost");
    Ok(())
}
