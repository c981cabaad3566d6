//! What a frame heard says, as far as it matters to a check or a probe.

use pnet_base::MacAddr as PnetMac;
use pnet_packet::{
    Packet,
    arp::ArpPacket,
    ethernet::{EtherTypes, EthernetPacket},
    icmp::{self, IcmpTypes, echo_reply::EchoReplyPacket},
    icmpv6::{
        self, Icmpv6Types,
        ndp::{NeighborAdvertPacket, NeighborSolicitPacket},
    },
    ip::{IpNextHeaderProtocol, IpNextHeaderProtocols},
    ipv4::Ipv4Packet,
    ipv6::Ipv6Packet,
    tcp::TcpPacket,
    udp::UdpPacket,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use types::MacAddr;

/// A frame heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::report) struct Heard {
    pub source: MacAddr,
    pub destination: MacAddr,
    pub what: What,
}

/// What of a frame matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::report) enum What {
    Arp {
        request: bool,
        sender: Ipv4Addr,
        sender_mac: MacAddr,
        target: Ipv4Addr,
    },
    Solicit {
        source: Ipv6Addr,
        target: Ipv6Addr,
    },
    Advert {
        target: Ipv6Addr,
    },
    Tcp {
        from: SocketAddr,
        to: SocketAddr,
        flags: u8,
        sequence: u32,
    },
    Udp {
        from: SocketAddr,
        to: SocketAddr,
    },
    EchoReply {
        from: IpAddr,
        identifier: u16,
    },
    /// ICMP about one of our packets: who says it, and its code if it is "port unreachable".
    Unreachable {
        from: IpAddr,
        port: bool,
    },
}

/// What a frame says, if it says anything of interest.
pub(in crate::report) fn parse(frame: &[u8]) -> Option<Heard> {
    let ethernet = EthernetPacket::new(frame)?;
    let mac = |m: PnetMac| MacAddr([m.0, m.1, m.2, m.3, m.4, m.5]);
    let what = match ethernet.get_ethertype() {
        EtherTypes::Arp => {
            let arp = ArpPacket::new(ethernet.payload())?;
            What::Arp {
                request: arp.get_operation().0 == 1,
                sender: arp.get_sender_proto_addr(),
                sender_mac: mac(arp.get_sender_hw_addr()),
                target: arp.get_target_proto_addr(),
            }
        }
        EtherTypes::Ipv4 => {
            let packet = Ipv4Packet::new(ethernet.payload())?;
            let header = usize::from(packet.get_header_length()) * 4;
            let (from, to) = (packet.get_source().into(), packet.get_destination().into());
            let payload = ethernet.payload().get(
                header..usize::from(packet.get_total_length()).min(ethernet.payload().len()),
            )?;
            transport(packet.get_next_level_protocol(), from, to, payload)?
        }
        EtherTypes::Ipv6 => {
            let packet = Ipv6Packet::new(ethernet.payload())?;
            let (from, to) = (packet.get_source().into(), packet.get_destination().into());
            let payload = ethernet.payload().get(40..)?;
            let payload =
                payload.get(..usize::from(packet.get_payload_length()).min(payload.len()))?;
            transport(packet.get_next_header(), from, to, payload)?
        }
        _ => return None,
    };
    Some(Heard {
        source: mac(ethernet.get_source()),
        destination: mac(ethernet.get_destination()),
        what,
    })
}

fn transport(
    protocol: IpNextHeaderProtocol,
    from: IpAddr,
    to: IpAddr,
    payload: &[u8],
) -> Option<What> {
    Some(match protocol {
        IpNextHeaderProtocols::Tcp => {
            let segment = TcpPacket::new(payload)?;
            What::Tcp {
                from: SocketAddr::new(from, segment.get_source()),
                to: SocketAddr::new(to, segment.get_destination()),
                flags: segment.get_flags(),
                sequence: segment.get_sequence(),
            }
        }
        IpNextHeaderProtocols::Udp => {
            let datagram = UdpPacket::new(payload)?;
            What::Udp {
                from: SocketAddr::new(from, datagram.get_source()),
                to: SocketAddr::new(to, datagram.get_destination()),
            }
        }
        IpNextHeaderProtocols::Icmp => {
            let message = icmp::IcmpPacket::new(payload)?;
            match message.get_icmp_type() {
                IcmpTypes::EchoReply => What::EchoReply {
                    from,
                    identifier: EchoReplyPacket::new(payload)?.get_identifier(),
                },
                IcmpTypes::DestinationUnreachable => What::Unreachable {
                    from,
                    port: message.get_icmp_code().0 == 3,
                },
                _ => return None,
            }
        }
        IpNextHeaderProtocols::Icmpv6 => {
            let message = icmpv6::Icmpv6Packet::new(payload)?;
            match message.get_icmpv6_type() {
                Icmpv6Types::EchoReply => What::EchoReply {
                    from,
                    identifier: u16::from_be_bytes([*payload.get(4)?, *payload.get(5)?]),
                },
                Icmpv6Types::DestinationUnreachable => What::Unreachable {
                    from,
                    port: message.get_icmpv6_code().0 == 4,
                },
                Icmpv6Types::NeighborSolicit => {
                    let IpAddr::V6(source) = from else {
                        return None;
                    };
                    What::Solicit {
                        source,
                        target: NeighborSolicitPacket::new(payload)?.get_target_addr(),
                    }
                }
                Icmpv6Types::NeighborAdvert => What::Advert {
                    target: NeighborAdvertPacket::new(payload)?.get_target_addr(),
                },
                _ => return None,
            }
        }
        _ => return None,
    })
}
