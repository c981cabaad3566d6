//! Real clients: curl, wrk, dig, iperf3, run on the lab's client node.

use super::{Lab, run};
use anyhow::{Context, Result, ensure};
use std::{collections::BTreeMap, fs};

/// `http://ADDRESS/PATH` for a service's address as `tarpon` writes it.
#[must_use]
pub fn url(service: &str, path: &str) -> String {
    format!("http://{service}/{path}")
}

/// `n` requests one after the other, each on a connection of its own, `from` this address; who answered each. No port of
/// the client's comes twice in a lab: a connection from a port used before would go on to the old one's server.
pub fn who_answers(lab: &Lab, service: &str, n: usize, from: Option<&str>) -> Result<Vec<String>> {
    let requests = lab.dir.join("requests");
    let interface = from.map_or_else(String::new, |a| format!("interface = {a}\n"));
    let lines: Vec<String> = lab
        .fresh_ports(n)
        .map(|port| {
            format!(
                "url = \"{}\"\nlocal-port = {port}\n{interface}header = \"Connection: close\"\nfail\nmax-time = 10\n",
                url(service, "")
            )
        })
        .collect();
    fs::write(&requests, lines.join("next\n"))?;
    let line = format!(
        "curl --silent --show-error --fail-early -K {}",
        requests.display()
    );
    let text = lab
        .text("client", &line, 120)
        .with_context(|| format!("{n} requests to {service}"))?;
    let answers: Vec<String> = text.lines().map(str::to_owned).collect();
    ensure!(
        answers.len() == n,
        "{n} requests to {service}, {} answers",
        answers.len()
    );
    Ok(answers)
}

/// One request; the body.
pub fn get(lab: &Lab, service: &str, path: &str) -> Result<String> {
    let line = format!(
        "curl --silent --show-error --fail --max-time 10 {}",
        url(service, path)
    );
    Ok(lab.text("client", &line, 30)?.trim().to_owned())
}

/// Downloads a published file; its SHA-256.
pub fn download(lab: &Lab, service: &str, name: &str) -> Result<String> {
    let to = lab.dir.join("downloaded");
    let mut command = lab.on(
        "client",
        "curl --silent --show-error --fail --max-time 100 -o",
    );
    command.arg(&to).arg(url(service, &format!("files/{name}")));
    run::text(&mut command, 120).with_context(|| format!("downloading {name} from {service}"))?;
    let sum = run::sha256(&to)?;
    fs::remove_file(to)?;
    Ok(sum)
}

/// `n` DNS questions one after the other, each from a port of its own; who answered each.
pub fn who_answers_dns(lab: &Lab, address: &str, n: usize) -> Result<Vec<String>> {
    let questions = lab.dir.join("questions");
    // Ports of its own: one that repeats would be an old connection, which goes on to its server.
    let source = if address.contains(':') {
        "2001:db8:1::100"
    } else {
        "198.51.100.100"
    };
    let lines = (20_000..)
        .take(n)
        .map(|port| format!("-b {source}#{port} who.lab TXT\n"));
    fs::write(&questions, lines.collect::<String>())?;
    let line = format!(
        "dig @{address} +short +tries=1 +time=5 +ignore -f {}",
        questions.display()
    );
    let text = lab.text("client", &line, 120)?;
    let answers: Vec<String> = text
        .lines()
        .map(|l| l.trim_matches('"').to_owned())
        .collect();
    ensure!(
        answers.len() == n && answers.iter().all(|a| a.starts_with("rs")),
        "{n} questions to {address}, {} answers: {:?}",
        answers.len(),
        shares(&answers)
    );
    Ok(answers)
}

/// How often each answered.
#[must_use]
pub fn shares(answers: &[String]) -> BTreeMap<&str, usize> {
    let mut shares = BTreeMap::new();
    for answer in answers {
        *shares.entry(answer.as_str()).or_default() += 1;
    }
    shares
}

/// Checks that the answers follow `cycle` over and over from its start.
pub fn follow(answers: &[String], cycle: &[&str]) -> Result<()> {
    for (at, (answer, expected)) in answers.iter().zip(cycle.iter().cycle()).enumerate() {
        ensure!(
            answer == expected,
            "request {at} was answered by {answer}, the scheduler says {expected} (cycle {cycle:?}); in all {:?}",
            shares(answers)
        );
    }
    Ok(())
}

/// As [`follow`], but the answers may begin anywhere in the cycle.
pub fn follow_from_anywhere(answers: &[String], cycle: &[&str]) -> Result<()> {
    let first = answers.first().map(String::as_str).unwrap_or_default();
    let start = cycle.iter().position(|name| *name == first).unwrap_or(0);
    let mut turned = cycle.to_vec();
    turned.rotate_left(start);
    follow(answers, &turned)
}

/// What `wrk` reports.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Requests answered a second.
    pub per_second: f64,
}

/// `connections` keep-alive connections for `seconds`; an error if any request had one.
pub fn wrk(lab: &Lab, service: &str, connections: u32, seconds: u32) -> Result<Load> {
    let line = format!(
        "wrk -t2 -c{connections} -d{seconds}s --timeout 10s {}",
        url(service, "")
    );
    let text = lab.text("client", &line, u64::from(seconds) + 30)?;
    ensure!(
        !text.contains("Socket errors") && !text.contains("Non-2xx"),
        "wrk met errors:\n{text}"
    );
    let number = |before: &str, after: &str| {
        text.lines()
            .find_map(|l| {
                l.trim()
                    .strip_prefix(before)?
                    .split(after)
                    .next()?
                    .trim()
                    .parse()
                    .ok()
            })
            .with_context(|| format!("wrk printed:\n{text}"))
    };
    let per_second: f64 = number("Requests/sec:", "\n")?;
    let requests: f64 = number("", " requests in")?;
    ensure!(requests > 0.0, "wrk got no answer:\n{text}");
    Ok(Load { per_second })
}

/// Received megabits a second by iperf3 over one TCP connection; `options` as `-R` for the other way.
pub fn iperf3(lab: &Lab, server: &str, address: &str, seconds: u32, options: &str) -> Result<f64> {
    let _server = lab.start(server, "iperf3 -s -1")?;
    run::until("iperf3's server does not listen", 5, || {
        Ok(lab
            .text(server, "ss -Hltn sport = :5201", 5)?
            .contains("5201"))
    })?;
    let line = format!("iperf3 -J -c {address} -t {seconds} {options}");
    let text = lab.text("client", &line, u64::from(seconds) + 20)?;
    let report: serde_json::Value = serde_json::from_str(&text)?;
    let bits = report["end"]["sum_received"]["bits_per_second"]
        .as_f64()
        .with_context(|| format!("iperf3 printed:\n{text}"))?;
    ensure!(bits > 0.0, "iperf3 moved nothing:\n{text}");
    Ok(bits / 1e6)
}
