//! Other wires: one arm, a real server behind a gateway of its own, tagged frames, plain forwarding.
#![expect(
    clippy::cast_possible_truncation,
    reason = "values of frames made by hand: small, and this file's own"
)]

use crate::{
    lab::{
        Lab, clients,
        raw::{self, Raw},
        router::{Router, Setup, with_router, with_router_in},
        runner::Case,
    },
    service::{FAMILIES, Family, METHODS, Method, Service, decapsulate},
};
use anyhow::{Context, Result, ensure};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("topology::one_arm", one_arm),
        Case::new("topology::real_server_behind_its_own_gateway", far),
        Case::new("topology::tagged_frames", tagged),
        Case::new("topology::plain_forwarding", plain),
        Case::new("topology::gre_and_gue_tunnels", other_tunnels),
    ]
}

/// Both networks on one wire: all methods serve through the single port.
fn one_arm() -> Result<()> {
    let services: String = METHODS
        .iter()
        .flat_map(|m| FAMILIES.map(|f| Service::http(*m, f).text()))
        .collect();
    let setup = Setup {
        one_arm: true,
        ..Setup::new(services)
    };
    with_router(&setup, |router| {
        let _tunnel_ends = decapsulate(router.lab())?;
        for method in METHODS {
            for family in FAMILIES {
                let service = Service::http(method, family);
                let answers = service
                    .ask(router.lab(), 99)
                    .with_context(|| service.to_string())?;
                clients::follow(&answers, service.cycle())?;
            }
        }
        let ports: Vec<api::Port> = router.ask("ports")?;
        ensure!(ports.len() == 1, "{ports:?}");
        Ok(())
    })
}

/// The other tunnels, each with a service of its own on a real server that unpacks them: small requests, and an upload whose packets
/// have to learn how small they must be.
fn other_tunnels() -> Result<()> {
    const TUNNELS: [(&str, u16); 4] = [
        ("gre", 8001),
        ("gre:csum", 8002),
        ("gue:6080", 8003),
        ("gue:6080:csum", 8004),
    ];
    let services = |method_family: Family| {
        TUNNELS.map(|(tunnel, port)| {
            let service = Service {
                port,
                server_port: port,
                weights: &[1],
                ..Service::http(Method::Tunnel, method_family)
            };
            (service, tunnel)
        })
    };
    let all: Vec<_> = FAMILIES.into_iter().flat_map(services).collect();
    let with = |text: String, tunnel: &str| {
        text.replace("weight = ", &format!("tunnel = \"{tunnel}\"\nweight = "))
    };
    let text = all
        .iter()
        .map(|(s, tunnel)| with(s.text(), tunnel))
        .collect::<String>();
    with_router(&Setup::new(text), |router| {
        let lab = router.lab();
        let _tunnel_ends = decapsulate(lab)?;
        for (service, tunnel) in &all {
            uploads(lab, service).with_context(|| format!("{tunnel}, {service}"))?;
        }
        Ok(())
    })
}

/// Sends 200 kB to the real server through the service; they arrive, byte for byte.
fn uploads(lab: &Lab, service: &Service) -> Result<()> {
    let data: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    let listener = lab.inside("rs1", || Ok(TcpListener::bind(service.address())?))?;
    let (sender, received) = mpsc::channel();
    thread::spawn(move || {
        let mut all = Vec::new();
        let read = listener
            .accept()
            .and_then(|(mut s, _)| s.read_to_end(&mut all));
        let _ = sender.send(read.map(|_| all));
    });
    lab.inside("client", || {
        let address: SocketAddr = service.address().parse()?;
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.write_all(&data)?;
        Ok(())
    })?;
    let arrived = received.recv_timeout(Duration::from_secs(10))??;
    ensure!(
        arrived == data,
        "{} of {} bytes arrived",
        arrived.len(),
        data.len()
    );
    Ok(())
}

/// A server behind a gateway, by NAT.
pub const FAR: &str = "[[service]]\nprotocol = \"tcp\"\naddress = \"198.51.100.10:80\"\nmethod = \"masq\"\n[[service.server]]\naddress = \"10.9.0.11:8080\"\n\n\
[[service]]\nprotocol = \"tcp\"\naddress = \"[2001:db8:1::10]:80\"\nmethod = \"masq\"\n[[service.server]]\naddress = \"[2001:db8:9::11]:8080\"\n\n";
/// The way to it.
pub const FAR_ROUTES: &str = "[[route]]\nto = \"10.9.0.0/24\"\nvia = \"10.1.0.254\"\n\n[[route]]\nto = \"2001:db8:9::/64\"\nvia = \"2001:db8:2::254\"\n\n";

