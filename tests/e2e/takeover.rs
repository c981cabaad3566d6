//! Two directors and one set of addresses: Tarpon with Tarpon, and with Debian's keepalived, both ways round. Gaps are measured by
//! HTTP requests of the client's, one after the other, and printed.

use crate::lab::{
    Background, Lab, clients,
    router::{Router, prefix, socket},
    run,
    runner::Case,
};
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

pub const VIP: &str = "198.51.100.10";
pub const NODES: [&str; 2] = ["router", "twin"];

pub fn cases() -> Vec<Case> {
    let keepalived = [
        (
            "version_2_with_a_password",
            Peer {
                version: 2,
                authentication: Some("PASS"),
                ..Peer::V3
            },
        ),
        (
            "version_2_with_an_authentication_header",
            Peer {
                version: 2,
                authentication: Some("AH"),
                ..Peer::V3
            },
        ),
        ("version_3", Peer::V3),
        (
            "version_3_ipv6",
            Peer {
                six: true,
                ..Peer::V3
            },
        ),
    ];
    let with_keepalived = keepalived.into_iter().map(|(name, peer)| {
        Case::new(format!("takeover::keepalived_{name}"), move || {
            with_keepalived(peer)
        })
    });
    [
        Case::new(
            "takeover::killed_stopped_frozen_and_planned",
            between_tarponds,
        ),
        Case::new("takeover::advertisements_decode_in_tshark", tshark),
        Case::new("takeover::keepalived_without_preemption", nobody_preempts),
    ]
    .into_iter()
    .chain(with_keepalived)
    .collect()
}

/// How two directors are to advertise.
#[derive(Clone, Copy)]
pub struct Advertising {
    pub interval_ms: u64,
    pub preempt: bool,
}

/// A director's file: NAT from the VIP to the real servers, whose gateway 10.1.0.1 moves with it.
pub fn file(lab: &Lab, node: usize, priority: u8) -> String {
    let advertising = Advertising {
        interval_ms: 100,
        preempt: true,
    };
    file_of(lab, node, priority, advertising)
}

/// [`file`] of a director that advertises in this way.
pub fn file_of(lab: &Lab, node: usize, priority: u8, advertising: Advertising) -> String {
    let Advertising {
        interval_ms,
        preempt,
    } = advertising;
    let name = NODES[node];
    let own = node + 2;
    let port = |number: usize, name: &str, address: &str| {
        format!(
            "[[port]]\nname = \"{name}\"\ndevice = \"net_af_packet{number},iface={name},qpairs=1,blocksz=65536,framesz=2048,framecnt=4096\"\n\
             queues = 1\naddresses = [\"{address}\"]\nhost = false\n\n"
        )
    };
    let instance = |name: &str, interface: &str, address: &str| {
        format!(
            "[[vrrp]]\nname = \"{name}\"\ninterface = \"{interface}\"\nvirtual_router_id = 10\nvirtual_ipaddress = [\"{address}\"]\n\
             priority = {priority}\nadvert_int = \"{interval_ms}ms\"\npreempt = {preempt}\nsync_group = \"lvs\"\n\n"
        )
    };
    let servers: String = (11..=13)
        .map(|n| format!("[[service.server]]\naddress = \"10.1.0.{n}:8080\"\n"))
        .collect();
    format!(
        "[director]\nname = \"{name}\"\nsocket = \"{}\"\nfile_prefix = \"{}\"\nmemory_mb = 256\nconnections = 100_000\nconnections6 = 10_000\n\n",
        socket(lab, name).display(),
        prefix(lab, name),
    ) + &port(0, "wan", &format!("198.51.100.{own}/24"))
        + &port(1, "lan", &format!("10.1.0.{own}/24"))
        + &instance("public", "wan", VIP)
        + &instance("private", "lan", "10.1.0.1")
        + &format!(
            "[[service]]\nprotocol = \"tcp\"\naddress = \"{VIP}:80\"\nscheduler = \"rr\"\nmethod = \"masq\"\n{servers}"
        )
}

pub fn state(router: &Router<'_>) -> Result<String> {
    let all: Vec<api::Vrrp> = router.ask("vrrp")?;
    let states: Vec<&str> = all.iter().map(|v| v.state.as_str()).collect();
    let first = states.first().context("no instance is shown")?;
    ensure!(
        states.iter().all(|s| s == first),
        "members of a group parted: {states:?}"
    );
    Ok((*first).to_owned())
}

