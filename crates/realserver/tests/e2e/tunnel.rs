//! Tunnelling to a server that decapsulates: a guest of user-mode Linux, for the kernel under test may have no tunnels.

use crate::lab::{Lab, VIP, VIP6, identical, naming, sh, wait_within};
use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// For each step of the guest, whose system calls are traced one by one: on a busy machine 20 s have not sufficed.
const PATIENCE: Duration = Duration::from_secs(90);

struct Guest {
    child: Child,
    directory: PathBuf,
}

impl Guest {
    /// Starts it in place of the lab's first server: that one's files, the segment's switch.
    fn start(lab: &Lab, mode: &str) -> Self {
        let server = &lab.servers[0];
        let directory = server.directory.clone();
        let init = include_str!("guest-init.sh")
            .replace("@dir@", &directory.display().to_string())
            .replace("@binary@", env!("CARGO_BIN_EXE_tarpon-realserver"))
            .replace("@vip@", VIP)
            .replace("@vip6@", VIP6);
        fs::write(directory.join("init"), init).unwrap();
        sh(&format!("chmod 755 {}/init", directory.display())).fine();
        let n = &lab.name;
        sh(&format!(
            "ip -n {n}w tuntap add uml0 mode tap; ip -n {n}w link set uml0 master br0 up"
        ))
        .fine();
        let line = format!(
            "exec linux.uml mem=192M rootfstype=hostfs root=none rw init={}/init tarpon={mode} uml_dir=/run con=null con0=null,null \
             vec0:transport=tap,ifname=uml0,mac=02:00:07:00:00:03",
            directory.display()
        );
        let child = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{n}w"))
            .args([
                "nsenter",
                "-t",
                &server.holder_pid().to_string(),
                "-m",
                "sh",
                "-c",
                &line,
            ])
            .env("TMPDIR", &directory)
            .stdin(Stdio::null())
            .stdout(fs::File::create(directory.join("kernel.log")).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, directory }
    }

    fn reached(&self, mark: &str) -> bool {
        self.directory.join(format!("at-{mark}")).exists()
    }

    fn await_mark(&self, mark: &str) {
        wait_within(
            PATIENCE,
            &format!("the guest's `{mark}` (its log: {})", self.log()),
            || self.reached(mark),
        );
    }

    fn go(&self, mark: &str) {
        fs::write(self.directory.join(format!("go-{mark}")), "").unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.join(name)).unwrap_or_default()
    }

    fn log(&self) -> String {
        self.read("guest.log")
    }

    /// Waits until it has switched itself off.
    fn off(mut self, lab: &Lab) {
        self.await_mark("end");
        fs::remove_file(self.directory.join("at-end")).unwrap();
        wait_within(PATIENCE, "the guest's end", || {
            matches!(self.child.try_wait(), Ok(Some(_)))
        });
        sh(&format!("ip -n {}w link del uml0", lab.name));
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Its processes are children of the kernel's own, which ends with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn a_server_that_decapsulates() {
    let mut lab = Lab::new(1);
    let server = &lab.servers[0];
    // The guest takes its place on the segment.
    server.run("ip link set eth0 down").fine();
    let conf = server.nginx_conf("guest", &["80", "[::]:80"], "server 0");
    fs::copy(conf, server.directory.join("guest-nginx.conf")).unwrap();
    sh(&format!(
        "sed -i 's/daemon off; //' {}/guest-nginx.conf",
        server.directory.display()
    ))
    .fine();
    lab.direct_by("tunnel", &[VIP, VIP6]);
    let bracketed = format!("[{VIP6}]");
    let urls = [VIP, bracketed.as_str()];

    let guest = Guest::start(&lab, "new");
    guest.await_mark("unprepared");
    for url in urls {
        assert_eq!(
            lab.requests(url, 1),
            [0],
            "an unprepared server does not decapsulate"
        );
    }
    let capture = lab.capture(0);
    let nag = lab.nag(0, &[VIP, VIP6]);
    guest.go("apply");
    guest.await_mark("applied");
    assert!(guest.reached("applied-well"), "{}", guest.log());
    assert!(guest.reached("checked-well"), "{}", guest.read("check"));
    for url in urls {
        assert_eq!(lab.requests(url, 500), [500], "{url}: {}", guest.log());
    }
    guest.go("undo");
    guest.off(&lab);
    let server = &lab.servers[0];
    identical(
        &fs::read_to_string(server.directory.join("before")).unwrap(),
        &fs::read_to_string(server.directory.join("after")).unwrap(),
    );

    let guest = Guest::start(&lab, "again");
    guest.await_mark("booted");
    assert!(
        guest.reached("checked-well-again"),
        "{}",
        guest.read("check-again")
    );
    for url in urls {
        assert_eq!(
            lab.requests(url, 500),
            [500],
            "{url} after a boot: {}",
            guest.log()
        );
    }
    drop(nag);
    let frames = capture.stop().sent;
    assert!(!frames.is_empty(), "the guest speaks ARP");
    for vip in [VIP, VIP6] {
        assert!(
            naming(&frames, vip).is_empty(),
            "{:?}",
            naming(&frames, vip)
        );
    }
    guest.go("off");
    guest.off(&lab);
}
