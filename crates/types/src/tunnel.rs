//! What the packets of a tunnel are wrapped in.

use serde::{Deserialize, Serialize};
use std::{fmt, num::NonZeroU16, str::FromStr};

/// What packets to a real server of the method `tunnel` are wrapped in (`ipvsadm --tun-type` and its companions).
///
/// Written `ipip`, `gre`, `gre:csum`, `gue:6080`, `gue:6080:csum` or `gue:6080:remcsum`; `nocsum` may be written too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Tunnel {
    /// IP in IP (RFC 2003, RFC 2473, RFC 4213).
    #[default]
    Ipip,
    /// Generic routing encapsulation (RFC 2784).
    Gre {
        /// With a checksum over the GRE header and the packet.
        checksum: bool,
    },
    /// Generic UDP encapsulation, version 0.
    Gue {
        /// The UDP port the server listens on.
        port: NonZeroU16,
        /// Of the outer UDP header.
        checksum: GueChecksum,
    },
}

/// What becomes of the checksum of a GUE tunnel's outer UDP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GueChecksum {
    /// 0, none (`--tun-nocsum`).
    #[default]
    None,
    /// Computed (`--tun-csum`).
    Full,
    /// Computed (`--tun-remcsum`). Linux leaves the inner checksum to the receiver only where its sender's network card was to
    /// fill it in, which packets that a router has received never wait for.
    Remote,
}

impl Tunnel {
    /// Bytes between the outer IP header and the packet.
    #[must_use]
    pub const fn header_len(self) -> u16 {
        match self {
            Self::Ipip => 0,
            Self::Gre { checksum: false } => 4,
            Self::Gre { checksum: true } => 8,
            Self::Gue { .. } => 12,
        }
    }
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self {
            Self::Ipip => "ipip".to_owned(),
            Self::Gre { checksum: false } => "gre".to_owned(),
            Self::Gre { checksum: true } => "gre:csum".to_owned(),
            Self::Gue { port, checksum } => match checksum {
                GueChecksum::None => format!("gue:{port}"),
                GueChecksum::Full => format!("gue:{port}:csum"),
                GueChecksum::Remote => format!("gue:{port}:remcsum"),
            },
        })
    }
}

impl FromStr for Tunnel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        match *parts.as_slice() {
            ["ipip"] => Ok(Self::Ipip),
            ["gre"] | ["gre", "nocsum"] => Ok(Self::Gre { checksum: false }),
            ["gre", "csum"] => Ok(Self::Gre { checksum: true }),
            ["gue"] | ["gue", "csum" | "nocsum" | "remcsum"] => Err(format!(
                "the tunnel `{text}` has no port; write gue:6080 for a server that listens on 6080"
            )),
            ["gue", port] => Self::gue(text, port, GueChecksum::None),
            ["gue", port, "nocsum"] => Self::gue(text, port, GueChecksum::None),
            ["gue", port, "csum"] => Self::gue(text, port, GueChecksum::Full),
            ["gue", port, "remcsum"] => Self::gue(text, port, GueChecksum::Remote),
            ["gre", "remcsum"] => Err(format!(
                "the tunnel `{text}`: only gue has remcsum; write gre or gre:csum"
            )),
            _ => Err(format!("unknown tunnel `{text}`; {TUNNELS}")),
        }
    }
}

const TUNNELS: &str =
    "one of: ipip, gre, gre:csum, gue:PORT, gue:PORT:csum, gue:PORT:remcsum (like gue:6080)";

impl Tunnel {
    fn gue(text: &str, port: &str, checksum: GueChecksum) -> Result<Self, String> {
        let port = port.parse().map_err(|_| {
            format!("the tunnel `{text}`: `{port}` is no port; write 1 to 65535, like gue:6080")
        })?;
        Ok(Self::Gue { port, checksum })
    }
}

impl From<Tunnel> for String {
    fn from(tunnel: Tunnel) -> Self {
        tunnel.to_string()
    }
}

impl TryFrom<String> for Tunnel {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for text in [
            "ipip",
            "gre",
            "gre:csum",
            "gue:6080",
            "gue:1:csum",
            "gue:65535:remcsum",
        ] {
            assert_eq!(text.parse::<Tunnel>().unwrap().to_string(), text);
        }
        assert_eq!(
            "gue:6080:nocsum".parse::<Tunnel>().unwrap().to_string(),
            "gue:6080"
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (text, words) in [
            ("vxlan", "unknown tunnel `vxlan`; one of: ipip, gre"),
            ("gue", "has no port"),
            ("gue:csum", "has no port"),
            ("gue:0", "`0` is no port"),
            ("gue:65536:csum", "`65536` is no port"),
            ("gue:6080:crc", "unknown tunnel"),
            ("gre:remcsum", "only gue has remcsum"),
            ("ipip:csum", "unknown tunnel"),
            ("", "unknown tunnel ``"),
        ] {
            let error = text.parse::<Tunnel>().unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
