//! A run that is killed anywhere: what it had done is known to the next one, which finishes it or takes it back. Two runs at once: one after the other.

use crate::lab::{Lab, Server, VIP, VIP2, identical};
use std::time::{Duration, Instant};

/// Moments tried for each method.
const STEPS: u32 = 16;

/// Starts the command and kills it after a time; whether it was still at it.
fn killed_after(server: &Server, args: &str, time: Duration) -> bool {
    let seconds = time.as_secs_f64();
    // 137: ended by SIGKILL. The program alone: the tool it is waiting for comes to its end.
    let said = server.run(&format!(
        "{} {args} & pid=$!; sleep {seconds}; kill -KILL $pid; wait $pid; code=$?; sleep 0.2; exit $code",
        env!("CARGO_BIN_EXE_tarpon-realserver")
    ));
    said.code == Some(137)
}

#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn apply_and_undo_killed_at_any_moment() {
    let lab = Lab::new(1);
    let server = &lab.servers[0];
    for method in ["sysctl", "arptables", "iptables", "nftables"] {
        let before = server.dump();
        let apply =
            format!("apply --method {method} --vip {VIP} --port 80 --interface eth0 --one-service");
        let other = format!(
            "apply --method {method} --vip {VIP2} --port 80 --interface eth0 --one-service"
        );
        // The whole of a run, of which each step below lets another part happen.
        let start = Instant::now();
        server.tarpon(&apply).fine();
        let whole = start.elapsed();
        server.tarpon("undo").fine();
        let mut cut_off = 0;
        for step in 0..STEPS {
            let time = whole * step / STEPS;
            cut_off += u32::from(killed_after(server, &apply, time));
            match step % 4 {
                // Taken back.
                0 => {}
                // Finished.
                1 => {
                    server.tarpon(&apply).fine();
                    let again = server.tarpon(&apply).fine();
                    assert!(
                        again.contains("nothing to change"),
                        "{method} {time:?}: {again}"
                    );
                }
                // Something else is wanted by now.
                2 => drop(server.tarpon(&other).fine()),
                // The undo is killed too.
                _ => {
                    server.tarpon(&apply).fine();
                    cut_off += u32::from(killed_after(server, "undo", time));
                }
            }
            let undone = server.tarpon("undo");
            assert!(
                undone.ok || undone.err.contains("nothing to undo"),
                "{method} {time:?}: {undone:?}"
            );
            identical(&before, &server.dump());
        }
        assert!(
            cut_off >= STEPS / 3,
            "{method}: only {cut_off} runs were cut off"
        );
    }
}

#[test]
#[ignore = "needs root: scripts/test --only realserver"]
fn two_at_once_wait_for_each_other() {
    let lab = Lab::new(1);
    let server = &lab.servers[0];
    for method in ["sysctl", "arptables", "nftables"] {
        let before = server.dump();
        let run = |vip: &str| {
            format!(
                "{} apply --method {method} --vip {vip} --port 80 --interface eth0 --one-service",
                env!("CARGO_BIN_EXE_tarpon-realserver")
            )
        };
        let said = server
            .run(&format!(
                "{} & one=$!; {} & two=$!; wait $one && wait $two",
                run(VIP),
                run(VIP2)
            ))
            .fine();
        assert!(
            !said.contains("nothing to change"),
            "{method}: each run had something to do: {said}"
        );
        let inspected = server.tarpon("");
        for vip in [VIP, VIP2] {
            assert!(
                inspected.out.contains(vip),
                "{method}: {vip} is recorded: {inspected:?}"
            );
            let again = server.tarpon(&format!(
                "apply --method {method} --vip {vip} --port 80 --interface eth0 --one-service"
            ));
            assert!(
                again.ok && again.out.contains("nothing to change"),
                "{method}: {again:?}"
            );
        }
        server.tarpon("undo").fine();
        identical(&before, &server.dump());
    }
}
