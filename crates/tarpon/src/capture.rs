//! `tarpon capture`: frames from the daemon to a pcapng file, or a line each.

mod file;
mod line;

use crate::{
    args::{CaptureArgs, Global},
    failure::Failure,
    output, query, units,
};
use api::{Capture, CaptureEnd, CapturedFrame, Client, ClientError, Command, Port};
use file::PcapFile;
pub use line::time;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{io, net::Shutdown, thread, time::Duration};

pub fn capture(global: &Global, args: &CaptureArgs) -> Result<(), Failure> {
    let filter = args.filter();
    // Refused here already, so that the mistake is shown without a daemon too.
    if let Some(Err(error)) = filter.as_deref().map(api::filter::parse) {
        return Err(Failure::failed(error.to_string()));
    }
    let mut client = query::connect(global)?;
    let ports: Vec<Port> = client.call(Command::Ports)?;
    client.set_timeout(None)?;
    let command = Command::Capture(Capture {
        filter,
        ports: args.port.clone(),
        count: args.count,
        snaplen: args.snaplen,
    });
    stop_in_time(&client, args.seconds)?;
    let end = match &args.write {
        Some(path) => {
            let mut file = PcapFile::create(path, &ports, args.snaplen)?;
            let end = stream(&mut client, command, |frame| file.write(&frame))?;
            file.finish()?;
            end
        }
        None if global.json => {
            let end = client.stream_json(command, |item| {
                output::line(&item.to_string()).map_err(ClientError::Item)
            })?;
            return Ok(output::line(&end.to_string())?);
        }
        None => stream(&mut client, command, |frame| {
            output::line(&line::line(&frame))
        })?,
    };
    eprintln!(
        "{} frames captured, {} missed because they came faster than they could be copied",
        units::count(end.captured),
        units::count(end.missed)
    );
    Ok(())
}

fn stream(
    client: &mut Client,
    command: Command,
    mut each: impl FnMut(CapturedFrame) -> io::Result<()>,
) -> Result<CaptureEnd, Failure> {
    Ok(client.stream_items(command, |frame| each(frame).map_err(ClientError::Item))?)
}

/// Closes our side of the connection when the time is up or we are interrupted: the daemon then sends the end, and
/// what was captured is complete.
pub fn stop_in_time(client: &Client, seconds: Option<u64>) -> Result<(), Failure> {
    let failed = |e: io::Error| Failure::failed(format!("cannot watch for the end: {e}"));
    let interrupted = client.stream().map_err(failed)?;
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            // Should this fail the connection is gone, which ends the capture too.
            let _ = interrupted.shutdown(Shutdown::Write);
        }
    });
    if let Some(seconds) = seconds {
        let timed = client.stream().map_err(failed)?;
        thread::spawn(move || {
            thread::sleep(Duration::from_secs(seconds));
            let _ = timed.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}
