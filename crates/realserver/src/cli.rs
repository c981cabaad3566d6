//! The command line: `tarpon realserver ...`, or `tarpon-realserver ...` alone.

use crate::{
    action::ArpChains,
    ansible::ansible,
    error::Refusal,
    facts::Facts,
    live::{self, System, gather},
    needs::Need,
    others::{Platform, instructions},
    plan::{Plan, plan},
    report::{CheckOptions, ProbeOptions, Report, check, probe},
    request::{Boot, Method, Request},
    script::scripts,
};
use clap::Subcommand;
use serde::Serialize;
use std::{
    fs,
    io::{IsTerminal, Write},
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};
use types::{MacAddr, Protocol};

/// The arguments, to be mounted under any command.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

impl Args {
    /// No subcommand was given: a director lists what its servers need.
    #[must_use]
    pub const fn is_bare(&self) -> bool {
        self.command.is_none()
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print exactly what apply would run, and change nothing.
    Plan {
        #[command(flatten)]
        what: What,
        #[command(flatten)]
        place: Place,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Prepare this machine, now and for every boot. Again is no change.
    Apply {
        #[command(flatten)]
        what: What,
        #[command(flatten)]
        place: Place,
    },
    /// Verify by behaviour: frames are made to arrive here, and what this machine does with them is watched. Without --vip: what was applied.
    Check {
        #[command(flatten)]
        what: MaybeWhat,
        #[command(flatten)]
        place: Place,
        /// A client's address, to see which way its answers go.
        #[arg(long)]
        client: Option<IpAddr>,
        /// The director's address on this segment, which answers must not pass.
        #[arg(long)]
        director: Option<IpAddr>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take back what apply changed: all of it, or what concerns a VIP.
    Undo {
        /// Only these VIPs.
        #[arg(long)]
        vip: Vec<IpAddr>,
        #[command(flatten)]
        place: Place,
        /// Also where a file was changed since apply; the changed file is kept as NAME.tarpon-changed.
        #[arg(long)]
        force: bool,
    },
    /// Write stand-alone POSIX shell scripts (apply.sh, check.sh, undo.sh) for a server without this program.
    Script {
        #[command(flatten)]
        what: What,
        /// The directory to write them to.
        #[arg(long, default_value = ".")]
        out: PathBuf,
    },
    /// Write ansible tasks.
    Ansible {
        #[command(flatten)]
        what: What,
        /// The file to write; standard output if not given.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// From the director, over the wire: does the server answer ARP for the VIP, does it take the VIP's packets?
    Probe {
        /// The server's own address.
        #[arg(long, required_unless_present = "mac")]
        real_ip: Option<IpAddr>,
        /// Its MAC address, if it is not to be asked for.
        #[arg(long)]
        mac: Option<MacAddr>,
        /// The interface it is on; found by --real-ip if not given.
        #[arg(long, required_unless_present = "real_ip")]
        interface: Option<String>,
        /// A virtual address; repeat for more.
        #[arg(long, required = true)]
        vip: Vec<IpAddr>,
        /// A service's port; repeat for more.
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
        port: Vec<u16>,
        /// A service's protocol.
        #[arg(long, default_value = "tcp")]
        protocol: Vec<Protocol>,
        /// Then listen this many seconds for anyone who claims a VIP.
        #[arg(long, default_value_t = 0, value_name = "SECONDS")]
        listen: u64,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// The methods, what each costs and what it is for.
    Methods,
    /// What to type on a real server that does not run Linux.
    Instructions {
        /// The system.
        #[arg(long, value_enum)]
        system: Platform,
        #[command(flatten)]
        what: What,
    },
}

/// The four remedies for direct routing (and tunnelling and NAT), and where.
#[derive(Clone, Debug, clap::Args)]
struct What {
    /// sysctl: VIP on lo, no cost, services may bind the VIP. arptables: the same with the VIP on the interface, IPv4 only.
    /// iptables, firewalld, nftables: REDIRECT, simple, but every packet pays and ports cannot be reused. `methods` tells all.
    #[arg(long, value_enum, default_value = "sysctl")]
    method: Method,
    #[command(flatten)]
    rest: Rest,
}

#[derive(Clone, Debug, clap::Args)]
struct MaybeWhat {
    /// The method to check; what was applied if not given.
    #[arg(long, value_enum)]
    method: Option<Method>,
    #[command(flatten)]
    rest: Rest,
}

#[derive(Clone, Debug, clap::Args)]
struct Rest {
    /// A virtual address; repeat for more.
    #[arg(long)]
    vip: Vec<IpAddr>,
    /// A service's port; repeat for more.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Vec<u16>,
    /// A service's protocol.
    #[arg(long, default_value = "tcp")]
    protocol: Vec<Protocol>,
    /// The interface the director's frames arrive on (repeat for more; `all`: every one). Found if there is only one.
    #[arg(long)]
    interface: Vec<String>,
    /// The server's own address, which the director uses (arptables).
    #[arg(long)]
    real_ip: Option<Ipv4Addr>,
    /// The director's floating private address (nat).
    #[arg(long)]
    gateway: Option<IpAddr>,
    /// One service answers for all VIPs of a port (lifts REDIRECT's refusal).
    #[arg(long)]
    one_service: bool,
    /// Who brings it up at boot.
    #[arg(long, value_enum, default_value = "auto")]
    boot: Boot,
}

#[derive(Clone, Debug, clap::Args)]
struct Place {
    /// Prepare the system below this directory (an image, a chroot) for its next boot. Nothing that runs is touched.
    #[arg(long, default_value = "/", value_name = "DIR")]
    root: PathBuf,
    /// The same for this system, from inside: write files for the next boot, touch nothing that runs.
    #[arg(long)]
    files_only: bool,
    /// What this machine's arptables calls its chains; found out if not given.
    #[arg(long, value_enum)]
    arptables_chains: Option<ArpChains>,
}

impl Rest {
    fn request(self, method: Method) -> Request {
        let mut request = Request {
            method,
            vips: self.vip,
            ports: self.port,
            protocols: self.protocol,
            interfaces: self.interface,
            real_ip: self.real_ip,
            gateway: self.gateway,
            one_service: self.one_service,
            boot: self.boot,
        };
        keep_first(&mut request.vips);
        keep_first(&mut request.ports);
        keep_first(&mut request.protocols);
        keep_first(&mut request.interfaces);
        request
    }
}

/// Said twice is said once.
fn keep_first<T: PartialEq + Clone>(items: &mut Vec<T>) {
    let mut seen: Vec<T> = Vec::new();
    items.retain(|item| {
        let new = !seen.contains(item);
        if new {
            seen.push(item.clone());
        }
        new
    });
}

impl Place {
    fn system(&self) -> Result<System, Refusal> {
        if self.root == Path::new("/") {
            return Ok(System::new("/", self.files_only));
        }
        System::image(&self.root)
    }

    fn facts(&self, system: &System) -> Result<Facts, Refusal> {
        gather(system, self.arptables_chains)
    }
}

/// Run a command line. Exit code 0: done, or all well; 1: a check failed.
///
/// # Errors
/// Refusals, which changed nothing.
pub fn run(args: Args) -> Result<ExitCode, Refusal> {
    let Some(command) = args.command else {
        return bare();
    };
    match command {
        Command::Plan { what, place, json } => {
            let request = what.rest.request(what.method);
            let system = place.system()?;
            let facts = place.facts(&system)?;
            let mut requests = live::State::load(&system)
                .ok()
                .flatten()
                .map(|s| s.requests)
                .unwrap_or_default();
            if !requests.contains(&request) {
                requests.push(request);
            }
            let plan = plan(&requests, &facts)?;
            if json {
                print_json(&PlanView::new(&plan, &facts))?
            } else {
                say(&plan_text(&plan, &facts, what.method))?
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Apply { what, place } => {
            let request = what.rest.request(what.method);
            request.validate()?;
            let system = place.system()?;
            need_root("apply", &system)?;
            let facts = place.facts(&system)?;
            let (plan, changes) = live::apply(&system, request, &facts)?;
            print_changes(&changes, "nothing to change: all of it is in force")?;
            for note in &plan.notes {
                say(&format!("note: {note}\n"))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Undo { vip, place, force } => {
            let system = place.system()?;
            need_root("undo", &system)?;
            let facts = place.facts(&system)?;
            let changes = live::undo(&system, &vip, &facts, force)?;
            print_changes(&changes, "nothing had to be changed")?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Check {
            what,
            place,
            client,
            director,
            json,
        } => {
            let system = place.system()?;
            need_root("check", &system)?;
            let requests =
                match what.method {
                    Some(method) => vec![what.rest.request(method)],
                    None if what.rest.vip.is_empty() => live::State::load(&system)?
                        .map(|s| s.requests)
                        .unwrap_or_default(),
                    None => return Err(Refusal::Request(
                        "check --vip needs --method too; without both, what was applied is checked"
                            .into(),
                    )),
                };
            if requests.is_empty() {
                return Err(Refusal::Request(
                    "nothing was applied here; say --method and --vip to check all the same".into(),
                ));
            }
            for request in &requests {
                request.validate()?;
            }
            let facts = place.facts(&system)?;
            let report = check(
                &system,
                &requests,
                &facts,
                &CheckOptions { client, director },
            )?;
            print_report(&report, json)
        }
        Command::Probe {
            real_ip,
            mac,
            interface,
            vip,
            port,
            protocol,
            listen,
            json,
        } => {
            let system = System::new("/", false);
            need_root("probe", &system)?;
            let facts = gather(&system, None)?;
            let options = ProbeOptions {
                interface,
                real_ip,
                mac,
                vips: vip,
                ports: port,
                protocols: protocol,
                listen: Duration::from_secs(listen),
            };
            print_report(&probe(&options, &facts)?, json)
        }
        Command::Script { what, out } => {
            let (requests, plan) = elsewhere(what)?;
            let scripts = scripts(&requests, &plan);
            for (name, text) in [
                ("apply.sh", &scripts.apply),
                ("check.sh", &scripts.check),
                ("undo.sh", &scripts.undo),
            ] {
                let path = out.join(name);
                write_script(&path, text)?;
                say(&format!("{}\n", path.display()))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Ansible { what, out } => {
            let (requests, plan) = elsewhere(what)?;
            let text = ansible(&scripts(&requests, &plan));
            match out {
                Some(path) => fs::write(&path, text).map_err(Refusal::io(path))?,
                None => say(&text)?,
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Methods => {
            say(&methods())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Instructions { system, what } => {
            let request = what.rest.request(what.method);
            if request.method != Method::Nat || request.gateway.is_none() {
                request.validate()?;
            }
            say(&instructions(system, &request))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What is in force here, or how to begin.
fn bare() -> Result<ExitCode, Refusal> {
    match live::State::load(&System::new("/", false))? {
        Some(state) => {
            for r in &state.requests {
                let list = |items: Vec<String>| items.join(", ");
                let vips = list(r.vips.iter().map(ToString::to_string).collect());
                let ports = list(r.ports.iter().map(ToString::to_string).collect());
                let what = r
                    .gateway
                    .map_or(format!("VIPs {vips}"), |g| format!("gateway {g}"));
                say(&format!(
                    "method {}: {what}{}\n",
                    r.method.name(),
                    if ports.is_empty() {
                        String::new()
                    } else {
                        format!(", ports {ports}")
                    }
                ))?;
            }
            say("`check` verifies it by behaviour, `undo` takes it back.\n")?;
        }
        None => say(&format!("Nothing was applied here.\n\n{}", methods()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Print what servers need, as a director lists it.
///
/// # Errors
/// When standard output is gone.
pub fn print_needs(needs: &[Need], json: bool) -> Result<(), Refusal> {
    if json {
        return print_json(&needs);
    }
    if needs.is_empty() {
        return say("no virtual service has a real server\n");
    }
    let mut text = String::new();
    for need in needs {
        text.push_str(&format!(
            "{}  server {}  ({})\n    {}\n    there: {}\n",
            need.service, need.server, need.forwarding, need.needs, need.command
        ));
        if !need.probe.is_empty() {
            text.push_str(&format!("    here:  {}\n", need.probe));
        }
    }
    say(&text)
}

/// A plan for another machine.
fn elsewhere(what: What) -> Result<(Vec<Request>, Plan), Refusal> {
    let request = what.rest.request(what.method);
    let requests = vec![request];
    let plan = plan(&requests, &Facts::default())?;
    Ok((requests, plan))
}

/// An image is whose who may write its files.
fn need_root(what: &'static str, system: &System) -> Result<(), Refusal> {
    if system.has_root() || rustix::process::geteuid().is_root() {
        Ok(())
    } else {
        Err(Refusal::NotRoot(what))
    }
}

fn methods() -> String {
    let mut text = String::from(
        "How a real server is made to take the VIP's packets (apply --method ...):\n\n",
    );
    for method in Method::ALL {
        text.push_str(&format!("{}\n", method.name()));
        for line in fold(method.trade_off(), 96) {
            text.push_str(&format!("    {line}\n"));
        }
        text.push('\n');
    }
    text.push_str("Other systems (Windows, BSD): instructions --system ...\n");
    text
}

fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let full = lines
            .last()
            .is_some_and(|l| !l.is_empty() && l.len() + 1 + word.len() > width);
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

fn plan_text(plan: &Plan, facts: &Facts, method: Method) -> String {
    let mut text = String::new();
    for line in fold(method.trade_off(), 100) {
        text.push_str(&format!("# {line}\n"));
    }
    for step in &plan.steps {
        text.push_str(&format!("\n# {}\n", step.why));
        for command in step.action.commands(facts.chains) {
            text.push_str(&facts.fill(&command));
            text.push('\n');
        }
    }
    for note in &plan.notes {
        text.push_str(&format!("\n# Note: {note}\n"));
    }
    text
}

/// A plan for programs: each step with its commands filled in.
#[derive(Serialize)]
struct PlanView<'a> {
    steps: Vec<StepView<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct StepView<'a> {
    why: &'a str,
    commands: Vec<String>,
    action: &'a crate::action::Action,
}

impl<'a> PlanView<'a> {
    fn new(plan: &'a Plan, facts: &Facts) -> Self {
        let steps = plan
            .steps
            .iter()
            .map(|s| StepView {
                why: &s.why,
                commands: s
                    .action
                    .commands(facts.chains)
                    .iter()
                    .map(|c| facts.fill(c))
                    .collect(),
                action: &s.action,
            })
            .collect();
        Self {
            steps,
            notes: &plan.notes,
        }
    }
}

fn write_script(path: &Path, text: &str) -> Result<(), Refusal> {
    fs::write(path, text).map_err(Refusal::io(path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(Refusal::io(path))
}

/// Standard output may be a closed pipe (`| head`): that ends the program quietly, it is not a panic.
fn say(text: &str) -> Result<(), Refusal> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(Refusal::io("standard output"))
}

fn print_json<T: Serialize>(value: &T) -> Result<(), Refusal> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Refusal::Wire(e.to_string()))?;
    say(&format!("{text}\n"))
}

fn print_changes(changes: &[String], none: &str) -> Result<(), Refusal> {
    if changes.is_empty() {
        return say(&format!("{none}\n"));
    }
    for change in changes {
        // A file's whole content is for `plan`; here its name is enough.
        let line = change
            .lines()
            .next()
            .unwrap_or_default()
            .replace(" <<'EOF'", "");
        say(&format!("{line}\n"))?;
    }
    Ok(())
}

fn print_report(report: &Report, json: bool) -> Result<ExitCode, Refusal> {
    if json {
        print_json(report)?;
    } else {
        let mut text = report.text();
        if std::io::stdout().is_terminal() {
            text = text.replace("FAIL   ", "\u{1b}[31mFAIL\u{1b}[0m   ");
        }
        say(&text)?;
    }
    Ok(if report.failed() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
