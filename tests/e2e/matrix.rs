//! The matrix: every forwarding method, family and protocol; on one worker, on two whose queues see the two directions of
//! a flow apart, and on `net_af_xdp`.

use crate::{
    lab::{
        clients,
        router::{Driver, Router, Setup, with_router},
        runner::Case,
    },
    service::{FAMILIES, Family, METHODS, Method, Protocol, Service, decapsulate},
};
use anyhow::{Result, ensure};

const REQUESTS: usize = 1000;

#[derive(Clone, Copy)]
struct Ports {
    name: &'static str,
    workers: u16,
    driver: Driver,
}

const ONE: Ports = Ports {
    name: "one_worker",
    workers: 1,
    driver: Driver::AfPacket,
};
const TWO: Ports = Ports {
    name: "two_workers",
    workers: 2,
    driver: Driver::AfPacket,
};
const XDP: Ports = Ports {
    name: "af_xdp",
    workers: 1,
    driver: Driver::AfXdp,
};

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for ports in [ONE, TWO, XDP] {
        for method in METHODS {
            for family in FAMILIES {
                let http = Service::http(method, family);
                cases.push(case(ports, "requests", http, requests));
                if ports.driver != Driver::AfXdp {
                    cases.push(case(
                        ports,
                        "requests",
                        Service::dns(method, family),
                        requests,
                    ));
                    cases.push(case(ports, "load", http, load));
                }
                cases.push(case(ports, "download", http, download));
            }
        }
    }
    cases
}

fn case(
    ports: Ports,
    what: &'static str,
    service: Service,
    body: fn(&Router<'_>, &Service) -> Result<()>,
) -> Case {
    Case::new(format!("{}::{what}_{service}", ports.name), move || {
        // The shares of both round robins: the even one and the weighted one on a second port.
        let weighted = Service {
            port: 81,
            ..service.weighted()
        };
        let beside = Service::iperf3(service.method, service.family);
        let mut services = service.text() + &beside.text();
        if service.method == Method::Masq && service.protocol == Protocol::Tcp {
            services += &weighted.text();
        }
        let setup = Setup {
            workers: ports.workers,
            driver: ports.driver,
            ..Setup::new(services)
        };
        with_router(&setup, |router| {
            let _tunnel_ends = match service.method {
                Method::Tunnel => decapsulate(router.lab())?,
                _ => Vec::new(),
            };
            body(router, &service)?;
            // A download is one flow: it may well keep to one worker.
            if what == "download" {
                Ok(())
            } else {
                every_worker_worked(router, ports.workers)
            }
        })
    })
}

/// A thousand connections: none lost, served in exactly the scheduler's order, each counted once.
fn requests(router: &Router<'_>, service: &Service) -> Result<()> {
    let lab = router.lab();
    clients::follow(&service.ask(lab, REQUESTS)?, service.cycle())?;
    let listed = router.service(&service.address())?;
    let by_server: u64 = listed.servers.iter().map(|s| s.traffic.connections).sum();
    ensure!(
        listed.traffic.connections == REQUESTS as u64 && by_server == REQUESTS as u64,
        "{REQUESTS} connections were made; the service counts {}, its servers {by_server}",
        listed.traffic.connections
    );
    if service.method == Method::Masq && service.protocol == Protocol::Tcp {
        let weighted = Service {
            port: 81,
            ..service.weighted()
        };
        // From an address of its own: at a real server both services look alike, so a client port that came back would
        // meet its TIME_WAIT there, be reset, and count (and move the scheduler on) twice. IPVS does the same.
        let from = format!("{}1", client_of(service));
        let answers = clients::who_answers(lab, &weighted.address(), REQUESTS, Some(&from))?;
        clients::follow(&answers, weighted.cycle())?;
        let seen = clients::get(lab, &service.address(), "address")?;
        let port = service.server_port.to_string();
        ensure!(
            seen.starts_with(client_of(service)) && seen.ends_with(&port),
            "the server saw `{seen}`: not the client's own address, or not its own port {port}"
        );
    }
    Ok(())
}

fn client_of(service: &Service) -> &'static str {
    match service.family {
        Family::Ipv4 => "198.51.100.10",
        Family::Ipv6 => "2001:db8:1::10",
    }
}

/// 100 MB arrive byte for byte.
fn download(router: &Router<'_>, service: &Service) -> Result<()> {
    let sum = router.lab().publish("large", 100)?;
    let got = clients::download(router.lab(), &service.address(), "large")?;
    ensure!(got == sum, "the download differs: {got}, served was {sum}");
    Ok(())
}

/// 500 keep-alive connections without an error, then a bulk stream each way.
fn load(router: &Router<'_>, service: &Service) -> Result<()> {
    let lab = router.lab();
    // Long where connections have most to go wrong with, so that the whole test stays short.
    let seconds = match (service.method, service.family) {
        (Method::Masq, Family::Ipv4) => 20,
        _ => 5,
    };
    let load = clients::wrk(lab, &service.address(), 500, seconds)?;
    let iperf3 = Service::iperf3(service.method, service.family);
    let up = clients::iperf3(lab, "rs1", &iperf3.vip(), 3, "")?;
    let down = clients::iperf3(lab, "rs1", &iperf3.vip(), 3, "-R")?;
    print!(
        "[{:.0} requests/s, {up:.0} Mbit/s up, {down:.0} down] ",
        load.per_second
    );
    Ok(())
}

fn every_worker_worked(router: &Router<'_>, workers: u16) -> Result<()> {
    let counters: api::Counters = router.ask("counters")?;
    ensure!(
        counters.workers.len() == usize::from(workers),
        "{:?}",
        counters.workers
    );
    for worker in &counters.workers {
        ensure!(
            worker.totals.rx > 0,
            "worker {} met no packet: {:?}",
            worker.id,
            counters.workers
        );
    }
    Ok(())
}
