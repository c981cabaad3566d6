//! The generated scripts under dash and busybox, and the ansible tasks, against servers of the lab.

use crate::lab::{Lab, VIP, identical, sh};

const BINARY: &str = env!("CARGO_BIN_EXE_tarpon-realserver");

fn arguments(method: &str) -> String {
    let real_ip = if method == "arptables" {
        "--real-ip 10.7.0.3"
    } else {
        ""
    };
    format!("--method {method} --vip {VIP} --port 80 --interface eth0 {real_ip}")
}

#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn scripts_under_dash_and_busybox() {
    let mut lab = Lab::new(1);
    lab.servers[0].nginx(&["80"]);
    lab.direct(&[VIP]);
    for method in [
        "sysctl",
        "arptables",
        "iptables",
        "nftables",
        "firewalld",
        "tunnel",
    ] {
        let directory = lab.directory.join(method);
        let d = directory.display();
        sh(&format!(
            "mkdir {d} && {BINARY} script {} --out {d}",
            arguments(method)
        ))
        .fine();
        let linted = sh(&format!("shellcheck -s sh {d}/*.sh"));
        assert!(linted.ok, "{method}: {}{}", linted.out, linted.err);
        if method == "tunnel" {
            // This kernel has no ipip: the script says so and takes back what it did.
            let before = lab.servers[0].dump();
            let said = lab.servers[0].run(&format!("dash {d}/apply.sh"));
            if lab.servers[0]
                .run("test -d /proc/sys/net/ipv4/conf/tunl0")
                .ok
            {
                continue;
            }
            assert!(
                !said.ok && said.err.contains("cannot decapsulate"),
                "{said:?}"
            );
            identical(&before, &lab.servers[0].dump());
            continue;
        }
        if method == "firewalld" {
            lab.servers[0].firewalld();
            lab.servers[0]
                .run("firewall-cmd --permanent --add-service=http && firewall-cmd --reload")
                .fine();
        }
        for shell in ["dash", "busybox sh"] {
            let server = &lab.servers[0];
            let before = server.dump();
            assert!(
                !server.run(&format!("{shell} {d}/check.sh")).ok,
                "{method} {shell}: check before apply must fail"
            );
            server.run(&format!("{shell} {d}/apply.sh")).fine();
            let again = server.run(&format!("{shell} {d}/apply.sh")).fine();
            assert!(
                again.contains("nothing to change"),
                "{method} {shell}: {again}"
            );
            server.run(&format!("{shell} {d}/check.sh")).fine();
            let own = server.tarpon(&format!("check {}", arguments(method)));
            assert!(own.ok, "{method} {shell}: {}{}", own.out, own.err);
            assert_eq!(lab.requests(VIP, 100), [100], "{method} {shell}");
            server.run(&format!("{shell} {d}/undo.sh")).fine();
            identical(&before, &server.dump());
        }
    }
    let server = &lab.servers[0];
    let d = lab.directory.join("sysctl");
    server.run(&format!("ip addr add {VIP}/32 dev eth0")).fine();
    let before = server.dump();
    let said = server.run(&format!("dash {}/apply.sh", d.display()));
    assert!(
        !said.ok && said.err.contains("already elsewhere"),
        "{said:?}"
    );
    identical(&before, &server.dump());
}

#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn ansible_tasks() {
    let mut lab = Lab::new(1);
    lab.servers[0].nginx(&["80"]);
    lab.direct(&[VIP]);
    let d = lab.directory.display().to_string();
    sh(&format!(
        "{BINARY} ansible {} --out {d}/realserver.yml",
        arguments("arptables")
    ))
    .fine();
    std::fs::write(
        lab.directory.join("play.yml"),
        "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n    - ansible.builtin.import_tasks: realserver.yml\n",
    )
    .unwrap();
    let server = &lab.servers[0];
    // Its scripts go to /usr/local/lib: this server's own.
    server.run("mount -t tmpfs none /usr/local/lib").fine();
    let before = server.dump();
    let play = |more: &str| {
        server.run(&format!("cd {d} && HOME=/run ANSIBLE_LOCAL_TEMP=/run/ansible ANSIBLE_REMOTE_TEMP=/run/ansible ansible-playbook -i localhost, play.yml {more}"))
    };
    let first = play("").fine();
    assert!(
        first.contains("failed=0") && !first.contains("changed=0"),
        "{first}"
    );
    assert_eq!(lab.requests(VIP, 100), [100]);
    let second = play("").fine();
    assert!(second.contains("changed=0"), "idempotent: {second}");
    play("-e tarpon_realserver=undo").fine();
    identical(&before, &server.dump());
}
