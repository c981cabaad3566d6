//! A segment of namespaces: a client, the director (`tarpond`, see [`crate::director`]), real servers.

mod server;
mod wire;

pub use server::Server;
pub use wire::naming;

use crate::director::Director;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

pub const VIP: &str = "10.7.0.100";
pub const VIP2: &str = "10.7.0.101";
pub const VIP6: &str = "fd07::100";
pub const CLIENT: &str = "10.7.0.1";
pub const CLIENT6: &str = "fd07::1";
pub const DIRECTOR_MAC: &str = "02:00:07:00:00:02";
pub const SERVERS: [(&str, &str, &str); 2] = [
    ("10.7.0.3", "fd07::3", "02:00:07:00:00:03"),
    ("10.7.0.4", "fd07::4", "02:00:07:00:00:04"),
];

static COUNT: AtomicU32 = AtomicU32::new(0);

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub ok: bool,
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Said {
    fn from(o: Output) -> Self {
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        Self {
            ok: o.status.success(),
            code: o.status.code(),
            out: text(&o.stdout),
            err: text(&o.stderr),
        }
    }
}

impl Said {
    /// It must have succeeded.
    #[track_caller]
    pub fn fine(self) -> String {
        assert!(self.ok, "failed: {self:?}");
        self.out
    }
}

pub fn sh(script: &str) -> Said {
    Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::null())
        .output()
        .unwrap()
        .into()
}

/// A segment; gone when dropped, on failure too.
pub struct Lab {
    pub name: String,
    pub directory: PathBuf,
    pub servers: Vec<Server>,
    director: Option<Director>,
}

