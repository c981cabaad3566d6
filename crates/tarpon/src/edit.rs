//! `tarpon service ...` and `tarpon server ...`

use crate::{
    args::{
        Global, ServerAddress, ServerArg, ServerCommand, ServiceArg, ServiceCommand, ServiceText,
    },
    failure::Failure,
    output, query, show, units,
};
use api::{
    Client, ClientError, Command, Drain, DrainEnd, DrainProgress, ServerAdd, ServerDelete,
    ServerEdit, Service, ServiceAdd, ServiceDelete, ServiceEdit, ServiceRef,
};
use std::net::SocketAddr;
use types::Weight;

pub fn service(global: &Global, command: &ServiceCommand) -> Result<(), Failure> {
    let mut client = query::connect(global)?;
    let command = match command {
        ServiceCommand::Add {
            address,
            protocol,
            options,
        } => Command::ServiceAdd(ServiceAdd {
            service: match *address {
                ServiceText::Address(address) => ServiceRef::Address {
                    protocol: *protocol,
                    address,
                },
                ServiceText::Mark(mark, family) => ServiceRef::Mark { mark, family },
            },
            name: options.name.clone(),
            scheduler: options.scheduler,
            scheduler_flags: options.scheduler_flags.clone().map(|list| list.0),
            persistent: options.persistent,
            netmask: options.netmask.clone(),
            persistence_engine: options.persistence_engine,
            one_packet: options.one_packet,
            method: options.method,
        }),
        ServiceCommand::Edit { service, options } => Command::ServiceEdit(ServiceEdit {
            service: find(&mut client, service)?,
            name: options.name.clone(),
            scheduler: options.scheduler,
            scheduler_flags: options.scheduler_flags.clone().map(|list| list.0),
            persistent: options.persistent,
            netmask: options.netmask.clone(),
            persistence_engine: options.persistence_engine,
            one_packet: options.one_packet,
            method: options.method,
        }),
        ServiceCommand::Delete { service } => Command::ServiceDelete(ServiceDelete {
            service: find(&mut client, service)?,
        }),
    };
    query::show_with(global, &mut client, command, show::edited)
}

pub fn server(global: &Global, command: &ServerCommand) -> Result<(), Failure> {
    let mut client = query::connect(global)?;
    let command = match command {
        ServerCommand::Add { server, options } => {
            let (service, server) = find_server(&mut client, server)?;
            Command::ServerAdd(ServerAdd {
                service,
                server,
                method: options.method,
                tunnel: options.tunnel,
                weight: options.weight.map(Weight),
                upper_threshold: options.upper_threshold,
                lower_threshold: options.lower_threshold,
            })
        }
        ServerCommand::Edit { server, options } => {
            let (service, server) = find_server(&mut client, server)?;
            Command::ServerEdit(ServerEdit {
                service,
                server,
                method: options.method,
                tunnel: options.tunnel,
                weight: options.weight.map(Weight),
                upper_threshold: options.upper_threshold,
                lower_threshold: options.lower_threshold,
            })
        }
        ServerCommand::Delete { server } => {
            let (service, server) = find_server(&mut client, server)?;
            Command::ServerDelete(ServerDelete { service, server })
        }
        ServerCommand::Drain {
            server,
            deadline,
            delete,
        } => {
            let (service, server) = find_server(&mut client, server)?;
            let drain = Drain {
                service,
                server,
                deadline_s: *deadline,
                delete: *delete,
            };
            return self::drain(global, &mut client, drain);
        }
    };
    query::show_with(global, &mut client, command, show::edited)
}

fn drain(global: &Global, client: &mut Client, drain: Drain) -> Result<(), Failure> {
    let command = Command::ServerDrain(drain);
    if global.json {
        let end = client.stream_json(command, |item| {
            output::line(&item.to_string()).map_err(ClientError::Item)
        })?;
        return Ok(output::line(&end.to_string())?);
    }
    let mut last = None;
    let end: DrainEnd = client.stream_items(command, |p: DrainProgress| {
        // Once a second says nothing new while the counts stand still.
        if last.replace((p.active, p.inactive)) == Some((p.active, p.inactive)) {
            return Ok(());
        }
        let deadline = p
            .remaining_s
            .map(|s| format!(", {} left", units::duration(s.into())))
            .unwrap_or_default();
        let text = format!(
            "{}: {} active, {} inactive connections{deadline}",
            drain.server,
            units::count(p.active),
            units::count(p.inactive)
        );
        output::line(&text).map_err(ClientError::Item)
    })?;
    let what = if end.deleted {
        "drained and removed"
    } else {
        "drained; its weight stays 0"
    };
    Ok(output::line(&format!(
        "{}: {what}, after {}",
        drain.server,
        units::duration(end.seconds)
    ))?)
}

/// The service an argument names: by address, or by the name the configuration gives it.
fn find(client: &mut Client, arg: &ServiceArg) -> Result<ServiceRef, Failure> {
    service_ref(client, &arg.service, arg.protocol)
}

/// The service that `text` means.
pub fn service_ref(
    client: &mut Client,
    text: &str,
    protocol: types::Protocol,
) -> Result<ServiceRef, Failure> {
    match text.parse() {
        Ok(ServiceText::Address(address)) => Ok(ServiceRef::Address { protocol, address }),
        Ok(ServiceText::Mark(mark, family)) => Ok(ServiceRef::Mark { mark, family }),
        Err(_) => named(client, text),
    }
}

/// The service of this name.
pub fn named(client: &mut Client, name: &str) -> Result<ServiceRef, Failure> {
    let services: Vec<Service> = client.call(Command::Services)?;
    let found = services.iter().find(|s| s.name.as_deref() == Some(name));
    found
        .map(|s| s.key)
        .ok_or_else(|| {
            let names: Vec<&str> = services.iter().filter_map(|s| s.name.as_deref()).collect();
            let known = if names.is_empty() {
                "no service has a name".to_owned()
            } else {
                format!("the names are {}", names.join(", "))
            };
            Failure::failed(format!(
                "`{name}` is neither VIP:PORT, mark:N nor a service's name: write it like 192.0.2.10:80 ({known})"
            ))
        })
}

fn find_server(client: &mut Client, arg: &ServerArg) -> Result<(ServiceRef, SocketAddr), Failure> {
    let service = find(client, &arg.service)?;
    let server = match arg.server {
        ServerAddress::WithPort(address) => address,
        ServerAddress::ServicePort(ip) => SocketAddr::new(ip, service.port()),
    };
    Ok((service, server))
}
