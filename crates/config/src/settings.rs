//! Settings by their kernel names.

/// `[settings]`: `net.ipv4.vs.*`, the timeouts of `ipvsadm --set`, and a few of the director's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Forward packets that are for nobody here between the interfaces (`net.ipv4.ip_forward`).
    pub ip_forward: bool,
    /// A connection whose server was removed: expire it at its next packet, instead of dropping its packets in silence.
    pub expire_nodest_conn: bool,
    /// A persistence template to a server of weight 0 is given up.
    pub expire_quiescent_template: bool,
    /// Bit 0: a SYN on a closing connection is scheduled anew; bit 1: also in FIN_WAIT under direct routing.
    pub conn_reuse_mode: u8,
    /// Schedule any TCP packet, not only SYN.
    pub sloppy_tcp: bool,
    /// Schedule any SCTP packet but an ABORT, not only INIT.
    pub sloppy_sctp: bool,
    /// Ends half-open connections at random: 0 never, 1 (and 2) while room for connections is scarce, 3 always.
    pub drop_entry: u8,
    /// Drops every `am_droprate`-th packet that wants a new connection; likewise.
    pub drop_packet: u8,
    /// Goes by TCP states in which the handshake has to be seen from both sides; likewise.
    pub secure_tcp: u8,
    /// See `drop_packet`.
    pub am_droprate: u32,
    /// Pages of 4096 bytes that must be free in the connection tables, or room is scarce.
    pub amemthresh: u32,
    /// What workers past their capacity let go: 0 nothing, 1 a share of what is new, 2 then a share of what stands, too.
    pub overload_drop: u8,
    /// An ICMP error about a connection nobody knows of makes one, if a service has such.
    pub schedule_icmp: bool,
    /// A service by mark without usable servers lets its packets through to where they were going.
    pub cache_bypass: bool,
    /// lblc: seconds after which a destination nobody has asked for is forgotten.
    pub lblc_expiration: u32,
    /// lblcr: likewise, and after which a destination's set of servers that has not changed loses one.
    pub lblcr_expiration: u32,
    /// Answer stray packets from a real server's service port with port unreachable.
    pub nat_icmp_send: bool,
    /// Honour the path MTU in tunnels.
    pub pmtu_disc: bool,
    /// ESTABLISHED, seconds (`ipvsadm --set`, first value).
    pub tcp_timeout: u32,
    /// FIN_WAIT, seconds (`ipvsadm --set`, second value).
    pub tcp_fin_timeout: u32,
    /// UDP, seconds (`ipvsadm --set`, third value).
    pub udp_timeout: u32,
    /// ICMP errors, echo replies and resets sent a second by each worker; `None`: without limit.
    pub icmp_rate: Option<u32>,
    /// Seconds fragments of an IPv4 packet wait for the others (`net.ipv4.ipfrag_time`).
    pub ipfrag_time: u32,
    /// The same of IPv6 (`net.ipv6.ip6frag_time`).
    pub ip6frag_time: u32,
    /// Bytes of buffers that held fragments may take, IPv4 and IPv6 together (`net.ipv4.ipfrag_high_thresh`).
    pub ipfrag_high_thresh: u32,
    /// TTL of packets the director builds itself (`net.ipv4.ip_default_ttl`).
    pub ip_default_ttl: u8,
    /// Connections one client endpoint (address and port) may have at once.
    pub endpoint_connections: u32,
    /// Virtual ports of FTP control connections (`ip_vs_ftp`'s `ports`): under NAT they are read, for the data connections. At
    /// most 8; none switches that off.
    pub ftp_ports: Vec<u16>,
}

/// Ports [`Settings::ftp_ports`] has at most, as the kernel's module.
pub const MAX_FTP_PORTS: usize = 8;

impl Settings {
    /// Linux 6.1's own defaults: `compat = "ipvs"`.
    #[must_use]
    pub fn ipvs() -> Self {
        Self {
            ip_forward: true,
            expire_nodest_conn: false,
            expire_quiescent_template: false,
            conn_reuse_mode: 1,
            sloppy_tcp: false,
            sloppy_sctp: false,
            drop_entry: 0,
            drop_packet: 0,
            secure_tcp: 0,
            am_droprate: 10,
            amemthresh: 1024,
            overload_drop: 0,
            schedule_icmp: false,
            cache_bypass: false,
            lblc_expiration: 86_400,
            lblcr_expiration: 86_400,
            nat_icmp_send: false,
            pmtu_disc: true,
            tcp_timeout: 900,
            tcp_fin_timeout: 120,
            udp_timeout: 300,
            icmp_rate: Some(1000),
            ipfrag_time: 30,
            ip6frag_time: 60,
            ipfrag_high_thresh: 4 << 20,
            ip_default_ttl: 64,
            endpoint_connections: 64,
            ftp_ports: vec![21],
        }
    }

    /// The defaults of a configuration with or without `compat = "ipvs"`.
    #[must_use]
    pub fn defaults(compat_ipvs: bool) -> Self {
        if compat_ipvs {
            Self::ipvs()
        } else {
            Self::default()
        }
    }
}

impl Default for Settings {
    /// The defaults users ask for: removed and quiesced servers are left behind at once, and what stands goes before what is new.
    fn default() -> Self {
        Self {
            expire_nodest_conn: true,
            expire_quiescent_template: true,
            nat_icmp_send: true,
            overload_drop: 2,
            ..Self::ipvs()
        }
    }
}
