//! The values one field of a flow takes: addresses or ports, in spans, in the order written.

/// Values in spans. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    spans: Vec<Span>,
    total: u64,
}

/// Consecutive values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    first: u128,
    count: u64,
}

impl Axis {
    /// One value.
    #[must_use]
    pub fn one(value: u128) -> Self {
        Self {
            spans: vec![Span {
                first: value,
                count: 1,
            }],
            total: 1,
        }
    }

    /// From `first` to `last`, both in it. `None` if they are the wrong way round or more than 2^63.
    #[must_use]
    pub fn range(first: u128, last: u128) -> Option<Self> {
        let count = u64::try_from(last.checked_sub(first)?)
            .ok()?
            .checked_add(1)
            .filter(|&count| count <= 1 << 63)?;
        Some(Self {
            spans: vec![Span { first, count }],
            total: count,
        })
    }

    /// The values of `other` behind these. `None` if that makes more than 2^63.
    #[must_use]
    pub fn and(mut self, other: Self) -> Option<Self> {
        self.total = self
            .total
            .checked_add(other.total)
            .filter(|&total| total <= 1 << 63)?;
        self.spans.extend(other.spans);
        Some(self)
    }

    /// How many values; at least 1.
    #[must_use]
    #[inline]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Value `index`, below [`Axis::total`]; past it, the last.
    #[must_use]
    #[inline]
    pub fn at(&self, mut index: u64) -> u128 {
        // Nearly always.
        if let [span] = self.spans.as_slice() {
            return span.first + u128::from(index.min(span.count - 1));
        }
        let mut last = 0;
        for span in &self.spans {
            if index < span.count {
                return span.first + u128::from(index);
            }
            index -= span.count;
            last = span.first + u128::from(span.count - 1);
        }
        last
    }

    /// Which value this is, from 0; of one that is there several times, the first.
    #[must_use]
    #[inline]
    pub fn index_of(&self, value: u128) -> Option<u64> {
        let mut before = 0;
        for span in &self.spans {
            let offset = value
                .checked_sub(span.first)
                .and_then(|o| u64::try_from(o).ok());
            if let Some(offset) = offset.filter(|offset| *offset < span.count) {
                return Some(before + offset);
            }
            before += span.count;
        }
        None
    }

    /// Whether it takes this value.
    #[must_use]
    pub fn contains(&self, value: u128) -> bool {
        self.spans.iter().any(|span| {
            value
                .checked_sub(span.first)
                .is_some_and(|offset| offset < u128::from(span.count))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_follow_each_other() {
        let axis = Axis::range(10, 12)
            .unwrap()
            .and(Axis::one(7))
            .unwrap()
            .and(Axis::range(1, 2).unwrap())
            .unwrap();
        let all: Vec<u128> = (0..axis.total()).map(|i| axis.at(i)).collect();
        assert_eq!(all, [10, 11, 12, 7, 1, 2]);
        assert_eq!(axis.at(99), 2);
        let back: Vec<u64> = all.iter().filter_map(|v| axis.index_of(*v)).collect();
        assert_eq!(back, [0, 1, 2, 3, 4, 5]);
        assert_eq!(axis.index_of(13), None);
        assert!(axis.contains(12) && axis.contains(7) && !axis.contains(13) && !axis.contains(0));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        assert_eq!(Axis::range(2, 1), None);
        assert_eq!(Axis::range(0, u128::MAX), None);
        let half = Axis::range(0, (1 << 63) - 1).unwrap();
        assert_eq!(half.total(), 1 << 63);
        assert_eq!(half.and(Axis::one(1)), None);
    }
}
