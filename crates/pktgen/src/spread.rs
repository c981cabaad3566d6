//! What repeated measurements came to: benchmarks of devices are told by their median and percentiles (RFC 8219), or by mean and deviation
//! (RFC 9004).

use serde::Serialize;

/// Of repetitions of one measurement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Half are below.
    pub median: f64,
    /// One of a hundred is below: of fewer than a hundred the least.
    pub p1: f64,
    /// One of a hundred is above: of fewer than a hundred the greatest.
    pub p99: f64,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation; 0 of one.
    pub deviation: f64,
    /// Each, in the order they were measured.
    pub values: Vec<f64>,
}

impl Spread {
    /// Of these; `None` of none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "repetitions are few")]
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let median = match n {
            0 => return None,
            n if n % 2 == 1 => *sorted.get(n / 2)?,
            n => f64::midpoint(*sorted.get(n / 2 - 1)?, *sorted.get(n / 2)?),
        };
        let mean = sorted.iter().sum::<f64>() / n as f64;
        let squares: f64 = sorted.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (squares / (n.max(2) - 1) as f64).sqrt();
        // The nearest rank.
        let rank = |percent: usize| sorted.get((n * percent).div_ceil(100).max(1) - 1).copied();
        Some(Self {
            median,
            p1: rank(1)?,
            p99: rank(99)?,
            mean,
            deviation,
            values: values.to_vec(),
        })
    }

    /// `; median of 12, 1st percentile 900, 99th 1100`; nothing of one.
    #[must_use]
    pub fn told(&self, show: fn(f64) -> String) -> String {
        match self.values.len() {
            0 | 1 => String::new(),
            n => format!(
                "; median of {n}, 1st percentile {}, 99th {}",
                show(self.p1),
                show(self.p99)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_rank_s() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let spread = Spread::of(&hundred).unwrap();
        assert_eq!((spread.p1, spread.median, spread.p99), (1.0, 50.5, 99.0));
        let ten = Spread::of(&hundred[..10]).unwrap();
        assert_eq!((ten.p1, ten.median, ten.p99), (91.0, 95.5, 100.0));
        let one = Spread::of(&[7.0]).unwrap();
        assert_eq!(
            (one.p1, one.median, one.p99, one.mean),
            (7.0, 7.0, 7.0, 7.0)
        );
        assert!(one.deviation == 0.0 && one.told(|n| n.to_string()).is_empty());
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn mean_and_deviation() {
        let spread = Spread::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert!((spread.mean - 5.0).abs() < 1e-9);
        // Of a sample: 32 / 7.
        assert!((spread.deviation - (32.0_f64 / 7.0).sqrt()).abs() < 1e-9);
    }
}
