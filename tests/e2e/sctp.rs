//! SCTP: usrsctp's own programs, a stack of their own over raw sockets, since not every kernel has one. Associations are set up,
//! carry data both ways and end, through NAT and direct routing.

use crate::{
    lab::{
        Background, Lab, SERVERS,
        router::{Router, Setup, with_router},
        run,
        runner::Case,
    },
    service::{Family, Method, Protocol, Service},
};
use anyhow::{Context, Result, ensure};
use api::Connection;
use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

/// Where the package libusrsctp-examples has them.
const PROGRAMS: &str = "/usr/lib/usrsctp";
/// The port echo_server listens on.
const PORT: u16 = 7;

pub fn cases() -> Vec<Case> {
    // An IPv6 raw socket leaves its source to the kernel: a server with many addresses does not answer from its VIP.
    [
        (Method::Masq, Family::Ipv4),
        (Method::Masq, Family::Ipv6),
        (Method::Route, Family::Ipv4),
    ]
    .into_iter()
    .map(|(method, family)| {
        let service = Service {
            protocol: Protocol::Sctp,
            port: if method == Method::Masq { 1007 } else { PORT },
            server_port: PORT,
            ..Service::http(method, family)
        };
        Case::new(format!("sctp::{service}"), move || associations(service))
    })
    .collect()
}

fn associations(service: Service) -> Result<()> {
    with_router(&Setup::new(service.text()), |router| {
        let lab = router.lab();
        let _servers = serve(lab, service)?;
        let capture = Capture::begin(lab)?;
        let mut met = BTreeSet::new();
        for _ in SERVERS {
            met.insert(association(router, service)?);
        }
        ensure!(
            met.len() == SERVERS.len(),
            "three associations in turn met {met:?}"
        );
        capture.checked(SERVERS.len())?;
        match service.method {
            Method::Masq => capture.hides_the_servers(),
            _ => Ok(()),
        }
    })
}

/// echo_server on every real server. It answers by its kernel's main routes and speaks from every address it has, also of the other
/// family, of which the director knows nothing: under NAT all but the service's server goes, for direct routing there is the VIP
/// beside it, on an interface nobody asks for it.
fn serve(lab: &Lab, service: Service) -> Result<Vec<Background>> {
    let vip = service.vip();
    let mut running = Vec::new();
    for server in SERVERS {
        lab.text(server, "ip address flush dev wan", 5)?;
        let other = match service.family {
            Family::Ipv4 => "-6",
            Family::Ipv6 => "-4",
        };
        let flush = format!("ip {other} address flush dev lan scope global");
        lab.text(server, &flush, 5)?;
        if service.method == Method::Route {
            lab.text(server, &format!("ip address del {vip}/32 dev lo"), 5)?;
            lab.text(server, &format!("ip address add {vip}/32 dev lan"), 5)?;
            let back = format!("ip route add 198.51.100.0/24 dev wan src {vip}");
            lab.text(server, &back, 5)?;
        }
        running.push(lab.start(server, &format!("{PROGRAMS}/echo_server"))?);
        run::until("echo_server has no raw socket", 10, || {
            Ok(lab.text(server, "ss -Hwln", 5)?.contains(":132"))
        })?;
    }
    Ok(running)
}

/// One association from its beginning to its end; the server it met.
fn association(router: &Router<'_>, service: Service) -> Result<SocketAddr> {
    let mut client = Client::start(router.lab(), service)?;
    client.echoed("hello")?;
    let here = |c: &Connection| c.state == "ESTABLISHED";
    let server = listed(router, service, here).context("the association is not listed")?;
    let active = || {
        let servers = router.service(&service.address())?.servers;
        let found = servers.into_iter().find(|s| s.address == server.server);
        Ok::<_, anyhow::Error>(found.map(|s| s.active))
    };
    ensure!(active()? == Some(1), "{server:?} is not counted as active");
    for n in 0..200 {
        client.echoed(&format!("line {n} {}", "x".repeat(60)))?;
    }
    let said = client.end()?;
    for change in ["COMM_UP", "SHUTDOWN_COMP"] {
        ensure!(
            said.contains(change),
            "no {change}; the client said\n{said}"
        );
    }
    let over = |c: &Connection| c.client == server.client && c.state == "CLOSED";
    listed(router, service, over).context("the end is not seen")?;
    ensure!(active()? == Some(0), "{server:?} counts as active still");
    Ok(server.server)
}

