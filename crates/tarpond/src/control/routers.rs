//! Programs that are run when a virtual router is in another state (`[[vrrp_notify]]`).

use crate::{health::Program, takeover::Transition};
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
            let user = &notify.user;
            let commands = notify.commands(kind, state, priority).into_iter();
            programs.extend(commands.map(|command| Program {
                command,
                user: user.clone(),
            }));
        }
    }
    programs
}

#[cfg(test)]
mod tests {
    use super::*;

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
