//! Each method's life: the fault, apply, a thousand requests, undo; apply, a boot under questions, a thousand requests, undo.

use crate::lab::{
    CLIENT, CLIENT6, DIRECTOR_MAC, Lab, SERVERS, Server, VIP, VIP2, VIP6, identical, naming,
    wait_for,
};

const COUNT: usize = 1000;

/// A VIP as it stands in a URL.
fn host(vip: &str) -> String {
    if vip.contains(':') {
        format!("[{vip}]")
    } else {
        vip.into()
    }
}

fn own_address(vip: &str, server: usize) -> &'static str {
    if vip.contains(':') {
        SERVERS[server].1
    } else {
        SERVERS[server].0
    }
}

/// A thousand requests, each on a connection of its own, every packet of which the director sends on.
fn served(lab: &Lab, vip: &str) {
    let forwarded = lab.tarpond().forwarded();
    let by_server = lab.requests(&host(vip), COUNT);
    assert_eq!(
        by_server.iter().sum::<usize>(),
        COUNT,
        "of {COUNT} requests the servers served {by_server:?}"
    );
    assert!(
        by_server.iter().all(|n| *n > 0),
        "both servers must have served: {by_server:?}"
    );
    // SYN, ACK, request, FIN: no connection takes fewer.
    let packets = lab.tarpond().forwarded() - forwarded;
    assert!(
        packets >= 4 * COUNT as u64,
        "only {packets} packets of {COUNT} requests went through the director"
    );
}

/// The server speaks first, from the VIP where it has it, with nothing in its neighbour cache.
///
/// A boot alone is no proof that the capture works: the kernel drops what `arp_notify` says of a link whose queue it has not opened yet.
pub fn speak_cold(server: &Server, vip: &str, has_vip: bool) {
    let source = if has_vip {
        format!("-s {vip}")
    } else {
        String::new()
    };
    let client = if vip.contains(':') { CLIENT6 } else { CLIENT };
    // Refused or not does not matter: the question for the client's MAC is what is listened for.
    server.run(&format!(
        "ip neigh flush all; nc -w1 {source} {client} 9 </dev/null"
    ));
}

/// A client is led past the director: what goes wrong on servers nobody prepared.
fn fault_of_answering(lab: &Lab, device: &str) {
    let server = &lab.servers[0];
    let naive = if device == "lo" {
        "ip addr add {VIP}/32 dev lo"
    } else {
        "ip addr add {VIP}/32 dev eth0"
    }
    .replace("{VIP}", VIP);
    let capture = lab.capture(0);
    server.run(&naive).fine();
    // Before anyone asks it: a question teaches the server the asker's MAC, and its cache is not cold any more.
    speak_cold(server, VIP, true);
    let nag = lab.nag(0, &[VIP]);
    let answer = format!("Reply {VIP} is-at");
    wait_for("the answer of an unprepared server", || {
        let frames = capture.so_far().sent;
        naming(&frames, VIP).iter().any(|f| f.contains(&answer))
    });
    drop(nag);
    let frames = capture.stop().sent;
    let about = naming(&frames, VIP);
    assert!(
        about.iter().any(|f| f.contains(&format!("tell {VIP}"))),
        "an unprepared server asks with the VIP: {frames:?}"
    );
    // With the director silent for a moment the client's cache gets the server's MAC.
    let learned = lab.tarpond().silenced(|| lab.client_learns(VIP));
    assert!(
        learned.contains(SERVERS[0].2),
        "the client learned {learned}"
    );
    let probe = lab.probe(&format!("--real-ip {} --vip {VIP} --port 80", SERVERS[0].0));
    assert_eq!(probe.code, Some(1), "{probe:?}");
    assert!(probe.out.contains("FAIL    ARP silence"), "{}", probe.out);
    server
        .run(&format!("ip addr del {VIP}/32 dev {device}"))
        .fine();
    lab.client("ip neigh flush all").fine();
}

/// The VIP is nowhere on the servers: connections come to nothing.
fn fault_of_refusing(lab: &Lab, vip: &str) {
    assert_eq!(
        lab.requests(&host(vip), 1),
        [0, 0],
        "an unprepared server must not serve the VIP"
    );
    let probe = lab.probe(&format!(
        "--real-ip {} --vip {vip} --port 80",
        own_address(vip, 0)
    ));
    assert_eq!(probe.code, Some(1), "{probe:?}");
    assert!(
        probe.out.contains(&format!("FAIL    {}:80/tcp", host(vip))),
        "{}",
        probe.out
    );
}