pub fn becomes(router: &Router<'_>, wanted: &str) -> Result<()> {
    let mut last = String::new();
    run::until(
        &format!("the director does not become {wanted}"),
        20,
        || {
            last = state(router)?;
            Ok(last == wanted)
        },
    )
    .with_context(|| format!("it is {last}:\n{}", router.log_tail(15)))
}

/// HTTP requests from the client, one after the other, while `act` goes on: how many were answered, and for how long none was.
fn gap<T>(lab: &Lab, act: impl FnOnce() -> Result<T>) -> Result<(Duration, u32, T)> {
    let stop = AtomicBool::new(false);
    let to: SocketAddr = format!("{VIP}:80").parse()?;
    thread::scope(|scope| {
        let probe = scope.spawn(|| {
            lab.inside("client", || {
                let (mut last, mut longest, mut answered) = (None, Duration::ZERO, 0);
                while !stop.load(Ordering::Relaxed) {
                    if request(to).is_ok() {
                        let now = Instant::now();
                        if let Some(before) = last.replace(now) {
                            longest = longest.max(now - before);
                        }
                        answered += 1;
                    }
                    thread::sleep(Duration::from_millis(1));
                }
                Ok((longest, answered))
            })
        });
        let acted = act();
        stop.store(true, Ordering::Relaxed);
        let probed = probe
            .join()
            .map_err(|_| anyhow::anyhow!("the probe panicked"))?;
        let (longest, answered) = probed?;
        Ok((longest, answered, acted?))
    })
}

fn request(to: SocketAddr) -> Result<()> {
    let patience = Duration::from_millis(50);
    let mut stream = TcpStream::connect_timeout(&to, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.contains("200 OK"), "{answer}");
    Ok(())
}

fn between_tarponds() -> Result<()> {
    let lab = Lab::up(&["--twin"])?;
    let one = Router::start_on(&lab, NODES[0], &file(&lab, 0, 220))?;
    becomes(&one, "master")?;
    let two = Router::start_on(&lab, NODES[1], &file(&lab, 1, 200))?;
    becomes(&two, "backup")?;
    clients::get(&lab, &format!("{VIP}:80"), "")?;
    let settle = || thread::sleep(Duration::from_millis(300));

    let (planned, answered, ()) = gap(&lab, || {
        settle();
        one.tarpon("failover lvs")?;
        becomes(&two, "master")?;
        becomes(&one, "backup")?;
        settle();
        Ok(())
    })?;
    println!("planned: no answer for {planned:?} at most ({answered} requests)");
    ensure!(
        one.cli("failover lvs")?.code == Some(1),
        "a backup has nothing to give up"
    );
    thread::sleep(Duration::from_millis(500));
    becomes(&one, "backup").context("who gave up must not preempt")?;

    let (stopped, answered, ()) = gap(&lab, || {
        settle();
        two.stop()?;
        becomes(&one, "master")?;
        settle();
        Ok(())
    })?;
    println!("SIGTERM: no answer for {stopped:?} at most ({answered} requests)");

    let two = Router::start_on(&lab, NODES[1], &file(&lab, 1, 200))?;
    becomes(&two, "backup")?;
    let (frozen, answered, ()) = gap(&lab, || {
        settle();
        one.signal(Signal::STOP)?;
        becomes(&two, "master")?;
        settle();
        Ok(())
    })?;
    println!("SIGSTOP: no answer for {frozen:?} at most ({answered} requests)");
    // It wakes in the belief that it is master, and with what was sent to it meanwhile: none of that may be answered.
    one.signal(Signal::CONT)?;
    becomes(&one, "master").context("the better one preempts once it has listened")?;
    becomes(&two, "backup")?;
    let all: Vec<api::Vrrp> = one.ask("vrrp")?;
    ensure!(
        all.iter().all(|v| v.woke_late > 0),
        "the frozen director took no note of it: {all:?}"
    );
    ensure!(
        one.dropped("not_master")? > 0,
        "what waited for the frozen director was answered when it woke"
    );

    let (killed, answered, ()) = gap(&lab, || {
        settle();
        one.kill()?;
        becomes(&two, "master")?;
        settle();
        Ok(())
    })?;
    println!("SIGKILL: no answer for {killed:?} at most ({answered} requests)");
    clients::get(&lab, &format!("{VIP}:80"), "")?;
    // Three intervals and a skew are 0.32 s; the rest is for a machine that is busy with other things.
    for (what, gap) in [
        ("planned", planned),
        ("SIGTERM", stopped),
        ("SIGSTOP", frozen),
        ("SIGKILL", killed),
    ] {
        ensure!(
            gap < Duration::from_millis(1500),
            "{what}: no answer for {gap:?}"
        );
    }
    two.stop()
}

