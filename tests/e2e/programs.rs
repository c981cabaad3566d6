//! Real programs that ask more of a director than requests and answers: dnsperf's load, traceroute, uploads that must find
//! out the path's MTU. Under NAT nothing of it may show a client a real server's address.

use crate::{
    lab::{
        Lab, clients,
        hidden::{hidden, proves_itself},
        router::{Setup, with_router, with_router_in},
        runner::Case,
    },
    service::{FAMILIES, Family, METHODS, Method, Service, decapsulate},
    topology::{FAR, FAR_ROUTES},
};
use anyhow::{Context, Result, ensure};
use std::fs;

pub fn cases() -> Vec<Case> {
    let mut cases = vec![Case::new("programs::watch_sees_addresses", || {
        with_router(&Setup::new(String::new()), |router| {
            proves_itself(router.lab())
        })
    })];
    for method in METHODS {
        for family in FAMILIES {
            let name = format!("programs::{method:?}_{family:?}").to_lowercase();
            cases.push(Case::new(name, move || all(method, family)));
        }
    }
    cases.push(Case::new("programs::router_in_the_middle", middle));
    cases
}

/// Each program with its service, all by one VIP; its servers hidden if it is NAT's.
fn all(method: Method, family: Family) -> Result<()> {
    let dns = Service::dns(method, family);
    let http = Service::http(method, family);
    let upload = Service::iperf3(method, family);
    with_router(
        &Setup::new(dns.text() + &http.text() + &upload.text()),
        |router| {
            let lab = router.lab();
            let run = || {
                dnsperf(lab, &dns)?;
                traceroute(lab, &http)?;
                small_mtu(lab, &upload)
            };
            match method {
                Method::Masq => hidden(lab, run),
                Method::Route => run(),
                Method::Tunnel => {
                    let _ends = decapsulate(lab)?;
                    run()
                }
            }
        },
    )
}

/// Every query of a second's load is answered.
fn dnsperf(lab: &Lab, service: &Service) -> Result<()> {
    let queries = lab.dir.join("queries");
    fs::write(&queries, "who.lab TXT\n")?;
    let line = format!(
        "dnsperf -s {} -p {} -d {} -l 1 -c 20 -T 2 -q 100 -t 3",
        service.vip(),
        service.port,
        queries.display()
    );
    let text = lab.text("client", &line, 20)?;
    let number = |name: &str| -> Result<u64> {
        let line = text.lines().find(|line| line.contains(name));
        let value = line.and_then(|line| line.split_once(':')?.1.split_whitespace().next());
        value
            .and_then(|value| value.parse().ok())
            .with_context(|| format!("dnsperf says nothing of `{name}`:\n{text}"))
    };
    let (sent, done) = (number("Queries sent")?, number("Queries completed")?);
    ensure!(
        sent > 500 && done == sent,
        "{done} of {sent} queries were answered:\n{text}"
    );
    Ok(())
}

/// The hops to a service as traceroute finds them with SYNs: the director, by the VIP's own address as IPVS does, then the
/// service.
fn traceroute(lab: &Lab, service: &Service) -> Result<()> {
    let vip = service.vip();
    let hops = hops(lab, service.family, &vip)?;
    ensure!(
        hops == [vip.clone(), vip],
        "two hops to the service, not {hops:?}"
    );
    Ok(())
}

fn hops(lab: &Lab, family: Family, vip: &str) -> Result<Vec<String>> {
    let version = match family {
        Family::Ipv4 => 4,
        Family::Ipv6 => 6,
    };
    let line = format!("traceroute -{version} -n -T -p 80 -q 1 -N 1 -w 1 -m 6 {vip}");
    let text = lab.text("client", &line, 20)?;
    let hop = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
    Ok(text.lines().skip(1).filter_map(hop).collect())
}

/// An upload where the way to the servers takes less than the client's wire: it is told, and goes on with smaller packets.
fn small_mtu(lab: &Lab, service: &Service) -> Result<()> {
    clients::iperf3(lab, "rs1", &service.vip(), 1, "")?;
    if service.method == Method::Tunnel {
        // The outer header takes the difference.
        let mtu = match service.family {
            Family::Ipv4 => 1480,
            Family::Ipv6 => 1460,
        };
        learnt(lab, &service.vip(), mtu)?;
    }
    Ok(())
}

/// The client knows that the way to `vip` takes so many bytes.
fn learnt(lab: &Lab, vip: &str, mtu: u16) -> Result<()> {
    let said = lab.text("client", &format!("ip route get {vip}"), 5)?;
    ensure!(
        said.contains(&format!("mtu {mtu}")),
        "the client has not learnt that the way takes {mtu} bytes: {said}"
    );
    Ok(())
}

/// A server behind a gateway whose further link takes 1400 bytes: the gateway's ICMP errors are about packets it saw with the server's
/// address, and reach the client as the VIP's.
fn middle() -> Result<()> {
    let upload = FAR.replace(":80\"", ":5201\"").replace("8080", "5201");
    let setup = Setup {
        more: FAR_ROUTES.into(),
        ..Setup::new(FAR.to_owned() + &upload)
    };
    with_router_in(&["--far"], &setup, |router| {
        let lab = router.lab();
        lab.text("gw", "ip link set far mtu 1400", 5)?;
        hidden(lab, || {
            for (family, vip) in [
                (Family::Ipv4, "198.51.100.10"),
                (Family::Ipv6, "2001:db8:1::10"),
            ] {
                let hops = hops(lab, family, vip)?;
                ensure!(
                    hops == [vip; 3],
                    "director, gateway and service as {vip}, not {hops:?}"
                );
                clients::iperf3(lab, "far", vip, 1, "")?;
                learnt(lab, vip, 1400)?;
            }
            Ok(())
        })
    })
}
