//! Programs that check, and programs that are told: with a user of their own, and not for longer than allowed.

use crate::{Failure, users, worded};
use health::{Check, Script};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{net::SocketAddr, process::Stdio, time::Duration};
use tokio::{io::AsyncReadExt as _, process::Command};

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// It ran for too long, and was ended with all it had started.
    TooLong,
}

/// Of a program's output so many bytes are looked at.
const OUTPUT: u64 = 64 * 1024;

/// Runs `command` as `user` with `environment`, for `timeout` at most. It has no input, its output is dropped.
///
/// # Errors
/// Why it could not be started.
pub async fn execute(
    command: &[String],
    user: &str,
    environment: &[(&str, String)],
    timeout: Duration,
) -> Result<Finished, String> {
    run(command, user, environment, timeout, None).await
}

/// Starts `command` as `user`, to be waited for by the caller, in a process group of its own. It has no input, its output is dropped.
///
/// # Errors
/// Why it could not be started.
pub fn start(command: &[String], user: &str) -> Result<std::process::Child, String> {
    let program = command.first().map_or("", String::as_str);
    let started = prepared(command, user)?.spawn();
    started.map_err(|error| format!("{program}: {}", worded(&error)))
}

/// `command` as `user`, with nothing of the daemon's.
fn prepared(command: &[String], user: &str) -> Result<std::process::Command, String> {
    use std::os::unix::process::CommandExt as _;
    let (program, arguments) = command.split_first().ok_or("no program is named")?;
    let mut child = std::process::Command::new(program);
    child
        .args(arguments)
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    if let Some(user) = users::to_become(user)? {
        child.uid(user.uid).gid(user.gid);
    }
    Ok(child)
}

/// As [`execute`]; the beginning of what it prints goes to `output`, for which it must be closed as well.
async fn run(
    command: &[String],
    user: &str,
    environment: &[(&str, String)],
    timeout: Duration,
    output: Option<&mut Vec<u8>>,
) -> Result<Finished, String> {
    let mut child = Command::from(prepared(command, user)?);
    child
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .kill_on_drop(true);
    if output.is_some() {
        child.stdout(Stdio::piped());
    }
    let program = command.first().map_or("", String::as_str);
    let mut child = child
        .spawn()
        .map_err(|error| format!("{program}: {}", worded(&error)))?;
    let group = child
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let stdout = child.stdout.take();
    let ended = async {
        if let (Some(stdout), Some(output)) = (stdout, output) {
            let mut begin = stdout.take(OUTPUT);
            // What cannot be read was not printed.
            let _ = begin.read_to_end(output).await;
            let _ = tokio::io::copy(&mut begin.into_inner(), &mut tokio::io::sink()).await;
        }
        child.wait().await
    };
    match tokio::time::timeout(timeout, ended).await {
        Ok(Ok(status)) => {
            use std::os::unix::process::ExitStatusExt as _;
            Ok(match (status.code(), status.signal()) {
                (Some(code), _) => Finished::Status(code),
                (None, signal) => Finished::Signal(signal.unwrap_or(0)),
            })
        }
        Ok(Err(error)) => Err(format!("{program}: {}", worded(&error))),
        Err(_) => {
            if let Some(group) = group {
                // It may just have ended by itself.
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = child.wait().await;
            Ok(Finished::TooLong)
        }
    }
}

/// Runs the program of a check: exit status 0 is well, if its output is as expected; with `dynamic`, 2 to 255 ask for a weight.
/// With `load_weight` its output alone counts.
pub async fn check(
    script: &Script,
    check: &Check,
    server: SocketAddr,
) -> Result<Option<u32>, Failure> {
    let target = check.target(server);
    let environment = [
        ("TARPON_SERVER", target.ip().to_string()),
        ("TARPON_PORT", target.port().to_string()),
    ];
    // `%h` is nanny's word for the server's address.
    let command: Vec<String> = script
        .command
        .iter()
        .map(|word| {
            word.replace("%h", &target.ip().to_string())
                .replace("%p", &target.port().to_string())
        })
        .collect();
    let timeout = check.timing.timeout;
    let mut printed = Vec::new();
    let reads = script.expect.is_some() || script.load_weight.is_some();
    let output = reads.then_some(&mut printed);
    let finished = run(&command, &script.user, &environment, timeout, output)
        .await
        .map_err(Failure::Here)?;
    if let Some(weight) = script.load_weight {
        // Who cannot tell the load has said nothing about the server.
        let text = String::from_utf8_lossy(&printed);
        let weight = match finished {
            Finished::Status(0) => Script::weight_for(weight, &text),
            _ => None,
        };
        let begin: String = text.chars().take(40).collect();
        let why = || Failure::Here(format!("it told no load: {finished:?}, {begin:?}"));
        return weight.map(Some).ok_or_else(why);
    }
    if let (Finished::Status(0), Some(expect)) = (finished, &script.expect)
        && !expect.is_in(&printed)
    {
        let begin = String::from_utf8_lossy(printed.get(..40).unwrap_or(&printed)).into_owned();
        return Err(Failure::Server(format!(
            "its output does not match {:?}: {begin:?}",
            expect.as_str()
        )));
    }
    match finished {
        Finished::Status(0) => Ok(None),
        Finished::Status(code @ 2..) if script.dynamic => Ok(u32::try_from(code - 2).ok()),
        Finished::Status(code) => Err(Failure::Server(format!("exit status {code}"))),
        Finished::Signal(signal) => Err(Failure::Server(format!("ended by signal {signal}"))),
        Finished::TooLong => Err(Failure::Server(format!(
            "not done within {} s",
            timeout.as_secs_f64()
        ))),
    }
}
