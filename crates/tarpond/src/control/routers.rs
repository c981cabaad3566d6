//! Programs that are run when a virtual router is in another state (`[[vrrp_notify]]`).

use crate::{
    health::Program,
    takeover::{ConflictNews, Transition},
};
use config::{RouterState, VrrpNotify};
use vrrp::State;

/// What is to be run because of a transition: for its instances, then for its group.
pub fn programs(all: &[VrrpNotify], transition: &Transition) -> Vec<Program> {
    let state = match transition.state {
        State::Master => RouterState::Master,
        State::Backup => RouterState::Backup,
        State::Fault => RouterState::Fault,
        State::Init => RouterState::Stop,
    };
    let instances = transition.members.iter();
    let instances = instances.map(|(name, priority)| ("INSTANCE", name, *priority));
    // A group has no priority: keepalived says 0.
    let group = transition.group.iter().map(|name| ("GROUP", name, 0));
    let mut programs = Vec::new();
    for (kind, name, priority) in instances.chain(group) {
        for notify in all.iter().filter(|notify| notify.router == *name) {
            let commands = notify.commands(kind, state, priority).into_iter();
            programs.extend(commands.map(|command| program(notify, command)));
        }
    }
    programs
}

/// What is to be run because a worse master is heard: for the instance that hears it, and for its group.
pub fn contradicting(all: &[VrrpNotify], conflict: &ConflictNews) -> Vec<Program> {
    let is_about = |notify: &&VrrpNotify| {
        notify.router == conflict.name || conflict.group.as_ref() == Some(&notify.router)
    };
    let of = all
        .iter()
        .filter(is_about)
        .filter(|n| !n.rx_lower_pri.is_empty());
    of.map(|notify| program(notify, notify.rx_lower_pri.clone()))
        .collect()
}

fn program(notify: &VrrpNotify, command: Vec<String>) -> Program {
    Program {
        command,
        user: notify.user.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worse_master_is_told_to_who_hears_it_and_to_its_group() {
        let notify = |router: &str, program: &[&str]| VrrpNotify {
            rx_lower_pri: program.iter().map(ToString::to_string).collect(),
            ..VrrpNotify::new(router.into())
        };
        let conflict = ConflictNews {
            name: "public".into(),
            group: Some("lvs".into()),
            own: 150,
            from: [192, 0, 2, 3].into(),
            priority: 100,
        };
        let all = [
            notify("lvs", &["/bin/all"]),
            notify("private", &["/bin/never"]),
            notify("public", &["/bin/own", "again"]),
            notify("public", &[]),
        ];
        let said = contradicting(&all, &conflict);
        let said: Vec<String> = said.iter().map(|p| p.command.join(" ")).collect();
        assert_eq!(said, ["/bin/all", "/bin/own again"]);
    }

    #[test]
    fn instances_are_told_before_their_group() {
        let notify = |router: &str| VrrpNotify {
            any: vec!["/bin/tell".into()],
            ..VrrpNotify::new(router.into())
        };
        let transition = Transition {
            group: Some("lvs".into()),
            members: vec![("public".into(), 150), ("private".into(), 140)],
            state: State::Fault,
            cause: String::new(),
        };
        let all = [notify("lvs"), notify("private"), notify("elsewhere")];
        let said = programs(&all, &transition);
        let said: Vec<String> = said.iter().map(|p| p.command.join(" ")).collect();
        assert_eq!(
            said,
            [
                "/bin/tell INSTANCE private FAULT 140",
                "/bin/tell GROUP lvs FAULT 0"
            ]
        );
    }
}