fn silent_and_serving(lab: &Lab, vip: &str, has_vip: bool) {
    let capture = lab.capture(0);
    speak_cold(&lab.servers[0], vip, has_vip);
    let nag = lab.nag(0, &[vip]);
    lab.client("ip neigh flush all").fine();
    served(lab, vip);
    drop(nag);
    let heard = capture.stop();
    assert!(
        !heard.sent.is_empty(),
        "the capture saw the server's own ARP"
    );
    assert!(
        naming(&heard.sent, vip).is_empty(),
        "ARP with the VIP: {:?}",
        naming(&heard.sent, vip)
    );
    assert_eq!(
        heard.claimants(vip).into_iter().collect::<Vec<_>>(),
        [DIRECTOR_MAC],
        "only the director answers"
    );
    let learned = lab.client(&format!("ip neigh show {vip}")).out;
    assert!(learned.contains(DIRECTOR_MAC), "the client knows {learned}");
    let probe = lab.probe(&format!(
        "--real-ip {} --vip {vip} --port 80 --listen 1",
        own_address(vip, 0)
    ));
    assert!(probe.ok, "{}{}", probe.out, probe.err);
    let check = lab.servers[0].tarpon("check");
    let word = if vip.contains(':') { "ND" } else { "ARP" };
    assert!(
        check.ok
            && check.out.contains("ok      a connection to")
            && check.out.contains(&format!("ok      {word} silence")),
        "{}{}",
        check.out,
        check.err
    );
}

pub fn life(method: &str, vip: &str, prepare: impl Fn(&mut Server)) {
    let redirects = ["iptables", "firewalld", "nftables"].contains(&method);
    let mut lab = Lab::new(2);
    for server in &mut lab.servers {
        prepare(server);
        server.nginx(&["80", "[::]:80"]);
    }
    lab.direct(&[vip]);
    // With IPv6 a VIP on lo is silent by itself: not taking its packets is the only fault.
    if redirects || vip.contains(':') {
        fault_of_refusing(&lab, vip)
    } else {
        fault_of_answering(&lab, if method == "sysctl" { "lo" } else { "eth0" })
    }
    let before: Vec<String> = lab.servers.iter().map(Server::dump).collect();
    let apply = format!("apply --method {method} --vip {vip} --port 80 --interface eth0");
    for server in &lab.servers {
        server.tarpon(&apply).fine();
        let again = server.tarpon(&apply).fine();
        assert!(again.contains("nothing to change"), "{again}");
    }
    silent_and_serving(&lab, vip, !redirects);
    let after: Vec<String> = lab
        .servers
        .iter()
        .map(|s| {
            s.tarpon("undo").fine();
            s.dump()
        })
        .collect();
    for (before, after) in before.iter().zip(&after) {
        identical(before, after);
    }

    for server in &lab.servers {
        server.tarpon(&apply).fine();
    }
    let capture = lab.capture(0);
    let nag = lab.nag(0, &[vip]);
    lab.servers[0].boot();
    assert_eq!(
        lab.servers[0].run("ip addr").out.contains(vip),
        !redirects,
        "the VIP is up after a boot where the method has it"
    );
    speak_cold(&lab.servers[0], vip, !redirects);
    drop(nag);
    let frames = capture.stop().sent;
    assert!(!frames.is_empty(), "the capture saw the server's own ARP");
    assert!(
        naming(&frames, vip).is_empty(),
        "ARP with the VIP during boot: {:?}",
        naming(&frames, vip)
    );
    lab.servers[0].nginx(&["80", "[::]:80"]);
    silent_and_serving(&lab, vip, !redirects);
    lab.servers[0].tarpon("undo").fine();
    identical(&before[0], &lab.servers[0].dump());
}

fn with_firewalld(server: &mut Server) {
    // One of the two links of an enabled firewalld, as packages and administrators leave it.
    server
        .run("ln -s /usr/lib/systemd/system/firewalld.service /etc/systemd/system/dbus-org.fedoraproject.FirewallD1.service")
        .fine();
    server.firewalld();
    // The service is let in as on any server with firewalld.
    server
        .run("firewall-cmd --permanent --add-service=http && firewall-cmd --reload")
        .fine();
}

#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn sysctl() {
    life("sysctl", VIP, |_| ());
}

#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn arptables() {
    life("arptables", VIP, |_| ());
}

#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn iptables() {
    life("iptables", VIP, |_| ());
}

#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn nftables() {
    life("nftables", VIP, |_| ());
}

#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn firewalld() {
    life("firewalld", VIP, with_firewalld);
}

#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn sysctl_ipv6() {
    life("sysctl", VIP6, |_| ());
}

#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn iptables_ipv6() {
    life("iptables", VIP6, |_| ());
}

#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn nftables_ipv6() {
    life("nftables", VIP6, |_| ());
}

#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn firewalld_ipv6() {
    life("firewalld", VIP6, with_firewalld);
}

