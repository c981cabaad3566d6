//! Toolboxes other than the lab's own: the legacy programs, Red Hat's before systemd, and the services that keep Debian's rules.

use crate::{
    lab::{Lab, Server, VIP, VIP6, identical, naming, write},
    methods::{life, speak_cold},
};
use std::{fs, os::unix::fs::symlink};

/// The programs that speak to the kernel's own tables rather than to nftables.
fn with_legacy(server: &mut Server) {
    for tool in ["iptables", "ip6tables", "arptables"] {
        for suffix in ["", "-save", "-restore"] {
            let link = server.etc(&format!("alternatives/{tool}{suffix}"));
            fs::remove_file(&link).unwrap();
            symlink(format!("/usr/sbin/{tool}-legacy{suffix}"), link).unwrap();
        }
        let version = server.run(&format!("{tool} -V")).out;
        assert!(
            !version.contains("nf_tables"),
            "{tool} is not the legacy one: {version}"
        );
    }
    // A table of the kernel's own stays once it is loaded: the one thing undo cannot take back.
    server
        .hardware
        .push_str("\n(iptables -t nat -S && ip6tables -t nat -S && arptables -L -n) >/dev/null");
    let load = server.hardware.clone();
    server.run(&load).fine();
}

#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn legacy_arptables() {
    life("arptables", VIP, with_legacy);
}

#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn legacy_iptables() {
    life("iptables", VIP, with_legacy);
}

#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn legacy_ip6tables() {
    life("iptables", VIP6, with_legacy);
}

/// A server before systemd: chains IN and OUT, `service arptables_jf save`, `chkconfig`. The kernel's filter is real, the toolbox played.
#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn red_hat_before_systemd() {
    for (method, service, tool) in [
        ("arptables", "arptables_jf", "arptables"),
        ("iptables", "iptables", "iptables"),
        ("sysctl", "", ""),
    ] {
        let mut lab = Lab::new(1);
        lab.direct(&[VIP]);
        let server = &mut lab.servers[0];
        with_legacy(server);
        write(
            &server.etc("redhat-release"),
            "Red Hat Enterprise Linux ES release 4 (Nahant)\n",
        );
        write(&server.etc("lab-init"), "sysv");
        let toolbox = server.directory.join("toolbox");
        for (name, text) in [
            ("arptables", include_str!("old_red_hat/arptables")),
            ("arptables-save", include_str!("old_red_hat/arptables-save")),
            (
                "arptables-restore",
                include_str!("old_red_hat/arptables-restore"),
            ),
            ("service", include_str!("old_red_hat/service")),
            ("chkconfig", include_str!("old_red_hat/chkconfig")),
        ] {
            write(&toolbox.join(name), text);
        }
        server.hardware = format!(
            "chmod 755 {0}/*; mount --bind {0} /usr/local/sbin; iptables -t nat -S >/dev/null; ip6tables -t nat -S >/dev/null; arptables -L -n >/dev/null",
            toolbox.display()
        );
        fs::create_dir_all(server.etc("sysconfig")).unwrap();
        server.run("rm -rf /etc/rc?.d /etc/init.d; for n in 0 1 2 3 4 5 6; do mkdir -p /etc/rc.d/rc$n.d; done; mkdir /etc/rc.d/init.d; ln -s rc.d/init.d /etc/init.d; : > /etc/rc.d/rc3.d/S10network").fine();
        server.power_off();
        server.boot();
        if !service.is_empty() {
            let script = server.etc(&format!("rc.d/init.d/{service}"));
            let text = include_str!("old_red_hat/init")
                .replace("TOOL", tool)
                .replace("FILE", &format!("/etc/sysconfig/{tool}"));
            write(&script, &text);
            // As its package leaves it: known to chkconfig, off.
            server.run(&format!("chmod 755 /etc/init.d/{service}; chkconfig --add {service}; chkconfig --level 2345 {service} off")).fine();
        }
        let before = server.dump();
        let said = server
            .tarpon(&format!(
                "apply --method {method} --vip {VIP} --port 80 --interface eth0 --boot sysv"
            ))
            .fine();
        let again = server
            .tarpon(&format!(
                "apply --method {method} --vip {VIP} --port 80 --interface eth0 --boot sysv"
            ))
            .fine();
        assert!(again.contains("nothing to change"), "{again}");
        if !service.is_empty() {
            assert!(
                said.contains(&format!("service {service} save"))
                    && said.contains(&format!("chkconfig --level 2345 {service} on")),
                "{said}"
            );
        }
        if method == "arptables" {
            assert!(
                said.contains(&format!("arptables -A IN -d {VIP} -j DROP"))
                    && said.contains(&format!(
                        "arptables -A OUT -s {VIP} -j mangle --mangle-ip-s 10.7.0.3"
                    )),
                "{said}"
            );
        }
        server.nginx(&["80"]);
        assert_eq!(lab.requests(VIP, 100), [100], "{method}");
        let capture = lab.capture(0);
        let nag = lab.nag(0, &[VIP]);
        lab.servers[0].boot();
        speak_cold(&lab.servers[0], VIP, method != "iptables");
        drop(nag);
        let frames = capture.stop().sent;
        assert!(
            !frames.is_empty(),
            "{method}: the capture saw the server's own ARP"
        );
        assert!(naming(&frames, VIP).is_empty(), "{method}: {frames:?}");
        lab.servers[0].nginx(&["80"]);
        assert_eq!(lab.requests(VIP, 100), [100], "{method}");
        let check = lab.servers[0].tarpon("check");
        assert!(check.ok, "{method}: {}{}", check.out, check.err);
        lab.servers[0].tarpon("undo").fine();
        identical(&before, &lab.servers[0].dump());
    }
}

