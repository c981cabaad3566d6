//! What each command does: answered at once, refused, or begun as a job.

use super::{
    Control, edits, explain, health,
    jobs::{CaptureJob, ConnectionsJob, DrainJob, EventsJob, Job, TraceJob},
    listings,
};
use api::{Command, Document, Edited, Error, Reply};

/// What comes of a command.
pub enum Outcome {
    /// The answer.
    Reply(Reply),
    /// The failure.
    Refused(Error),
    /// Something that answers bit by bit.
    Job(Job),
}

impl Outcome {
    fn from<T>(result: Result<T, Error>, reply: impl FnOnce(T) -> Reply) -> Self {
        match result {
            Ok(value) => Self::Reply(reply(value)),
            Err(error) => Self::Refused(error),
        }
    }

    fn job<T>(result: Result<T, Error>, job: impl FnOnce(T) -> Job) -> Self {
        match result {
            Ok(value) => Self::Job(job(value)),
            Err(error) => Self::Refused(error),
        }
    }
}

/// Runs `command`.
pub fn run(control: &mut Control, command: Command) -> Outcome {
    let edited = |result: Result<Vec<String>, Error>| {
        Outcome::from(result, |changes| Reply::Edited(Edited { changes }))
    };
    match command {
        Command::Status => Outcome::Reply(Reply::Status(Box::new(listings::status(control)))),
        Command::Services => Outcome::Reply(Reply::Services(listings::services(control))),
        Command::Ports => Outcome::Reply(Reply::Ports(listings::ports(control))),
        Command::Neighbours => Outcome::Reply(Reply::Neighbours(listings::neighbours(control))),
        Command::Marks => Outcome::Reply(Reply::Marks(listings::marks(control))),
        Command::Routes => Outcome::Reply(Reply::Routes(listings::routes(control))),
        Command::Health => Outcome::Reply(Reply::Health(health::shown(control))),
        Command::Vrrp => Outcome::Reply(Reply::Vrrp(control.vrrp())),
        Command::Sync => Outcome::Reply(Reply::Sync(Box::new(control.synchronisation()))),
        Command::SyncStart(start) => edited(edits::sync_start(control, start)),
        Command::SyncStop(stop) => edited(edits::sync_stop(control, &stop)),
        Command::Failover(failover) => edited(control.fail_over(&failover.instance)),
        Command::Drill(drill) => edited(control.drill(&drill)),
        Command::DrillState => Outcome::Reply(Reply::DrillState(control.drill_state())),
        Command::Twin => Outcome::Reply(Reply::Twin(Box::new(control.twin_shown()))),
        Command::TwinAsk(wanted) => edited(control.twin_ask(wanted)),
        Command::Events(filter) => Outcome::Job(Job::Events(EventsJob::new(control, filter))),
        Command::Diff => Outcome::Reply(Reply::Differences(health::differences(control))),
        Command::Counters => Outcome::Reply(Reply::Counters(listings::counters(control))),
        Command::Connections(filter) => Outcome::Job(Job::Connections(ConnectionsJob::new(filter))),
        Command::Check(Document { file, toml }) => {
            Outcome::from(control.check_text(&toml, &file), Reply::Applied)
        }
        Command::Apply(Document { file, toml }) => {
            Outcome::from(control.apply_text(&toml, &file), Reply::Applied)
        }
        Command::Reload => Outcome::from(control.reload(), Reply::Applied),
        Command::ServiceAdd(add) => edited(edits::service_add(control, add)),
        Command::ServiceEdit(edit) => edited(edits::service_edit(control, edit)),
        Command::ServiceDelete(delete) => edited(edits::service_delete(control, delete)),
        Command::ServerAdd(add) => edited(edits::server_add(control, add)),
        Command::ServerEdit(edit) => edited(edits::server_edit(control, edit)),
        Command::ServerDelete(delete) => edited(edits::server_delete(control, delete)),
        Command::ServerDrain(drain) => Outcome::job(DrainJob::begin(control, drain), Job::Drain),
        Command::Capture(capture) => {
            Outcome::job(CaptureJob::begin(control, &capture), Job::Capture)
        }
        Command::Explain(ask) => Outcome::from(explain::explain(control, &ask), |explained| {
            Reply::Explained(Box::new(explained))
        }),
        Command::Trace(trace) => Outcome::job(TraceJob::begin(control, &trace), Job::Trace),
        Command::Clear => edited(edits::clear(control)),
        Command::Zero(zero) => edited(edits::zero(control, zero)),
        Command::Settings => Outcome::Reply(Reply::Settings(listings::settings(&control.config))),
        Command::SettingsEdit(edit) => edited(edits::settings(control, &edit)),
        Command::Timeouts(timeouts) => {
            Outcome::from(edits::timeouts(control, timeouts), Reply::Timeouts)
        }
        Command::Shutdown => {
            control.shutting_down = true;
            edited(Ok(vec!["the daemon stops".to_owned()]))
        }
    }
}
