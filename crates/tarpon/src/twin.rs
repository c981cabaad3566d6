//! `tarpon twin`

use crate::{
    args::{self, Global},
    failure::Failure,
    output,
    query::connect,
    table::Table,
    units::duration,
};
use api::{Command, Edited, Twin, TwinAsk, TwinWhat, Version};
use std::time::Duration;

/// Between two looks at what came of it.
const LOOK: Duration = Duration::from_millis(50);
/// Digits of a fingerprint that are shown.
const SHOWN: usize = 8;

/// Shows how the two are to each other, or has one taken for both.
pub fn twin(global: &Global, what: Option<args::Twin>) -> Result<(), Failure> {
    let (what, force) = match what {
        None | Some(args::Twin::Status) => return status(global),
        Some(args::Twin::Diff) => (TwinWhat::Diff, false),
        Some(args::Twin::Push { force }) => (TwinWhat::Push, force),
        Some(args::Twin::Pull { force }) => (TwinWhat::Pull, force),
    };
    let mut client = connect(global)?;
    let _: Edited = client.call(Command::TwinAsk(TwinAsk { what, force }))?;
    let task = loop {
        let twin: Option<Twin> = client.call(Command::Twin)?;
        let task = twin.and_then(|twin| twin.task);
        match task.ok_or_else(|| Failure::failed("the daemon knows nothing of it any more"))? {
            task if task.over => break task,
            _ => std::thread::sleep(LOOK),
        }
    };
    if global.json {
        json(&task)?;
        let well = task.refused.is_none() && (what != TwinWhat::Diff || task.lines.is_empty());
        return if well { Ok(()) } else { Err(Failure::Said) };
    }
    let lines: String = task.lines.iter().map(|line| format!("{line}\n")).collect();
    output::text(&lines)?;
    match (task.refused, what) {
        (Some(why), _) => Err(Failure::failed(why)),
        (None, TwinWhat::Diff) if !task.lines.is_empty() => Err(Failure::Said),
        (None, TwinWhat::Diff) => output::text("both have the same\n"),
        (None, _) if task.lines.is_empty() => output::text("nothing differed\n"),
        (None, _) => Ok(()),
    }
}

fn status(global: &Global) -> Result<(), Failure> {
    let twin: Option<Twin> = connect(global)?.call(Command::Twin)?;
    if global.json {
        return json(&twin);
    }
    match twin {
        Some(twin) => output::text(&shown(&twin)),
        None => output::text("no [twin] in the configuration\n"),
    }
}

fn json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|e| Failure::failed(e.to_string()))?;
    output::text(&format!("{text}\n"))
}

fn shown(twin: &Twin) -> String {
    let mut table = Table::new(&["DIRECTOR", ">GENERATION", "FINGERPRINT", "HEARD"]);
    let mut row = |name: String, version: &Version, heard: String| {
        let print = version.fingerprint.chars().take(SHOWN).collect();
        table.row(vec![name, version.generation.to_string(), print, heard]);
    };
    row("this one".into(), &twin.version, String::new());
    if let Some(other) = &twin.other {
        let ago = format!("{} ago", duration(other.heard_ms_ago / 1000));
        row(
            format!("{} ({})", other.name, twin.peer.ip()),
            &other.version,
            ago,
        );
    }
    let mut out = table.to_string();
    out += "\n";
    out += &says(twin);
    if let Some(error) = &twin.error {
        out += &format!("{error}\n");
    }
    out
}

/// What the table means, and what can be done.
fn says(twin: &Twin) -> String {
    let automatic = twin.push == "auto";
    match twin.relation.as_str() {
        "same" => "both have the same\n".into(),
        "ahead" if automatic && twin.acting => "this one has the later version, and sends it\n".into(),
        "ahead" => "this one has the later version: `tarpon twin push` sends it, `tarpon twin pull --force` gives it up\n".into(),
        "behind" => "the other one has the later version; if it does not send it by itself, `tarpon twin pull` takes it\n".into(),
        "parted" => {
            let since = match &twin.common {
                Some(common) => format!("both were edited since generation {}", common.generation),
                None => "they have never had the same".into(),
            };
            format!("{since}: see `tarpon twin diff`, then `tarpon twin push --force` or `tarpon twin pull --force`\n")
        }
        _ => "the other one has not been heard yet\n".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_says_who_is_later_and_what_to_do() {
        let version = |generation| Version {
            generation,
            fingerprint: "0123456789abcdef".into(),
        };
        let mut twin = Twin {
            peer: "10.1.0.3:8849".parse().unwrap(),
            push: "auto".into(),
            acting: true,
            version: version(7),
            other: None,
            relation: "unknown".into(),
            common: None,
            error: Some("10.1.0.3:8849: cannot connect".into()),
            task: None,
        };
        let alone = shown(&twin);
        assert!(
            alone.ends_with("has not been heard yet\n10.1.0.3:8849: cannot connect\n"),
            "{alone}"
        );
        twin.error = None;
        twin.other = Some(api::TwinOther {
            name: "b".into(),
            version: version(5),
            heard_ms_ago: 2100,
        });
        for (relation, acting, wanted) in [
            ("same", true, "both have the same"),
            ("ahead", true, "and sends it"),
            ("ahead", false, "`tarpon twin push` sends it"),
            ("behind", false, "`tarpon twin pull` takes it"),
            ("parted", true, "never had the same: see `tarpon twin diff`"),
        ] {
            twin.relation = relation.into();
            twin.acting = acting;
            let text = shown(&twin);
            assert!(
                text.contains(wanted) && text.contains("b (10.1.0.3)"),
                "{text}"
            );
            assert!(
                text.contains("01234567") && !text.contains("012345678"),
                "{text}"
            );
        }
        twin.common = Some(version(4));
        assert!(shown(&twin).contains("since generation 4"));
    }
}
