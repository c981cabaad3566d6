//! `[[vrrp_notify]]`: programs that are run when a virtual router is in another state.

use crate::Vrrp;

/// What becomes of a virtual router, as its programs are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouterState {
    /// Master.
    Master,
    /// Backup.
    Backup,
    /// In fault.
    Fault,
    /// The director ends.
    Stop,
}

impl RouterState {
    /// keepalived's word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Master => "MASTER",
            Self::Backup => "BACKUP",
            Self::Fault => "FAULT",
            Self::Stop => "STOP",
        }
    }
}

/// The programs of one virtual router, or of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VrrpNotify {
    /// The name of an instance, or of a `sync_group`.
    pub router: String,
    /// Run when it becomes master, with its arguments; empty: none.
    pub master: Vec<String>,
    /// When it becomes backup.
    pub backup: Vec<String>,
    /// When it falls into fault.
    pub fault: Vec<String>,
    /// When the director ends.
    pub stop: Vec<String>,
    /// Each time, with four arguments more: `INSTANCE` or `GROUP`, the name, the state, the priority (0 for a group).
    pub any: Vec<String>,
    /// As master, when another master that is worse is heard: at once, and every ten seconds while that goes on.
    pub rx_lower_pri: Vec<String>,
    /// Who runs them.
    pub user: String,
}

impl VrrpNotify {
    /// Without programs, to be run by nobody who matters.
    #[must_use]
    pub fn new(router: String) -> Self {
        Self {
            router,
            master: Vec::new(),
            backup: Vec::new(),
            fault: Vec::new(),
            stop: Vec::new(),
            any: Vec::new(),
            rx_lower_pri: Vec::new(),
            user: health::UNPRIVILEGED.into(),
        }
    }

    /// Each of its keys, with the program behind it.
    pub fn programs(&self) -> [(&'static str, &[String]); 6] {
        [
            ("notify_master", &self.master),
            ("notify_backup", &self.backup),
            ("notify_fault", &self.fault),
            ("notify_stop", &self.stop),
            ("notify", &self.any),
            ("notify_master_rx_lower_pri", &self.rx_lower_pri),
        ]
    }

    /// Whether it is about that instance, or its group.
    #[must_use]
    pub fn is_about(&self, instance: &Vrrp) -> bool {
        instance.name == self.router || instance.sync_group.as_ref() == Some(&self.router)
    }

    /// What is to be run now, in the order it is begun: the state's own program, then the one for all. `kind`: `INSTANCE` or `GROUP`.
    #[must_use]
    pub fn commands(&self, kind: &str, state: RouterState, priority: u8) -> Vec<Vec<String>> {
        let own = match state {
            RouterState::Master => &self.master,
            RouterState::Backup => &self.backup,
            RouterState::Fault => &self.fault,
            RouterState::Stop => &self.stop,
        };
        let mut commands = vec![own.clone()];
        if !self.any.is_empty() {
            let mut any = self.any.clone();
            any.extend([
                kind.to_owned(),
                self.router.clone(),
                state.word().to_owned(),
                priority.to_string(),
            ]);
            commands.push(any);
        }
        commands.retain(|command| !command.is_empty());
        commands
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_s_program_comes_before_the_one_for_all() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let notify = VrrpNotify {
            master: words("/bin/up now"),
            any: words("/bin/tell all"),
            ..VrrpNotify::new("web".into())
        };
        assert_eq!(
            notify.commands("INSTANCE", RouterState::Master, 150),
            [
                words("/bin/up now"),
                words("/bin/tell all INSTANCE web MASTER 150")
            ]
        );
        assert_eq!(
            notify.commands("GROUP", RouterState::Stop, 0),
            [words("/bin/tell all GROUP web STOP 0")]
        );
        let silent = VrrpNotify::new("web".into());
        assert!(silent.commands("GROUP", RouterState::Fault, 0).is_empty());
    }
}
