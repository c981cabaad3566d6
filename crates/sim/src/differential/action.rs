//! What is done to both sides.

use super::{Oracle, OracleError, volatile};
use crate::golden::{Op, OutFrame};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;

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
        let key = |name: &str| format!("net/ipv4/vs/{name}");
        Ok(match self {
            Self::Fresh => {
                oracle.ask(&json!({"op": "fresh"}))?;
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
                let mut out: Vec<OutFrame> = field(&said, "out")?;
                for sent in &mut out {
                    sent.volatile = volatile::ranges(bytes, &unhex(&sent.frame));
                }
                Op::Tx {
                    interface: (*side).to_owned(),
                    frame,
                    brief: crate::golden::describe(bytes),
                    out,
                }
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
