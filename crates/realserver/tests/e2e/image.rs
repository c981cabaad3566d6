//! `--root`: systems that do not run are prepared for their next boot, and taken back, by their files alone.

use crate::lab::{Lab, Said, Server, VIP, VIP6, identical, naming, sh, write};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

const BINARY: &str = env!("CARGO_BIN_EXE_tarpon-realserver");

/// A directory that is to become somebody's `/`; gone when dropped.
struct Image(PathBuf);

impl Drop for Image {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const TOOLS: &[&str] = &[
    "ip",
    "sysctl",
    "arptables",
    "arptables-save",
    "iptables",
    "iptables-save",
    "ip6tables",
    "ip6tables-save",
    "nft",
    "modprobe",
    "firewall-cmd",
];

fn service(image: &Image, name: &str, alias: &str) {
    write(
        &image.0.join(format!("usr/lib/systemd/system/{name}")),
        &format!("[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n{alias}"),
    );
}

impl Image {
    /// What both families have: merged /usr, programs behind absolute links, sysctl.d.
    fn new(name: &str) -> Self {
        // Tests beside each other make images of one name.
        static MADE: AtomicU32 = AtomicU32::new(0);
        let image = Self(PathBuf::from(format!(
            "/tmp/tarpon-image-{}-{}-{name}",
            std::process::id(),
            MADE.fetch_add(1, Ordering::Relaxed)
        )));
        let at = |p: &str| image.0.join(p);
        for directory in [
            "usr/sbin",
            "usr/lib/systemd/system",
            "etc/alternatives",
            "etc/sysctl.d",
            "etc/systemd/system/multi-user.target.wants",
            "var/lib",
        ] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        symlink("usr/sbin", at("sbin")).unwrap();
        symlink("usr/lib", at("lib")).unwrap();
        write(&at("usr/lib/systemd/systemd"), "");
        for tool in TOOLS {
            symlink(
                format!("/etc/alternatives/{tool}"),
                at(&format!("usr/sbin/{tool}")),
            )
            .unwrap();
        }
        image
    }

    fn debian() -> Self {
        let image = Self::new("debian");
        write(
            &image.0.join("etc/os-release"),
            "ID=debian\nVERSION_ID=12\n",
        );
        write(&image.0.join("etc/debian_version"), "12.11\n");
        write(
            &image.0.join("etc/nftables.conf"),
            "#!/usr/sbin/nft -f\nflush ruleset",
        );
        service(&image, "nftables.service", "");
        service(&image, "netfilter-persistent.service", "");
        service(&image, "firewalld.service", "");
        symlink(
            "/usr/lib/systemd/system/nftables.service",
            image
                .0
                .join("etc/systemd/system/multi-user.target.wants/nftables.service"),
        )
        .unwrap();
        image
    }

    fn red_hat() -> Self {
        let image = Self::new("redhat");
        write(&image.0.join("etc/os-release"), "ID=rhel\nVERSION_ID=9.4\n");
        write(
            &image.0.join("etc/redhat-release"),
            "Red Hat Enterprise Linux release 9.4\n",
        );
        write(
            &image.0.join("etc/sysconfig/iptables"),
            "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n",
        );
        write(
            &image.0.join("etc/sysctl.d/arp.conf"),
            "# ours to append to",
        );
        service(&image, "iptables.service", "");
        service(&image, "arptables.service", "");
        service(
            &image,
            "firewalld.service",
            "Alias=dbus-org.fedoraproject.FirewallD1.service\n",
        );
        image
    }

    fn tarpon(&self, args: &str) -> Said {
        sh(&format!("{BINARY} {args} --root {}", self.0.display()))
    }

    fn dump(&self) -> String {
        dump(&self.0)
    }
}

/// Every name, mode, link and content below a directory.
fn dump(root: &Path) -> String {
    sh(&format!(
        "cd {} && find . -printf '%y %m %p %l\\n' | sort && find . -type f -exec md5sum {{}} + | sort -k2",
        root.display()
    ))
    .fine()
}

fn arguments(method: &str, vip: &str) -> String {
    let real_ip = if method == "arptables" {
        "--real-ip 10.7.0.3"
    } else {
        ""
    };
    let port = if method == "tunnel" { "" } else { "--port 80" };
    format!("apply --method {method} --vip {vip} {port} --interface eth0 {real_ip}")
}

#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn debian_and_red_hat_images_are_prepared_and_taken_back() {
    // The machine the image is made on, which must not notice.
    let lab = Lab::new(1);
    let builder = &lab.servers[0];
    for image in [Image::debian(), Image::red_hat()] {
        for (method, vip, file) in [
            ("sysctl", VIP, "etc/sysctl.d/arp.conf"),
            (
                "sysctl",
                VIP6,
                "etc/systemd/system/tarpon-realserver-sysctl.service",
            ),
            (
                "arptables",
                VIP,
                "etc/systemd/system/tarpon-realserver-arptables.service",
            ),
            (
                "iptables",
                VIP,
                "etc/systemd/system/tarpon-realserver-iptables.service",
            ),
            ("nftables", VIP, "etc/tarpon/realserver.nft"),
            ("firewalld", VIP, "etc/firewalld/direct.xml"),
            (
                "tunnel",
                VIP,
                "etc/systemd/system/tarpon-realserver-tunnel.service",
            ),
        ] {
            let (before, running) = (image.dump(), builder.dump());
            let root = image.0.display();
            let apply = format!("{BINARY} {} --root {root}", arguments(method, vip));
            builder.run(&apply).fine();
            let again = builder.run(&apply).fine();
            assert!(again.contains("nothing to change"), "{method}: {again}");
            let prepared = fs::read_to_string(image.0.join(file)).unwrap();
            assert!(!prepared.contains('@'), "{method}: {prepared}");
            let check = image.tarpon("check");
            assert!(
                check.ok && !check.out.contains("FAIL"),
                "{method}: {check:?}"
            );
            fs::write(image.0.join(file), "").unwrap();
            let check = image.tarpon("check");
            assert_eq!(
                check.code,
                Some(1),
                "{method}: a lost file is missed: {check:?}"
            );
            fs::write(image.0.join(file), prepared).unwrap();
            image.tarpon("undo").fine();
            identical(&before, &image.dump());
            identical(&running, &builder.dump());
        }
    }
}

