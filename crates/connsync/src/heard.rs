//! What was heard of one sender's numbered messages.

/// Which of them came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The last.
    pub last: u64,
    /// Those between the first and the last that did not come.
    pub lost: u64,
    /// It is known where they begin.
    begun: bool,
}

impl Heard {
    /// One came. Those overtaken on the way are not lost.
    pub const fn hear(&mut self, number: u64) {
        if !self.begun {
            self.begin(number);
        } else if number > self.last {
            self.lost += number - self.last - 1;
            self.last = number;
        } else {
            self.lost = self.lost.saturating_sub(1);
        }
    }

    /// The sender says which was its last: also those are lost behind which none has come. `number` 0: it has sent none.
    pub const fn hear_of(&mut self, number: u64) {
        if !self.begun {
            self.begin(number);
        } else if number > self.last {
            self.lost += number - self.last;
            self.last = number;
        }
    }

    const fn begin(&mut self, number: u64) {
        self.begun = true;
        self.last = number;
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

    #[test]
    fn what_the_sender_says_it_sent_is_lost_until_it_comes() {
        let mut heard = Heard::default();
        heard.hear_of(0);
        heard.hear(2);
        assert_eq!((heard.last, heard.lost), (2, 1), "the first of all");
        heard.hear_of(2);
        assert_eq!((heard.last, heard.lost), (2, 1));
        heard.hear_of(4);
        assert_eq!((heard.last, heard.lost), (4, 3));
        heard.hear(3);
        heard.hear(4);
        assert_eq!((heard.last, heard.lost), (4, 1));
    }
}
