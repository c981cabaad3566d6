//! What a director has told of, after it was killed: its events are those of the next one, too, and answer for the time before it.

use crate::{
    health::{nginx, signal, until_up},
    lab::{
        Lab,
        router::{Router, Setup, socket},
        run,
        runner::Case,
    },
    service::{Family, Method, Service},
};
use anyhow::{Context, Result, ensure};
use api::{Event, EventKind};
use std::{
    fs,
    path::{Path, PathBuf},
};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("journal::outlives_a_kill", outlives_a_kill),
        Case::new("journal::where_the_file_says", where_the_file_says),
    ]
}

const SERVICE: Service = Service {
    more: "[[service.check]]\ntype = \"tcp\"\ndelay_loop = 0.3\ntimeout = 0.4\nretry = 0\nwarmup = 0.1\n",
    ..Service::http(Method::Masq, Family::Ipv4)
};

fn setup() -> Setup {
    Setup {
        host: true,
        ..Setup::new(SERVICE.text())
    }
}

/// Beside the control socket, as long as nothing else is said.
fn beside(lab: &Lab) -> PathBuf {
    let mut name = socket(lab, "router").into_os_string();
    name.push(".events");
    name.into()
}

fn events(router: &Router<'_>, options: &str) -> Result<Vec<Event>> {
    let text = run::text(&mut router.command(&format!("--json events {options}")), 20)?;
    let lines = text.lines().filter(|line| line.contains("\"time_ms\""));
    lines
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect()
}

/// The latest of this kind, once there is one.
fn latest(router: &Router<'_>, kind: EventKind) -> Result<Event> {
    let mut found = None;
    run::until(&format!("an event {kind:?}"), 5, || {
        found = events(router, "")?.into_iter().rfind(|e| e.kind == kind);
        Ok(found.is_some())
    })?;
    found.context("an event")
}

/// As `--since` and `--at` take it: of the latest day that has it.
fn moment(time_ms: u64) -> String {
    let of_day = time_ms % 86_400_000;
    let (seconds, ms) = (of_day / 1000, of_day % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{ms:03}")
}

/// Waits until a text is on the disk.
fn until_kept(journal: &Path, text: &str) -> Result<()> {
    run::until(&format!("{text:?} in {}", journal.display()), 5, || {
        Ok(fs::read_to_string(journal)?.contains(text))
    })
}

fn outlives_a_kill() -> Result<()> {
    let lab = Lab::up(&[])?;
    let text = setup().text(&lab);
    let router = Router::start(&lab, &text)?;
    until_up(&router, &["rs1", "rs2", "rs3"])?;
    signal(&lab, "rs2", "KILL")?;
    until_up(&router, &["rs1", "rs3"])?;
    let down = latest(&router, EventKind::ServerDown)?;
    nginx(&lab, "rs2", "")?;
    until_up(&router, &["rs1", "rs2", "rs3"])?;
    let up = latest(&router, EventKind::ServerUp)?;
    ensure!(up.number > down.number && up.time_ms > down.time_ms);
    // The last thing it does.
    let edit = format!(
        "server edit {} 10.1.0.13:8080 --weight 7",
        SERVICE.address()
    );
    router.tarpon(&edit)?;
    let last = latest(&router, EventKind::Configured)?;
    let journal = beside(&lab);
    until_kept(&journal, &last.what)?;
    let before = events(&router, "")?;

    // Killed, and its last line cut off, as when the machine goes down over it.
    let killed = router.kill()?;
    let bytes = fs::read(&journal)?;
    ensure!(bytes.ends_with(b"\n"), "what it wrote is whole");
    fs::write(&journal, bytes.get(..bytes.len() - 20).context("a line")?)?;
    let router = Router::start_after(&lab, "router", &text, killed)?;
    ensure!(
        router.log_tail(200).contains("its last line was cut off"),
        "{}",
        router.log_tail(200)
    );
    let after = events(&router, "")?;
    let whole = before.len() - 1;
    ensure!(
        after.get(..whole) == before.get(..whole),
        "of before are {after:?}, not {before:?}"
    );
    let start = after.get(whole).context("a start")?;
    ensure!(
        start.kind == EventKind::Started && start.cause.contains("it was cut off"),
        "{start:?}"
    );
    ensure!(
        after.is_sorted_by(|a, b| a.number < b.number),
        "numbers go on: {after:?}"
    );

    // From a moment before the restart on.
    let since = events(&router, &format!("--since {}", moment(up.time_ms)))?;
    ensure!(
        since.first() == Some(&up) && since.contains(start) && !since.contains(&down),
        "{since:?}"
    );
    ensure!(
        router
            .tarpon(&format!("events --since {}", moment(down.time_ms)))?
            .contains("10.1.0.12:8080  down (tcp check: connection refused)")
    );

    // How it was then, asked of the daemon that was not there.
    until_up(&router, &["rs1", "rs2", "rs3"])?;
    let flow = format!("tcp 198.51.100.100:40000 > {}", SERVICE.address());
    let why = |at: u64| -> Result<String> {
        let mut command = router.command("why");
        run::text(command.args([&flow, "--at", &moment(at)]), 10)
    };
    let then = why(down.time_ms + 1)?;
    ensure!(
        then.contains("10.1.0.12:8080  out, since ")
            && then.contains("connection refused")
            && then.contains("10.1.0.11:8080  in"),
        "{then}"
    );
    let returned = why(up.time_ms + 1)?;
    ensure!(
        returned.contains("10.1.0.12:8080  in") && returned.contains("connection refused"),
        "{returned}"
    );
    router.stop()?;
    let kept = fs::read_to_string(&journal)?;
    let end = kept.lines().last().unwrap_or_default();
    ensure!(end.contains("\"stopped\""), "the last line is {end}");
    Ok(())
}

/// `journal = "FILE"`; and with `false` nothing outlives the daemon.
fn where_the_file_says() -> Result<()> {
    let lab = Lab::up(&[])?;
    let file = lab.dir.join("kept/here");
    let text = setup().text(&lab);
    let with = |journal: &str| text.replace("[director]\n", &format!("[director]\n{journal}\n"));
    let router = Router::start(&lab, &with(&format!("journal = \"{}\"", file.display())))?;
    until_up(&router, &["rs1", "rs2", "rs3"])?;
    router.tarpon(&format!(
        "server edit {} 10.1.0.13:8080 --weight 7",
        SERVICE.address()
    ))?;
    let edit = latest(&router, EventKind::Configured)?;
    until_kept(&file, &edit.what)?;
    ensure!(!beside(&lab).exists());
    let router = router.kill_and_restart()?;
    ensure!(events(&router, "")?.contains(&edit));
    let killed = router.kill()?;
    let router = Router::start_after(&lab, "router", &with("journal = false"), killed)?;
    let all = events(&router, "")?;
    ensure!(
        all.first()
            .is_some_and(|e| e.kind == EventKind::Started && e.number == 1),
        "{all:?}"
    );
    ensure!(!beside(&lab).exists());
    router.stop()
}
