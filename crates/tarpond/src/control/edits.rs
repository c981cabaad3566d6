//! Runtime edits of services and servers: made on a copy of the configuration, checked like a file, then enforced.

use super::Control;
use api::{
    EngineChoice, Error, ErrorCode, ServerAdd, ServerDelete, ServerEdit, ServiceAdd, ServiceDelete,
    ServiceEdit, SettingsEdit, SyncStart, SyncStop, Timeouts, TimeoutsEdit, Zero,
};
use config::{Config, EditError, Server, Service, Sync, SyncRole};
use types::{ForwardingMethod, Tunnel};

/// What changed, one line each.
type Changes = Result<Vec<String>, Error>;

/// Adds a service.
pub fn service_add(control: &mut Control, add: ServiceAdd) -> Changes {
    edit(control, |config| {
        let mut service = Service::new(add.service);
        service.name = add.name;
        service.set_scheduler(add.scheduler, add.scheduler_flags.as_deref());
        if let Some(method) = add.method {
            service.method = method;
        }
        service.one_packet = add.one_packet.unwrap_or(false);
        let engine = add.persistence_engine.map(EngineChoice::engine);
        service.set_persistence(add.persistent, add.netmask.as_deref(), engine)?;
        config.add_service(service)
    })
}

/// Changes a service.
pub fn service_edit(control: &mut Control, edit_: ServiceEdit) -> Changes {
    edit(control, |config| {
        let service = config.service_mut(edit_.service)?;
        if let Some(name) = edit_.name {
            service.name = Some(name).filter(|name| !name.is_empty());
        }
        service.set_scheduler(edit_.scheduler, edit_.scheduler_flags.as_deref());
        if let Some(method) = edit_.method {
            service.method = method;
        }
        if let Some(one_packet) = edit_.one_packet {
            service.one_packet = one_packet;
        }
        let engine = edit_.persistence_engine.map(EngineChoice::engine);
        service.set_persistence(edit_.persistent, edit_.netmask.as_deref(), engine)
    })
}

/// Removes a service.
pub fn service_delete(control: &mut Control, delete: ServiceDelete) -> Changes {
    edit(control, |config| config.delete_service(delete.service))
}

/// Adds a server.
pub fn server_add(control: &mut Control, add: ServerAdd) -> Changes {
    edit(control, |config| {
        let service = config.service_mut(add.service)?;
        let mut server = Server::new(add.server, add.method.unwrap_or(service.method));
        if let Some(tunnel) = add.tunnel {
            server.tunnel = tunnel;
        }
        if let Some(weight) = add.weight {
            server.weight = weight;
        }
        server.upper_threshold = add.upper_threshold.unwrap_or(0);
        server.lower_threshold = add.lower_threshold.unwrap_or(0);
        service.add_server(server)
    })
}

/// Changes a server.
pub fn server_edit(control: &mut Control, edit_: ServerEdit) -> Changes {
    let changes = edit(control, |config| {
        let server = config
            .service_mut(edit_.service)?
            .server_mut(edit_.server)?;
        if let Some(method) = edit_.method {
            server.method = method;
            if method != ForwardingMethod::Tunnel {
                server.tunnel = Tunnel::Ipip;
            }
        }
        if let Some(tunnel) = edit_.tunnel {
            server.tunnel = tunnel;
        }
        if let Some(weight) = edit_.weight {
            server.weight = weight;
        }
        if let Some(upper) = edit_.upper_threshold {
            server.upper_threshold = upper;
        }
        if let Some(lower) = edit_.lower_threshold {
            server.lower_threshold = lower;
        }
        Ok(())
    })?;
    if changes.is_empty() {
        control.edited_idly(edit_.service, edit_.server)?;
    }
    Ok(changes)
}

/// Removes a server.
pub fn server_delete(control: &mut Control, delete: ServerDelete) -> Changes {
    edit(control, |config| {
        config
            .service_mut(delete.service)?
            .delete_server(delete.server)
    })
}

/// Removes every service.
pub fn clear(control: &mut Control) -> Changes {
    edit(control, |config| {
        config.services.clear();
        Ok(())
    })
}

/// Starts traffic figures from zero.
pub fn zero(control: &mut Control, zero: Zero) -> Changes {
    let Some(service) = zero.service else {
        control.director.zero(None);
        return Ok(vec!["all traffic figures: zero".to_owned()]);
    };
    if control.director.zero(Some(&service)) {
        Ok(vec![format!("traffic figures of {service}: zero")])
    } else {
        let message = format!("there is no service {service}");
        Err(Error::new(ErrorCode::NotFound, message))
    }
}

/// Changes settings: all, or none.
pub fn settings(control: &mut Control, change: &SettingsEdit) -> Changes {
    edit(control, |config| {
        for (name, value) in &change.set {
            config.set(name, value)?;
        }
        Ok(())
    })
}

