//! A real server: a network namespace and a mount namespace with an /etc, /run and /var/lib of its own, kept alive by a sleeping process.

use super::{COUNT, SERVERS, Said, sh, wait_for};
use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::Ordering,
};

pub struct Server {
    pub lab: String,
    pub index: usize,
    pub directory: PathBuf,
    holder: Option<Child>,
    started: Vec<Child>,
    /// A script run in the namespace at each boot, before anything else: what the machine has that is not ours.
    pub hardware: String,
}

impl Server {
    /// Switched off.
    pub(super) fn new(lab: &str, index: usize, directory: PathBuf) -> Self {
        Self {
            lab: lab.into(),
            index,
            directory,
            holder: None,
            started: vec![],
            hardware: String::new(),
        }
    }

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
