//! The command line against the live daemon: every command, as a table and as JSON, and its refusals.

use crate::{
    lab::{
        clients,
        router::{Router, Setup, program, with_router},
        run,
        runner::Case,
    },
    service::{Family, Method, Service},
};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{fs, process::Command, thread};

const HTTP: Service = Service::http(Method::Masq, Family::Ipv4);

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("control::every_listing_as_table_and_json", listings),
        Case::new("control::services_and_servers_are_edited", editing),
        Case::new("control::check_and_apply_files", files),
        Case::new("control::capture_is_read_by_tshark", capture),
        Case::new("control::refusals_say_why", refusals),
        Case::new("control::a_script_of_ipvsadm_commands", ipvsadm),
    ]
}

fn listings() -> Result<()> {
    with_router(
        &Setup::new(HTTP.text() + &Service::http(Method::Route, Family::Ipv6).text()),
        |router| {
            HTTP.ask(router.lab(), 30)?;
            for (command, words) in [
                ("status", &[router.lab().name.as_str(), "worker"][..]),
                (
                    "services",
                    &[
                        "198.51.100.10:80",
                        "10.1.0.12:8080",
                        "rr",
                        "[2001:db8:1::20]:80",
                    ],
                ),
                ("connections", &["198.51.100.100", "10.1.0.13:8080"]),
                ("connections --limit 3", &["198.51.100.100"]),
                ("ports", &["wan", "lan", "net_af_packet"]),
                ("neighbours", &["10.1.0.12", "198.51.100.100"]),
                ("routes", &["198.51.100.0/24", "2001:db8:2::/64"]),
                ("counters", &["rx", "tx"]),
                ("counters --all", &["neighbour_queue_full"]),
            ] {
                let table = router.tarpon(command)?;
                for word in words {
                    ensure!(
                        table.contains(word),
                        "`tarpon {command}` does not show {word}:\n{table}"
                    );
                }
                let text = router.tarpon(&format!("--json {command}"))?;
                // A listing that streams prints one value a line.
                for value in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
                    value.with_context(|| format!("`tarpon --json {command}` printed:\n{text}"))?;
                }
            }
            let status: api::Status = router.ask("status")?;
            ensure!(
                status.services == 2 && status.servers == 6 && status.ports == 2,
                "{status:?}"
            );
            ensure!(
                status.connections.used > 0,
                "30 connections were made: {:?}",
                status.connections
            );
            let neighbours: Vec<api::Neighbour> = router.ask("neighbours")?;
            let rs1 = router.lab().mac("rs1", "lan")?;
            ensure!(
                neighbours
                    .iter()
                    .any(|n| n.mac.is_some_and(|m| m.to_string() == rs1)),
                "rs1's MAC {rs1} is not among {neighbours:?}"
            );
            Ok(())
        },
    )
}

fn editing() -> Result<()> {
    with_router(&Setup::new(String::new()), |router| {
        let lab = router.lab();
        let vip = HTTP.address();
        let shares = |n: usize| -> Result<Vec<usize>> {
            let answers = HTTP.ask(lab, n)?;
            let shares = clients::shares(&answers);
            Ok(["rs1", "rs2", "rs3"]
                .map(|s| shares.get(s).copied().unwrap_or(0))
                .to_vec())
        };
        router.tarpon(&format!("service add {vip} --protocol tcp --scheduler wrr"))?;
        router.tarpon(&format!(
            "server add {vip} {} --method masq --weight 1",
            HTTP.server(1)
        ))?;
        router.tarpon(&format!(
            "server add {vip} {} --method masq --weight 2",
            HTTP.server(2)
        ))?;
        ensure!(shares(9)? == [3, 6, 0], "weights 1 and 2");
        // As in IPVS, an edit that changes nothing begins wrr's pass anew: with the heaviest.
        for _ in 0..4 {
            let edit = format!("ipvsadm -e -t {vip} -r {} -m -w 2", HTTP.server(2));
            router.tarpon(&edit)?;
            ensure!(shares(1)? == [0, 1, 0], "the pass goes on after `{edit}`");
        }
        router.tarpon(&format!("server edit {vip} {} --weight 0", HTTP.server(1)))?;
        router.tarpon(&format!(
            "server add {vip} {} --method masq --weight 2",
            HTTP.server(3)
        ))?;
        ensure!(shares(10)? == [0, 5, 5], "rs1 quiesced, rs3 added");
        let said = router.tarpon("settings net.ipv4.vs.drop_entry=3 tcp_timeout=77")?;
        ensure!(said.contains("tcp_timeout"), "no change told: {said}");
        let shown: Vec<api::Setting> = router.ask("settings")?;
        let of = |name: &str| shown.iter().find(|s| s.name == name).map(|s| &s.value);
        ensure!(
            of("drop_entry") == Some(&3.into()) && of("tcp_timeout") == Some(&77.into()),
            "{shown:?}"
        );
        ensure!(
            router
                .tarpon("ipvsadm -L --timeout")?
                .contains("77 120 300"),
            "ipvsadm shows another timeout than 77"
        );
        let refused = router.tarpon("settings tcp_timeout=78 drop_entri=1");
        let why = refused.err().map(|e| format!("{e:#}")).unwrap_or_default();
        ensure!(why.contains("did you mean `drop_entry`"), "{why}");
        ensure!(
            router.tarpon("settings tcp_timeout")?.contains("77"),
            "half of a refused change was made"
        );
        router.tarpon(&format!("service edit {vip} --scheduler rr"))?;
        router.tarpon(&format!("server delete {vip} {}", HTTP.server(3)))?;
        ensure!(shares(4)? == [0, 4, 0], "rs2 alone is left to choose");
        let status: api::Status = router.ask("status")?;
        ensure!(
            !status.edits.is_empty(),
            "runtime edits are not told in the status"
        );
        let service = router.service(&vip)?;
        ensure!(service.traffic.connections == 27, "{:?}", service.traffic);
        router.tarpon("zero")?;
        ensure!(
            router.service(&vip)?.traffic.connections == 0,
            "zero left counts"
        );
        router.tarpon(&format!("service delete {vip}"))?;
        ensure!(
            router.service(&vip).is_err(),
            "the deleted service is listed"
        );
        let refused = run::end(
            &mut lab.on(
                "client",
                &format!("curl --silent --show-error --max-time 3 http://{vip}/"),
            ),
            10,
        )?;
        ensure!(refused.code != Some(0), "a deleted service serves");
        Ok(())
    })
}