/// The boot that goes wrong without us: the VIP on the interface in the distribution's own network files.
#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn a_boot_with_the_vip_in_the_network_files_is_heard() {
    let mut lab = Lab::new(1);
    let unit = format!(
        "[Unit]\nAfter=network.target\n[Service]\nExecStart=ip addr add {VIP}/32 dev eth0\nExecStart=ip link set eth0 down\nExecStart=ip link set eth0 up\n"
    );
    crate::lab::write(&lab.servers[0].etc("systemd/system/naive.service"), &unit);
    lab.servers[0].run("systemctl --root=/ enable naive.service 2>&1; mkdir -p /etc/systemd/system/multi-user.target.wants; ln -sf /etc/systemd/system/naive.service /etc/systemd/system/multi-user.target.wants/").fine();
    let capture = lab.capture(0);
    let nag = lab.nag(0, &[VIP]);
    lab.servers[0].boot();
    drop(nag);
    let frames = capture.stop().sent;
    assert!(
        !naming(&frames, VIP).is_empty(),
        "this capture would have seen it: {frames:?}"
    );
}

/// The documents' two arptables rules alone let a gratuitous ARP name the VIP; our third does not.
#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn gratuitous_arp_needs_the_third_arptables_rule() {
    let lab = Lab::new(1);
    let server = &lab.servers[0];
    let bounce = || {
        let capture = lab.capture(0);
        server
            .run("ip link set eth0 down; ip link set eth0 up; sleep 0.3")
            .fine();
        capture.stop().sent
    };
    server
        .tarpon(&format!(
            "apply --method arptables --vip {VIP} --interface eth0 --boot none"
        ))
        .fine();
    let frames = bounce();
    assert!(
        !frames.is_empty() && naming(&frames, VIP).is_empty(),
        "{frames:?}"
    );
    server
        .run(&format!("arptables -D OUTPUT -d {VIP} -j DROP"))
        .fine();
    let frames = bounce();
    assert!(
        !naming(&frames, VIP).is_empty(),
        "without the rule it is heard: {frames:?}"
    );
}

/// Two services on one port, each on its own VIP: what REDIRECT cannot do, and says so.
#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn two_services_on_one_port() {
    for method in ["sysctl", "arptables"] {
        let mut lab = Lab::new(1);
        lab.servers[0]
            .tarpon(&format!(
                "apply --method {method} --vip {VIP} --vip {VIP2} --port 80 --interface eth0"
            ))
            .fine();
        lab.servers[0].nginx_saying(&[&format!("{VIP}:80")], "first");
        lab.servers[0].nginx_saying(&[&format!("{VIP2}:80")], "second");
        lab.direct(&[VIP, VIP2]);
        for (vip, text) in [(VIP, "first"), (VIP2, "second")] {
            let out = lab
                .client(&format!(
                    "curl -s --max-time 5 -H 'Connection: close' 'http://{vip}/[1-100]'"
                ))
                .fine();
            assert_eq!(
                out.lines().filter(|l| *l == text).count(),
                100,
                "{method} {vip}: {out}"
            );
        }
        let check = lab.servers[0].tarpon("check");
        assert!(
            check.ok && check.out.contains("bound to the VIP"),
            "{}",
            check.out
        );
    }
    let lab = Lab::new(1);
    for method in ["iptables", "nftables", "firewalld"] {
        let before = lab.servers[0].dump();
        let refused = lab.servers[0].tarpon(&format!(
            "apply --method {method} --vip {VIP} --vip {VIP2} --port 80"
        ));
        assert_eq!(refused.code, Some(2));
        assert!(
            refused.err.contains("ports cannot be reused") && refused.err.contains("INADDR_ANY"),
            "{}",
            refused.err
        );
        identical(&before, &lab.servers[0].dump());
    }
    // In two steps it is refused too, and one service for both may be had by saying so.
    lab.servers[0]
        .tarpon(&format!(
            "apply --method nftables --vip {VIP} --port 80 --one-service"
        ))
        .fine();
    assert!(
        !lab.servers[0]
            .tarpon(&format!("apply --method nftables --vip {VIP2} --port 80"))
            .ok
    );
    lab.servers[0]
        .tarpon(&format!(
            "apply --method nftables --vip {VIP2} --port 80 --one-service"
        ))
        .fine();
}

/// IPv6 is silent by RFC 4861 with the VIP on lo; on the interface itself it is answered, and the probe says so.
#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn an_ipv6_vip_on_the_interface_is_answered() {
    let mut lab = Lab::new(1);
    lab.direct(&[VIP6]);
    lab.servers[0]
        .run(&format!("ip addr add {VIP6}/128 dev eth0 nodad"))
        .fine();
    let probe = lab.probe(&format!("--real-ip {} --vip {VIP6}", SERVERS[0].1));
    assert!(probe.out.contains("FAIL    ND silence"), "{}", probe.out);
}