fn far() -> Result<()> {
    let setup = Setup {
        more: FAR_ROUTES.into(),
        ..Setup::new(FAR)
    };
    with_router_in(&["--far"], &setup, |router| {
        for address in ["198.51.100.10:80", "[2001:db8:1::10]:80"] {
            let answers = clients::who_answers(router.lab(), address, 100, None)?;
            ensure!(
                clients::shares(&answers).get("far") == Some(&100),
                "{:?}",
                clients::shares(&answers)
            );
        }
        // Direct routing rewrites the MAC alone: it cannot reach a server behind a gateway, and says so.
        let refused = router.cli("service add 198.51.100.20:80 --protocol tcp --scheduler rr")?;
        ensure!(refused.code == Some(0), "{}", refused.stderr);
        let refused = router.cli("server add 198.51.100.20:80 10.9.0.11:80 --method route")?;
        ensure!(
            refused.code == Some(1) && refused.stderr.contains("10.9.0.11"),
            "a direct-routing server behind a gateway: {:?}: {}",
            refused.code,
            refused.stderr
        );
        Ok(())
    })
}

/// A station on VLAN 10, made of frames: ARP, echo, and a DNS question through a masquerading service whose servers are on
/// the untagged side.
fn tagged() -> Result<()> {
    const VLAN: u16 = 10;
    const STATION: [u8; 4] = [10, 10, 0, 2];
    const ROUTER: [u8; 4] = [10, 10, 0, 1];
    const NOBODY: [u8; 4] = [10, 10, 0, 77];
    const VIP: [u8; 4] = [198, 51, 100, 10];
    let dns = Service::dns(Method::Masq, Family::Ipv4);
    let setup = Setup {
        // The host behind the port has no part in its VLANs.
        host: true,
        more: "[[vlan]]\nname = \"wan.10\"\nport = \"wan\"\nid = 10\naddresses = [\"10.10.0.1/24\"]\n\n".into(),
        ..Setup::new(dns.text())
    };
    with_router(&setup, |router| {
        let wire = Raw::open(router.lab(), "client", "wan")?;
        let us = [2, 0, 0, 0, 10, 2];
        let tagged = |frame: &[u8], kind: [u8; 2]| {
            frame.get(..6) == Some(&us)
                && frame.get(12..18) == Some(&[0x81, 0, 0, 10, kind[0], kind[1]])
        };
        let ask = raw::arp(1, (us, STATION), ([0; 6], ROUTER));
        wire.send(&raw::ethernet([0xff; 6], us, Some(VLAN), 0x0806, &ask))?;
        let answer = wire
            .receive(5, |f| tagged(f, [8, 6]) && f.get(24..26) == Some(&[0, 2]))
            .context("the answer to ARP")?;
        let them: [u8; 6] = answer.get(26..32).context("the answer's MAC")?.try_into()?;
        ensure!(
            answer.get(32..36) == Some(&ROUTER),
            "the answer is about {:?}",
            answer.get(32..36)
        );

        let echo = raw::ipv4(1, STATION, ROUTER, &raw::echo_request(7, b"tagged"));
        wire.send(&raw::ethernet(them, us, Some(VLAN), 0x0800, &echo))?;
        // The echo's answer itself needs our MAC: the router may ask first.
        answer_arp(&wire, us, STATION, VLAN, |f| {
            tagged(f, [8, 0]) && f.get(27) == Some(&1) && f.get(38) == Some(&0)
        })
        .context("the answer to the echo request")?;

        // who.lab. TXT
        let mut question = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        question.extend(b"\x03who\x03lab\x00\x00\x10\x00\x01");
        for _ in 0..3 {
            let packet = raw::ipv4(17, STATION, VIP, &raw::udp(4000, 53, &question));
            wire.send(&raw::ethernet(them, us, Some(VLAN), 0x0800, &packet))?;
            let answer = answer_arp(&wire, us, STATION, VLAN, |f| {
                tagged(f, [8, 0]) && f.get(27) == Some(&17) && f.get(30..34) == Some(&VIP)
            })
            .context("the answer to the DNS question")?;
            ensure!(
                answer.windows(3).any(|w| w == b"rs3"),
                "another server than the first answered: {answer:02x?}"
            );
        }
        // As Linux with arp_ignore=0 the router answers for its addresses wherever it is asked, but for nobody else's, and
        // what comes untagged is answered untagged.
        wire.send(&raw::ethernet([0xff; 6], us, None, 0x0806, &ask))?;
        let untagged = |f: &[u8]| f.get(..6) == Some(&us) && f.get(12..14) == Some(&[8, 6]);
        wire.receive(5, untagged)
            .context("the answer to an untagged question")?;
        let before = router.dropped("arp_not_for_us")?;
        let ask = raw::arp(1, (us, STATION), ([0; 6], NOBODY));
        wire.send(&raw::ethernet([0xff; 6], us, None, 0x0806, &ask))?;
        ensure!(
            wire.receive(1, untagged).is_err(),
            "a request for nobody's address was answered"
        );
        ensure!(
            router.dropped("arp_not_for_us")? > before,
            "and not counted"
        );
        Ok(())
    })
}