/// The program by ipvsadm's name, as a script of LVS's calls it.
fn ipvsadm() -> Result<()> {
    with_router(&Setup::new(String::new()), |router| {
        let lab = router.lab();
        let vip = HTTP.address();
        let [one, two] = [HTTP.server(1), HTTP.server(2)];
        let link = lab.dir.join("ipvsadm");
        std::os::unix::fs::symlink(program("tarpon"), &link)?;
        let script = lab.dir.join("rules.sh");
        fs::write(
            &script,
            format!(
                "set -e\nipvsadm -C\nipvsadm -A -t {vip} -s wrr -p 60 -M 255.255.255.0\nipvsadm -E -t {vip} -s wrr\n\
                 ipvsadm -a -t {vip} -r {one} -m -x 100 -y 50\nipvsadm -a -t {vip} -r {two} -m -w 9\n\
                 ipvsadm -e -t {vip} -r {two} -m -w 2\nipvsadm --set 800 0 200\nipvsadm -S -n > {dir}/saved\nipvsadm -C\n\
                 ipvsadm -R < {dir}/saved\n",
                dir = lab.dir.display()
            ),
        )?;
        let shell = |line: &str| {
            let mut command = Command::new("sh");
            command
                .args(["-c", line])
                .env("TARPON_SOCKET", lab.dir.join("run/control.sock"))
                .env("PATH", format!("{}:/usr/bin:/bin", lab.dir.display()));
            run::end(&mut command, 20)
        };
        let ended = shell(&format!("sh {}", script.display()))?;
        ensure!(ended.code == Some(0), "the script failed: {}", ended.stderr);
        ensure!(
            fs::read_to_string(lab.dir.join("saved"))?
                == format!(
                    "-A -t {vip} -s wrr\n-a -t {vip} -r {one} -m -w 1 -x 100 -y 50\n-a -t {vip} -r {two} -m -w 2\n"
                ),
            "saved otherwise"
        );
        let answers = HTTP.ask(lab, 9)?;
        let shares = clients::shares(&answers);
        ensure!(
            shares.get("rs1") == Some(&3) && shares.get("rs2") == Some(&6),
            "weights 1 and 2: {shares:?}"
        );
        let listed = shell("ipvsadm -Ln")?.stdout;
        let expected = format!(
            "\nTCP  {vip} wrr\n  -> {one:<28} Masq    1      0          3         \n  -> {two:<28} Masq    2      0          6         \n"
        );
        ensure!(
            listed.ends_with(&expected),
            "listed:\n{listed}instead of{expected}"
        );
        ensure!(
            shell("ipvsadm -L --timeout")?.stdout == "Timeout (tcp tcpfin udp): 800 120 200\n",
            "timeouts"
        );
        let connections = shell("ipvsadm -Lnc")?.stdout;
        ensure!(connections.lines().count() == 2 + 9, "{connections}");
        let ended = shell(&format!("ipvsadm -A -t {vip}"))?;
        ensure!(
            ended.code == Some(255) && ended.stderr == "Service already exists\n",
            "{:?}: {}",
            ended.code,
            ended.stderr
        );
        let ended = shell(&format!("ipvsadm -d -t {vip} -r 10.1.0.99:80"))?;
        ensure!(
            ended.code == Some(255) && ended.stderr == "No such destination\n",
            "{:?}: {}",
            ended.code,
            ended.stderr
        );
        Ok(())
    })
}