/// How keepalived is to speak.
#[derive(Clone, Copy)]
pub struct Peer {
    pub version: u8,
    pub unicast: bool,
    pub six: bool,
    /// keepalived's `auth_type`.
    pub authentication: Option<&'static str>,
}

impl Peer {
    pub const V3: Self = Self {
        version: 3,
        unicast: false,
        six: false,
        authentication: None,
    };

    pub const fn address(self) -> &'static str {
        if self.six { "2001:db8:1::10" } else { VIP }
    }

    /// Tarpon's own address and keepalived's.
    pub const fn own(self) -> [&'static str; 2] {
        if self.six {
            ["2001:db8:1::2", "2001:db8:1::3"]
        } else {
            ["198.51.100.2", "198.51.100.3"]
        }
    }

    /// The director's file, one arm and no services: what moves is an address that answers echo requests.
    pub fn tarpon(self, lab: &Lab, priority: u8) -> String {
        let name = NODES[0];
        let mut more = String::new();
        if self.unicast {
            more += &format!("unicast_peer = [\"{}\"]\n", self.own()[1]);
        }
        if let Some(kind) = self.authentication.map(str::to_lowercase) {
            more += &format!("auth_pass = \"secret\"\nauth_type = \"{kind}\"\n");
        }
        format!(
            "[director]\nname = \"{name}\"\nsocket = \"{}\"\nfile_prefix = \"{}\"\nmemory_mb = 256\nconnections = 100_000\nconnections6 = 10_000\n\n\
             [[port]]\nname = \"wan\"\ndevice = \"net_af_packet0,iface=wan,qpairs=1,blocksz=65536,framesz=2048,framecnt=4096\"\nqueues = 1\n\
             addresses = [\"198.51.100.2/24\", \"2001:db8:1::2/64\"]\nhost = false\n\n\
             [[vrrp]]\nname = \"public\"\ninterface = \"wan\"\nvirtual_router_id = 10\nversion = {}\npriority = {priority}\nadvert_int = {}\n\
             virtual_ipaddress = [\"{}\"]\n{more}",
            socket(lab, name).display(),
            prefix(lab, name),
            self.version,
            if self.version == 2 { "1" } else { "\"100ms\"" },
            self.address(),
        )
    }

    fn keepalived(self, priority: u8, lines: &str) -> String {
        let mut more = String::new();
        if self.unicast {
            let [tarpon, keepalived] = self.own();
            // It takes nothing from anybody else.
            more += &format!(
                "check_unicast_src\nunicast_src_ip {keepalived}\nunicast_peer {{\n{tarpon}\n}}\n"
            );
        }
        if let Some(kind) = self.authentication {
            more += &format!("authentication {{\nauth_type {kind}\nauth_pass secret\n}}\n");
        }
        format!(
            "global_defs {{\nvrrp_version {}\n}}\nvrrp_instance public {{\nstate BACKUP\ninterface wan\nvirtual_router_id 10\npriority {priority}\n\
             advert_int {}\n{lines}{more}virtual_ipaddress {{\n{}\n}}\n}}\n",
            self.version,
            if self.version == 2 { "1" } else { "0.1" },
            self.address(),
        )
    }
}

/// The real keepalived on the twin's node, in the foreground.
pub fn start_keepalived(lab: &Lab, peer: Peer, priority: u8) -> Result<Background> {
    start_keepalived_with(lab, peer, priority, "")
}

/// [`start_keepalived`] with more lines in its instance.
pub fn start_keepalived_with(
    lab: &Lab,
    peer: Peer,
    priority: u8,
    lines: &str,
) -> Result<Background> {
    let path = lab.dir.join("peer-keepalived.conf");
    fs::write(&path, peer.keepalived(priority, lines))?;
    // Files of its own for each start: one that was killed leaves its child for a second, and keepalived would not start beside it.
    let pid = |what: &str| {
        let name = format!("{what}-{priority}.pid");
        lab.dir.join(name).display().to_string()
    };
    lab.start(
        "twin",
        &format!(
            "keepalived --dont-fork --vrrp --use-file={} --pid={} --vrrp_pid={} --log-console",
            path.display(),
            pid("keepalived"),
            pid("vrrp"),
        ),
    )
}

