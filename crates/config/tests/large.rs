//! A large installation's file is judged, compared and edited while somebody waits for it.

use config::{Config, diff};
use std::{fmt::Write, time::Instant};

/// 4000 services with 5 servers each, and 1000 routes.
fn large() -> String {
    let mut text = String::from(
        "[[port]]\nname = \"wan\"\ndevice = \"net_null0\"\naddresses = [\"10.0.0.1/8\"]\n\
         [[port]]\nname = \"lan\"\ndevice = \"net_null1\"\naddresses = [\"172.16.0.1/12\"]\n",
    );
    for n in 0..1000 {
        writeln!(
            text,
            "[[route]]\nto = \"192.{}.{}.0/24\"\nvia = \"172.16.0.2\"",
            n / 256,
            n % 256
        )
        .expect("text");
    }
    for n in 0..4000 {
        writeln!(
            text,
            "[[service]]\nprotocol = \"tcp\"\naddress = \"10.1.{}.{}:80\"",
            n / 250,
            n % 250 + 1
        )
        .expect("text");
        for m in 0..5 {
            writeln!(
                text,
                "[[service.server]]\naddress = \"172.{}.{}.{}\"",
                17 + m,
                n / 250,
                n % 250 + 1
            )
            .expect("text");
        }
    }
    text
}

#[test]
fn twenty_thousand_servers_are_judged_in_seconds() {
    let text = large();
    let begun = Instant::now();
    let config = Config::parse(&text, "large.toml").unwrap_or_else(|report| panic!("{report}"));
    let parsed = begun.elapsed();
    let other = config
        .edited(|c| {
            c.services.truncate(3999);
            Ok(())
        })
        .expect("less is allowed");
    let edited = begun.elapsed() - parsed;
    assert_eq!(diff(&config, &other).len(), 1);
    let all = begun.elapsed();
    println!(
        "{} bytes: parsed in {parsed:?}, edited in {edited:?}, compared in {:?}",
        text.len(),
        all - edited - parsed
    );
    assert!(all.as_secs() < 10, "{all:?}");
}
