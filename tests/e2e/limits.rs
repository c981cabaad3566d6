//! Who may connect, and how many may: real clients against `deny` and `client_rate_limit`, set and lifted while they connect.

use crate::{
    lab::{
        Lab,
        router::{Router, Setup, with_router},
        runner::Case,
    },
    service::{Family, Method, Service},
};
use anyhow::{Context, Result, ensure};
use rustix::net::{AddressFamily, SocketType};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

const HTTP: Service = Service::http(Method::Masq, Family::Ipv4);
const CLIENT: &str = "198.51.100.101";

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("limits::a_client_s_rate", rate),
        Case::new("limits::a_client_that_is_denied", denied),
    ]
}

/// So many clients' connections at once; how many are made before a SYN is repeated, which is after a second.
fn connect(lab: &Lab, n: usize) -> Result<usize> {
    let address: SocketAddr = HTTP.address().parse()?;
    lab.inside("client", || {
        let patience = Duration::from_millis(700);
        let tries =
            (0..n).map(|_| thread::spawn(move || TcpStream::connect_timeout(&address, patience)));
        let tries: Vec<_> = tries.collect();
        // Held until all have tried.
        let made: Vec<_> = tries.into_iter().map(thread::JoinHandle::join).collect();
        Ok(made.iter().filter(|one| matches!(one, Ok(Ok(_)))).count())
    })
}

fn apply(router: &Router<'_>, text: &str) -> Result<()> {
    fs::write(&router.config, text)?;
    router.tarpon(&format!("apply {}", router.config.display()))?;
    Ok(())
}

fn rate() -> Result<()> {
    const RATE: usize = 10;
    let service = Service {
        more: "client_rate_limit = 10",
        ..HTTP
    };
    with_router(&Setup::new(service.text()), |router| {
        let lab = router.lab();
        let begun = Instant::now();
        let made = connect(lab, 50)?;
        let most = RATE + begun.elapsed().as_millis() as usize * RATE / 1000 + 1;
        ensure!((RATE..=most).contains(&made), "{made} of 50 were let in");
        let refused = router.dropped("client_rate_limit")?;
        ensure!(
            refused >= 50 - made as u64,
            "{refused} refused, {made} let in"
        );
        let with = fs::read_to_string(&router.config)?;
        apply(router, &with.replace("client_rate_limit = 10", ""))?;
        let made = connect(lab, 50)?;
        ensure!(made == 50, "{made} of 50 without the limit");
        ensure!(router.dropped("client_rate_limit")? >= refused);
        Ok(())
    })
}

fn denied() -> Result<()> {
    with_router(&Setup::new(HTTP.text()), |router| {
        let lab = router.lab();
        let open = fs::read_to_string(&router.config)?;
        let mut stands = lab.inside("client", || from(CLIENT))?;
        apply(
            router,
            &format!("{open}\n[access]\ndeny = [\"{CLIENT}\", \"203.0.113.0/24\"]\n"),
        )?;
        let refused = lab.inside("client", || Ok(from(CLIENT).is_err()))?;
        ensure!(refused, "{CLIENT} was let in");
        ensure!(router.dropped("denied")? > 0);
        let flow = |client: &str| format!("explain tcp {client}:40000 > {}", HTTP.address());
        let explained = router.tarpon(&flow(CLIENT))?;
        ensure!(explained.contains("denied"), "{explained}");
        let other = router.tarpon(&flow("198.51.100.100"))?;
        ensure!(!other.contains("denied"), "{other}");
        ensure!(HTTP.ask(lab, 3)?.len() == 3, "others are served");
        // What stood before goes on.
        stands.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stands.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        apply(router, &open)?;
        lab.inside("client", || from(CLIENT))
            .context("after it was lifted")?;
        Ok(())
    })
}

/// A connection from this address of the client.
fn from(client: &str) -> Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddr::new(client.parse()?, 0))?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_write_timeout(Some(Duration::from_millis(700)))?;
    rustix::net::connect(&stream, &HTTP.address().parse::<SocketAddr>()?)?;
    Ok(stream)
}
