//! VRRP between addresses instead of by the group: the real keepalived as peer both ways round, in version 2 and over IPv6, with what
//! tshark says of the advertisements; and two Tarpons over IPv6.

use crate::{
    lab::{
        Lab, raw,
        router::{Router, prefix, socket},
        runner::Case,
    },
    takeover::{NODES, Peer, becomes, both_ways_round_of_one, lab_with_a_host, state},
};
use anyhow::{Context as _, Result, ensure};
use std::{thread, time::Duration};

pub fn cases() -> Vec<Case> {
    let unicast = Peer {
        unicast: true,
        ..Peer::V3
    };
    let two = Peer {
        version: 2,
        ..unicast
    };
    let peers = [
        ("version_3", unicast),
        ("version_2", two),
        (
            "version_2_with_a_password",
            Peer {
                authentication: Some("PASS"),
                ..two
            },
        ),
        (
            "version_3_ipv6",
            Peer {
                six: true,
                ..unicast
            },
        ),
    ];
    let with_keepalived = peers.into_iter().map(|(name, peer)| {
        Case::new(format!("unicast::keepalived_{name}"), move || {
            with_keepalived(peer)
        })
    });
    [
        Case::new("unicast::over_ipv6", || unicast6("2001:db8:1::")),
        Case::new("unicast::over_ipv6_link_local", || unicast6("fe80::")),
    ]
    .into_iter()
    .chain(with_keepalived)
    .collect()
}

fn with_keepalived(peer: Peer) -> Result<()> {
    let lab = lab_with_a_host()?;
    let look = |what: &str| {
        // What is told to somebody who is not there never leaves.
        let master = match what {
            "while Tarpon has it" => 0,
            "while keepalived, the better one, has it" => 1,
            _ => return Ok(()),
        };
        decodes(&lab, peer, master).with_context(|| what.to_owned())
    };
    both_ways_round_of_one(&lab, peer, &look)
}

/// tshark, on the switch's port of keepalived, finds the master's advertisements, from its own address to the other's, and no fault with them.
fn decodes(lab: &Lab, peer: Peer, master: usize) -> Result<()> {
    let fields = "-e ip.src -e ip.dst -e ipv6.src -e ipv6.dst -e vrrp.version -e vrrp.checksum.status -e _ws.expert.message";
    let file = lab.dir.join("unicast.pcap");
    let file = file.display();
    let capture = format!(
        "timeout --preserve-status -s INT 3 tcpdump -Z root -U -i twin-wan -w {file} ip proto 112 or ip6 proto 112"
    );
    lab.text("wan", &capture, 15)?;
    let line = format!("tshark -r {file} -T fields -E separator=, {fields}");
    let seen = lab.text("wan", &line, 30)?;
    let own = peer.own();
    let (from, to, version) = (own[master], own[1 - master], peer.version);
    // tshark's 1 is a checksum that is right.
    let wanted = match peer.six {
        true => format!(",,{from},{to},{version},1,"),
        false => format!("{from},{to},,,{version},1,"),
    };
    ensure!(
        seen.lines().count() > 1 && seen.lines().all(|line| line == wanted),
        "instead of lines {wanted}:\n{seen}"
    );
    Ok(())
}

/// Two Tarpons that know each other by addresses that begin so: one is master, and the other when that ends.
fn unicast6(network: &str) -> Result<()> {
    let lab = Lab::up(&["--twin"])?;
    let six = |node: usize| -> Result<String> {
        Ok(match network {
            "fe80::" => link_local(&lab.mac(NODES[node], "wan")?)?,
            _ => format!("{network}{}", node + 2),
        })
    };
    let start = |node: usize, priority: u8| -> Result<Router<'_>> {
        let name = NODES[node];
        let text = format!(
            "[director]\nname = \"{name}\"\nsocket = \"{}\"\nfile_prefix = \"{}\"\nmemory_mb = 256\nconnections = 10_000\n\
             connections6 = 10_000\n\n\
             [[port]]\nname = \"wan\"\ndevice = \"net_af_packet0,iface=wan,qpairs=1,blocksz=65536,framesz=2048,framecnt=4096\"\nqueues = 1\n\
             addresses = [\"2001:db8:1::{}/64\"]\nhost = false\n\n\
             [[vrrp]]\nname = \"public\"\ninterface = \"wan\"\nvirtual_router_id = 10\npriority = {priority}\nadvert_int = \"100ms\"\n\
             virtual_ipaddress = [\"2001:db8:1::10\"]\nunicast_peer = [\"{}\"]\n",
            socket(&lab, name).display(),
            prefix(&lab, name),
            node + 2,
            six(1 - node)?,
        );
        Router::start_on(&lab, name, &text)
    };
    let one = start(0, 200)?;
    becomes(&one, "master")?;
    let two = start(1, 100)?;
    becomes(&two, "backup")?;
    // Long enough for who hears nobody to have become master.
    thread::sleep(Duration::from_secs(1));
    let all: Vec<api::Vrrp> = two.ask("vrrp")?;
    ensure!(
        state(&two)? == "backup" && all.iter().all(|v| v.takeovers == 0),
        "both were master: {all:?}"
    );
    lab.text("client", "ping -c 1 -W 2 2001:db8:1::10", 5)?;
    one.stop()?;
    becomes(&two, "master")?;
    lab.text("client", "ping -c 1 -W 2 2001:db8:1::10", 5)?;
    two.stop()
}

/// The link-local address that belongs to a MAC (RFC 4291, appendix A).
fn link_local(mac: &str) -> Result<String> {
    let bytes = raw::mac(mac)?;
    let [a, b, c, d, e, f] = bytes;
    Ok(format!(
        "fe80::{:02x}{b:02x}:{c:02x}ff:fe{d:02x}:{e:02x}{f:02x}",
        a ^ 2
    ))
}
