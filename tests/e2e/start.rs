//! Starts that cannot be: each says what and why, ends with a failure, and leaves nothing behind.

use crate::{
    lab::{
        Lab, clients,
        router::{Router, Setup, program},
        run,
        runner::Case,
    },
    service::{Family, Method, Service},
};
use anyhow::{Result, ensure};
use std::{fs, path::Path};

const HTTP: Service = Service::http(Method::Masq, Family::Ipv4);

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("start::failures_say_what_and_why", failures),
        Case::new("start::one_daemon_per_socket", twice),
    ]
}

fn failures() -> Result<()> {
    let lab = Lab::up(&[])?;
    let good = Setup::new(HTTP.text()).text(&lab);
    let socket = lab.dir.join("run/control.sock").display().to_string();
    let hugepages = fs::read_to_string("/proc/meminfo")?;
    let none = hugepages
        .lines()
        .any(|l| l.starts_with("HugePages_Free:") && l.ends_with(" 0"));
    let mut mistakes = vec![
        (good.replace("iface=wan", "iface=nowhere"), "nowhere"),
        (
            good.replace("net_af_packet0", "net_af_paket0"),
            "net_af_paket0",
        ),
        (
            good.replace("device = \"net_af_packet0,", "device = \"0000:ff:1f.7\" #"),
            "0000:ff:1f.7",
        ),
        (good.replace("workers = 1", "workers = 300"), "300"),
        (good.replace("memory_mb = 256", "memory_mb = 1"), "memory"),
        (
            good.replace(&socket, "/proc/nowhere/control.sock"),
            "/proc/nowhere",
        ),
        (
            good.replace("scheduler = \"rr\"", "scheduler = \"rrr\""),
            "rrr",
        ),
        (String::from("[director\n"), "tarpon.toml:1"),
        (good.replace("10.1.0.1/24", "10.1.0.1/33"), "`/33`"),
    ];
    if none {
        mistakes.push((
            good.replace("memory_mb", "hugepages = \"require\"\nmemory_mb"),
            "hugepages",
        ));
    }
    for (text, word) in mistakes {
        ensure!(text != good, "the mistake about {word} is not in the file");
        let file = lab.dir.join("tarpon.toml");
        fs::write(&file, text)?;
        let line = format!(
            "{} --config {}",
            program("tarpond").display(),
            file.display()
        );
        let ended = run::end(&mut lab.on("router", &line), 30)?;
        let said = ended.stderr + &ended.stdout;
        ensure!(
            ended.code.is_some_and(|c| c != 0) && said.contains(word) && !said.contains("panicked"),
            "the mistake about {word} ended with {:?} and said:\n{said}",
            ended.code
        );
        ensure!(
            !Path::new("/var/run/dpdk").join(&lab.name).exists(),
            "the mistake about {word} left /var/run/dpdk/{}",
            lab.name
        );
        ensure!(
            !Path::new(&socket).exists(),
            "the mistake about {word} left a socket"
        );
    }
    let ended = run::end(
        &mut lab.on(
            "router",
            &format!(
                "{} --config /nonexistent.toml",
                program("tarpond").display()
            ),
        ),
        10,
    )?;
    ensure!(
        ended.code.is_some_and(|c| c != 0) && ended.stderr.contains("/nonexistent.toml"),
        "{:?}: {}",
        ended.code,
        ended.stderr
    );
    // After all that, a good start is not in the way of anything.
    let router = Router::start(&lab, &good)?;
    clients::follow(&HTTP.ask(&lab, 9)?, HTTP.cycle())?;
    router.stop()
}

/// A second daemon on the same socket is refused, and the first does not notice.
fn twice() -> Result<()> {
    let lab = Lab::up(&[])?;
    let router = Router::start(&lab, &Setup::new(HTTP.text()).text(&lab))?;
    let line = format!(
        "{} --config {}",
        program("tarpond").display(),
        router.config.display()
    );
    let ended = run::end(&mut lab.on("router", &line), 20)?;
    ensure!(
        ended.code.is_some_and(|c| c != 0) && ended.stderr.contains("control.sock"),
        "the second ended with {:?} and said:\n{}{}",
        ended.code,
        ended.stdout,
        ended.stderr
    );
    clients::follow(&HTTP.ask(&lab, 9)?, HTTP.cycle())?;
    router.stop()
}
