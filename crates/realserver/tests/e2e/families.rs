//! Other families than the lab's own Debian: Red Hat's services, init scripts, the old chain names; NAT; tunnels where the kernel has none.

use crate::lab::{Lab, VIP, identical, naming, write};

/// Red Hat's own services, as their packages ship them: the saved file is restored before the network.
#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn red_hat_services() {
    for (method, tool) in [("arptables", "arptables"), ("iptables", "iptables")] {
        let mut lab = Lab::new(1);
        lab.direct(&[VIP]);
        let server = &mut lab.servers[0];
        write(
            &server.etc("redhat-release"),
            "Red Hat Enterprise Linux release 8.9\n",
        );
        write(
            &server.etc(&format!("systemd/system/{tool}.service")),
            &format!(
                "[Unit]\nBefore=network-pre.target\nWants=network-pre.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart={tool}-restore /etc/sysconfig/{tool}\n[Install]\nWantedBy=multi-user.target\n"
            ),
        );
        // arptables-restore reads standard input only.
        if tool == "arptables" {
            let unit = server.etc("systemd/system/arptables.service");
            let text = std::fs::read_to_string(&unit).unwrap().replace(
                "ExecStart=arptables-restore /etc/sysconfig/arptables",
                "ExecStart=sh -c 'arptables-restore < /etc/sysconfig/arptables'",
            );
            std::fs::write(unit, text).unwrap();
        }
        let before = server.dump();
        let said = server
            .tarpon(&format!(
                "apply --method {method} --vip {VIP} --port 80 --interface eth0"
            ))
            .fine();
        assert!(
            said.contains(&format!("{tool}-save > /etc/sysconfig/{tool}"))
                && said.contains(&format!("systemctl enable {tool}.service")),
            "{said}"
        );
        server.nginx(&["80"]);
        assert_eq!(lab.requests(VIP, 100), [100]);
        let capture = lab.capture(0);
        let nag = lab.nag(0, &[VIP]);
        lab.servers[0].boot();
        drop(nag);
        let frames = capture.stop().sent;
        assert!(naming(&frames, VIP).is_empty(), "{frames:?}");
        lab.servers[0].nginx(&["80"]);
        assert_eq!(lab.requests(VIP, 100), [100]);
        lab.servers[0].tarpon("undo").fine();
        identical(&before, &lab.servers[0].dump());
    }
}

/// NAT: the default route is the director's, over a boot, and the old ones come back in their order.
#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn nat_gateway() {
    let mut lab = Lab::new(1);
    lab.servers[0]
        .run("ip route add default via 10.7.0.1 metric 50")
        .fine();
    let before = lab.servers[0].dump();
    lab.servers[0]
        .tarpon("apply --method nat --gateway 10.7.0.2")
        .fine();
    assert_eq!(
        lab.servers[0].run("ip route show default").out.trim(),
        "default via 10.7.0.2 dev eth0"
    );
    assert!(lab.servers[0].tarpon("check").ok);
    lab.servers[0].tarpon("undo").fine();
    identical(&before, &lab.servers[0].dump());
    lab.servers[0]
        .tarpon("apply --method nat --gateway 10.7.0.2")
        .fine();
    lab.servers[0].boot();
    assert_eq!(
        lab.servers[0].run("ip route show default").out.trim(),
        "default via 10.7.0.2 dev eth0"
    );
}

/// This kernel cannot decapsulate: a word about it, and nothing changed.
#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn a_kernel_without_tunnels() {
    let lab = Lab::new(1);
    let server = &lab.servers[0];
    if server
        .run("modprobe ipip; test -d /proc/sys/net/ipv4/conf/tunl0")
        .ok
    {
        println!("this kernel has ipip: the refusal cannot be shown here");
        return;
    }
    let before = server.dump();
    let said = server.tarpon(&format!(
        "apply --method tunnel --vip {VIP} --interface eth0"
    ));
    assert!(
        said.code == Some(2) && said.err.contains("modprobe ipip"),
        "{said:?}"
    );
    identical(&before, &server.dump());
}
