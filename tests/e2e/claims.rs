//! Who else claims a virtual address: a real server that is not silent about it, and another machine that has it, too.

use crate::{
    lab::{
        router::{Setup, with_router},
        run,
        runner::Case,
    },
    service::{Family, Method, Service},
};
use anyhow::{Result, ensure};
use std::collections::BTreeSet;

pub fn cases() -> Vec<Case> {
    vec![Case::new("claims::a_real_server_and_a_stranger", both)]
}

/// On one segment with everybody, as the director of direct routing often is.
fn both() -> Result<()> {
    let [four, six] =
        [Family::Ipv4, Family::Ipv6].map(|family| Service::http(Method::Route, family));
    let setup = Setup {
        one_arm: true,
        ..Setup::new(four.text() + &six.text())
    };
    with_router(&setup, |router| {
        let lab = router.lab();
        // What direct routing needs of a real server, forgotten on one.
        lab.text("rs2", "sysctl -w net.ipv4.conf.all.arp_ignore=0", 5)?;
        let add = format!("ip addr add {}/128 dev wan nodad", six.vip());
        lab.text("client", &add, 5)?;
        let of = |vip: &str, mac: String, server: &str| (vip.to_owned(), mac, server.to_owned());
        let wanted = BTreeSet::from([
            of(
                &four.vip(),
                lab.mac("rs2", "lan")?,
                "10.1.0.12 2001:db8:2::12",
            ),
            // Its own way back is on this segment, too.
            of(&four.vip(), lab.mac("rs2", "wan")?, ""),
            of(&six.vip(), lab.mac("client", "wan")?, ""),
        ]);
        let mut found = BTreeSet::new();
        run::until(&format!("claims are {wanted:?}"), 10, || {
            let status: api::Status = router.ask("status")?;
            let claims = status.claims.iter().map(|claim| {
                let servers: Vec<String> = claim.servers.iter().map(ToString::to_string).collect();
                of(
                    &claim.address.to_string(),
                    claim.mac.to_string(),
                    &servers.join(" "),
                )
            });
            found = claims.collect();
            Ok(found == wanted)
        })
        .map_err(|error| error.context(format!("found: {found:?}")))?;
        let shown = router.tarpon("status")?;
        ensure!(shown.contains("on wan, real server 10.1.0.12"), "{shown}");
        router.tarpon("ipvsadm -C")?;
        let mut events = String::new();
        run::until("claims are over with the addresses", 5, || {
            events = router.tarpon("events")?;
            Ok(events.matches("no longer claimed").count() == wanted.len())
        })
        .map_err(|error| error.context(events.clone()))?;
        for (vip, mac, _) in &wanted {
            let told = format!("{vip} is claimed by {mac}, too, on wan");
            ensure!(events.matches(&told).count() == 1, "{told}: {events}");
        }
        Ok(())
    })
}
