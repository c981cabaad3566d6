//! A [`Line`] carried out by the daemon.

use super::{
    Refusal,
    grammar::{self, Dialect, Line, Target},
    listing::{self, Columns, Style},
    names::Transport,
    options::{Opt, Verb},
    saved,
};
use crate::{args::Global, failure::Failure, output, query};
use api::{
    Client, ClientError, Command, Connection, ConnectionFilter, ConnectionsEnd, Edited,
    EngineChoice, ErrorCode, ServerAdd, ServerDelete, ServerEdit, Service, ServiceAdd,
    ServiceDelete, ServiceEdit, ServiceRef, Status, Sync, SyncStop, Timeouts, TimeoutsEdit, Zero,
};
use std::{io::Read as _, net::SocketAddr};
use types::{Family, Mark, Protocol, Scheduler, Weight};

/// Why it ended.
pub enum Stop {
    Refused(Refusal),
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

type Done = Result<(), Stop>;

fn refuse<T>(refusal: Refusal) -> Result<T, Stop> {
    Err(Stop::Refused(refusal))
}

/// Carries out `line`.
pub fn perform(global: &Global, line: &Line) -> Done {
    match line.verb {
        Verb::Help => return Ok(output::text(HELP)?),
        Verb::Version => {
            let version = env!("CARGO_PKG_VERSION");
            return Ok(output::text(&format!(
                "ipvsadm v1.31 (the grammar's version; this is tarpon {version})\n"
            ))?);
        }
        _ => {}
    }
    let mut client = query::connect(global)?;
    match line.verb {
        Verb::Restore => restore(&mut client),
        Verb::Save => {
            let services: Vec<Service> = client.call(Command::Services)?;
            Ok(output::text(&saved::saved(
                &services,
                line.has(Opt::Numeric),
            ))?)
        }
        Verb::List => list(&mut client, line),
        _ => edit(&mut client, line),
    }
}

fn restore(client: &mut Client) -> Done {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    for (at, line) in text.lines().enumerate() {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        if words.first() == Some(&"ipvsadm") {
            words.remove(0);
        }
        if words.is_empty() || words.first().is_some_and(|word| word.starts_with('#')) {
            continue;
        }
        let done = grammar::parse(&words, Dialect::Saved)
            .map_err(Stop::Refused)
            .and_then(|line| match line.verb {
                Verb::Restore | Verb::Save | Verb::List | Verb::Help | Verb::Version => {
                    refuse(Refusal::usage("this command has no place in a saved file"))
                }
                _ => edit(client, &line),
            });
        match done {
            Err(Stop::Refused(Refusal { message, status })) => {
                let message = format!("line {}: {message}", at + 1);
                return refuse(Refusal { message, status });
            }
            done => done?,
        }
    }
    Ok(())
}

fn list(client: &mut Client, line: &Line) -> Done {
    let numeric = line.has(Opt::Numeric);
    if line.has(Opt::Timeout) {
        let t: Timeouts = client.call(Command::Timeouts(TimeoutsEdit::default()))?;
        return Ok(output::text(&format!(
            "Timeout (tcp tcpfin udp): {} {} {}\n",
            t.tcp, t.tcp_fin, t.udp
        ))?);
    }
    if line.has(Opt::Daemon) {
        let sync: Option<Sync> = client.call(Command::Sync)?;
        return Ok(output::text(&listing::daemons(sync.as_ref()))?);
    }
    if line.has(Opt::Connection) {
        let persistent = line.has(Opt::PersistentConnections);
        let title = listing::connections_title(persistent);
        output::text(title)?;
        let filter = ConnectionFilter {
            templates: true,
            ..ConnectionFilter::default()
        };
        let show = |c: Connection| {
            output::text(&listing::connection(&c, persistent, numeric))
                .map_err(|_| ClientError::Item(std::io::ErrorKind::BrokenPipe.into()))
        };
        let _: ConnectionsEnd = client.stream_items(Command::Connections(filter), show)?;
        return Ok(());
    }
    let style = Style {
        columns: Columns::wanted(|option| line.has(option)),
        numeric,
        exact: line.has(Opt::Exact),
        sorted: !line.has(Opt::NoSort),
    };
    let mut services: Vec<Service> = client.call(Command::Services)?;
    let mut text = String::new();
    if let Some(target) = line.target {
        let wanted = reference(target).map_err(Stop::Refused)?;
        services.retain(|s| s.key == wanted);
        if services.is_empty() {
            let message = "No such service".to_owned();
            return refuse(Refusal { message, status: 1 });
        }
    } else {
        let status: Status = client.call(Command::Status)?;
        text = listing::title(status.connections.capacity);
    }
    text += &listing::services(&services, style);
    Ok(output::text(&text)?)
}

fn edit(client: &mut Client, line: &Line) -> Done {
    let about_server = line.server.is_some();
    let command = match line.verb {
        Verb::Set => {
            let [tcp, tcp_fin, udp] = line
                .timeouts
                .map(|seconds| (seconds != 0).then_some(seconds));
            let _: Timeouts = client.call(Command::Timeouts(TimeoutsEdit { tcp, tcp_fin, udp }))?;
            return Ok(());
        }
        Verb::StartDaemon => Command::SyncStart(line.daemon.clone()),
        Verb::StopDaemon => Command::SyncStop(SyncStop {
            role: line.daemon.role.clone(),
        }),
        Verb::Clear => Command::Clear,
        Verb::Zero => Command::Zero(Zero {
            service: line
                .target
                .map(reference)
                .transpose()
                .map_err(Stop::Refused)?,
        }),
        _ => command(line).map_err(Stop::Refused)?,
    };
    let done: Result<Edited, ClientError> = client.call(command);
    match done {
        Ok(_) => Ok(()),
        Err(ClientError::Daemon(error)) => {
            if matches!(line.verb, Verb::StartDaemon | Verb::StopDaemon) {
                return refuse(Refusal::refused(error.to_string()));
            }
            let message = match (error.code, about_server) {
                (ErrorCode::Exists, false) => "Service already exists".to_owned(),
                (ErrorCode::Exists, true) => "Destination already exists".to_owned(),
                (ErrorCode::NotFound, false) => "No such service".to_owned(),
                (ErrorCode::NotFound, true) if !is_there(client, line)? => {
                    "Service not defined".to_owned()
                }
                (ErrorCode::NotFound, true) => "No such destination".to_owned(),
                _ => error.to_string(),
            };
            refuse(Refusal::refused(message))
        }
        Err(other) => Err(other.into()),
    }
}

fn is_there(client: &mut Client, line: &Line) -> Result<bool, Stop> {
    let Some(target) = line.target else {
        return Ok(false);
    };
    let wanted = reference(target).map_err(Stop::Refused)?;
    let services: Vec<Service> = client.call(Command::Services)?;
    Ok(services.iter().any(|s| s.key == wanted))
}

/// Edits of services and servers; what is not said takes ipvsadm's default, in edits as well.
fn command(line: &Line) -> Result<Command, Refusal> {
    let Some(target) = line.target else {
        return Err(Refusal::no_command());
    };
    let service = reference(target)?;
    Ok(match line.verb {
        Verb::AddService => Command::ServiceAdd(ServiceAdd {
            service,
            name: None,
            scheduler: Some(scheduler(line)?),
            scheduler_flags: Some(line.scheduler_flags.clone()),
            persistent: line.persistent,
            netmask: netmask(line, service),
            persistence_engine: Some(engine(line)?),
            one_packet: Some(line.has(Opt::Ops)),
            method: None,
        }),
        Verb::EditService => Command::ServiceEdit(ServiceEdit {
            service,
            name: None,
            scheduler: Some(scheduler(line)?),
            scheduler_flags: Some(line.scheduler_flags.clone()),
            persistent: Some(line.persistent.unwrap_or(0)),
            netmask: netmask(line, service),
            persistence_engine: Some(engine(line)?),
            one_packet: Some(line.has(Opt::Ops)),
            method: None,
        }),
        Verb::DeleteService => Command::ServiceDelete(ServiceDelete { service }),
        Verb::AddServer => Command::ServerAdd(ServerAdd {
            service,
            server: server(line)?,
            method: Some(line.method),
            tunnel: Some(line.tunnel),
            weight: Some(Weight(line.weight)),
            upper_threshold: Some(line.upper_threshold),
            lower_threshold: Some(line.lower_threshold),
        }),
        Verb::EditServer => Command::ServerEdit(ServerEdit {
            service,
            server: server(line)?,
            method: Some(line.method),
            tunnel: Some(line.tunnel),
            weight: Some(Weight(line.weight)),
            upper_threshold: Some(line.upper_threshold),
            lower_threshold: Some(line.lower_threshold),
        }),
        Verb::DeleteServer => Command::ServerDelete(ServerDelete {
            service,
            server: line.server.ok_or_else(Refusal::no_command)?,
        }),
        _ => return Err(Refusal::usage("this command has no place here")),
    })
}

pub(super) fn reference(target: Target) -> Result<ServiceRef, Refusal> {
    match target {
        Target::Address { transport, address } => {
            let protocol = match transport {
                Transport::Tcp => Protocol::Tcp,
                Transport::Udp => Protocol::Udp,
                Transport::Sctp => Protocol::Sctp,
            };
            Ok(ServiceRef::Address { protocol, address })
        }
        Target::Mark { mark, ipv6 } => Ok(ServiceRef::Mark {
            mark: Mark(mark),
            family: if ipv6 { Family::Ipv6 } else { Family::Ipv4 },
        }),
    }
}

pub(super) fn scheduler(line: &Line) -> Result<Scheduler, Refusal> {
    line.scheduler.parse().map_err(|_| no_scheduler())
}

/// Without persistence too: IPVS keeps it, and lets servers make requests of their own.
pub(super) fn engine(line: &Line) -> Result<EngineChoice, Refusal> {
    match line.engine.as_deref() {
        None | Some("") => Ok(EngineChoice::None),
        Some(name) => Ok(EngineChoice::Engine(
            name.parse().map_err(|_| no_scheduler())?,
        )),
    }
}

fn no_scheduler() -> Refusal {
    Refusal::refused("Scheduler or persistence engine not found")
}

/// Persistence without `-M` is by the whole address.
pub(super) fn netmask(line: &Line, service: ServiceRef) -> Option<String> {
    line.persistent?;
    let whole = match service.family() {
        Family::Ipv6 => "128",
        Family::Ipv4 => "255.255.255.255",
    };
    Some(line.netmask.clone().unwrap_or_else(|| whole.to_owned()))
}

pub(super) fn server(line: &Line) -> Result<SocketAddr, Refusal> {
    let server = line.server.ok_or_else(Refusal::no_command)?;
    if line.lower_threshold > line.upper_threshold {
        return Err(Refusal::refused("Numerical result out of range"));
    }
    Ok(server)
}

const HELP: &str = "\
usage: ipvsadm -A|-E SERVICE [-s SCHEDULER] [-p [SECONDS]] [-M NETMASK] [-b FLAGS] [-o]
       ipvsadm -D SERVICE
       ipvsadm -a|-e SERVICE -r SERVER [-g|-i|-m] [-w WEIGHT] [-x UPPER] [-y LOWER]
       ipvsadm -d SERVICE -r SERVER
       ipvsadm -L|-l [SERVICE] [-n] [-c|--timeout|--stats|--thresholds|--persistent-conn|--tun-info] [--exact] [--nosort]
       ipvsadm -Z [SERVICE]                 zero the traffic figures
       ipvsadm -S [-n] > FILE               save the table as commands
       ipvsadm -R < FILE                    carry out saved commands, up to the first that fails
       ipvsadm -C                           clear the table
       ipvsadm --set TCP TCPFIN UDP         timeouts in seconds; 0 leaves one as it is
       ipvsadm -h | -v

SERVICE  -t HOST[:PORT] (TCP), -u HOST[:PORT] (UDP), --sctp-service HOST[:PORT] or -f MARK [-6]; port 0 or none, with -p: every port. IPv6 as [ADDRESS]:PORT
SERVER   HOST[:PORT]; without a port, and always with -g and -i, the service's
-g direct routing (the default)   -i IPIP tunnel   -m masquerading (NAT)

Long options and exit statuses are those of ipvsadm 1.31 (2: the command line is wrong, 255: refused). Edits last until
the next `tarpon apply` or reload.
";
