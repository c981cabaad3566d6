//! Counters of one worker: a single writer each, folded by readers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal),+ $(,)?) => {
        /// Why a frame was dropped. The reason *is* the counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason { $($(#[doc = $doc])+ $variant),+ }

        impl DropReason {
            /// Every reason, in the order of the counters.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The counter's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What it means, in one sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+)),+ }
            }
        }
    };
}

drop_reasons! {
    /// The frame ends inside its Ethernet header or VLAN tag.
    EthernetTruncated = "ethernet_truncated",
    /// Addressed to another station's MAC.
    NotOurMac = "not_our_mac",
    /// Tagged with a VLAN no interface of the port has, or untagged on a port that has only VLANs.
    UnknownVlan = "unknown_vlan",
    /// An ARP packet with wrong lengths, types or addresses.
    ArpMalformed = "arp_malformed",
    /// An ARP packet that asks for, or tells, nothing of ours.
    ArpNotForUs = "arp_not_for_us",
    /// The frame ends inside the IP header, or the header's lengths contradict each other or the frame.
    IpMalformed = "ip_malformed",
    /// The IPv4 header checksum is wrong.
    IpChecksum = "ip_checksum",
    /// A source address no packet may have (multicast, broadcast, loopback, or one of our own).
    IpSource = "ip_source",
    /// A source address that answers would not leave to by the interface it came in on (its `rp_filter`).
    ReversePath = "reverse_path",
    /// An IPv6 extension header chain that is malformed, or longer than the parser follows.
    Ipv6Extensions = "ipv6_extensions",
    /// The packet ends inside its TCP, UDP or ICMP header.
    L4Malformed = "l4_malformed",
    /// A TCP or UDP packet for the director itself with a wrong checksum.
    L4Checksum = "l4_checksum",
    /// An ICMP or ICMPv6 packet with a wrong checksum.
    IcmpChecksum = "icmp_checksum",
    /// An ICMP error about a tunnel's outer header, told to the client as one about its own packet where it concerns it.
    TunnelError = "tunnel_error",
    /// A neighbour discovery packet that fails RFC 4861's validation.
    NdMalformed = "nd_malformed",
    /// An ICMP error or message about nothing we know, for the director itself.
    IcmpIgnored = "icmp_ignored",
    /// Time to live or hop limit used up (answered with time exceeded, if the rate allows).
    TtlExceeded = "ttl_exceeded",
    /// Larger than the way out takes, and not to be fragmented (answered with fragmentation needed or packet too big).
    TooBig = "too_big",
    /// No route to the destination (answered with unreachable).
    NoRoute = "no_route",
    /// Forwarding between the ports is off.
    ForwardingOff = "forwarding_off",
    /// The next hop did not answer ARP or neighbour solicitation (answered with host unreachable).
    NeighbourUnreachable = "neighbour_unreachable",
    /// Too many packets already wait for that next hop's address, or for any.
    NeighbourQueueFull = "neighbour_queue_full",
    /// The table of neighbours is full.
    NeighbourTableFull = "neighbour_table_full",
    /// For a virtual address that is another director's now (VRRP).
    NotMaster = "not_master",
    /// For a virtual address whose virtual router accepts nothing itself, and to no service (VRRP's accept mode).
    NotAccepted = "not_accepted",
    /// A fragment for a group, or one that cannot be put together with others.
    Fragment = "fragment",
    /// A fragment put together with others, which go on as one packet.
    Reassembled = "reassembled",
    /// A fragment whose others did not come in time (answered with time exceeded, if it was the first).
    FragmentTimeout = "fragment_timeout",
    /// A fragment that overlaps another or contradicts it, with all that were there of its packet (RFC 5722).
    FragmentOverlap = "fragment_overlap",
    /// A fragment that was there already.
    FragmentDuplicate = "fragment_duplicate",
    /// A fragment that can be no part of a packet: empty, too long, or of another congestion notification than its others.
    FragmentMalformed = "fragment_malformed",
    /// No room for fragments: the network that held most of them lost its oldest packet's.
    FragmentNoRoom = "fragment_no_room",
    /// Other workers kept the table of fragments busy.
    FragmentBusy = "fragment_busy",
    /// Sent on in fragments, which count as generated.
    Fragmented = "fragmented",
    /// Broadcast or multicast that nobody here listens to.
    Multicast = "multicast",
    /// A virtual service with no usable real server (answered with port unreachable).
    NoServer = "no_server",
    /// A packet that wanted a new connection, while `drop_packet` defends against floods.
    Defence = "defence",
    /// A packet that wanted a new connection, from a client the service's `allow` and `deny` keep out.
    Denied = "denied",
    /// A packet that wanted a new connection, to a service with as many as its `connection_limit`.
    ConnectionLimit = "connection_limit",
    /// A packet that wanted a new connection, beyond the service's `rate_limit`.
    RateLimit = "rate_limit",
    /// A packet that wanted a new connection, beyond the service's `client_rate_limit`.
    ClientRateLimit = "client_rate_limit",
    /// A packet that would have begun something new, refused because the worker was past its capacity (`overload_drop`).
    OverloadNew = "overload_new",
    /// A packet of what stood or was only passed on, dropped because the worker was past its capacity with nothing new let in, too (`overload_drop`).
    OverloadEstablished = "overload_established",
    /// A SYN answered with a cookie, of which nothing was kept; the answer counts as generated.
    CookieSent = "syn_cookie_sent",
    /// The acknowledgement of a cookie: a connection was made, and its server asked.
    CookieAccepted = "syn_cookie_accepted",
    /// A packet for a service that answers with cookies, which acknowledges none (answered with a reset, if the rate allows).
    CookieWrong = "syn_cookie_wrong",
    /// The acknowledgement of a cookie that was sent more than two minutes ago (answered with a reset, if the rate allows).
    CookieOld = "syn_cookie_old",
    /// A packet of a connection that began with a cookie, while its server is being asked: the director answers by itself.
    Handshake = "handshake",
    /// The acknowledgement of a cookie, while as many servers' answers are waited for as there is room; the client will send again.
    HandshakesFull = "handshakes_full",
    /// A connection whose real server was removed, kept in case it returns (expire_nodest_conn=0).
    ServerRemoved = "server_removed",
    /// A TCP packet of no known connection, answered with a reset where one is due.
    NoConnection = "no_connection",
    /// A closed port of a director's address (answered with a reset or port unreachable).
    PortClosed = "port_closed",
    /// The connection table is full: a new connection was refused.
    TableFull = "table_full",
    /// One client endpoint has as many connections as the limit allows.
    EndpointLimit = "endpoint_limit",
    /// Two workers met the same new connection again and again; the sender will retry.
    ConnectionBusy = "connection_busy",
    /// For a service with the persistence engine `sip`, but without a Call-ID.
    NoCallId = "no_call_id",
    /// A packet of an FTP control connection that must not go on before one that is missing; the sender will send it again.
    HelperWaits = "helper_waits",
    /// A request answered by the director itself: echo, ARP or neighbour solicitation; the answer counts as generated.
    Answered = "answered",
    /// A neighbour's answer, or an announcement, taken in.
    Learned = "learned",
    /// For the host stack, but that port has none.
    NoHost = "no_host",
    /// For the host stack, but its queue is full.
    HostQueueFull = "host_queue_full",
    /// The port did not take the frame for sending.
    TxRefused = "tx_refused",
    /// No free frame buffer to build a packet in.
    NoBuffer = "no_buffer",
    /// A rewrite did not fit the frame: no headroom, or a header split over segments.
    NoRoom = "no_room",
    /// Dropped by the director's own shutdown or removal of what it waited for.
    Shutdown = "shutdown",
}

