//! What was heard of one sender's numbered messages.

/// Which of them came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The last.
    pub last: u64,
    /// Those between the first and the last that did not come.
    pub lost: u64,
}

impl Heard {
    /// One came. Those overtaken on the way are not lost.
    pub const fn hear(&mut self, number: u64) {
        if self.last == 0 {
            self.last = number;
        } else if number > self.last {
            self.lost += number - self.last - 1;
            self.last = number;
        } else {
            self.lost = self.lost.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_count_until_they_are_filled() {
        let mut heard = Heard::default();
        for (number, last, lost) in [(7, 7, 0), (8, 8, 0), (11, 11, 2), (10, 11, 1), (12, 12, 1)] {
            heard.hear(number);
            assert_eq!((heard.last, heard.lost), (last, lost));
        }
    }
}
