//! Wrong input: a clear word, and nothing changed.

use crate::lab::{Lab, Server, VIP, VIP2, identical};

#[track_caller]
fn refused(server: &Server, args: &str, words: &[&str]) {
    let before = server.dump();
    let said = server.tarpon(args);
    assert_eq!(said.code, Some(2), "{args}: {said:?}");
    for word in words {
        assert!(
            said.err.contains(word),
            "{args}: `{word}` is missing in: {}",
            said.err
        );
    }
    identical(&before, &server.dump());
}

#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn each_is_named_and_changes_nothing() {
    let lab = Lab::new(1);
    let server = &lab.servers[0];
    refused(
        server,
        &format!("apply --vip {VIP} --interface eth7"),
        &["no interface `eth7`", "eth0"],
    );
    refused(
        server,
        "apply --method arptables --vip fd07::100",
        &["IPv6", "sysctl"],
    );
    refused(
        server,
        &format!("apply --method iptables --vip {VIP}"),
        &["needs --port"],
    );
    refused(server, "apply --vip 224.0.0.1", &["cannot be a VIP"]);
    refused(
        server,
        "apply --vip ::ffff:10.7.0.100",
        &["write 10.7.0.100"],
    );
    refused(server, "apply --vip fe80::100", &["link-local"]);
    for method in ["sysctl", "arptables", "nftables"] {
        refused(
            server,
            &format!("apply --method {method} --vip 10.7.0.3 --port 80 --interface eth0"),
            &["this server's own address on eth0"],
        );
    }
    refused(
        server,
        "apply --vip fd07::3",
        &["this server's own address on eth0"],
    );
    for address in ["10.7.0.0", "10.7.0.255"] {
        refused(
            server,
            &format!("apply --vip {address}"),
            &["network or broadcast"],
        );
    }
    refused(
        server,
        &format!("apply --vip {VIP} --interface lo"),
        &["no director's frame arrives on lo"],
    );
    refused(
        server,
        &format!("apply --method arptables --vip {VIP} --interface all"),
        &["one real interface"],
    );
    refused(server, "apply", &["at least one --vip"]);
    refused(server, "apply --method nat", &["--gateway"]);
    refused(
        server,
        "apply --method nat --gateway 192.0.2.1",
        &["in no network of this server"],
    );
    refused(
        server,
        &format!("apply --method arptables --vip {VIP} --real-ip 10.7.0.99 --interface eth0"),
        &["not an address of eth0"],
    );
    refused(server, "undo", &["nothing to undo"]);
    refused(
        server,
        &format!("apply --method firewalld --vip {VIP} --port 80"),
        &["firewalld.service", "does not run"],
    );

    server.run(&format!("ip addr add {VIP}/32 dev eth0")).fine();
    for method in ["sysctl", "iptables", "nftables"] {
        refused(
            server,
            &format!("apply --method {method} --vip {VIP} --port 80 --interface eth0"),
            &["already on eth0", "ip addr del"],
        );
    }
    server.run(&format!("ip addr del {VIP}/32 dev eth0; iptables -t nat -A PREROUTING -d {VIP} -p tcp --dport 80 -j DNAT --to 10.7.0.9")).fine();
    for method in ["sysctl", "arptables", "iptables", "nftables"] {
        refused(
            server,
            &format!("apply --method {method} --vip {VIP} --port 80 --interface eth0"),
            &["not ours", "DNAT"],
        );
    }
    server.run("nft delete table ip nat").fine();
    server
        .run(&format!("arptables -A INPUT -d {VIP} -j ACCEPT"))
        .fine();
    refused(
        server,
        &format!("apply --method arptables --vip {VIP} --interface eth0"),
        &["not ours", "ACCEPT"],
    );
}

