//! Mark rules by themselves; and the services by mark nothing leads to, which is not wrong, but seldom meant.

use super::{Problems, repeated};
use crate::{Config, MarkRule, Service};
use types::{Protocol, ServiceKey};

pub(super) fn check(config: &Config, interfaces_known: bool, problems: &mut Problems) {
    for (again, first) in repeated(config.marks.iter().map(ToString::to_string)) {
        problems.add(
            format!("mark[{again}]"),
            format!("this is what mark rule {} says already", first + 1),
            "remove it",
        );
    }
    for (index, rule) in config.marks.iter().enumerate() {
        let at = |key: &str| format!("mark[{index}].{key}");
        if let (Some(from), Some(to)) = (rule.source, rule.destination)
            && from.address().is_ipv4() != to.address().is_ipv4()
        {
            problems.add(
                at("source"),
                format!("no packet goes from {from} to {to}: they are of different families"),
                "write prefixes of one family",
            );
        }
        if rule.tcp_flags.is_some() && rule.protocol == Some(Protocol::Udp) {
            problems.add(
                at("tcp_flags"),
                "UDP has no flags",
                "write protocol = \"tcp\", or leave the flags out",
            );
        }
        if let Some(name) = &rule.interface
            && interfaces_known
            && !config.interfaces().any(|i| i.name == *name)
        {
            let names: Vec<&str> = config.interfaces().map(|i| i.name).collect();
            problems.add(
                at("interface"),
                format!("there is no port or VLAN named {name:?}"),
                format!("the names are {}", names.join(", ")),
            );
        }
    }
}

impl Config {
    /// What is not wrong, but does nothing: services by mark that no rule gives packets to, and rules whose mark no
    /// service wants.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let services = self.services.iter().filter_map(|service| {
            let why = self.service_warning(service)?;
            Some(format!(
                "the service {} gets no packets: {why}",
                service.key
            ))
        });
        let rules = self.marks.iter().zip(1..).filter_map(|(rule, number)| {
            let why = self.mark_warning(rule)?;
            Some(format!("mark rule {number} ({rule}) does nothing: {why}"))
        });
        services.chain(rules).collect()
    }

    /// Why a service gets no packets.
    #[must_use]
    pub fn service_warning(&self, service: &Service) -> Option<String> {
        let by_mark = matches!(service.key, ServiceKey::Mark { .. });
        let fed = self.marks.iter().any(|rule| feeds(rule, &service.key));
        (by_mark && !fed).then(|| "no [[mark]] rule has its mark and family".to_owned())
    }

    /// Why a mark rule does nothing.
    #[must_use]
    pub fn mark_warning(&self, rule: &MarkRule) -> Option<String> {
        let wanted = self.services.iter().any(|s| feeds(rule, &s.key));
        (!wanted && !rule.goes_on).then(|| format!("no service has the mark {}", rule.mark.0))
    }
}

/// Whether a rule gives packets to a service.
fn feeds(rule: &MarkRule, key: &ServiceKey) -> bool {
    match key {
        ServiceKey::Mark { mark, family } => rule.mark == *mark && rule.is_for(*family),
        ServiceKey::Address { .. } => false,
    }
}