const REASONS: usize = DropReason::ALL.len();

/// A counter with a single writer: incremented without a locked instruction, read by anyone.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning worker may call it.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Takes `n` back. Only the owning worker may call it.
    #[inline]
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(n), Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Packets and bytes (of whole Ethernet frames) through one port, as one worker saw them.
#[derive(Debug, Default)]
pub struct PortCounters {
    /// Frames received.
    pub rx_packets: Counter,
    /// Bytes received.
    pub rx_bytes: Counter,
    /// Frames handed over for sending, less those refused.
    pub tx_packets: Counter,
    /// Bytes handed over for sending.
    pub tx_bytes: Counter,
}

/// Everything one worker counts.
#[derive(Debug)]
#[repr(align(64))]
pub struct WorkerCounters {
    /// Frames received on ports.
    pub rx: Counter,
    /// Frames the engine built itself.
    pub generated: Counter,
    /// Frames taken from the host stack.
    pub from_host: Counter,
    /// Frames handed to ports, less those refused.
    pub tx: Counter,
    /// Frames given to the host stack, less those refused.
    pub punted: Counter,
    /// Frames held now: waiting for a neighbour, for another worker's insertion, or for other fragments. Who lets a fragment go that
    /// another worker has taken in counts below 0 (wrapping): only the sum over all workers is a number of frames.
    pub held: Counter,
    /// Answers and errors not sent because their rate limit was reached (no frame existed yet).
    pub rate_limited: Counter,
    /// Packets not built because no frame buffer was free (no frame existed yet).
    pub alloc_failed: Counter,
    /// Per port, in the order of the configuration.
    pub ports: Box<[PortCounters]>,
    dropped: [Counter; REASONS],
}

/// The two sides of the identity every test asserts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conservation {
    /// rx + generated + from_host
    pub entered: u64,
    /// tx + punted + dropped + held
    pub left: u64,
}

impl Conservation {
    /// Whether nothing was lost or invented.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.entered == self.left
    }
}

impl WorkerCounters {
    /// All zero, for `ports` ports.
    #[must_use]
    pub fn new(ports: usize) -> Self {
        Self {
            rx: Counter::default(),
            generated: Counter::default(),
            from_host: Counter::default(),
            tx: Counter::default(),
            punted: Counter::default(),
            held: Counter::default(),
            rate_limited: Counter::default(),
            alloc_failed: Counter::default(),
            ports: (0..ports).map(|_| PortCounters::default()).collect(),
            dropped: std::array::from_fn(|_| Counter::default()),
        }
    }

    /// Counts `n` frames dropped for `reason`.
    #[inline]
    pub fn drop_n(&self, reason: DropReason, n: u64) {
        if let Some(counter) = self.dropped.get(reason as usize) {
            counter.add(n);
        }
    }

    /// Frames dropped for `reason` so far.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason as usize).map_or(0, Counter::get)
    }

    /// Both sides of the identity. Exact when read by the owner between two calls; a reader elsewhere may catch it midway.
    #[must_use]
    pub fn conservation(&self) -> Conservation {
        let sum = |counters: &mut dyn Iterator<Item = u64>| counters.fold(0, u64::wrapping_add);
        let (rx, tx) = (self.rx.get(), self.tx.get());
        let dropped = sum(&mut self.dropped.iter().map(Counter::get));
        Conservation {
            entered: sum(&mut [rx, self.generated.get(), self.from_host.get()].into_iter()),
            left: sum(&mut [tx, self.punted.get(), self.held.get(), dropped].into_iter()),
        }
    }
}
