//! A raw socket on one interface: frames out, frames heard until a deadline.

use super::frames::{Heard, parse};
use crate::error::Refusal;
use pnet_datalink::{Channel, Config, DataLinkReceiver, DataLinkSender};
use std::{
    io::ErrorKind,
    ops::ControlFlow,
    time::{Duration, Instant},
};

pub(super) struct Wire {
    name: String,
    out: Box<dyn DataLinkSender>,
    heard: Box<dyn DataLinkReceiver>,
}

impl Wire {
    pub(super) fn open(name: &str) -> Result<Self, Refusal> {
        let interface = pnet_datalink::interfaces()
            .into_iter()
            .find(|i| i.name == name)
            .ok_or_else(|| Refusal::UnknownInterface {
                name: name.into(),
                known: pnet_datalink::interfaces()
                    .into_iter()
                    .map(|i| i.name)
                    .collect::<Vec<_>>()
                    .join(", "),
            })?;
        let config = Config {
            read_timeout: Some(Duration::from_millis(5)),
            promiscuous: false,
            write_buffer_size: 65536,
            ..Config::default()
        };
        match pnet_datalink::channel(&interface, config) {
            Ok(Channel::Ethernet(out, heard)) => Ok(Self {
                name: name.into(),
                out,
                heard,
            }),
            Ok(_) => Err(Refusal::Wire(format!("{name} is no Ethernet"))),
            Err(e) => Err(Refusal::Wire(format!(
                "cannot open a raw socket on {name}: {e}"
            ))),
        }
    }

    pub(super) fn send(&mut self, frame: &[u8]) -> Result<(), Refusal> {
        match self.out.send_to(frame, None) {
            Some(Ok(())) => Ok(()),
            Some(Err(e)) => Err(Refusal::Wire(format!("cannot send on {}: {e}", self.name))),
            None => Err(Refusal::Wire(format!(
                "cannot send on {}: frame too long",
                self.name
            ))),
        }
    }

    /// Hand every frame heard within `time` to `look`, until it breaks with an answer.
    pub(super) fn listen<T>(
        &mut self,
        time: Duration,
        mut look: impl FnMut(&Heard) -> ControlFlow<T>,
    ) -> Result<Option<T>, Refusal> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            match self.heard.next() {
                Ok(frame) => {
                    if let Some(heard) = parse(frame)
                        && let ControlFlow::Break(answer) = look(&heard)
                    {
                        return Ok(Some(answer));
                    }
                }
                Err(e)
                    if matches!(
                        e.kind(),
                        ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::Interrupted
                    ) => {}
                Err(e) => {
                    return Err(Refusal::Wire(format!(
                        "cannot read from {}: {e}",
                        self.name
                    )));
                }
            }
        }
        Ok(None)
    }
}