/// Whether the twin's kernel has the address.
pub fn twin_has(lab: &Lab, peer: Peer) -> Result<bool> {
    let text = lab.text("twin", "ip -o addr", 5)?;
    Ok(text.contains(&format!(" {}/", peer.address())))
}

/// A lab whose twin is an ordinary host.
pub fn lab_with_a_host() -> Result<Lab> {
    let lab = Lab::up(&["--twin"])?;
    for line in [
        "sysctl -qw net.ipv6.conf.wan.disable_ipv6=0",
        "ip addr add 198.51.100.3/24 dev wan",
        "ip addr add 2001:db8:1::3/64 dev wan nodad",
        "ethtool -K wan tx off",
    ] {
        lab.text("twin", line, 5)?;
    }
    Ok(lab)
}

fn with_keepalived(peer: Peer) -> Result<()> {
    let lab = lab_with_a_host()?;
    both_ways_round_of_one(&lab, peer, &|_| Ok(()))
}

/// [`both_ways_round`] with an address that answers echo requests, and with one more look at each director that has it.
pub fn both_ways_round_of_one(
    lab: &Lab,
    peer: Peer,
    look: &dyn Fn(&str) -> Result<()>,
) -> Result<()> {
    let is_there = |what: &str| {
        let line = format!("ping -c 1 -W 2 {}", peer.address());
        lab.text("client", &line, 5)
            .with_context(|| format!("the address does not answer {what}"))?;
        look(what)
    };
    let left = format!("ip addr del {}/32 dev wan", peer.address());
    both_ways_round(lab, peer, ("", ""), &left, &is_there)
}

/// Tarpon takes over from keepalived and keepalived from Tarpon, as the better one and as the other. `more`: lines of Tarpon's file and of
/// keepalived's instance; `left` takes away what a killed keepalived leaves; `is_there` looks whether clients find the address.
pub fn both_ways_round(
    lab: &Lab,
    peer: Peer,
    more: (&str, &str),
    left: &str,
    is_there: &dyn Fn(&str) -> Result<()>,
) -> Result<()> {
    let tarpon = |priority| Router::start_on(lab, NODES[0], &(peer.tarpon(lab, priority) + more.0));
    let start_keepalived = |priority| start_keepalived_with(lab, peer, priority, more.1);
    // Tarpon is the better one: it takes over from keepalived, and keepalived from it when it is gone.
    let keepalived = start_keepalived(100)?;
    run::until("keepalived does not become master alone", 15, || {
        twin_has(lab, peer)
    })?;
    is_there("while keepalived has it")?;
    let router = tarpon(200)?;
    becomes(&router, "master")?;
    run::until("keepalived does not give way", 10, || {
        Ok(!twin_has(lab, peer)?)
    })?;
    is_there("while Tarpon has it")?;
    let all: Vec<api::Vrrp> = router.ask("vrrp")?;
    let of = |name: &str| all.iter().filter_map(|v| v.counters.get(name)).sum::<u64>();
    ensure!(
        of("received") > 0,
        "nothing was heard of keepalived: {all:?}"
    );
    ensure!(
        of("mismatched") == 0
            && of("other_addresses") == 0
            && !all
                .iter()
                .any(|v| v.counters.keys().any(|k| k.starts_with("wrong_"))),
        "something of what keepalived says is not understood: {all:?}"
    );
    router.stop()?;
    run::until("keepalived does not take over", 10, || twin_has(lab, peer))?;
    is_there("after Tarpon has gone")?;
    drop(keepalived);
    // What its end without notice has left; nothing, if it had the time.
    let _ = lab.text("twin", left, 5);
    run::until("keepalived is still there", 10, || {
        Ok(!twin_has(lab, peer)?)
    })?;

    // And the other way round.
    let router = tarpon(100)?;
    becomes(&router, "master")?;
    let keepalived = start_keepalived(200)?;
    becomes(&router, "backup")?;
    run::until("keepalived does not preempt", 10, || twin_has(lab, peer))?;
    is_there("while keepalived, the better one, has it")?;
    drop(keepalived);
    becomes(&router, "master")?;
    router.stop()
}

