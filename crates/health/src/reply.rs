//! Datagrams in hexadecimal, and patterns of them.

use std::{fmt, str::FromStr};

/// What a reply must be: bytes, of each half of which it may not matter what it is, and a length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Each byte's value and the bits of it that count; a reply must begin so.
    pub begins: Vec<(u8, u8)>,
    /// At least so long.
    pub min: usize,
    /// At most so long.
    pub max: usize,
}

impl Expected {
    /// Judges a reply.
    ///
    /// # Errors
    /// Why it will not do.
    pub fn judge(&self, reply: &[u8]) -> Result<(), String> {
        if !(self.min..=self.max).contains(&reply.len()) {
            let (min, max) = (self.min, self.max);
            return Err(format!(
                "a reply of {} bytes, not {min} to {max}",
                reply.len()
            ));
        }
        for (at, (value, mask)) in self.begins.iter().enumerate() {
            match reply.get(at) {
                None => return Err(format!("the reply ends after {at} bytes")),
                Some(byte) if byte & mask != *value => {
                    return Err(format!("byte {at} of the reply is {byte:02x}"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// A text of hexadecimal digits, `X` for those that do not matter, spaces anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hex(pub Vec<(u8, u8)>);

impl Hex {
    /// The bytes, if all of them matter.
    #[must_use]
    pub fn bytes(&self) -> Option<Vec<u8>> {
        let byte = |(value, mask): &(u8, u8)| (*mask == 0xff).then_some(*value);
        self.0.iter().map(byte).collect()
    }
}

impl FromStr for Hex {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
        let half = |c: char| match c {
            'x' | 'X' => Ok((0, 0)),
            c => {
                let digit = c.to_digit(16).and_then(|d| u8::try_from(d).ok());
                digit.map(|d| (d, 0xf)).ok_or(())
            }
        };
        let pairs = digits.chunks(2).map(|pair| match pair {
            [high, low] => {
                let (high, low) = (half(*high)?, half(*low)?);
                Ok((high.0 << 4 | low.0, high.1 << 4 | low.1))
            }
            _ => Err(()),
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (value, mask) in &self.0 {
            for (value, mask) in [(value >> 4, mask >> 4), (value & 15, mask & 15)] {
                if mask == 0 {
                    f.write_str("X")?;
                } else {
                    write!(f, "{value:x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_compared_digit_by_digit() {
        let hex: Hex = "12 3X xX".parse().expect("hex");
        assert_eq!(hex.to_string(), "123XXX");
        assert_eq!(hex.bytes(), None);
        let expected = Expected {
            begins: hex.0,
            min: 2,
            max: 5,
        };
        assert!(expected.judge(b"\x12\x3f\x00").is_ok());
        assert!(expected.judge(b"\x12\x3f\x00\x00\x00").is_ok());
        assert!(expected.judge(b"\x12\x4f\x00").is_err());
        assert!(
            expected.judge(b"\x12\x3f").is_err(),
            "too short for the pattern"
        );
        assert!(expected.judge(b"\x12").is_err());
        assert!(expected.judge(b"\x12\x3f\x00\x00\x00\x00").is_err());
        assert!("1".parse::<Hex>().is_err() && "1g".parse::<Hex>().is_err());
        assert_eq!(
            "ff 00".parse::<Hex>().expect("hex").bytes(),
            Some(vec![255, 0])
        );
    }
}
