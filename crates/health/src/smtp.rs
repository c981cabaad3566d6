//! A greeting to a mail server (RFC 5321): 220, HELO, 250, QUIT, 221.

/// Bytes of one answer at most.
const ENOUGH: usize = 8192;

/// The conversation so far.
#[derive(Debug)]
pub struct Dialog<'h> {
    helo: &'h str,
    step: usize,
    heard: Vec<u8>,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// More must be heard.
    Listen,
    /// Say this, then listen.
    Say(String),
    /// The server is well.
    Done,
}

/// What each answer must begin with, and after what.
const STEPS: [(&str, &str); 3] = [("220", "the greeting"), ("250", "HELO"), ("221", "QUIT")];

impl<'h> Dialog<'h> {
    /// The server speaks first.
    #[must_use]
    pub const fn new(helo: &'h str) -> Self {
        Self {
            helo,
            step: 0,
            heard: Vec::new(),
        }
    }

    /// The server said this.
    ///
    /// # Errors
    /// Why it is not well.
    pub fn hear(&mut self, bytes: &[u8]) -> Result<Next, String> {
        self.heard.extend_from_slice(bytes);
        // An answer may have several lines; `250-` goes on, `250 ` is the last.
        while let Some(end) = self.heard.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.heard.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end();
            let Some((code, what)) = STEPS.get(self.step) else {
                return Ok(Next::Done);
            };
            if !line.starts_with(code) {
                let shown: String = line.chars().take(80).collect();
                return Err(format!("{what} is answered by {shown:?}, not {code}"));
            }
            if line.as_bytes().get(3) == Some(&b'-') {
                continue;
            }
            self.step += 1;
            return Ok(match self.step {
                1 => Next::Say(format!("HELO {}\r\n", self.helo)),
                2 => Next::Say("QUIT\r\n".into()),
                _ => Next::Done,
            });
        }
        if self.heard.len() > ENOUGH {
            return Err("an endless line instead of an answer".into());
        }
        Ok(Next::Listen)
    }

    /// The server closed the connection: well, if only the answer to QUIT is missing.
    ///
    /// # Errors
    /// Why it is not well.
    pub fn closed(&self) -> Result<(), String> {
        match STEPS.get(self.step) {
            Some((_, what)) if self.step < 2 => Err(format!(
                "the connection was closed instead of an answer to {what}"
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_well_server_is_greeted_and_left() {
        let mut dialog = Dialog::new("lb.example");
        assert_eq!(dialog.hear(b"220-mx "), Ok(Next::Listen));
        assert_eq!(dialog.hear(b"hello\r\n"), Ok(Next::Listen));
        assert_eq!(
            dialog.hear(b"220 ready\r\n"),
            Ok(Next::Say("HELO lb.example\r\n".into()))
        );
        assert!(dialog.closed().is_err());
        assert_eq!(dialog.hear(b"250 mx\r\n"), Ok(Next::Say("QUIT\r\n".into())));
        assert!(dialog.closed().is_ok());
        assert_eq!(dialog.hear(b"221 bye\r\n"), Ok(Next::Done));
    }

    #[test]
    fn anything_else_is_a_failure() {
        assert!(Dialog::new("x").hear(b"554 no service\r\n").is_err());
        let mut dialog = Dialog::new("x");
        assert!(dialog.hear(b"220 ok\r\n").is_ok());
        assert!(dialog.hear(b"501 who?\r\n").is_err());
        assert!(Dialog::new("x").hear(&[b'2'; 10_000]).is_err());
    }
}
