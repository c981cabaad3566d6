//! SIP: sipp on the real servers and as the client, persistence by Call-ID.

use crate::{
    lab::{
        Background, Lab, SERVERS,
        hidden::hidden,
        router::{Router, Setup, with_router},
        run,
        runner::Case,
    },
    service::{FAMILIES, Family, Method, Service},
};
use anyhow::{Context, Result, ensure};
use std::{cell::Cell, collections::BTreeSet, fs, net::UdpSocket};

pub fn cases() -> Vec<Case> {
    FAMILIES
        .into_iter()
        .map(|family| {
            let name = format!("sip::calls_stay_together_{family:?}").to_lowercase();
            Case::new(name, move || calls(family))
        })
        .collect()
}

/// A client and its calls, one after the other, each from a port of its own.
struct Caller<'a> {
    lab: &'a Lab,
    service: Service,
    port: Cell<u16>,
}

impl Caller<'_> {
    /// Makes a whole call; gives the server that took it.
    fn call(&self, from: &str, id: &str) -> Result<String> {
        let port = self.port.replace(self.port.get() + 1);
        let messages = self.lab.dir.join(format!("sipp-{port}"));
        let line = format!(
            "sipp -sf {} -cid_str {id} -i {from} -p {port} -m 1 -timeout 20 -timeout_error -nostdin -trace_msg -message_file {} {}",
            scenario("client"),
            messages.display(),
            self.service.address()
        );
        self.lab.text("client", &line, 30)?;
        let said = fs::read_to_string(&messages)?;
        let servers: BTreeSet<&str> = said
            .lines()
            .filter_map(|line| line.strip_prefix("Server: "))
            .map(str::trim)
            .collect();
        ensure!(
            servers.len() == 1,
            "call {id} from {from} was taken by {servers:?}:\n{said}"
        );
        Ok(servers.into_iter().collect())
    }
}

fn scenario(name: &str) -> String {
    format!("{}/tests/e2e/sip/{name}.xml", crate::lab::root().display())
}

/// sipp on every real server; it forgets a call once it is over, so that the same can come again.
fn serve(lab: &Lab, service: &Service) -> Result<Vec<Background>> {
    let mut running = Vec::new();
    for (server, number) in SERVERS.into_iter().zip(1..) {
        let text = fs::read_to_string(scenario("server"))?.replace("SERVER", server);
        let file = lab.dir.join(format!("sipp-{server}.xml"));
        fs::write(&file, text)?;
        let address = service.server(number);
        let (ip, port) = address.rsplit_once(':').context("an address and a port")?;
        let ip = ip.trim_matches(['[', ']']);
        let line = format!(
            "sipp -sf {} -i {ip} -p {port} -nostdin -deadcall_wait 0",
            file.display()
        );
        running.push(lab.start(server, &line)?);
        run::until("sipp does not listen", 10, || {
            let listening = lab.text(server, "ss -Hlun sport = :5060", 5)?;
            Ok(listening.contains(":5060"))
        })?;
    }
    Ok(running)
}

/// Calls of one Call-ID reach one server, from whatever port and address they come; others go round; what has none is dropped.
fn calls(family: Family) -> Result<()> {
    let (more, clients) = match family {
        Family::Ipv4 => (
            "persistent = 60\npersistence_engine = \"sip\"\nnetmask = \"255.255.255.0\"",
            ["198.51.100.100", "198.51.100.101", "198.51.100.102"],
        ),
        Family::Ipv6 => (
            "persistent = 60\npersistence_engine = \"sip\"\nnetmask = 64",
            ["2001:db8:1::100", "2001:db8:1::101", "2001:db8:1::102"],
        ),
    };
    let service = Service {
        port: 5060,
        server_port: 5060,
        more,
        ..Service::dns(Method::Masq, family)
    };
    with_router(&Setup::new(service.text()), |router| {
        let lab = router.lab();
        let _servers = serve(lab, &service)?;
        let caller = Caller {
            lab,
            service,
            port: Cell::new(20_000),
        };
        hidden(lab, || spread(&caller, &clients))?;
        listed(router)?;
        dropped(router, &service)
    })
}

fn spread(caller: &Caller<'_>, clients: &[&str]) -> Result<()> {
    let ids = ["one@lab", "two@lab", "three@lab"];
    let first: Vec<String> = ids
        .iter()
        .map(|id| caller.call(clients[0], id))
        .collect::<Result<_>>()?;
    let servers: BTreeSet<&String> = first.iter().collect();
    ensure!(
        servers.len() == SERVERS.len(),
        "three calls in turn were taken by {first:?}"
    );
    for client in clients {
        for (id, server) in ids.iter().zip(&first) {
            let again = caller.call(client, id)?;
            ensure!(
                again == *server,
                "call {id} was {server}'s, from {client} it is {again}'s"
            );
        }
    }
    Ok(())
}

/// The templates and their Call-IDs, as ipvsadm shows them.
fn listed(router: &Router<'_>) -> Result<()> {
    let text = router.tarpon("ipvsadm -Lnc --persistent-conn")?;
    for id in ["one@lab", "two@lab", "three@lab"] {
        let lines = text.lines().filter(|line| line.ends_with(id)).count();
        ensure!(lines == 1, "{lines} templates of {id}:\n{text}");
    }
    let saved = router.tarpon("ipvsadm -Sn")?;
    ensure!(saved.contains(" --pe sip"), "{saved}");
    Ok(())
}

/// A datagram without a Call-ID makes no connection.
fn dropped(router: &Router<'_>, service: &Service) -> Result<()> {
    let lab = router.lab();
    lab.inside("client", || {
        let any = match service.family {
            Family::Ipv4 => "0.0.0.0:0",
            Family::Ipv6 => "[::]:0",
        };
        UdpSocket::bind(any)?.send_to(b"hello", service.address())?;
        Ok(())
    })?;
    run::until("what has no Call-ID is not counted", 10, || {
        Ok(router.dropped("no_call_id")? == 1)
    })
}