fn files() -> Result<()> {
    with_router(&Setup::new(HTTP.text()), |router| {
        let good = fs::read_to_string(&router.config)?;
        let file = router.lab().dir.join("other.toml");
        let write = |text: &str| fs::write(&file, text).map(|()| file.display().to_string());
        let name = write(&(good.clone() + &Service { port: 81, ..HTTP }.text()))?;
        router.tarpon(&format!("check {name}"))?;
        ensure!(
            router.service("198.51.100.10:81").is_err(),
            "check changed something"
        );
        router.tarpon(&format!("apply {name}"))?;
        router.service("198.51.100.10:81")?;
        let name = write(
            &good
                .replace("rr", "rrr")
                .replace("10.1.0.12:8080", "10.1.0.12:80800"),
        )?;
        for verb in ["check", "apply"] {
            let ended = router.cli(&format!("{verb} {name}"))?;
            ensure!(
                ended.code == Some(1)
                    && ended.stderr.contains("rrr")
                    && ended.stderr.contains("80800"),
                "{verb} of two mistakes ended with {:?}: {}",
                ended.code,
                ended.stderr
            );
        }
        let name = write(
            &good
                .replace("mtu = 1500", "")
                .replace("workers = 1", "workers = 2"),
        )?;
        let ended = router.cli(&format!("apply {name}"))?;
        ensure!(
            ended.code == Some(1) && ended.stderr.contains("restart"),
            "workers changed: {:?}: {}",
            ended.code,
            ended.stderr
        );
        router
            .service("198.51.100.10:81")
            .context("a refused apply changed something")?;
        // A file is judged without a daemon, too.
        let ended = run::end(Command::new(program("tarpon")).args(["check", &name]), 10)?;
        ensure!(
            ended.code == Some(0),
            "check without a daemon: {}",
            ended.stderr
        );
        Ok(())
    })
}

fn capture() -> Result<()> {
    with_router(&Setup::new(HTTP.text()), |router| {
        let lab = router.lab();
        HTTP.ask(lab, 3)?;
        let file = lab.dir.join("capture.pcapng");
        let line = format!("capture -w {} --filter", file.display());
        thread::scope(|scope| -> Result<()> {
            let capturing = scope.spawn(|| {
                run::text(
                    router
                        .command(&line)
                        .arg("tcp and port 80 or port 8080")
                        .args(["--seconds", "4"]),
                    20,
                )
            });
            run::until("the capture's file is not there", 5, || Ok(file.exists()))?;
            thread::sleep(std::time::Duration::from_millis(500));
            HTTP.ask(lab, 3)?;
            capturing
                .join()
                .map_err(|_| anyhow::anyhow!("the capture panicked"))??;
            Ok(())
        })?;
        let read = |filter: &str| -> Result<usize> {
            let text = run::text(
                Command::new("tshark")
                    .arg("-r")
                    .arg(&file)
                    .args(["-Y", filter]),
                30,
            )?;
            Ok(text.lines().count())
        };
        // Three connections, seen as the client's and as the servers'.
        for (filter, expected) in [
            (
                "tcp.flags.syn==1 && tcp.flags.ack==0 && ip.dst==198.51.100.10",
                3,
            ),
            (
                "tcp.flags.syn==1 && tcp.flags.ack==0 && tcp.dstport==8080",
                3,
            ),
            ("http.request && ip.dst==198.51.100.10", 3),
            ("http.response && ip.src==198.51.100.10", 3),
            ("arp", 0),
        ] {
            let n = read(filter)?;
            ensure!(
                n == expected,
                "tshark finds {n} frames of `{filter}`, {expected} were expected"
            );
        }
        let interfaces = run::text(
            Command::new("tshark").arg("-r").arg(&file).args([
                "-T",
                "fields",
                "-e",
                "frame.interface_name",
            ]),
            30,
        )?;
        ensure!(
            interfaces.contains("wan") && interfaces.contains("lan"),
            "no interface names:\n{interfaces}"
        );
        Ok(())
    })
}

fn refusals() -> Result<()> {
    with_router(&Setup::new(HTTP.text()), |router: &Router<'_>| {
        for (line, code, word) in [
            (
                "service add 198.51.100.10:80 --protocol tcp",
                1,
                "198.51.100.10:80",
            ),
            ("service delete 198.51.100.77:80", 1, "198.51.100.77:80"),
            (
                "server delete 198.51.100.10:80 10.1.0.99:8080",
                1,
                "10.1.0.99:8080",
            ),
            (
                "server add 198.51.100.10:80 172.16.0.1:80 --method route",
                1,
                "172.16.0.1",
            ),
            (
                "service add 198.51.100.11:80 --protocol tcp --scheduler best",
                2,
                "best",
            ),
            (
                "service add not-an-address --protocol tcp",
                2,
                "not-an-address",
            ),
            ("servces", 2, "services"),
            ("connections --limit many", 2, "many"),
        ] {
            let ended = router.cli(line)?;
            ensure!(
                ended.code == Some(code) && ended.stderr.contains(word),
                "`tarpon {line}` ended with {:?} and said: {}",
                ended.code,
                ended.stderr
            );
        }
        let ended = run::end(
            Command::new(program("tarpon")).args(["--socket", "/nonexistent.sock", "status"]),
            10,
        )?;
        ensure!(
            ended.code == Some(3) && ended.stderr.contains("/nonexistent.sock"),
            "{:?}: {}",
            ended.code,
            ended.stderr
        );
        Ok(())
    })
}
