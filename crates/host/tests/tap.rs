//! A TAP device end to end: created, addressed, pinged from the kernel's side. Needs root; says so when it
//! has none.

use host::{Netlink, Tap};
use std::process::Command;
use types::{IpNet, MacAddr};

fn net(text: &str) -> IpNet {
    text.parse().expect("prefix")
}

/// Set for the copy of this test that runs inside the namespace.
const INSIDE: &str = "TARPON_TAP_TEST_INSIDE";

/// Runs this very test again where its addresses can meet nobody else's.
fn in_a_namespace_of_its_own() {
    if !rustix::process::geteuid().is_root() {
        eprintln!(
            "SKIPPED a_tap_carries_mac_mtu_addresses_and_frames_both_ways: needs root for a network namespace"
        );
        return;
    }
    let status = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().expect("own path"))
        .env(INSIDE, "1")
        .status()
        .expect("unshare(1) of util-linux runs");
    assert!(status.success(), "failed inside the namespace: {status}");
}

#[test]
fn a_tap_carries_mac_mtu_addresses_and_frames_both_ways() {
    if std::env::var_os(INSIDE).is_none() {
        in_a_namespace_of_its_own();
        return;
    }
    let name = format!("tht{}", std::process::id() % 1_000_000);
    let tap = Tap::create(&name).expect("a TAP device");
    let mut netlink = Netlink::open().expect("netlink");
    let mac = MacAddr([2, 0, 0, 0, 0x77, 1]);
    let index = netlink
        .link(&name)
        .expect("answer")
        .expect("the device is there")
        .index;
    netlink.set_link(index, mac, 1400).expect("mac and mtu");
    netlink
        .add_address(index, net("192.0.2.77/24"))
        .expect("v4 address");
    netlink.set_up(index).expect("up");
    let link = netlink.link(&name).expect("answer").expect("still there");
    assert_eq!((link.mac, link.mtu, link.up), (Some(mac), 1400, true));

    netlink
        .add_route(
            index,
            net("198.51.100.0/24"),
            Some("192.0.2.1".parse().expect("ip")),
            20_000,
        )
        .expect("route");
    netlink
        .add_route(
            index,
            net("198.51.100.0/24"),
            Some("192.0.2.1".parse().expect("ip")),
            20_000,
        )
        .expect("twice is the same");
    netlink
        .remove_route(
            index,
            net("198.51.100.0/24"),
            Some("192.0.2.1".parse().expect("ip")),
            20_000,
        )
        .expect("gone");
    assert!(
        netlink
            .remove_route(index, net("198.51.100.0/24"), None, 20_000)
            .is_err()
    );

    // The host asks for our neighbour when made to send something there: an ARP request comes out of the TAP.
    let socket = std::net::UdpSocket::bind("192.0.2.77:0").expect("bound to the TAP's address");
    socket.send_to(b"x", "192.0.2.78:9").expect("sent");
    let mut frame = [0; 2048];
    let mut asked = false;
    for _ in 0..800 {
        while let Some(length) = tap.read(&mut frame).expect("readable") {
            // who-has 192.0.2.78: Ethernet type ARP, target address at the end.
            asked |= length >= 42 && frame[12..14] == [8, 6] && frame[38..42] == [192, 0, 2, 78];
        }
        if asked {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(
        asked,
        "the host never asked for its neighbour through the TAP"
    );
    // Answer it; the datagram must follow.
    let mut reply = Vec::from(mac.0);
    reply.extend_from_slice(&[2, 0, 0, 0, 0x77, 2, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
    reply.extend_from_slice(&[2, 0, 0, 0, 0x77, 2, 192, 0, 2, 78]);
    reply.extend_from_slice(&mac.0);
    reply.extend_from_slice(&[192, 0, 2, 77]);
    assert!(tap.write(&reply).expect("written"));
    let mut sent = false;
    for _ in 0..800 {
        while let Some(length) = tap.read(&mut frame).expect("readable") {
            sent |= length == 14 + 20 + 8 + 1 && frame[..6] == [2, 0, 0, 0, 0x77, 2];
        }
        if sent {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(sent, "the datagram did not follow the answer");

    netlink
        .remove_address(index, net("192.0.2.77/24"))
        .expect("address removed");
    drop(tap);
    assert_eq!(
        netlink.link(&name).expect("answer"),
        None,
        "the device outlived its file"
    );
}