/// The image's files are what a server boots with.
#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn a_prepared_image_boots_silent_and_serving() {
    for method in ["sysctl", "arptables", "iptables", "nftables"] {
        let mut lab = Lab::new(1);
        lab.direct(&[VIP]);
        let server = &mut lab.servers[0];
        server.power_off();
        let root = server.directory.clone();
        symlink("/usr", root.join("usr")).unwrap();
        fs::create_dir_all(root.join("var")).unwrap();
        symlink("../lib", root.join("var/lib")).unwrap();
        let before = files(server);
        sh(&format!(
            "{BINARY} {} --root {}",
            arguments(method, VIP),
            root.display()
        ))
        .fine();
        let capture = lab.capture(0);
        let nag = lab.nag(0, &[VIP]);
        lab.servers[0].boot();
        drop(nag);
        let frames = capture.stop().sent;
        assert!(naming(&frames, VIP).is_empty(), "{method}: {frames:?}");
        lab.servers[0].nginx(&["80"]);
        assert_eq!(lab.requests(VIP, 100), [100], "{method}");
        let check = lab.servers[0].tarpon("check");
        assert!(check.ok, "{method}: {}{}", check.out, check.err);
        lab.servers[0].power_off();
        sh(&format!("{BINARY} undo --root {}", root.display())).fine();
        identical(&before, &files(&lab.servers[0]));
    }
}

fn files(server: &Server) -> String {
    dump(&server.directory.join("etc")) + &dump(&server.directory.join("lib"))
}

#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn what_is_no_system_is_refused() {
    let image = Image::debian();
    let empty = image.0.join("var/empty");
    fs::create_dir_all(&empty).unwrap();
    let before = image.dump();
    let refused = |root: &str, args: &str, words: &[&str]| {
        let said = sh(&format!("{BINARY} {args} --root {root}"));
        assert_eq!(said.code, Some(2), "{root}: {said:?}");
        for word in words {
            assert!(
                said.err.contains(word),
                "{root}: no `{word}` in {}",
                said.err
            );
        }
        identical(&before, &image.dump());
    };
    let root = image.0.display().to_string();
    let sysctl = arguments("sysctl", VIP);
    refused(
        &empty.display().to_string(),
        &sysctl,
        &["no Linux system is there"],
    );
    refused(&format!("{root}/nowhere"), &sysctl, &["No such file"]);
    refused(
        &format!("{root}/etc/os-release"),
        &sysctl,
        &["not a directory"],
    );
    refused(
        &root,
        &format!("apply --vip {VIP}"),
        &["--interface", "image"],
    );
    refused(
        &root,
        &format!("apply --method arptables --vip {VIP} --interface eth0"),
        &["--real-ip"],
    );
    refused(&root, "undo", &["nothing to undo"]);

    // A link that would lead a write out of the image.
    fs::remove_dir(image.0.join("etc/sysctl.d")).unwrap();
    symlink("/tmp", image.0.join("etc/sysctl.d")).unwrap();
    let before = image.dump();
    let said = image.tarpon(&sysctl);
    assert!(
        said.code == Some(2) && said.err.contains("leads out of --root"),
        "{said:?}"
    );
    identical(&before, &image.dump());

    // Somebody's direct rules cannot be merged while firewalld does not run; a missing tool is the image's, not ours.
    write(
        &image.0.join("etc/firewalld/direct.xml"),
        "<direct>\n  <rule ipv=\"ipv4\" table=\"filter\" chain=\"INPUT\" priority=\"0\">-p tcp -j ACCEPT</rule>\n</direct>\n",
    );
    let said = image.tarpon(&arguments("firewalld", VIP));
    assert!(
        said.code == Some(2) && said.err.contains("direct rule of somebody's"),
        "{said:?}"
    );
    fs::remove_file(image.0.join("usr/sbin/nft")).unwrap();
    let said = image.tarpon(&arguments("nftables", VIP));
    assert!(
        said.code == Some(2) && said.err.contains("`nft` is not installed"),
        "{said:?}"
    );
}
