//! Lists of clients against each other and the services they are of.

use super::{Problems, repeated};
use crate::{Access, Config};
use types::Family;

pub(super) fn check(config: &Config, problems: &mut Problems) {
    twice(&config.access, "access", problems);
    for (index, service) in config.services.iter().enumerate() {
        let path = format!("service[{index}]");
        let access = &service.limits.access;
        twice(access, &path, problems);
        let family = service.key.family();
        for (key, nets) in [("allow", &access.allow), ("deny", &access.deny)] {
            for (number, net) in nets.iter().enumerate() {
                if net.address().is_ipv4() != (family == Family::Ipv4) {
                    problems.add(
                        format!("{path}.{key}[{number}]"),
                        format!(
                            "{net} can have no client of this service, which has {}",
                            family.name()
                        ),
                        "leave it out",
                    );
                }
            }
        }
    }
}

/// A prefix that is there twice.
fn twice(access: &Access, path: &str, problems: &mut Problems) {
    for (key, nets) in [("allow", &access.allow), ("deny", &access.deny)] {
        for (number, _) in repeated(nets.iter()) {
            let what = nets
                .get(number)
                .map(|net| format!("{net} is there already"));
            let path = format!("{path}.{key}[{number}]");
            problems.add(path, what.unwrap_or_default(), "leave it out");
        }
    }
    for (number, net) in access.deny.iter().enumerate() {
        if access.allow.contains(net) {
            problems.add(
                format!("{path}.deny[{number}]"),
                format!("{net} is in `allow`, too"),
                "leave it out of one of them",
            );
        }
    }
}