/// Changes timeouts of connections; those in use are the answer.
pub fn timeouts(control: &mut Control, change: TimeoutsEdit) -> Result<Timeouts, Error> {
    for seconds in [change.tcp, change.tcp_fin, change.udp]
        .into_iter()
        .flatten()
    {
        if !(1..=config::MAX_TIMEOUT_S).contains(&seconds) {
            let message = format!(
                "a timeout is 1 to {} seconds (31 days), not {seconds}",
                config::MAX_TIMEOUT_S
            );
            return Err(Error::new(ErrorCode::Invalid, message));
        }
    }
    if change != TimeoutsEdit::default() {
        edit(control, |config| {
            let settings = &mut config.settings;
            settings.tcp_timeout = change.tcp.unwrap_or(settings.tcp_timeout);
            settings.tcp_fin_timeout = change.tcp_fin.unwrap_or(settings.tcp_fin_timeout);
            settings.udp_timeout = change.udp.unwrap_or(settings.udp_timeout);
            Ok(())
        })?;
    }
    let settings = &control.config.settings;
    Ok(Timeouts {
        tcp: settings.tcp_timeout,
        tcp_fin: settings.tcp_fin_timeout,
        udp: settings.udp_timeout,
    })
}

fn edit(
    control: &mut Control,
    change: impl FnOnce(&mut Config) -> Result<(), EditError>,
) -> Changes {
    let edited = control.config.edited(change).map_err(refused)?;
    control.enforce(edited)
}

fn refused(error: EditError) -> Error {
    match error {
        EditError::Exists(message) => Error::new(ErrorCode::Exists, message),
        EditError::NotFound(message) => Error::new(ErrorCode::NotFound, message),
        EditError::Invalid(problems) => {
            let mut lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            if lines.len() == 1 {
                return Error::new(ErrorCode::Invalid, lines.remove(0));
            }
            let message = format!("the edit was not made, for {} reasons", lines.len());
            Error::new(ErrorCode::Invalid, message).with_details(lines)
        }
    }
}

/// Starts a daemon of connection synchronisation.
pub fn sync_start(control: &mut Control, start: SyncStart) -> Changes {
    let runs = role(&start.role)?;
    edit(control, |config| {
        let first = config.ports.first().map(|p| p.name.clone());
        let sync = config.sync.clone();
        let role = match sync.as_ref().map(|s| s.role) {
            None => runs,
            Some(other) if other != runs && other != SyncRole::Both && other != SyncRole::Vrrp => {
                SyncRole::Both
            }
            Some(_) => return Err(EditError::Exists("Daemon has already run".to_owned())),
        };
        let sync = sync.unwrap_or_else(|| Sync {
            interface: first.unwrap_or_default(),
            ..Sync::default()
        });
        if let Some(runs) = &config.sync
            && differs(runs, &start)
        {
            return Err(EditError::Exists(
                "the other daemon runs with other settings; here both have the same".to_owned(),
            ));
        }
        config.sync = Some(Sync {
            role,
            interface: start.interface.unwrap_or(sync.interface),
            syncid: start.syncid.unwrap_or(sync.syncid),
            sync_maxlen: start.sync_maxlen.or(sync.sync_maxlen),
            mcast_group: start.mcast_group.unwrap_or(sync.mcast_group),
            mcast_port: start.mcast_port.unwrap_or(sync.mcast_port),
            mcast_ttl: start.mcast_ttl.unwrap_or(sync.mcast_ttl),
            ..sync
        });
        Ok(())
    })
}

/// Whether what is asked for is not what runs already.
fn differs(runs: &Sync, start: &SyncStart) -> bool {
    let other = |is: bool| !is;
    let same = [
        start
            .interface
            .as_ref()
            .is_none_or(|i| *i == runs.interface),
        start.syncid.is_none_or(|n| n == runs.syncid),
        start
            .sync_maxlen
            .is_none_or(|n| Some(n) == runs.sync_maxlen),
        start.mcast_group.is_none_or(|g| g == runs.mcast_group),
        start.mcast_port.is_none_or(|n| n == runs.mcast_port),
        start.mcast_ttl.is_none_or(|n| n == runs.mcast_ttl),
    ];
    same.into_iter().any(other)
}

/// Stops one.
pub fn sync_stop(control: &mut Control, stop: &SyncStop) -> Changes {
    let stopped = role(&stop.role)?;
    edit(control, |config| {
        let none = || Err(EditError::NotFound("No daemon is running".to_owned()));
        let Some(sync) = &mut config.sync else {
            return none();
        };
        match (sync.role, stopped) {
            (SyncRole::Both | SyncRole::Vrrp, SyncRole::Master) => sync.role = SyncRole::Backup,
            (SyncRole::Both | SyncRole::Vrrp, _) => sync.role = SyncRole::Master,
            (role, stopped) if role == stopped => config.sync = None,
            _ => return none(),
        }
        Ok(())
    })
}

fn role(word: &str) -> Result<SyncRole, Error> {
    match word {
        "master" => Ok(SyncRole::Master),
        "backup" => Ok(SyncRole::Backup),
        other => {
            let message = format!("{other:?} is no daemon: it is \"master\" or \"backup\"");
            Err(Error::new(ErrorCode::Invalid, message))
        }
    }
}