/// The service's connection that is as it should be, once there is one.
fn listed(
    router: &Router<'_>,
    service: Service,
    wanted: impl Fn(&Connection) -> bool,
) -> Result<Connection> {
    let mut found = None;
    let mut all = String::new();
    let line = format!(
        "--json connections --protocol sctp --service {}",
        service.address()
    );
    let listed = run::until("no such connection", 5, || {
        all = router.tarpon(&line)?;
        for one in all.lines() {
            let connection: Connection = serde_json::from_str(one)?;
            found = found.take().or(Some(connection).filter(&wanted));
        }
        Ok(found.is_some())
    });
    listed.with_context(|| all)?;
    found.context("found above")
}

/// usrsctp's client: what it reads it sends, and what comes back it writes.
struct Client {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Client {
    fn start(lab: &Lab, service: Service) -> Result<Self> {
        let port = service.port;
        let line = format!("timeout 60 {PROGRAMS}/client {} {port}", service.vip());
        let mut child = lab
            .on("client", &line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("a pipe")?;
        Ok(Self {
            child,
            input,
            output: BufReader::new(output),
        })
    }

    /// Sends a line, which must come back.
    fn echoed(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("not ended")?;
        writeln!(input, "{line}")?;
        input.flush()?;
        let mut back = String::new();
        self.output.read_line(&mut back)?;
        ensure!(back.trim_end() == line, "sent `{line}`, got `{back}`");
        Ok(())
    }

    /// Ends the association; what the client says of it.
    fn end(mut self) -> Result<String> {
        self.input = None;
        let mut said = String::new();
        self.output.read_to_string(&mut said)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the client ended with {status}:\n{said}");
        Ok(said)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the client's wire carries of SCTP, and of the servers.
struct Capture<'a> {
    lab: &'a Lab,
    child: Child,
    file: PathBuf,
}

impl<'a> Capture<'a> {
    fn begin(lab: &'a Lab) -> Result<Self> {
        let file = lab.dir.join("sctp.pcapng");
        let line = format!("dumpcap -q -i wan -w {}", file.display());
        let child = lab
            .on("client", &line)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting dumpcap (package tshark)")?;
        let capture = Self { lab, child, file };
        // Dropped by the director, seen here.
        run::until("dumpcap does not capture", 10, || {
            run::end(&mut lab.on("client", "ping -c 1 -W 0.05 10.255.255.253"), 5)?;
            Ok(capture.matching("ip.dst == 10.255.255.253")? > 0)
        })?;
        Ok(capture)
    }

    /// How many frames match.
    fn matching(&self, filter: &str) -> Result<usize> {
        Ok(self.shown(filter)?.lines().count())
    }

    fn shown(&self, filter: &str) -> Result<String> {
        let line = format!(
            "tshark -o sctp.checksum:CRC-32C -r {} -Y",
            self.file.display()
        );
        // A capture that goes on may end within a frame.
        Ok(run::end(self.lab.on("client", &line).arg(filter), 30)?.stdout)
    }

    fn none(&self, filter: &str) -> Result<()> {
        let found = self.shown(filter)?;
        ensure!(found.is_empty(), "{filter}:\n{found}");
        Ok(())
    }

    /// Every association's last chunk is there; every CRC32c is right.
    fn checked(&self, associations: usize) -> Result<()> {
        run::until("not all was captured", 10, || {
            Ok(self.matching("sctp.chunk_type == 14")? == associations)
        })?;
        let right = self.matching("sctp.checksum.status == Good")?;
        let all = self.matching("sctp")?;
        ensure!(
            right == all && all > 400,
            "of {all} CRC32c {right} are right"
        );
        Ok(())
    }

    /// No real server's address, in a header or among those an endpoint tells of.
    fn hides_the_servers(&self) -> Result<()> {
        ensure!(self.matching("sctp.chunk_type == 2")? > 0, "no INIT ACK");
        self.none("ip.src == 10.1.0.0/24 or ip.dst == 10.1.0.0/24")?;
        self.none("ipv6.src == 2001:db8:2::/64 or ipv6.dst == 2001:db8:2::/64")?;
        self.none("sctp.parameter_ipv4_address == 10.1.0.0/24")?;
        self.none("sctp.parameter_ipv6_address == 2001:db8:2::/64")
    }
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
