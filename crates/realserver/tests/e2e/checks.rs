//! `check` on the server sees what files cannot tell.

use crate::lab::{Lab, VIP};

#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn faults_are_seen_by_behaviour() {
    let mut lab = Lab::new(1);
    let args = format!("check --method sysctl --vip {VIP} --port 80 --interface eth0");
    let unprepared = lab.servers[0].tarpon(&args);
    assert_eq!(unprepared.code, Some(1));
    assert!(
        unprepared.out.contains("FAIL    a connection to"),
        "{}",
        unprepared.out
    );
    assert!(
        unprepared.out.contains("nothing listens on that port"),
        "{}",
        unprepared.out
    );

    lab.servers[0]
        .tarpon(&format!("apply --vip {VIP} --port 80 --interface eth0"))
        .fine();
    lab.servers[0].nginx(&["10.7.0.3:80"]);
    let elsewhere = lab.servers[0].tarpon("check");
    assert!(
        elsewhere.out.contains("listens on 10.7.0.3 only") && elsewhere.out.contains("refused"),
        "{}",
        elsewhere.out
    );

    let mut good = Lab::new(1);
    good.servers[0]
        .tarpon(&format!("apply --vip {VIP} --port 80 --interface eth0"))
        .fine();
    good.servers[0].nginx(&["80"]);
    let fine = good.servers[0].tarpon("check --json");
    assert!(
        fine.ok && fine.out.contains("\"outcome\": \"pass\""),
        "{}",
        fine.out
    );
    // The check leaves nothing behind.
    let before = good.servers[0].dump();
    good.servers[0].tarpon("check").fine();
    crate::lab::identical(&before, &good.servers[0].dump());

    // A packet filter nobody thinks of: only behaviour shows it.
    good.servers[0]
        .run("iptables -A INPUT -p tcp --dport 80 -j DROP")
        .fine();
    let filtered = good.servers[0].tarpon("check");
    assert!(
        filtered.code == Some(1) && filtered.out.contains("a filter drops them"),
        "{}",
        filtered.out
    );
    good.servers[0].run("iptables -F INPUT").fine();

    // Someone puts arp_ignore back: the answer is seen.
    good.servers[0]
        .run("sysctl -qw net.ipv4.conf.eth0.arp_ignore=0")
        .fine();
    let answering = good.servers[0].tarpon("check");
    assert!(
        answering.code == Some(1) && answering.out.contains("a who-has for the VIP was answered"),
        "{}",
        answering.out
    );
    good.servers[0]
        .run("sysctl -qw net.ipv4.conf.eth0.arp_ignore=1")
        .fine();

    let through = good.servers[0].tarpon("check --director 10.7.0.1");
    assert!(
        through.code == Some(1) && through.out.contains("that is the director"),
        "{}",
        through.out
    );
    good.servers[0]
        .run("ip route del default; sysctl -qw net.ipv4.conf.eth0.rp_filter=1")
        .fine();
    let routeless = good.servers[0].tarpon("check");
    assert!(
        routeless.code == Some(1) && routeless.out.contains("no route"),
        "{}",
        routeless.out
    );
}

/// `tarpon realserver` on the director names a command for the server and one for itself; typed as they stand, they do it.
#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn what_the_director_names_is_what_is_needed() {
    let mut lab = Lab::new(2);
    for server in &mut lab.servers {
        server.nginx(&["80"]);
    }
    lab.direct(&[VIP]);
    let listed = lab.tarpond().tarpon("realserver").fine();
    let named = |what: &str| -> Vec<&str> {
        listed
            .lines()
            .filter_map(|l| l.trim().strip_prefix(what))
            .map(str::trim)
            .collect()
    };
    let (there, here) = (named("there:"), named("here:"));
    assert_eq!((there.len(), here.len()), (2, 2), "{listed}");
    for (command, server) in there.iter().zip(&lab.servers) {
        server
            .tarpon(command.strip_prefix("tarpon-realserver").unwrap())
            .fine();
    }
    for command in here {
        let probe = lab
            .tarpond()
            .tarpon(command.strip_prefix("tarpon").unwrap());
        assert!(
            probe.ok && probe.out.contains("accepted: SYN-ACK from"),
            "{command}: {probe:?}"
        );
    }
    let served = lab.requests(VIP, 100);
    assert_eq!(served.iter().sum::<usize>(), 100, "{served:?}");
}