impl Lab {
    /// `servers` real servers, booted unprepared.
    pub fn new(servers: usize) -> Self {
        let uid = sh("id -u").out;
        assert_eq!(
            uid.trim(),
            "0",
            "these tests make network namespaces and need root: run `scripts/test --only realserver` as root"
        );
        let name = format!(
            "rs{}x{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let directory = PathBuf::from(format!("/tmp/tarpon-{name}"));
        fs::create_dir_all(&directory).unwrap();
        let mut lab = Self {
            name,
            directory,
            servers: vec![],
            director: None,
        };
        let n = &lab.name;
        let mut script = format!(
            "set -e\nip netns add {n}w\nip -n {n}w link add br0 type bridge mcast_snooping 0\nip -n {n}w link set br0 up\n"
        );
        // A DPDK port gets frames as they are: checksums are not left to a NIC that does not exist.
        for (role, number) in [("c", 1), ("d", 2)] {
            script.push_str(&format!(
                "ip netns add {n}{role}\nip -n {n}{role} link set lo up\n\
                 ip -n {n}w link add v{role} type veth peer name eth0 netns {n}{role} address 02:00:07:00:00:0{number}\n\
                 ip netns exec {n}{role} ethtool -K eth0 tx off tso off gso off >/dev/null\n\
                 ip -n {n}w link set v{role} master br0 up\nip -n {n}{role} link set eth0 addrgenmode none\nip -n {n}{role} link set eth0 up\n"
            ));
        }
        // The director's addresses are tarpond's, not the kernel's.
        script.push_str(&format!(
            "ip -n {n}c addr add 10.7.0.1/24 dev eth0\nip -n {n}c addr add fd07::1/64 dev eth0 nodad\nip -n {n}c addr add fe80::1/64 dev eth0 nodad\n\
             ip netns exec {n}d sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1\n"
        ));
        sh(&script).fine();
        for index in 0..servers {
            let directory = lab.directory.join(format!("s{index}"));
            fs::create_dir_all(&directory).unwrap();
            sh(&format!("cp -a /etc {0}/etc && rm -f {0}/etc/systemd/system/*.wants/firewalld.service {0}/etc/systemd/system/dbus-org.fedoraproject.FirewallD1.service {0}/etc/resolv.conf && mkdir {0}/lib && : > {0}/etc/resolv.conf", directory.display())).fine();
            // What makes a kernel talk about its addresses when a link comes up: the harder case.
            fs::write(
                directory.join("etc/sysctl.d/90-lab.conf"),
                "net.ipv4.conf.all.arp_notify = 1\nnet.ipv6.conf.all.ndisc_notify = 1\n",
            )
            .unwrap();
            let mut server = Server::new(&lab.name, index, directory);
            server.boot();
            lab.servers.push(server);
        }
        lab
    }

    /// The director starts: it alone answers for the VIPs, and sends their connections to the servers in turn.
    pub fn direct(&mut self, vips: &[&str]) {
        self.direct_by("route", vips);
    }

    /// The same by another forwarding method.
    pub fn direct_by(&mut self, method: &str, vips: &[&str]) {
        self.director = None;
        self.director = Some(Director::start(self, method, vips));
    }

    /// The director, once it has started.
    pub fn tarpond(&self) -> &Director {
        self.director.as_ref().expect("direct() was called")
    }

    /// `tarpon realserver probe ARGS` on the director, through the host's stack of its own.
    pub fn probe(&self, args: &str) -> Said {
        self.tarpond().tarpon(&format!("realserver probe {args}"))
    }

    pub fn client(&self, script: &str) -> Said {
        self.in_namespace("c", script)
    }

    fn in_namespace(&self, role: &str, script: &str) -> Said {
        Command::new("ip")
            .args([
                "netns",
                "exec",
                &format!("{}{role}", self.name),
                "sh",
                "-c",
                script,
            ])
            .stdin(Stdio::null())
            .output()
            .unwrap()
            .into()
    }

    /// `count` connections, one request each; how many were served, by server.
    pub fn requests(&self, url: &str, count: usize) -> Vec<usize> {
        let said = self.client(&format!("curl -s --max-time 20 --connect-timeout 3 -H 'Connection: close' 'http://{url}/[1-{count}]'", url = url.replace('[', "\\[").replace(']', "\\]")));
        (0..self.servers.len())
            .map(|i| {
                said.out
                    .lines()
                    .filter(|l| *l == format!("server {i}"))
                    .count()
            })
            .collect()
    }

    /// The fault of a server that answers: after asking, the client's neighbour cache has this MAC for `vip`.
    pub fn client_learns(&self, vip: &str) -> String {
        self.client(&format!(
            "ip neigh flush all; ping -c1 -W1 {vip} >/dev/null 2>&1; ip neigh show {vip}"
        ))
        .out
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.director = None;
        for server in &mut self.servers {
            server.power_off();
        }
        for role in ["c", "d", "w"] {
            // A guest's kernel is several processes; those it leaves when a test fails, by process id, found by namespace.
            sh(&format!(
                "for pid in $(ip netns pids {0}{role}); do kill -9 $pid; done; ip netns del {0}{role}",
                self.name
            ));
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The lines two dumps differ in.
pub fn difference(before: &str, after: &str) -> String {
    let (b, a): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let gone = b
        .iter()
        .filter(|l| !a.contains(l))
        .map(|l| format!("- {l}"));
    let new = a
        .iter()
        .filter(|l| !b.contains(l))
        .map(|l| format!("+ {l}"));
    gone.chain(new).collect::<Vec<_>>().join("\n")
}

#[track_caller]
pub fn identical(before: &str, after: &str) {
    assert!(!before.is_empty());
    assert!(
        before == after,
        "undo did not leave the machine as it was:\n{}",
        difference(before, after)
    );
}

#[track_caller]
pub fn wait_for(what: &str, there: impl FnMut() -> bool) {
    wait_within(Duration::from_secs(20), what, there);
}

#[track_caller]
pub fn wait_within(limit: Duration, what: &str, mut there: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !there() {
        assert!(Instant::now() < end, "{what} did not come up");
        sleep(Duration::from_millis(20));
    }
}

/// A file of the lab that holds `text`, for a server to read.
pub fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
