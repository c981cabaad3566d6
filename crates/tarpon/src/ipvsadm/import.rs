//! `tarpon convert ipvsadm`: saved commands as a configuration, without a daemon.

use super::{
    Refusal,
    grammar::{self, Dialect, Line},
    options::{Opt, Verb},
    perform::{engine, netmask, reference, scheduler, server},
};
use crate::{args::Global, failure::Failure, input, output, units::plural};
use config::{Config, EditError, Server, Service};
use serde_json::json;
use std::path::Path;
use types::Weight;

/// Prints the services of `file` as tables of a configuration file.
pub fn convert(global: &Global, file: &Path) -> Result<(), Failure> {
    let (name, text) = input::text(file)?;
    let (config, mistakes) = read(&text);
    let toml = config.without_machine_to_toml();
    if global.json {
        let mistakes = mistakes
            .iter()
            .map(|(line, text)| json!({ "line": line, "text": text }));
        let report = json!({ "file": name, "notes": mistakes.collect::<Vec<_>>() });
        output::text(&format!("{}\n", json!({ "toml": toml, "report": report })))?;
    } else {
        for (line, text) in &mistakes {
            eprintln!("{name}:{line}: {text}");
        }
        let servers = config.services.iter().map(|s| s.servers.len() as u64).sum();
        eprintln!(
            "{name}: {}, {}",
            plural(config.services.len() as u64, "service"),
            plural(servers, "server")
        );
        output::text(&toml)?;
    }
    let problems = config.service_problems();
    for problem in &problems {
        eprintln!("{}: {problem}", problem.path);
    }
    match mistakes.is_empty() && problems.is_empty() {
        true => Ok(()),
        false => Err(Failure::Said),
    }
}

/// What the commands come to, and the lines that came to nothing, with why.
fn read(text: &str) -> (Config, Vec<(usize, String)>) {
    let mut config = Config::default();
    let mut mistakes = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        if words.first().is_some_and(|word| word.ends_with("ipvsadm")) {
            words.remove(0);
        }
        if words.is_empty() || words.first().is_some_and(|word| word.starts_with('#')) {
            continue;
        }
        let done =
            grammar::parse(&words, Dialect::Saved).and_then(|line| apply(&mut config, &line));
        if let Err(refusal) = done {
            mistakes.push((number, refusal.message));
        }
    }
    (config, mistakes)
}

fn apply(config: &mut Config, line: &Line) -> Result<(), Refusal> {
    let wrong = |error: EditError| Refusal::refused(error.to_string());
    match line.verb {
        Verb::Clear => config.services.clear(),
        Verb::Set => {
            let [tcp, tcp_fin, udp] = line.timeouts;
            let settings = &mut config.settings;
            for (seconds, slot) in [
                (tcp, &mut settings.tcp_timeout),
                (tcp_fin, &mut settings.tcp_fin_timeout),
                (udp, &mut settings.udp_timeout),
            ] {
                if seconds != 0 {
                    *slot = seconds;
                }
            }
        }
        Verb::AddService => {
            let key = reference(line.target.ok_or_else(Refusal::no_command)?)?;
            let mut service = Service::new(key);
            let scheduler = scheduler(line)?;
            service.set_scheduler(Some(scheduler), Some(&line.scheduler_flags));
            service.one_packet = line.has(Opt::Ops);
            let netmask = netmask(line, key);
            let engine = engine(line)?.engine();
            service
                .set_persistence(line.persistent, netmask.as_deref(), Some(engine))
                .and_then(|()| config.add_service(service))
                .map_err(wrong)?;
        }
        Verb::AddServer => {
            let key = reference(line.target.ok_or_else(Refusal::no_command)?)?;
            let server = Server {
                tunnel: line.tunnel,
                weight: Weight(line.weight),
                upper_threshold: line.upper_threshold,
                lower_threshold: line.lower_threshold,
                ..Server::new(server(line)?, line.method)
            };
            config
                .service_mut(key)
                .and_then(|service| service.add_server(server))
                .map_err(wrong)?;
        }
        _ => {
            return Err(Refusal::usage(
                "not taken over: of saved commands -A and -a count, of scripts -C and --set too",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn a_saved_table_and_its_mistakes() {
        let (config, mistakes) = read(
            "# saved\n-A -t 192.0.2.10:80 -s wrr -p 300 -M 255.255.255.0\n-a -t 192.0.2.10:80 -r 10.0.0.11:8080 -m -w 3 -x 100 -y 50\n\
             -a -t 192.0.2.10:80 -r 10.0.0.12:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum\n/sbin/ipvsadm --set 600 0 0\n-A -f 7 -6 -s sh -b sh-port\n\
             -a -t 192.0.2.99:80 -r 10.0.0.11\n-A -t 192.0.2.10:80\n-A -u 192.0.2.10:5060 -s nosuch\n-Z\nhello\n",
        );
        let lines: Vec<usize> = mistakes.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [7, 8, 9, 10, 11], "{mistakes:?}");
        assert_eq!(config.settings.tcp_timeout, 600);
        let toml = config.without_machine_to_toml();
        for wanted in [
            "tcp_timeout = 600",
            "address = \"192.0.2.10:80\"",
            "scheduler = \"wrr\"",
            "persistent = 300",
            "netmask = \"255.255.255.0\"",
            "address = \"10.0.0.11:8080\"",
            "upper_threshold = 100",
            "tunnel = \"gue:6080:csum\"",
            "mark = 7",
        ] {
            assert!(toml.contains(wanted), "{wanted} is missing in\n{toml}");
        }
    }
}
