//! `on_removal = "reset"`: clients that wait for a server which hangs learn from their own kernel, at once, that the connection is over.

use crate::{
    health::{signal, until_up},
    lab::{
        Lab,
        router::{Setup, with_router},
        run,
        runner::Case,
    },
    service::{Family, Method, Service},
};
use anyhow::{Result, ensure};
use std::{
    io::{ErrorKind, Read},
    net::TcpStream,
    time::Duration,
};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("removal::masq_idle_clients_are_reset", || {
            idle_clients(Method::Masq)
        }),
        Case::new("removal::route_idle_clients_are_reset", || {
            idle_clients(Method::Route)
        }),
    ]
}

const MORE: &str = "on_removal = \"reset\"\n[[service.check]]\ntype = \"http\"\ndelay_loop = 0.3\ntimeout = 0.4\ndelay_before_retry = 0.2\nwarmup = 0.1\n";
const CLIENTS: usize = 12;

/// Connections from the client's network that a server has established.
fn established(lab: &Lab, server: &str) -> Result<usize> {
    let sockets = lab.text(server, "ss -Htn state established", 5)?;
    let of_clients = |line: &&str| line.contains("198.51.100.100:");
    Ok(sockets.lines().filter(of_clients).count())
}

fn idle_clients(method: Method) -> Result<()> {
    let service = Service {
        more: MORE,
        ..Service::http(method, Family::Ipv4)
    };
    let setup = Setup {
        host: true,
        ..Setup::new(service.text())
    };
    with_router(&setup, |router| {
        let lab = router.lab();
        until_up(router, &["rs1", "rs2", "rs3"])?;
        let address = service.address();
        let mut clients = lab.inside("client", || {
            let clients = (0..CLIENTS).map(|_| TcpStream::connect(&address));
            Ok(clients.collect::<Result<Vec<_>, _>>()?)
        })?;
        ensure!(established(lab, "rs2")? == CLIENTS / 3);
        // Its kernel goes on; nginx does not.
        signal(lab, "rs2", "STOP")?;
        until_up(router, &["rs1", "rs3"])?;
        run::until("its connections are reset", 3, || {
            Ok(established(lab, "rs2")? == 0)
        })?;
        let mut reset = 0;
        for client in &mut clients {
            client.set_read_timeout(Some(Duration::from_millis(20)))?;
            match client.read(&mut [0]) {
                Err(error) if error.kind() == ErrorKind::ConnectionReset => reset += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => anyhow::bail!("a client sees {other:?}"),
            }
        }
        ensure!(reset == CLIENTS / 3, "{reset} clients were reset");
        ensure!(established(lab, "rs1")? == CLIENTS / 3);
        drop(clients);
        signal(lab, "rs2", "CONT")?;
        until_up(router, &["rs1", "rs2", "rs3"])?;
        Ok(())
    })
}
