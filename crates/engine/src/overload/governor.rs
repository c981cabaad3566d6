//! How much is let go: quickly more while loss goes on, slowly less when it has ended.

use super::{ALL, Droppable, Load, Shares};

/// The first step up; each after it, while loss goes on, is twice the one before.
const FIRST: u32 = ALL / 8;
/// A step down.
const DOWN: u32 = ALL / 32;
/// Of what stands so much at most: with less, nothing of it would get anywhere.
const MOST: u32 = ALL * 3 / 4;

/// One worker's course.
#[derive(Clone, Copy, Debug)]
pub(super) struct Governor {
    shares: Shares,
    step: u32,
}

impl Default for Governor {
    fn default() -> Self {
        Self {
            shares: Shares::default(),
            step: FIRST,
        }
    }
}

impl Governor {
    pub const fn shares(&self) -> Shares {
        self.shares
    }

    /// One step on.
    pub fn step(&mut self, droppable: Droppable, load: Load) -> Shares {
        if load.past_capacity {
            self.up(droppable, load);
        } else {
            self.down();
        }
        if droppable < Droppable::Established {
            self.shares.established = 0;
        }
        if droppable < Droppable::New {
            self.shares.new = 0;
        }
        self.shares
    }

    fn up(&mut self, droppable: Droppable, load: Load) {
        let Shares { new, established } = &mut self.shares;
        if *new < ALL {
            *new = (*new + self.step).min(ALL);
            if *new == ALL {
                // What stands begins with a small step of its own.
                self.step = FIRST;
                return;
            }
        } else if load.mostly_new {
            // Letting go what stands would not help it.
            *established = established.saturating_sub(DOWN);
            return;
        } else if droppable == Droppable::Established {
            *established = (*established + self.step).min(MOST);
        }
        self.step = (self.step * 2).min(ALL);
    }

    /// What stands comes back first.
    fn down(&mut self) {
        self.step = FIRST;
        let Shares { new, established } = &mut self.shares;
        if *established > 0 {
            *established = established.saturating_sub(DOWN);
        } else {
            *new = new.saturating_sub(DOWN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVER: Load = Load {
        past_capacity: true,
        mostly_new: false,
    };
    const FLOOD: Load = Load {
        past_capacity: true,
        mostly_new: true,
    };
    const CALM: Load = Load {
        past_capacity: false,
        mostly_new: false,
    };

    fn course(governor: &mut Governor, droppable: Droppable, loads: &[Load]) -> Vec<(u32, u32)> {
        let step = |load: &Load| {
            let shares = governor.step(droppable, *load);
            (shares.new, shares.established)
        };
        loads.iter().map(step).collect()
    }

    #[test]
    fn what_stands_is_touched_only_when_nothing_new_is_left() {
        let mut governor = Governor::default();
        let up = course(&mut governor, Droppable::Established, &[OVER; 8]);
        assert_eq!(
            up,
            [
                (128, 0),
                (384, 0),
                (896, 0),
                (1024, 0),
                (1024, 128),
                (1024, 384),
                (1024, 768),
                (1024, 768)
            ]
        );
        let down = course(&mut governor, Droppable::Established, &[CALM; 56]);
        assert_eq!(down[0], (1024, 736));
        assert_eq!(down[23], (1024, 0), "what stands comes back first");
        assert_eq!(down[24], (992, 0));
        assert_eq!(down[55], (0, 0));
    }

    #[test]
    fn a_flood_of_new_ones_is_no_reason_to_let_go_what_stands() {
        let mut governor = Governor::default();
        let up = course(&mut governor, Droppable::Established, &[FLOOD; 20]);
        assert_eq!(up[19], (1024, 0));
        let later = course(&mut governor, Droppable::Established, &[OVER, FLOOD]);
        assert_eq!(later, [(1024, 128), (1024, 96)]);
    }

    /// About where loss begins, the share goes up and down by small steps.
    #[test]
    fn near_the_limit_the_steps_are_small() {
        let mut governor = Governor::default();
        course(&mut governor, Droppable::Established, &[OVER, OVER]);
        let about = course(
            &mut governor,
            Droppable::Established,
            &[CALM, CALM, OVER, CALM],
        );
        assert_eq!(about, [(352, 0), (320, 0), (448, 0), (416, 0)]);
    }

    #[test]
    fn what_may_not_be_let_go_is_not() {
        let mut governor = Governor::default();
        let up = course(&mut governor, Droppable::New, &[OVER; 9]);
        assert_eq!(up[8], (1024, 0));
        let off = course(&mut governor, Droppable::Nothing, &[OVER; 2]);
        assert_eq!(off, [(0, 0), (0, 0)]);
    }
}
