//! The director of the segment: `tarpond` itself with one port, direct routing, the host's stack on its TAP.

use crate::lab::{Lab, SERVERS, Said, sh, wait_for};
use serde_json::Value;
use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

pub struct Director {
    namespace: String,
    /// DPDK's own name for the instance.
    prefix: String,
    directory: PathBuf,
    child: Child,
}

/// A program of the workspace: in the directory the environment's `TARPON_PROGRAMS` names, else built beside this one.
fn program(name: &str) -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_tarpon-realserver")).with_file_name(name);
    let path =
        env::var_os("TARPON_PROGRAMS").map_or(beside, |directory| Path::new(&directory).join(name));
    assert!(
        path.exists(),
        "{} is not built; `scripts/test --only realserver` builds it, or cargo build -p tarpond -p tarpon",
        path.display()
    );
    path
}

impl Director {
    /// A service on port 80 of each VIP, over all the servers in turn.
    pub fn start(lab: &Lab, method: &str, vips: &[&str]) -> Self {
        let directory = lab.directory.join("director");
        fs::create_dir_all(&directory).unwrap();
        let mut text = format!(
            "[director]\nname = \"{name}\"\nfile_prefix = \"{name}\"\nsocket = \"{socket}\"\nhugepages = \"never\"\nmemory_mb = 128\n\
             connections = 65_536\nconnections6 = 65_536\n\
             [[port]]\nname = \"lvs\"\ndevice = \"net_af_packet0,iface=eth0,qpairs=1,blocksz=65536,framesz=2048,framecnt=4096\"\n\
             addresses = [\"10.7.0.2/24\", \"fd07::2/64\"]\n",
            name = lab.name,
            socket = directory.join("socket").display(),
        );
        for vip in vips {
            let v6 = vip.contains(':');
            let bracketed = if v6 {
                format!("[{vip}]")
            } else {
                (*vip).into()
            };
            text.push_str(&format!(
                "[[service]]\nprotocol = \"tcp\"\naddress = \"{bracketed}:80\"\nscheduler = \"rr\"\nmethod = \"{method}\"\n"
            ));
            for server in &SERVERS[..lab.servers.len()] {
                let address = if v6 { server.1 } else { server.0 };
                text.push_str(&format!("[[service.server]]\naddress = \"{address}\"\n"));
            }
        }
        let config = directory.join("tarpon.toml");
        fs::write(&config, text).unwrap();
        let namespace = format!("{}d", lab.name);
        let log = File::create(directory.join("log")).unwrap();
        let child = Command::new("ip")
            .args(["netns", "exec", &namespace])
            .arg(program("tarpond"))
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let director = Self {
            namespace,
            prefix: lab.name.clone(),
            directory,
            child,
        };
        wait_for("tarpond", || director.tarpon("status").ok);
        director
    }

    /// `tarpon ARGS` on the director.
    pub fn tarpon(&self, args: &str) -> Said {
        sh(&format!(
            "ip netns exec {} {} --socket {}/socket {args}",
            self.namespace,
            program("tarpon").display(),
            self.directory.display()
        ))
    }

    /// Packets of clients it has sent on to servers since it started.
    pub fn forwarded(&self) -> u64 {
        let services: Value = serde_json::from_str(&self.tarpon("--json services").fine()).unwrap();
        let of = |service: &Value| service["traffic"]["in_packets"].as_u64().unwrap();
        services.as_array().unwrap().iter().map(of).sum()
    }

    /// Deaf and dumb while `body` runs: a director that died, whose VIP nobody holds yet.
    pub fn silenced<T>(&self, body: impl FnOnce() -> T) -> T {
        let signal = |name: &str| sh(&format!("kill -{name} {}", self.child.id())).fine();
        signal("STOP");
        let result = body();
        signal("CONT");
        result
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        sh(&format!("kill -TERM {}", self.child.id()));
        for _ in 0..100 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(Path::new("/var/run/dpdk").join(&self.prefix));
    }
}