/// The VIP's init script does not raise a VIP that nothing filters.
#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn an_init_script_needs_the_filter() {
    let lab = Lab::new(1);
    let server = &lab.servers[0];
    server
        .tarpon(&format!(
            "apply --method arptables --vip {VIP} --interface eth0 --boot sysv"
        ))
        .fine();
    let start = "/etc/init.d/tarpon-realserver-vip start";
    server.run(start).fine();
    server
        .run(&format!("ip addr del {VIP}/32 dev eth0; arptables -F"))
        .fine();
    assert!(!server.run(start).ok);
    assert!(!server.run("ip addr").out.contains(VIP));
}

/// The services that keep Debian's rules, with what their units run, where they are in use.
#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn debian_services() {
    let persistent = "[Unit]\nBefore=network-pre.target\nWants=network-pre.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
        ExecStart=sh -c 'iptables-restore < /etc/iptables/rules.v4'\nExecStart=-sh -c 'ip6tables-restore < /etc/iptables/rules.v6'\n[Install]\nWantedBy=multi-user.target\n";
    let nftables = "[Unit]\nBefore=network-pre.target\nWants=network-pre.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
        ExecStart=/usr/sbin/nft -f /etc/nftables.conf\n[Install]\nWantedBy=multi-user.target\n";
    for (method, vip, unit, text, kept) in [
        (
            "iptables",
            VIP,
            "netfilter-persistent.service",
            persistent,
            "/etc/iptables/rules.v4",
        ),
        (
            "iptables",
            VIP6,
            "netfilter-persistent.service",
            persistent,
            "/etc/iptables/rules.v6",
        ),
        (
            "nftables",
            VIP,
            "nftables.service",
            nftables,
            "/etc/nftables.conf",
        ),
    ] {
        let mut lab = Lab::new(1);
        lab.direct(&[vip]);
        let server = &mut lab.servers[0];
        write(&server.etc(&format!("systemd/system/{unit}")), text);
        if method == "nftables" {
            server.run("printf '#!/usr/sbin/nft -f\\nflush ruleset\\ntable inet mine {\\n}' > /etc/nftables.conf; systemctl --root=/ enable nftables.service 2>&1; nft -f /etc/nftables.conf").fine();
        } else {
            // The package makes both files.
            server.run("mkdir -p /etc/iptables; iptables-save > /etc/iptables/rules.v4; ip6tables-save > /etc/iptables/rules.v6").fine();
        }
        let before = server.dump();
        let said = server
            .tarpon(&format!(
                "apply --method {method} --vip {vip} --port 80 --interface eth0"
            ))
            .fine();
        assert!(
            said.contains(kept) && !said.contains("tarpon-realserver-"),
            "{said}"
        );
        server.boot();
        server.nginx(&["80", "[::]:80"]);
        let url = if vip.contains(':') {
            format!("[{vip}]")
        } else {
            vip.into()
        };
        assert_eq!(lab.requests(&url, 100), [100], "{unit}");
        let check = lab.servers[0].tarpon("check");
        assert!(check.ok, "{unit}: {}{}", check.out, check.err);
        lab.servers[0].tarpon("undo").fine();
        identical(&before, &lab.servers[0].dump());
    }
}
