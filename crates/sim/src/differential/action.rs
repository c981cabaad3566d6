//! What is done to both sides.

use super::{Oracle, OracleError, spent::Kind, volatile};
use crate::golden::{Op, OutFrame};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Instant};

/// Something done to, or looked at on, both sides.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Everything dropped, module defaults.
    Fresh,
    /// A command line.
    Command(String),
    /// A setting under `net/ipv4/vs`.
    Setting(&'static str, String),
    /// A frame that arrives on "cl" or "rs".
    Frame(&'static str, Vec<u8>),
    /// Seconds pass.
    Sleep(f64),
    /// All connections are looked at.
    Connections,
    /// Every server's counts are looked at.
    Counts,
    /// `ipvsadm -Ln` with these options is looked at.
    List(&'static str),
}

impl Action {
    /// Whether it only looks at what there is.
    #[must_use]
    pub const fn is_look(&self) -> bool {
        matches!(self, Self::Connections | Self::Counts | Self::List(_))
    }

    /// Does it to the oracle: the step, as a recording has it, with what the oracle did.
    ///
    /// # Errors
    /// When the oracle does not answer.
    pub fn perform(&self, oracle: &mut Oracle) -> Result<Op, OracleError> {
        let begun = Instant::now();
        let op = self.asked(oracle);
        oracle.spent.add(self.kind(), 1, begun.elapsed());
        op
    }

    const fn kind(&self) -> Kind {
        match self {
            Self::Fresh => Kind::Fresh,
            Self::Command(_) => Kind::Command,
            Self::Setting(..) => Kind::Setting,
            Self::Frame(..) => Kind::Frame,
            Self::Sleep(_) => Kind::Sleep,
            Self::Connections | Self::Counts => Kind::Look,
            Self::List(_) => Kind::List,
        }
    }

    /// Carries out commands and settings by one shell, neighbouring commands of ipvsadm by one `ipvsadm -R`. `None`: something was
    /// refused, and nobody knows what was done.
    ///
    /// # Errors
    /// When the oracle does not answer.
    pub(super) fn perform_all(
        actions: &[Self],
        oracle: &mut Oracle,
    ) -> Result<Option<Vec<Op>>, OracleError> {
        if actions.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let begun = Instant::now();
        let mut script = String::from("set -e\n");
        let mut restoring = false;
        let mut ops = Vec::new();
        for action in actions {
            let restored = match action {
                Self::Command(line) => line.strip_prefix("ipvsadm -"),
                _ => None,
            };
            if restoring && restored.is_none() {
                script.push_str("end\n");
            } else if !restoring && restored.is_some() {
                script.push_str("ipvsadm -R <<end\n");
            }
            restoring = restored.is_some();
            match (action, restored) {
                (_, Some(words)) => script.push_str(&format!("-{words}\n")),
                (Self::Command(line), None) => script.push_str(&format!("{line}\n")),
                (Self::Setting(name, value), None) => {
                    let file = format!("/proc/sys/{}", key(name));
                    script.push_str(&format!("echo {value} > {file}\n"));
                }
                _ => return Ok(None),
            }
            ops.push(match action {
                Self::Setting(name, value) => Op::Sysctl {
                    key: key(name),
                    value: value.clone(),
                },
                Self::Command(line) => Op::Cmd {
                    cmd: line.clone(),
                    rc: Some(0),
                    output: Some(String::new()),
                },
                _ => return Ok(None),
            });
        }
        if restoring {
            script.push_str("end\n");
        }
        let said = oracle.ask(&json!({"op": "cmd", "cmd": script}))?;
        let silent = said["output"].as_str() == Some("") && said["rc"] == 0;
        oracle.spent.add(Kind::SettingUp, 1, begun.elapsed());
        Ok(silent.then_some(ops))
    }

    /// Sends frames one after the other: what each of them caused.
    ///
    /// # Errors
    /// When the oracle does not answer, or one of `actions` is no frame.
    pub(super) fn perform_frames(
        actions: &[Self],
        oracle: &mut Oracle,
    ) -> Result<Vec<Op>, OracleError> {
        let begun = Instant::now();
        let frames: Vec<(&'static str, &[u8])> = actions
            .iter()
            .filter_map(|action| match action {
                Self::Frame(side, bytes) => Some((*side, bytes.as_slice())),
                _ => None,
            })
            .collect();
        let asked: Vec<(&str, String)> = frames.iter().map(|(s, b)| (*s, hex(b))).collect();
        let said = oracle.ask(&json!({"op": "txs", "frames": asked}))?;
        let outs: Vec<Vec<OutFrame>> = field(&said, "outs")?;
        if outs.len() != actions.len() {
            let (got, sent) = (outs.len(), actions.len());
            let why = format!("{got} answers to {sent} frames");
            return Err(OracleError::Nonsense(why));
        }
        let number = u64::try_from(actions.len()).unwrap_or(0);
        oracle.spent.add(Kind::Frame, number, begun.elapsed());
        let sent = |((side, bytes), out)| transmitted(side, bytes, out);
        Ok(frames.into_iter().zip(outs).map(sent).collect())
    }

    fn asked(&self, oracle: &mut Oracle) -> Result<Op, OracleError> {
        Ok(match self {
            Self::Fresh => {
                fresh(oracle)?;
                let sysctls = BTreeMap::new();
                Op::Fresh { sysctls }
            }
            Self::Command(cmd) => {
                let said = oracle.ask(&json!({"op": "cmd", "cmd": cmd}))?;
                let output = said["output"].as_str().unwrap_or_default();
                Op::Cmd {
                    cmd: cmd.clone(),
                    rc: Some(field(&said, "rc")?),
                    output: Some(output.trim_end().to_owned()),
                }
            }
            Self::Setting(name, value) => {
                let (key, value) = (key(name), value.clone());
                oracle.ask(&json!({"op": "sysctl", "key": key, "value": value}))?;
                Op::Sysctl { key, value }
            }
            Self::Frame(side, bytes) => {
                let frame = hex(bytes);
                let said = oracle.ask(&json!({"op": "tx", "if": side, "frame": frame}))?;
                transmitted(side, bytes, field(&said, "out")?)
            }
            Self::Sleep(seconds) => {
                oracle.ask(&json!({"op": "sleep", "seconds": seconds}))?;
                Op::Sleep { seconds: *seconds }
            }
            Self::Connections => {
                let said = oracle.ask(&json!({"op": "conns"}))?;
                let rows = field(&said, "rows")?;
                Op::Conns { rows }
            }
            Self::Counts => {
                let said = oracle.ask(&json!({"op": "dests"}))?;
                let rows = field(&said, "dests")?;
                Op::Dests { rows }
            }
            Self::List(opt) => {
                let said = oracle.ask(&json!({"op": "list", "opt": opt}))?;
                let text = said["output"].as_str().unwrap_or_default();
                Op::List {
                    opt: (*opt).to_owned(),
                    output: text.lines().map(str::to_owned).collect(),
                }
            }
        })
    }
}

/// What the oracle's `fresh` does, by a third of its processes; where that fails, by the oracle's.
fn fresh(oracle: &mut Oracle) -> Result<(), OracleError> {
    let script = r"ipvsadm -C
for t in ip ip6; do [ ! -e /proc/net/${t}_tables_names ] || ${t}tables-legacy -t mangle -F; done
while read -r name rest; do case $name in ip_vs_*) names=$names\ $name;; esac; done < /proc/modules
tries=0
until rmmod $names ip_vs; do names= tries=$((tries + 1)); [ $tries -lt 5 ] || exit 1; sleep 0.1; done 2>/dev/null
modprobe ip_vs";
    let said = oracle.ask(&json!({"op": "cmd", "cmd": script}))?;
    if said["rc"] != 0 || said["output"].as_str() != Some("") {
        oracle.ask(&json!({"op": "fresh"}))?;
    }
    Ok(())
}

fn transmitted(side: &str, bytes: &[u8], mut out: Vec<OutFrame>) -> Op {
    for sent in &mut out {
        sent.volatile = volatile::ranges(bytes, &unhex(&sent.frame));
    }
    Op::Tx {
        interface: side.to_owned(),
        frame: hex(bytes),
        brief: crate::golden::describe(bytes),
        out,
    }
}

fn key(name: &str) -> String {
    format!("net/ipv4/vs/{name}")
}

fn field<T: DeserializeOwned>(said: &Value, name: &str) -> Result<T, OracleError> {
    serde_json::from_value(said[name].clone())
        .map_err(|e| OracleError::Nonsense(format!("{e}: {said}")))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    crate::golden::to_hex(bytes)
}

pub(super) fn unhex(text: &str) -> Vec<u8> {
    crate::golden::from_hex(text).unwrap_or_default()
}
