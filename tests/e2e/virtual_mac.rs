//! Virtual MACs: what the stations of a segment see of them, between two Tarpons, and with the real keepalived's `use_vmac` both ways round.

use crate::{
    lab::{Lab, clients, router::Router, run, runner::Case},
    takeover::{NODES, Peer, VIP, becomes, both_ways_round, file, lab_with_a_host},
};
use anyhow::{Context as _, Result, ensure};

pub fn cases() -> Vec<Case> {
    let six = Peer {
        six: true,
        ..Peer::V3
    };
    vec![
        Case::new("virtual_mac::stays_the_same_at_a_takeover", between_tarpons),
        Case::new("virtual_mac::keepalived", || with_keepalived(Peer::V3)),
        Case::new("virtual_mac::keepalived_ipv6", move || with_keepalived(six)),
    ]
}

/// Virtual router 10's.
const MAC: &str = "00:00:5e:00:01:0a";
const MAC6: &str = "00:00:5e:00:02:0a";

/// Where `node` takes `address` to be.
fn neighbour(lab: &Lab, node: &str, interface: &str, address: &str) -> Result<String> {
    let line = format!("ip neigh show {address} dev {interface}");
    let text = lab.text(node, &line, 5)?;
    let mut words = text.split_whitespace().skip_while(|w| *w != "lladdr");
    Ok(words.nth(1).unwrap_or_default().to_owned())
}

fn between_tarpons() -> Result<()> {
    let lab = Lab::up(&["--twin"])?;
    let with_mac = |node, priority| {
        file(&lab, node, priority).replace(
            "sync_group = \"lvs\"\n",
            "sync_group = \"lvs\"\nuse_vmac = true\n",
        )
    };
    let one = Router::start_on(&lab, NODES[0], &with_mac(0, 220))?;
    becomes(&one, "master")?;
    let two = Router::start_on(&lab, NODES[1], &with_mac(1, 200))?;
    becomes(&two, "backup")?;
    let web = format!("{VIP}:80");
    let seen = |what: &str| -> Result<()> {
        clients::get(&lab, &web, "").with_context(|| what.to_owned())?;
        for (node, interface, address) in [("client", "wan", VIP), ("rs1", "lan", "10.1.0.1")] {
            let mac = neighbour(&lab, node, interface, address)?;
            ensure!(
                mac.is_empty() || mac == MAC,
                "{what}: {node} has {address} at {mac}"
            );
        }
        ensure!(neighbour(&lab, "client", "wan", VIP)? == MAC, "{what}");
        Ok(())
    };
    seen("the first master")?;
    // Asked anew, it is the same: answers have it, too, not only announcements.
    lab.text("client", &format!("ip neigh del {VIP} dev wan"), 5)?;
    seen("asked anew")?;
    let shown: Vec<api::Vrrp> = one.ask("vrrp")?;
    ensure!(
        shown
            .iter()
            .all(|v| v.virtual_mac.map(|mac| mac.to_string()).as_deref() == Some(MAC)),
        "{shown:?}"
    );

    let path = lab.dir.join("vmac.pcapng");
    one.tarpon(&format!("capture --seconds 2 -w {}", path.display()))?;
    let read = |more: &str| {
        let line = format!("tshark -r {} {more}", path.display());
        lab.text("client", &line, 30)
    };
    let sources = read("-Y vrrp -T fields -e eth.src")?;
    ensure!(
        sources.lines().count() > 10 && sources.lines().all(|mac| mac == MAC),
        "advertisements come from {sources}"
    );
    let wrong = read("-Y _ws.malformed||_ws.expert.severity==error")?;
    ensure!(wrong.trim().is_empty(), "tshark finds fault with:\n{wrong}");

    one.tarpon("failover lvs")?;
    becomes(&two, "master")?;
    becomes(&one, "backup")?;
    seen("the second master")?;
    ensure!(
        one.ask::<api::Status>("status")?.claims.is_empty()
            && two.ask::<api::Status>("status")?.claims.is_empty(),
        "the other director's virtual MAC is taken for somebody else's"
    );
    one.kill()?;
    seen("the second master alone")?;
    two.stop()
}

fn with_keepalived(peer: Peer) -> Result<()> {
    let lab = lab_with_a_host()?;
    // As keepalived's notes on virtual MACs want it: else the interface below answers, and asks, for the address with its own MAC.
    let line = "sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2";
    lab.text("twin", line, 5)?;
    let mac = if peer.six { MAC6 } else { MAC };
    let is_there = |what: &str| -> Result<()> {
        let line = format!("ping -c 1 -W 2 {}", peer.address());
        run::until(&format!("the address does not answer {what}"), 5, || {
            Ok(lab.text("client", &line, 5).is_ok())
        })?;
        let found = neighbour(&lab, "client", "wan", peer.address())?;
        ensure!(found == mac, "{what} the client has it at {found:?}");
        Ok(())
    };
    both_ways_round(
        &lab,
        peer,
        ("use_vmac = true\n", "use_vmac vrrp.10\n"),
        "ip link del vrrp.10",
        &is_there,
    )
}
