//! End to end: `tarpond` on real ports between network namespaces, real clients and servers, real TCP. `scripts/lab`
//! draws the wires; `scripts/test --only e2e` installs what is needed and runs this (as root).
//!
//! Whatever a case does, at its end every frame must be accounted for, SIGTERM must end the daemon in order, and nothing
//! may be left behind (`lab::router::Router::stop`).

#[path = "e2e/announce.rs"]
mod announce;
#[path = "e2e/bfd.rs"]
mod bfd;
#[path = "e2e/claims.rs"]
mod claims;
#[path = "e2e/client_certificates.rs"]
mod client_certificates;
#[path = "e2e/conflicts.rs"]
mod conflicts;
#[path = "e2e/connections.rs"]
mod connections;
#[path = "e2e/control.rs"]
mod control;
#[path = "e2e/crowd.rs"]
mod crowd;
#[path = "e2e/disorder.rs"]
mod disorder;
#[path = "e2e/drill.rs"]
mod drill;
#[path = "e2e/explain.rs"]
mod explain;
#[path = "e2e/failures.rs"]
mod failures;
#[path = "e2e/faults.rs"]
mod faults;
#[path = "e2e/floods.rs"]
mod floods;
#[path = "e2e/fragments.rs"]
mod fragments;
#[path = "e2e/ftp.rs"]
mod ftp;
#[path = "e2e/health.rs"]
mod health;
#[path = "e2e/host.rs"]
mod host;
#[path = "e2e/journal.rs"]
mod journal;
#[path = "e2e/keepalived.rs"]
mod keepalived;
mod lab;
#[path = "e2e/limits.rs"]
mod limits;
#[path = "e2e/linux.rs"]
mod linux;
#[path = "e2e/live.rs"]
mod live;
#[path = "e2e/load.rs"]
mod load;
#[path = "e2e/matrix.rs"]
mod matrix;
#[path = "e2e/nat_bench.rs"]
mod nat_bench;
#[path = "e2e/overload.rs"]
mod overload;
#[path = "e2e/pair.rs"]
mod pair;
#[path = "e2e/passive.rs"]
mod passive;
#[path = "e2e/pci.rs"]
mod pci;
#[path = "e2e/pktgen.rs"]
mod pktgen;
#[path = "e2e/pressure.rs"]
mod pressure;
#[path = "e2e/programs.rs"]
mod programs;
#[path = "e2e/removal.rs"]
mod removal;
#[path = "e2e/sctp.rs"]
mod sctp;
#[path = "e2e/service.rs"]
mod service;
#[path = "e2e/side_by_side.rs"]
mod side_by_side;
#[path = "e2e/sip.rs"]
mod sip;
#[path = "e2e/start.rs"]
mod start;
#[path = "e2e/sync.rs"]
mod sync;
#[path = "e2e/sync_lost.rs"]
mod sync_lost;
#[path = "e2e/takeover.rs"]
mod takeover;
#[path = "e2e/takeover_options.rs"]
mod takeover_options;
#[path = "e2e/takeovers.rs"]
mod takeovers;
#[path = "e2e/tell.rs"]
mod tell;
#[path = "e2e/throughput.rs"]
mod throughput;
#[path = "e2e/topology.rs"]
mod topology;
#[path = "e2e/tracking.rs"]
mod tracking;
#[path = "e2e/twin.rs"]
mod twin;
#[path = "e2e/unicast.rs"]
mod unicast;
#[path = "e2e/virtual_address.rs"]
mod virtual_address;
#[path = "e2e/virtual_mac.rs"]
mod virtual_mac;
#[path = "e2e/warm.rs"]
mod warm;
#[path = "e2e/watch.rs"]
mod watch;

use lab::runner::{self, Case, Company, Skip};
use std::process::ExitCode;

/// What bears what beside it, of the cases that do not bear everything.
const COMPANIES: [Company; 3] = [
    // They keep the processors busy for so many seconds however many there are, and only ask that nothing breaks.
    Company {
        names: &[
            "one_worker::load_masq_ipv4",
            "two_workers::load_masq_ipv4",
            "one_worker::load_",
            "two_workers::load_",
            "live::",
        ],
        lanes: 4,
    },
    // They wait most of the time, but judge how long something took.
    Company {
        names: &[
            "crowd::",
            "takeovers::with_keepalived",
            "keepalived::side_by_side",
            "takeover::keepalived_version_2",
            "bfd::",
            "conflicts::",
            "connections::",
            "disorder::",
            "drill::",
            "faults::",
            "health::",
            "keepalived::",
            "passive::",
            "sync::",
            "sync_lost::",
            "takeover::",
            "takeovers::",
            "tracking::",
            "unicast::",
            "warm::",
        ],
        lanes: 2,
    },
    // They fill the machine, or compare rates.
    Company {
        names: &[
            "floods::",
            "nat_bench::",
            "overload::",
            "pci::",
            "pktgen::",
            "pressure::",
            "throughput::",
        ],
        lanes: 1,
    },
];

fn main() -> ExitCode {
    let outcome = run();
    lab::settle();
    outcome
}

fn run() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("decap") {
        return match lab::decap::serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("decap: {error:#}");
                ExitCode::FAILURE
            }
        };
    }
    if std::env::args().nth(1).as_deref() == Some("measure-takeovers") {
        return takeovers::main(std::env::args().skip(2));
    }
    let mut cases = start::cases();
    for group in [
        matrix::cases,
        live::cases,
        faults::cases,
        control::cases,
        explain::cases,
        ftp::cases,
        sip::cases,
        sctp::cases,
        host::cases,
        health::cases,
        crowd::cases,
        keepalived::cases,
        side_by_side::cases,
        virtual_address::cases,
        virtual_mac::cases,
        claims::cases,
        failures::cases,
        client_certificates::cases,
        journal::cases,
        tell::cases,
        limits::cases,
        floods::cases,
        overload::cases,
        removal::cases,
        passive::cases,
        announce::cases,
        bfd::cases,
        fragments::cases,
        pressure::cases,
        programs::cases,
        topology::cases,
        sync::cases,
        sync_lost::cases,
        takeover::cases,
        takeovers::cases,
        tracking::cases,
        twin::cases,
        unicast::cases,
        warm::cases,
        disorder::cases,
        drill::cases,
        throughput::cases,
        pktgen::cases,
        conflicts::cases,
        connections::cases,
        nat_bench::cases,
        pci::cases,
    ] {
        cases.extend(group());
    }
    if !rustix::process::geteuid().is_root() {
        let skip = |case: Case| {
            case.replaced(|| Err(Skip("needs root: it makes network namespaces".into()).into()))
        };
        cases = cases.into_iter().map(skip).collect();
    }
    runner::main(cases, &COMPANIES)
}
