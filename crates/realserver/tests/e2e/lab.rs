//! A segment of namespaces: a client, the director (`tarpond`, see [`crate::director`]), real servers.
//!
//! A server is a network namespace and a mount namespace with an /etc, /run and /var/lib of its own, kept alive by a sleeping process.

use crate::director::Director;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
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

pub struct Server {
    pub lab: String,
    pub index: usize,
    pub directory: PathBuf,
    holder: Option<Child>,
    started: Vec<Child>,
    /// A script run in the namespace at each boot, before anything else: what the machine has that is not ours.
    pub hardware: String,
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
            let mut server = Server {
                lab: lab.name.clone(),
                index,
                directory,
                holder: None,
                started: vec![],
                hardware: String::new(),
            };
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

    /// Record ARP and neighbour discovery sent by a server.
    pub fn capture(&self, server: usize) -> Capture {
        let file = self
            .directory
            .join(format!("capture{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let out = fs::File::create(&file).unwrap();
        // Every port of the switch: they come and go with a server's boot, and a bridge shows only what it floods.
        let child = Command::new("ip")
            .args([
                "netns",
                "exec",
                &format!("{}w", self.name),
                "tcpdump",
                "-l",
                "-e",
                "-n",
                "-p",
                "-i",
                "any",
                "--immediate-mode",
            ])
            .arg("arp or (icmp6 and (ip6[40] == 135 or ip6[40] == 136))")
            .stdout(out)
            .stderr(Stdio::null())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(500));
        Capture {
            child,
            file,
            source: format!("{} ethertype", SERVERS[server].2),
        }
    }

    /// Somebody on the segment who never stops asking a server for `vips`, to it alone and to all.
    pub fn nag(&self, server: usize, vips: &[&str]) -> Nag {
        let script = self.directory.join("nag.py");
        fs::write(&script, include_str!("nag.py")).unwrap();
        let child = Command::new("ip")
            .args(["netns", "exec", &format!("{}c", self.name), "python3"])
            .arg(script)
            .args([CLIENT, CLIENT6, SERVERS[server].2])
            .args(vips)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(200));
        Nag(child)
    }
}

pub struct Nag(Child);

