//! Events and their bytes.
//!
//! An event is a head byte and its arguments; bytes that end early end the course. Of the head, bits 0-2 are the kind,
//! bit 3 the port, bit 4 the worker, bit 5 says that more frames of the burst follow, bits 6-7 what the port found out
//! about checksums. Numbers are little endian.

/// Bends of one packet at most.
const BENDS: u8 = 8;

/// How a frame comes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// 0 or 1.
    pub port: u16,
    /// 0 or 1.
    pub worker: usize,
    /// Waits for the rest of its burst.
    pub more: bool,
    /// What the port found out about its checksums.
    pub verdict: Verdict,
    /// In several segments.
    pub chained: bool,
    /// The port has stripped a VLAN tag.
    pub tagged: bool,
}

/// What a port found out about checksums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    #[default]
    Unknown,
    /// Right.
    Good,
    /// Wrong.
    Bad,
    /// To be filled in (layer 4).
    Partial,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A frame with these bytes comes in.
    Raw(Frame, Vec<u8>),
    /// A packet between a client and a service's servers comes in.
    Packet {
        /// How.
        frame: Frame,
        /// Which service; any number will do.
        service: u8,
        /// Which client.
        client: u8,
        /// From the server to the client, rather than the other way.
        from_server: bool,
        /// TCP flags; bit 7 is which server.
        flags: u8,
        /// Bytes of payload, divided by 6; 255 is also a TTL of 1.
        payload: u8,
        /// Bytes overwritten, as (offset, value).
        bends: Vec<(u8, u8)>,
    },
    /// The receiver of the frame sent last answers it.
    Answer {
        /// How, but for the port.
        frame: Frame,
        /// TCP flags.
        flags: u8,
    },
    /// A router on the way of the frame sent last sends an ICMP error about it.
    Error {
        /// How, but for the port.
        frame: Frame,
        /// ICMP type.
        kind: u8,
        /// ICMP code.
        code: u8,
    },
    /// Time passes.
    Pass {
        /// Hundredths of a second.
        centiseconds: u16,
    },
    /// Another desired state is applied.
    Apply(u8),
    /// The host sends a frame.
    FromHost {
        /// 0 or 1.
        port: u16,
        /// 0 or 1.
        worker: usize,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// So many buffers are left to allocate; 255 is any number.
    Buffers(u8),
}

impl Frame {
    fn of(head: u8, more: u8) -> Self {
        Self {
            port: u16::from(head >> 3 & 1),
            worker: usize::from(head >> 4 & 1),
            more: head & 1 << 5 != 0,
            verdict: match head >> 6 {
                0 => Verdict::Unknown,
                1 => Verdict::Good,
                2 => Verdict::Bad,
                _ => Verdict::Partial,
            },
            chained: more & 1 != 0,
            tagged: more & 2 != 0,
        }
    }

    fn bits(self) -> (u8, u8) {
        let verdict = match self.verdict {
            Verdict::Unknown => 0,
            Verdict::Good => 1,
            Verdict::Bad => 2,
            Verdict::Partial => 3,
        };
        let head = u8::from(self.port != 0) << 3
            | u8::from(self.worker != 0) << 4
            | u8::from(self.more) << 5
            | verdict << 6;
        (head, u8::from(self.chained) | u8::from(self.tagged) << 1)
    }
}

impl Event {
    /// Appends the event's bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Raw(frame, bytes) => {
                head(out, 0, *frame);
                sized(out, bytes);
            }
            Self::Packet {
                frame,
                service,
                client,
                from_server,
                flags,
                payload,
                bends,
            } => {
                head(out, 1, *frame);
                let subject = service & 0x7f | u8::from(*from_server) << 7;
                let count = u8::try_from(bends.len()).unwrap_or(BENDS).min(BENDS);
                out.extend([subject, *client, *flags, *payload, count]);
                let bends = bends.iter().take(count.into());
                bends.for_each(|(at, value)| out.extend([*at, *value]));
            }
            Self::Answer { frame, flags } => {
                head(out, 2, *frame);
                out.push(*flags);
            }
            Self::Error { frame, kind, code } => {
                head(out, 3, *frame);
                out.extend([*kind, *code]);
            }
            Self::Pass { centiseconds } => {
                out.push(4);
                out.extend(centiseconds.to_le_bytes());
            }
            Self::Apply(variant) => out.extend([5, *variant]),
            Self::FromHost {
                port,
                worker,
                bytes,
            } => {
                let frame = Frame {
                    port: *port,
                    worker: *worker,
                    ..Frame::default()
                };
                out.push(6 | frame.bits().0);
                sized(out, bytes);
            }
            Self::Buffers(left) => out.extend([7, *left]),
        }
    }
}

fn head(out: &mut Vec<u8>, kind: u8, frame: Frame) {
    let (head, more) = frame.bits();
    out.extend([kind | head, more]);
}

fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend(length.to_le_bytes());
    out.extend(&bytes[..length.into()]);
}

/// Reads events.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next event, `None` at the end.
    pub fn event(&mut self) -> Option<Event> {
        let head = self.byte()?;
        Some(match head & 7 {
            0 => Event::Raw(self.frame(head)?, self.sized()?),
            1 => {
                let frame = self.frame(head)?;
                let subject = self.byte()?;
                let (client, flags, payload) = (self.byte()?, self.byte()?, self.byte()?);
                let mut bends = Vec::new();
                for _ in 0..self.byte()?.min(BENDS) {
                    bends.push((self.byte()?, self.byte()?));
                }
                Event::Packet {
                    frame,
                    service: subject & 0x7f,
                    client,
                    from_server: subject & 0x80 != 0,
                    flags,
                    payload,
                    bends,
                }
            }
            2 => Event::Answer {
                frame: self.frame(head)?,
                flags: self.byte()?,
            },
            3 => Event::Error {
                frame: self.frame(head)?,
                kind: self.byte()?,
                code: self.byte()?,
            },
            4 => Event::Pass {
                centiseconds: self.number()?,
            },
            5 => Event::Apply(self.byte()?),
            6 => {
                let frame = Frame::of(head, 0);
                Event::FromHost {
                    port: frame.port,
                    worker: frame.worker,
                    bytes: self.sized()?,
                }
            }
            _ => Event::Buffers(self.byte()?),
        })
    }

    fn frame(&mut self, head: u8) -> Option<Frame> {
        Some(Frame::of(head, self.byte()?))
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes([self.byte()?, self.byte()?]))
    }

    /// What is there of the bytes announced: an end cut off is a frame cut off.
    fn sized(&mut self) -> Option<Vec<u8>> {
        let length = usize::from(self.number()?).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(bytes.to_vec())
    }
}
