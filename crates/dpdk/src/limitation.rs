//! What a port cannot do, in plain words.

use std::fmt;

/// Something a port cannot do. Its text is a sentence without the port's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Limitation {
    /// Fewer receive queues than asked for.
    RxQueues {
        /// Asked for.
        wanted: u16,
        /// What there is.
        got: u16,
    },
    /// Fewer transmit queues than asked for.
    TxQueues {
        /// Asked for.
        wanted: u16,
        /// What there is.
        got: u16,
    },
    /// Several receive queues, but nothing that spreads flows over them.
    NoRss,
    /// Some received checksums are not checked.
    NoRxChecksum {
        /// Lacking: IPv4 headers.
        ipv4: bool,
        /// Lacking: TCP and UDP.
        l4: bool,
    },
    /// Some checksums are not filled in.
    NoTxChecksum {
        /// Lacking: IPv4 headers.
        ipv4: bool,
        /// Lacking: TCP.
        tcp: bool,
        /// Lacking: UDP.
        udp: bool,
    },
    /// Chained frames cannot be sent.
    NoMultiSegment,
    /// Frames larger than a buffer cannot be received in a chain.
    NoScatter {
        /// Bytes in a buffer.
        buffer: u32,
    },
    /// The MTU of the device cannot be changed.
    MtuFixed {
        /// What it was meant to be.
        wanted: u16,
    },
    /// The kernel's interface below is down, and setting it up was refused.
    InterfaceDown {
        /// Its name.
        interface: String,
    },
    /// Frames arrive on queues of the kernel's interface that the port does not read.
    UnseenQueues {
        /// Receive queues of the interface.
        queues: u32,
        /// Those the port reads.
        seen: u16,
    },
    /// Promiscuous mode was asked for and refused.
    NoPromiscuous,
    /// Link state is not reported.
    NoLinkState,
    /// The kernel below reassembles IP fragments before the port sees them.
    ReassemblesFragments,
    /// The kernel's far end on the same machine leaves checksums unfinished.
    UnfinishedChecksums,
}

impl fmt::Display for Limitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RxQueues { wanted, got } => {
                write!(f, "{got} receive queue(s) instead of {wanted}; some workers receive nothing from it")
            }
            Self::TxQueues { wanted, got } => write!(f, "{got} transmit queue(s) instead of {wanted}; workers share them"),
            Self::NoRss => f.write_str("no RSS; it spreads flows over its queues in a way of its own, or not at all"),
            Self::NoRxChecksum { ipv4, l4 } => {
                let names = listed(&[(*ipv4, "IPv4 header"), (*l4, "TCP"), (*l4, "UDP")]);
                write!(f, "no checking of received checksums for {names}; done in software")
            }
            Self::NoTxChecksum { ipv4, tcp, udp } => {
                let names = listed(&[(*ipv4, "IPv4 header"), (*tcp, "TCP"), (*udp, "UDP")]);
                write!(f, "no checksum offload for {names} on transmit; done in software")
            }
            Self::NoMultiSegment => f.write_str("no transmission of chained buffers; they are copied together in software"),
            Self::NoScatter { buffer } => {
                write!(f, "no reception into chained buffers; frames larger than {buffer} bytes are lost")
            }
            Self::MtuFixed { wanted } => write!(f, "its MTU could not be raised to {wanted}; larger frames are lost unless that is done elsewhere"),
            Self::InterfaceDown { interface } => {
                write!(f, "the interface {interface} is down and could not be set up; `ip link set {interface} up` does")
            }
            Self::UnseenQueues { queues, seen } => write!(
                f,
                "it reads {seen} of the interface's {queues} receive queues, and frames on the others are lost; give the \
                 interface {seen} with `ethtool -L INTERFACE rx {seen} tx {seen}` (or `combined {seen}`)"
            ),
            Self::NoPromiscuous => f.write_str("no promiscuous mode; it receives only frames for its own MAC address"),
            Self::NoLinkState => f.write_str("its link state is not reported; it counts as up"),
            Self::ReassemblesFragments => {
                f.write_str("the kernel reassembles IP fragments before they arrive here")
            }
            Self::UnfinishedChecksums => f.write_str(
                "senders on the same machine leave TCP and UDP checksums unfinished; turn that off at the far end with \
                 `ethtool -K INTERFACE tx off`",
            ),
        }
    }
}

/// The names of what is so.
fn listed(names: &[(bool, &str)]) -> String {
    let those: Vec<&str> = names
        .iter()
        .filter(|(is, _)| *is)
        .map(|(_, name)| *name)
        .collect();
    those.join(", ")
}

#[cfg(test)]
mod tests {
    use super::Limitation;

    #[test]
    fn only_what_is_lacking_is_named() {
        let text = Limitation::NoTxChecksum {
            ipv4: true,
            tcp: false,
            udp: true,
        }
        .to_string();
        assert_eq!(
            text,
            "no checksum offload for IPv4 header, UDP on transmit; done in software"
        );
    }
}