impl Drop for Nag {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Capture {
    child: Child,
    file: PathBuf,
    source: String,
}

/// ARP and neighbour discovery on the segment, one frame a line.
pub struct Heard {
    /// What the captured server sent.
    pub sent: Vec<String>,
    all: Vec<String>,
}

impl Heard {
    /// The MACs that said a VIP is theirs.
    pub fn claimants(&self, vip: &str) -> BTreeSet<String> {
        naming(&self.all, vip)
            .into_iter()
            .filter(|f| {
                f.contains(&format!("Reply {vip} is-at"))
                    || f.contains(&format!("neighbor advertisement, tgt is {vip}"))
            })
            .filter_map(|f| {
                f.split_whitespace()
                    .find(|w| w.len() == 17 && w.matches(':').count() == 5)
                    .map(str::to_owned)
            })
            .collect()
    }
}

impl Capture {
    /// Waits a moment for the last frames.
    pub fn stop(mut self) -> Heard {
        sleep(Duration::from_millis(400));
        let _ = self.child.kill();
        let _ = self.child.wait();
        let all: Vec<String> = fs::read_to_string(&self.file)
            .unwrap()
            .lines()
            .filter(|l| !l.contains(" Out "))
            .map(str::to_owned)
            .collect();
        let sent = all
            .iter()
            .filter(|l| l.contains(&self.source))
            .cloned()
            .collect();
        Heard { sent, all }
    }
}

/// Frames that name an address (`10.7.0.10` is not in `10.7.0.100`).
pub fn naming<'a>(frames: &'a [String], address: &str) -> Vec<&'a String> {
    frames
        .iter()
        .filter(|f| {
            f.split(|c: char| c.is_whitespace() || c == ',')
                .any(|w| w == address)
        })
        .collect()
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.director = None;
        for server in &mut self.servers {
            server.power_off();
        }
        for role in ["c", "d", "w"] {
            sh(&format!("ip netns del {}{role}", self.name));
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Server {
    pub fn namespace(&self) -> String {
        format!("{}s{}", self.lab, self.index)
    }

    pub fn etc(&self, path: &str) -> PathBuf {
        self.directory.join("etc").join(path)
    }

    /// A new network namespace with the link down, the same /etc and /var/lib.
    pub fn power_on(&mut self) {
        let (n, i) = (self.namespace(), self.index);
        let mac = SERVERS[i].2;
        sh(&format!(
            "set -e\nip netns add {n}\nip -n {0}w link add vs{i} type veth peer name eth0 netns {n} address {mac}\nip -n {0}w link set vs{i} master br0 up\nip netns exec {n} ethtool -K eth0 tx off tso off gso off >/dev/null\n\
             ip -n {n} link set eth0 addrgenmode none\nip -n {n} link set lo up",
            self.lab
        ))
        .fine();
        let d = self.directory.display();
        let ready = self.directory.join("ready");
        let _ = fs::remove_file(&ready);
        let script = format!(
            "mount --make-rprivate / && mount --bind {d}/etc /etc && mount --bind {d}/lib /var/lib && mount -t tmpfs none /run && mkdir -p /run/dbus /run/lock && : > {} && exec sleep 3600",
            ready.display()
        );
        self.holder = Some(
            Command::new("ip")
                .args(["netns", "exec", &n, "sh", "-c", &script])
                .stdin(Stdio::null())
                .spawn()
                .unwrap(),
        );
        wait_for("a server's namespaces", || ready.exists());
        if !self.hardware.is_empty() {
            let script = self.hardware.clone();
            self.run(&script).fine();
        }
    }

    pub fn power_off(&mut self) {
        for mut child in self.started.drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if self.holder.is_some() {
            // Whatever still runs there (a forked nginx worker): by process id, found by namespace.
            for pid in sh(&format!("ip netns pids {}", self.namespace()))
                .out
                .split_whitespace()
            {
                sh(&format!("kill -9 {pid}"));
            }
        }
        if let Some(mut holder) = self.holder.take() {
            let _ = holder.kill();
            let _ = holder.wait();
        }
        sh(&format!(
            "ip netns del {}; ip -n {}w link del vs{}",
            self.namespace(),
            self.lab,
            self.index
        ));
    }

    fn enter(&self, argv: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.holder_pid().to_string(), "-m", "-n", "--"])
            .args(argv)
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, script: &str) -> Said {
        self.enter(&["sh", "-c", script]).output().unwrap().into()
    }

    /// `tarpon-realserver ARGS` on the server.
    pub fn tarpon(&self, args: &str) -> Said {
        self.run(&format!(
            "{} {args}",
            env!("CARGO_BIN_EXE_tarpon-realserver")
        ))
    }

    /// Start something that stays.
    pub fn start(&mut self, argv: &[&str]) {
        let child = self
            .enter(argv)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.started.push(child);
    }

    /// nginx that says "server N" on each `listen`.
    pub fn nginx(&mut self, listen: &[&str]) {
        let name = format!("server {}", self.index);
        self.nginx_saying(listen, &name);
    }

    pub fn nginx_saying(&mut self, listen: &[&str], text: &str) {
        let tag = COUNT.fetch_add(1, Ordering::Relaxed).to_string();
        let conf = self.nginx_conf(&tag, listen, text);
        self.start(&["nginx", "-c", &conf.display().to_string()]);
        wait_for("nginx", || conf.with_file_name("pid").exists());
    }

    /// The configuration of an nginx that says `text`.
    pub fn nginx_conf(&self, tag: &str, listen: &[&str], text: &str) -> PathBuf {
        let d = self.directory.join(format!("nginx{tag}"));
        fs::create_dir_all(&d).unwrap();
        let p = d.display();
        let lines: String = listen.iter().map(|l| format!("listen {l};")).collect();
        let text = format!(
            "daemon off; worker_processes 1; pid {p}/pid; error_log {p}/error.log; user root;\nevents {{ worker_connections 512; }}\n\
             http {{ access_log off; client_body_temp_path {p}/a; proxy_temp_path {p}/b; fastcgi_temp_path {p}/c; uwsgi_temp_path {p}/d; scgi_temp_path {p}/e;\n\
             server {{ {lines} location / {{ default_type text/plain; return 200 \"{text}\\n\"; }} }} }}\n"
        );
        let conf = d.join("nginx.conf");
        fs::write(&conf, text).unwrap();
        conf
    }

    /// The process whose namespaces are the server.
    pub fn holder_pid(&self) -> u32 {
        self.holder.as_ref().expect("it is on").id()
    }

    /// D-Bus and firewalld, as their units would start them, with the http port open in the default zone.
    pub fn firewalld(&mut self) {
        self.run("mount --bind /dev/null /usr/share/dbus-1/system-services/org.freedesktop.PolicyKit1.service; mkdir -p /run/dbus").fine();
        self.start(&["dbus-daemon", "--system", "--nofork", "--nopidfile"]);
        wait_for("D-Bus", || {
            self.run("test -S /run/dbus/system_bus_socket").ok
        });
        self.start(&["firewalld", "--nofork", "--nopid"]);
        wait_for("firewalld", || self.run("firewall-cmd --state").ok);
    }

    /// Everything undo must leave as it was: addresses, links, routes, rules of every kind, sysctls, files.
    pub fn dump(&self) -> String {
        self.run(
            "exec 2>/dev/null; ip addr | sed 's/ state [A-Z]*//; s/<[A-Z_,]*>//; s/@if[0-9]*//'; ip route; ip -6 route; ip rule; \
             nft list ruleset | sed 's/packets [0-9]* bytes [0-9]*//'; arptables-legacy-save; (iptables-legacy-save; ip6tables-legacy-save) | grep -v '^#' | sed 's/\\[.*\\]//'; \
             sysctl -a -r '^net.ipv[46].conf' | grep -v stable_secret; \
             find /etc /var/lib/tarpon /usr/local/lib \\( -type f -exec md5sum {} + \\) -o -printf '%y %m %p %l\\n' | sort; find /etc -type f -printf '%m %p\\n' | sort",
        )
        .out
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
pub fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
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
