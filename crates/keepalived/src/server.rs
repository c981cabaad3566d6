//! `real_server`

use crate::{
    Context,
    checker::{self, Defaults},
    note::Notes,
    tell,
    tree::Statement,
    value::{command, parsed, refuse_endpoint},
    virtual_server::method,
};
use health::{OnFailure, ServerPolicy};
use std::net::IpAddr;
use types::{ForwardingMethod, Tunnel, Weight};

const WORDS: &[&str] = &[
    "weight",
    "lvs_method",
    "lb_kind",
    "uthreshold",
    "lthreshold",
    "inhibit_on_failure",
    "notify_up",
    "notify_down",
    "alpha",
    "retry",
    "delay_before_retry",
    "warmup",
    "connect_timeout",
    "delay_loop",
    "smtp_alert",
    "virtualhost",
    "snmp_name",
];

/// A real server, before it is known of which service.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub ip: IpAddr,
    /// 0: the service's.
    pub port: u16,
    pub method: ForwardingMethod,
    pub tunnel: Tunnel,
    pub weight: Weight,
    pub upper: u32,
    pub lower: u32,
    pub own: ServerPolicy,
}

impl Block {
    /// The same server, of which nobody is told.
    pub fn without_programs(&self) -> Self {
        let mut silent = self.clone();
        silent.own.notify_up.clear();
        silent.own.notify_down.clear();
        silent
    }
}

pub(crate) fn read(
    statement: &Statement,
    inherited: &Defaults,
    (default_method, default_tunnel, default_weight): (ForwardingMethod, Tunnel, u32),
    context: &Context,
    notes: &mut Notes,
) -> Option<Block> {
    let (first, second) = (statement.argument(0), statement.argument(1));
    let ip = first.and_then(|text| text.parse().ok());
    let port = second.map_or(Some(0), |text| text.parse().ok());
    let (Some(ip), Some(port)) = (ip, port) else {
        let write = "`real_server ADDRESS [PORT]`";
        refuse_endpoint((first, ip), (second, port), statement, write, notes);
        return None;
    };
    notes.exact(statement);
    let mut defaults = inherited.clone();
    let mut block = Block {
        ip,
        port,
        method: default_method,
        tunnel: default_tunnel,
        weight: Weight(default_weight),
        upper: 0,
        lower: 0,
        own: ServerPolicy::default(),
    };
    // What checks inherit may stand behind them.
    let mut checkers = Vec::new();
    for inner in statement.inner() {
        if checker::is_checker(inner) {
            checkers.push(inner);
        } else if !defaults.take(inner, notes) {
            block.word(inner, notes);
        }
    }
    if defaults.inhibit != inherited.inhibit {
        block.own.on_failure = defaults.inhibit.map(|on| match on {
            true => OnFailure::Quiesce,
            false => OnFailure::Remove,
        });
    }
    let checks: Vec<health::Check> = checkers
        .into_iter()
        .flat_map(|inner| checker::read(inner, &defaults, context, notes))
        .collect();
    if !checks.is_empty() {
        block.own.checks = Some(checks);
    }
    Some(block)
}

impl Block {
    fn word(&mut self, inner: &Statement, notes: &mut Notes) {
        let number = |notes: &mut Notes| {
            let value = parsed(inner, "a whole number", notes);
            if value.is_some() {
                notes.exact(inner);
            }
            value
        };
        match inner.keyword() {
            "weight" => {
                if let Some(weight) = number(notes) {
                    self.weight = Weight(weight);
                }
            }
            "uthreshold" => self.upper = number(notes).unwrap_or(0),
            "lthreshold" => self.lower = number(notes).unwrap_or(0),
            "lvs_method" | "lb_kind" => {
                if let Some(method) = method(inner, notes) {
                    (self.method, self.tunnel) = method;
                }
            }
            "notify_up" => self.own.notify_up = script(inner, notes),
            "notify_down" => self.own.notify_down = script(inner, notes),
            "smtp_alert" => tell::alert(inner, notes),
            "snmp_name" => notes.harmless(inner, "there is no SNMP"),
            _ => notes.unknown(inner, "real_server", &[WORDS, checker::BLOCKS].concat()),
        }
    }
}

fn script(inner: &Statement, notes: &mut Notes) -> Vec<String> {
    let words = command(inner.argument(0).unwrap_or_default());
    if !words.first().is_some_and(|path| path.starts_with('/')) {
        notes.wrong(inner, "it does not begin with the path of a program");
        return Vec::new();
    }
    notes.mapped(inner, "runs as the user of the service's programs: that of script_user, quorum_up or quorum_down, else `nobody`");
    words
}
