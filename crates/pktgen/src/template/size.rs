//! Sizes of frames and how often each comes.

use super::SIZES;

/// Sizes of a frame, check sequence included, each with how often it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes(Vec<(u16, u16)>);

/// The usual mix of the Internet: seven small, four middling, one full.
const IMIX: [(u16, u16); 3] = [(64, 7), (594, 4), (1518, 1)];

impl Sizes {
    /// One size.
    #[must_use]
    pub fn one(size: u16) -> Self {
        Self(vec![(size, 1)])
    }

    /// Size and how often, in the order written.
    #[must_use]
    pub fn all(&self) -> &[(u16, u16)] {
        &self.0
    }

    /// The mean, bytes.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let (bytes, frames) = self.0.iter().fold((0.0, 0.0), |(bytes, frames), &(s, w)| {
            (bytes + f64::from(s) * f64::from(w), frames + f64::from(w))
        });
        bytes / frames
    }

    /// Reads `64`, `128-256`, `64:7,594:4,1518:1`, `imix`.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn read(text: &str) -> Result<Self, String> {
        if text == "imix" {
            return Ok(Self(IMIX.to_vec()));
        }
        let size = |word: &str| {
            word.parse()
                .ok()
                .filter(|size| SIZES.contains(size))
                .ok_or(format!(
                    "`{word}` is no size of a frame: bytes with the check sequence, {} to {} (`size 64`), a range (`64-1518`), a list with \
                     how often each comes (`64:7,594:4,1518:1`), or `imix`, which is that list",
                    SIZES.start(),
                    SIZES.end()
                ))
        };
        let mut sizes = Vec::new();
        for part in text.split(',') {
            let (range, weight) = part.split_once(':').unwrap_or((part, "1"));
            let weight = weight.parse().ok().filter(|w| (1..=1000).contains(w)).ok_or(format!(
                "`{weight}` does not say how often the size comes: a number from 1 to 1000 behind the colon"
            ))?;
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (size(first)?, size(last)?);
            if first > last {
                return Err(format!("`{range}` is empty: write `{last}-{first}`"));
            }
            sizes.extend((first..=last).map(|size| (size, weight)));
        }
        Ok(Self(sizes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(Sizes::read("64").unwrap(), Sizes::one(64));
        assert_eq!(
            Sizes::read("64:2,100-102").unwrap().all(),
            [(64, 2), (100, 1), (101, 1), (102, 1)]
        );
        let imix = Sizes::read("imix").unwrap();
        assert!((imix.mean() - (64.0 * 7.0 + 594.0 * 4.0 + 1518.0) / 12.0).abs() < 1e-9);
    }

    #[test]
    fn mistakes_say_what_to_write() {
        for (text, part) in [
            ("63", "64 to 9018"),
            ("9019", "64 to 9018"),
            ("", "imix"),
            ("200-100", "write `100-200`"),
            ("64:0", "how often"),
            ("64,,", "``"),
        ] {
            let said = Sizes::read(text).unwrap_err();
            assert!(said.contains(part), "{text}: {said}");
        }
    }
}