#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn without_the_tool_or_without_root() {
    let lab = Lab::new(1);
    let server = &lab.servers[0];
    let before = server.dump();
    // A machine where arptables is not installed: an empty file is no program.
    let hide = "mount --bind /dev/null $(readlink -f /usr/sbin/arptables)";
    server.run(hide).fine();
    let said = server.tarpon(&format!(
        "apply --method arptables --vip {VIP} --interface eth0"
    ));
    assert!(
        said.code == Some(2) && said.err.contains("`arptables` is not installed"),
        "{said:?}"
    );
    server.run("for f in /usr/sbin/arptables*; do umount $f 2>/dev/null; done; umount $(readlink -f /usr/sbin/arptables) 2>/dev/null; true").fine();
    let said = server.run(&format!(
        "cp {} /run/t; chmod 755 /run/t /run; setpriv --reuid 65534 --clear-groups /run/t apply --vip {VIP} --interface eth0",
        env!("CARGO_BIN_EXE_tarpon-realserver")
    ));
    assert!(
        said.code == Some(2) && said.err.contains("needs root"),
        "{said:?}"
    );
    identical(&before, &server.dump());
}

/// `--interface all` is every interface there is and will be.
#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn all_interfaces() {
    let mut lab = Lab::new(1);
    let server = &mut lab.servers[0];
    let before = server.dump();
    server
        .tarpon(&format!("apply --vip {VIP} --interface all"))
        .fine();
    assert_eq!(
        server
            .run("sysctl -n net.ipv4.conf.all.arp_ignore")
            .out
            .trim(),
        "1"
    );
    let check = server.tarpon("check");
    assert!(
        check.out.contains("ok      ARP silence"),
        "{}{}",
        check.out,
        check.err
    );
    server.boot();
    assert_eq!(
        server
            .run("sysctl -n net.ipv4.conf.all.arp_ignore")
            .out
            .trim(),
        "1"
    );
    server.tarpon("undo").fine();
    identical(&before, &server.dump());
}

/// A command that fails half-way: what had been done is taken back.
#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn a_failure_half_way_is_taken_back() {
    let lab = Lab::new(1);
    let server = &lab.servers[0];
    let before = server.dump();
    server.run("mkdir /run/bin; printf '#!/bin/sh\\nexit 1\\n' > /run/bin/systemctl; chmod 755 /run/bin/systemctl").fine();
    let said = server.run(&format!(
        "PATH=/run/bin:$PATH {} apply --vip {VIP} --interface eth0",
        env!("CARGO_BIN_EXE_tarpon-realserver")
    ));
    assert!(
        said.code == Some(2) && said.err.contains("systemctl") && said.err.contains("undone"),
        "{said:?}"
    );
    identical(&before, &server.dump());
}

/// One VIP of two goes; a file edited meanwhile is not overwritten unasked.
#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn undo_of_a_part_and_of_edited_files() {
    let lab = Lab::new(1);
    let server = &lab.servers[0];
    let before = server.dump();
    server
        .tarpon(&format!(
            "apply --method arptables --vip {VIP} --interface eth0"
        ))
        .fine();
    let one = server.dump();
    server
        .tarpon(&format!(
            "apply --method arptables --vip {VIP2} --interface eth0"
        ))
        .fine();
    server.tarpon(&format!("undo --vip {VIP2}")).fine();
    let without_state = |dump: &str| {
        dump.lines()
            .filter(|l| !l.contains("realserver.json"))
            .map(|l| format!("{l}\n"))
            .collect::<String>()
    };
    identical(&without_state(&one), &without_state(&server.dump()));
    server
        .run("echo '# mine' >> /etc/systemd/system/tarpon-realserver-vip.service")
        .fine();
    refused(server, "undo", &["was changed since apply", "--force"]);
    server.tarpon("undo --force").fine();
    server.run("grep -q mine /etc/systemd/system/tarpon-realserver-vip.service.tarpon-changed && rm /etc/systemd/system/*.tarpon-changed").fine();
    identical(&before, &server.dump());
}
