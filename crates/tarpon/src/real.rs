//! `tarpon realserver ...`: the crate's own command, and, without a subcommand, what the servers of this director need.

use crate::{args::Global, failure::Failure};
use api::{Client, ClientError, Command, Port, Server, Service, ServiceRef};
use realserver::{Args, Need, Refusal, ServerView, ServiceView, needs, print_needs};
use std::{net::IpAddr, process::ExitCode};
use types::IpNet;

pub fn run(global: &Global, args: Args) -> Result<ExitCode, Failure> {
    if args.is_bare() {
        match Client::connect(&global.socket) {
            Ok(client) => return list(global, client),
            // No director: this is a real server, or about to become one.
            Err(ClientError::Connect { .. }) => {}
            Err(other) => return Err(other.into()),
        }
    }
    realserver::run(args).or_else(refused)
}

fn list(global: &Global, mut client: Client) -> Result<ExitCode, Failure> {
    let services: Vec<Service> = client.call(Command::Services)?;
    let ports: Vec<Port> = client.call(Command::Ports)?;
    let all: Vec<Need> = services
        .iter()
        .flat_map(|service| service.servers.iter().map(move |server| (service, server)))
        .flat_map(|(service, server)| needs(&[view(service, server)], gateway(&ports, server)))
        .collect();
    match print_needs(&all, global.json) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(refusal) => refused(refusal),
    }
}

/// The director's own address in the server's network.
fn gateway(ports: &[Port], server: &Server) -> Option<IpAddr> {
    ports
        .iter()
        .flat_map(|port| &port.addresses)
        .map(|own| own.address)
        .filter(|net| net.contains(server.address.ip()))
        .max_by_key(IpNet::prefix)
        .map(|net| net.address())
}

fn view(service: &Service, server: &Server) -> ServiceView {
    let (protocol, address, mark) = match service.key {
        ServiceRef::Address { protocol, address } => (Some(protocol), Some(address), None),
        ServiceRef::Mark { mark, .. } => (None, None, Some(mark.0)),
    };
    ServiceView {
        address,
        mark,
        protocol,
        servers: vec![ServerView {
            address: server.address,
            forwarding: server.method,
        }],
    }
}

/// As `tarpon-realserver` does.
fn refused(refusal: Refusal) -> Result<ExitCode, Failure> {
    eprintln!("tarpon realserver: {refusal}");
    Ok(ExitCode::from(2))
}
