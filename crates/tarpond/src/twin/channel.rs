//! Messages over TCP that only who has the key can read, write, or repeat: Noise, pattern NNpsk0.

use anyhow::{Context as _, Result, ensure};
use api::{MAX_TWIN_MESSAGE, TwinMessage};
use snow::{Builder, HandshakeState, TransportState};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

/// Keys of one time on both sides, and the key both have from the first message on.
const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
/// What both must mean the same by.
const PROLOGUE: &[u8] = b"tarpon twin 1";
/// Bytes of a message of Noise at most, and of its authentication.
const NOISE: usize = 65_535;
const TAG: usize = 16;
/// A connection has come to its end after this.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A connection over which both have shown that they have the key.
pub struct Channel<S> {
    stream: S,
    noise: TransportState,
}

/// What a stream must have besides: an end.
pub trait Patient: Read + Write {
    /// Reads and writes fail after this moment.
    ///
    /// # Errors
    /// When it is over, or cannot be set.
    fn until(&mut self, end: Instant) -> std::io::Result<()>;
}

impl Patient for TcpStream {
    fn until(&mut self, end: Instant) -> std::io::Result<()> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        self.set_read_timeout(Some(left))?;
        self.set_write_timeout(Some(left))
    }
}

impl<S: Patient> Channel<S> {
    /// On the side that connects.
    ///
    /// # Errors
    /// The other has another key, or is no director.
    pub fn ask(mut stream: S, key: &[u8; 32]) -> Result<Self> {
        let mut noise = builder(key)?.build_initiator()?;
        let end = Instant::now() + PATIENCE;
        say(&mut stream, &mut noise, end)?;
        hear(&mut stream, &mut noise, end)
            .context("it has another key, or does not take this director for its twin")?;
        let noise = noise.into_transport_mode()?;
        Ok(Self { stream, noise })
    }

    /// On the side that listens.
    ///
    /// # Errors
    /// The other has another key, or is no director.
    pub fn answer(mut stream: S, key: &[u8; 32]) -> Result<Self> {
        let mut noise = builder(key)?.build_responder()?;
        let end = Instant::now() + PATIENCE;
        hear(&mut stream, &mut noise, end).context("it has another key")?;
        say(&mut stream, &mut noise, end)?;
        let noise = noise.into_transport_mode()?;
        Ok(Self { stream, noise })
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The connection is over.
    pub fn send(&mut self, message: &TwinMessage) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        let bytes = message.encode();
        ensure!(
            bytes.len() <= MAX_TWIN_MESSAGE,
            "the configuration is too large to be sent"
        );
        let length = u32::try_from(bytes.len())?.to_be_bytes();
        let mut out = vec![0; NOISE];
        for part in [&length[..]].into_iter().chain(bytes.chunks(NOISE - TAG)) {
            let written = self.noise.write_message(part, &mut out)?;
            write_part(
                &mut self.stream,
                out.get(..written).unwrap_or_default(),
                end,
            )?;
        }
        self.stream.flush()?;
        Ok(())
    }

    /// Waits for a message; `None`: the other has closed the connection.
    ///
    /// # Errors
    /// What came is none, or nothing came.
    pub fn receive(&mut self) -> Result<Option<TwinMessage>> {
        let end = Instant::now() + PATIENCE;
        let mut plain = vec![0; NOISE];
        let Some(part) = read_part(&mut self.stream, end)? else {
            return Ok(None);
        };
        let read = self.noise.read_message(&part, &mut plain)?;
        let length: [u8; 4] = plain
            .get(..read)
            .unwrap_or_default()
            .try_into()
            .context("no length")?;
        let length = usize::try_from(u32::from_be_bytes(length))?;
        ensure!(length <= MAX_TWIN_MESSAGE, "a message of {length} bytes");
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let part = read_part(&mut self.stream, end)?.context("a message ended early")?;
            let read = self.noise.read_message(&part, &mut plain)?;
            ensure!(read > 0, "a part without anything");
            bytes.extend_from_slice(plain.get(..read).unwrap_or_default());
        }
        ensure!(
            bytes.len() == length,
            "a message of another length than was said"
        );
        Ok(Some(
            TwinMessage::decode(&bytes).context("a message that means nothing here")?,
        ))
    }
}

fn builder(key: &[u8; 32]) -> Result<Builder<'_>> {
    let builder = Builder::new(PATTERN.parse()?);
    Ok(builder.psk(0, key)?.prologue(PROLOGUE)?)
}

fn say(stream: &mut impl Patient, noise: &mut HandshakeState, end: Instant) -> Result<()> {
    let mut out = [0; 256];
    let written = noise.write_message(&[], &mut out)?;
    write_part(stream, out.get(..written).unwrap_or_default(), end)?;
    Ok(stream.flush()?)
}

fn hear(stream: &mut impl Patient, noise: &mut HandshakeState, end: Instant) -> Result<()> {
    let part = read_part(stream, end)?.context("it has closed the connection")?;
    noise.read_message(&part, &mut [0; 256])?;
    Ok(())
}

fn write_part(stream: &mut impl Patient, part: &[u8], end: Instant) -> Result<()> {
    stream.until(end)?;
    let mut framed = u16::try_from(part.len())?.to_be_bytes().to_vec();
    framed.extend_from_slice(part);
    Ok(stream.write_all(&framed)?)
}

/// `None`: the stream ends where a part would begin.
fn read_part(stream: &mut impl Patient, end: Instant) -> Result<Option<Vec<u8>>> {
    let mut length = [0; 2];
    if !fill(stream, &mut length, end)? {
        return Ok(None);
    }
    let mut part = vec![0; u16::from_be_bytes(length).into()];
    ensure!(
        part.is_empty() || fill(stream, &mut part, end)?,
        "the connection ended early"
    );
    Ok(Some(part))
}

/// False: the stream has ended before the first byte.
fn fill(stream: &mut impl Patient, buffer: &mut [u8], end: Instant) -> Result<bool> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        stream.until(end)?;
        match stream.read(rest) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => anyhow::bail!("the connection ended early"),
            Ok(n) => filled += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