/// Neither takes the addresses from a worse one while that lasts, and each does when it is gone.
fn nobody_preempts() -> Result<()> {
    let lab = lab_with_a_host()?;
    let peer = Peer::V3;
    let stays = |router: &Router<'_>, wanted: &str| -> Result<()> {
        // Ten times as long as a preemption would take.
        for _ in 0..15 {
            let now = state(router)?;
            ensure!(now == wanted, "it is {now} instead of {wanted}");
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    };
    let tarpon = |priority| {
        let text = peer.tarpon(&lab, priority) + "preempt = false\n";
        Router::start_on(&lab, NODES[0], &text)
    };
    let keepalived = start_keepalived(&lab, peer, 100)?;
    run::until("keepalived does not become master alone", 15, || {
        twin_has(&lab, peer)
    })?;
    let router = tarpon(200)?;
    stays(&router, "backup").context("the better Tarpon")?;
    ensure!(twin_has(&lab, peer)?, "keepalived has given way");
    drop(keepalived);
    becomes(&router, "master")?;
    router.stop()?;
    // What keepalived's end without notice has left; nothing, if it had the time.
    let _ = lab.text("twin", &format!("ip addr del {}/32 dev wan", VIP), 5);
    let router = tarpon(100)?;
    becomes(&router, "master")?;
    let _keepalived = start_keepalived_with(&lab, peer, 200, "nopreempt\n")?;
    stays(&router, "master").context("beside the better keepalived")?;
    ensure!(!twin_has(&lab, peer)?, "keepalived has the address, too");
    router.stop()?;
    run::until("keepalived does not take over", 10, || twin_has(&lab, peer))
}

/// What Tarpon sends is what tshark's dissectors expect: nothing malformed, no wrong checksum.
fn tshark() -> Result<()> {
    let lab = Lab::up(&["--twin"])?;
    let text = file(&lab, 0, 220)
        + "\n[[vrrp]]\nname = \"six\"\ninterface = \"wan\"\nvirtual_router_id = 11\nvirtual_ipaddress = [\"2001:db8:1::10\"]\nadvert_int = \"100ms\"\n\
           [[vrrp]]\nname = \"old\"\ninterface = \"wan\"\nvirtual_router_id = 12\nversion = 2\nvirtual_ipaddress = [\"198.51.100.12\"]\nauth_pass = \"secret\"\n";
    let router = Router::start_on(&lab, NODES[0], &text)?;
    let path = lab.dir.join("vrrp.pcapng");
    router.tarpon(&format!("capture --seconds 6 -w {}", path.display()))?;
    let read = |more: &str| {
        let line = format!(
            "tshark -r {} -o ip.check_checksum:TRUE {more}",
            path.display()
        );
        lab.text("client", &line, 30)
    };
    let all = read(
        "-Y vrrp -T fields -E separator=, -e vrrp.version -e vrrp.virt_rtr_id -e vrrp.prio -e vrrp.checksum.status",
    )?;
    // tshark's 1 is a checksum that is right.
    for wanted in ["3,10,220,1", "3,11,100,1", "2,12,100,1"] {
        ensure!(
            all.lines().any(|l| l == wanted),
            "no advertisement {wanted} among:\n{all}"
        );
    }
    ensure!(
        all.lines().all(|l| l.ends_with(",1")),
        "a checksum is wrong among:\n{all}"
    );
    let gratuitous = read("-Y arp.isgratuitous -T fields -e arp.src.proto_ipv4")?;
    for vip in [VIP, "10.1.0.1", "198.51.100.12"] {
        ensure!(
            gratuitous.lines().any(|l| l == vip),
            "{vip} was not announced:\n{gratuitous}"
        );
    }
    let advertised = read("-Y icmpv6.nd.na.flag.o==1 -T fields -e icmpv6.nd.na.target_address")?;
    ensure!(
        advertised.contains("2001:db8:1::10"),
        "the IPv6 address was not announced:\n{advertised}"
    );
    let wrong = read("-Y _ws.malformed||_ws.expert.severity==error")?;
    ensure!(wrong.trim().is_empty(), "tshark finds fault with:\n{wrong}");
    router.stop()
}