/// Receives what is wanted, answering ARP for us meanwhile.
fn answer_arp(
    wire: &Raw,
    us: [u8; 6],
    station: [u8; 4],
    vlan: u16,
    wanted: impl Fn(&[u8]) -> bool,
) -> Result<Vec<u8>> {
    loop {
        let asks = |f: &[u8]| {
            f.get(12..18) == Some(&[0x81, 0, 0, vlan as u8, 8, 6])
                && f.get(24..26) == Some(&[0, 1])
                && f.get(42..46) == Some(&station)
        };
        let frame = wire.receive(5, |f| wanted(f) || asks(f))?;
        if wanted(&frame) {
            return Ok(frame);
        }
        let (mac, address): ([u8; 6], [u8; 4]) =
            (frame[26..32].try_into()?, frame[32..36].try_into()?);
        let answer = raw::arp(2, (us, station), (mac, address));
        wire.send(&raw::ethernet(mac, us, Some(vlan), 0x0806, &answer))?;
    }
}

/// What is for no service is routed: between the two networks, with the TTL counted down, and errors told.
fn plain() -> Result<()> {
    with_router(
        &Setup::new(Service::http(Method::Masq, Family::Ipv4).text()),
        |router: &Router<'_>| {
            let lab = router.lab();
            for address in ["10.1.0.12:80", "[2001:db8:2::12]:80"] {
                let seen = clients::get(lab, address, "address")?;
                ensure!(
                    seen.contains("::10") || seen.contains("198.51.100.10"),
                    "the server saw {seen}"
                );
            }
            for (command, expected) in [
                ("ping -c 3 -i 0.2 -W 2 10.1.0.13", "3 received"),
                ("ping -c 3 -i 0.2 -W 2 2001:db8:2::13", "3 received"),
                ("ping -c 3 -i 0.2 -W 2 198.51.100.10", "3 received"),
                ("ping -c 3 -i 0.2 -W 2 2001:db8:1::1", "3 received"),
            ] {
                let text = lab.text("client", command, 15)?;
                ensure!(text.contains(expected), "{command}:\n{text}");
            }
            // These fail, by design, with the router's word for it.
            for (command, expected) in [
                ("ping -c 1 -W 2 -t 1 10.1.0.13", "Time to live exceeded"),
                ("ping -c 1 -W 5 10.1.0.99", "Host Unreachable"),
                ("ping -c 1 -W 2 10.77.0.1", "Net Unreachable"),
                (
                    "curl --silent --show-error --max-time 3 http://198.51.100.10:81/",
                    // curl's exit code for a refused connection; its words differ from version to version.
                    "curl: (7)",
                ),
            ] {
                let ended = crate::lab::run::end(&mut lab.on("client", command), 15)?;
                let said = ended.stdout + &ended.stderr;
                ensure!(
                    ended.code != Some(0) && said.contains(expected),
                    "{command}: expected \"{expected}\":\n{said}"
                );
            }
            Ok(())
        },
    )
}
