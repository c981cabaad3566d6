//! FTP: vsftpd on the real servers, curl and lftp as clients, active and passive, through NAT and by the direct-routing
//! recipe, IPv4 and IPv6.

use crate::{
    lab::{
        Background, Lab, SERVERS,
        hidden::hidden,
        router::{Router, Setup, with_router},
        run,
        runner::Case,
    },
    service::{FAMILIES, Family, Method, Service},
};
use anyhow::{Result, ensure};
use std::{fs, process::Command};

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for family in FAMILIES {
        for method in [Method::Masq, Method::Route] {
            let service = Service {
                port: 21,
                server_port: 21,
                ..Service::http(method, family)
            };
            cases.push(Case::new(format!("ftp::{service}"), move || files(service)));
        }
    }
    cases.push(Case::new("ftp::silent_control_connection", silent));
    cases
}

/// The passive ports of the servers behind direct routing.
const PASSIVE: &str = "10000-10100";

/// The tables of an FTP service: under NAT it is nothing special; else a mark for its control and data connections, with
/// persistence.
fn tables(service: Service) -> (String, String) {
    if service.method == Method::Masq {
        return (service.text(), String::new());
    }
    let vip = service.vip();
    let length = if service.family == Family::Ipv4 {
        32
    } else {
        128
    };
    let rule = format!(
        "[[mark]]\nmark = 21\nprotocol = \"tcp\"\ndestination = \"{vip}/{length}\"\nports = [20, 21, \"{PASSIVE}\"]\n\n"
    );
    let family = format!("{:?}", service.family).to_lowercase();
    let mut text = format!(
        "[[service]]\nmark = 21\nfamily = \"{family}\"\nscheduler = \"rr\"\nmethod = \"route\"\npersistent = 300\n"
    );
    for number in 1..=SERVERS.len() {
        let server = service.server(number);
        let ip = server.strip_suffix(":21").unwrap_or(&server);
        let ip = ip.trim_matches(['[', ']']);
        text += &format!("[[service.server]]\naddress = \"{ip}\"\n");
    }
    (text + "\n", rule)
}

/// vsftpd on every real server, each with a file that says which it is, and a place for uploads.
fn serve(lab: &Lab, service: Service) -> Result<Vec<Background>> {
    run::text(
        Command::new("mkdir").args(["-p", "/var/run/vsftpd/empty"]),
        5,
    )?;
    let mut running = Vec::new();
    for server in SERVERS {
        let root = lab.dir.join("ftp").join(server);
        let upload = root.join("upload");
        fs::create_dir_all(&upload)?;
        fs::write(root.join("name"), format!("{server}\n"))?;
        run::text(
            Command::new("cp").arg(lab.dir.join("www/big")).arg(&root),
            10,
        )?;
        run::text(Command::new("chmod").args(["-R", "a+rX"]).arg(&root), 5)?;
        run::text(Command::new("chmod").arg("a+rwx").arg(&upload), 5)?;
        let announced = match (service.method, service.family) {
            (Method::Route, Family::Ipv4) => {
                format!("pasv_address={}\n", service.vip())
            }
            _ => String::new(),
        };
        let config = lab.dir.join(format!("vsftpd-{server}.conf"));
        let (first, last) = PASSIVE.split_once('-').unwrap_or_default();
        fs::write(
            &config,
            format!(
                "listen=NO\nlisten_ipv6=YES\nanonymous_enable=YES\nlocal_enable=NO\nno_anon_password=YES\nanon_root={}\n\
                 write_enable=YES\nanon_upload_enable=YES\nanon_umask=022\nconnect_from_port_20=YES\nseccomp_sandbox=NO\nisolate_network=NO\n\
                 pasv_min_port={first}\npasv_max_port={last}\nbackground=NO\nsecure_chroot_dir=/var/run/vsftpd/empty\n{announced}",
                root.display()
            ),
        )?;
        running.push(lab.start(server, &format!("vsftpd {}", config.display()))?);
        run::until("vsftpd does not listen", 10, || {
            Ok(lab.text(server, "ss -Hltn sport = :21", 5)?.contains(":21"))
        })?;
    }
    Ok(running)
}

fn files(service: Service) -> Result<()> {
    let (services, more) = tables(service);
    let setup = Setup {
        more,
        ..Setup::new(services)
    };
    with_router(&setup, |router| {
        let lab = router.lab();
        let sum = lab.publish("big", 2)?;
        let _servers = serve(lab, service)?;
        let url = format!("ftp://{}", service.address());
        // Active: the client says its own address ("-" is the one it has); without EPRT it is PORT.
        let mut modes = vec!["", "--ftp-port -"];
        if service.family == Family::Ipv4 {
            modes.extend(["--disable-epsv", "--disable-eprt --ftp-port -"]);
        }
        let transfers = || {
            for mode in modes {
                session(router, &url, mode, &sum)?;
            }
            lftp(lab, &service, &sum)?;
            the_vip_is_announced(router, &service)
        };
        match service.method {
            Method::Masq => hidden(lab, transfers),
            _ => {
                transfers()?;
                why_tells_of_the_mark(router, &service)
            }
        }
    })
}

/// A passive data connection belongs to the service that catches it by its mark, whatever port it has.
fn why_tells_of_the_mark(router: &Router<'_>, service: &Service) -> Result<()> {
    let (client, vip) = match service.family {
        Family::Ipv4 => ("198.51.100.100:40000", service.vip().to_owned()),
        Family::Ipv6 => ("[2001:db8:1::100]:40000", format!("[{}]", service.vip())),
    };
    for port in ["", " on wan"] {
        let flow = format!("tcp {client} > {vip}:10050{port}");
        let why = run::text(router.command("why").arg(&flow), 10)?;
        ensure!(why.contains("\nservice mark 21"), "{why}");
    }
    Ok(())
}

/// Several commands on one control connection: a listing, which server it is, a file there and back.
fn session(router: &Router<'_>, url: &str, mode: &str, sum: &str) -> Result<()> {
    let lab = router.lab();
    let (got, name) = (lab.dir.join("got"), lab.dir.join("name"));
    // Each URL has an output of its own, or curl gives it the next one's; the upload is the first's.
    let line = format!(
        "curl --silent --show-error --fail --max-time 60 {mode} --upload-file {} --output /dev/null {url}/upload/ --output {} {url}/big --output {} {url}/name --output /dev/null {url}/",
        lab.dir.join("www/big").display(),
        got.display(),
        name.display(),
    );
    lab.text("client", &line, 60)?;
    ensure!(
        run::sha256(&got)? == sum,
        "curl {mode}: another file arrived"
    );
    let server = fs::read_to_string(&name)?;
    let uploaded = lab.dir.join("ftp").join(server.trim()).join("upload/big");
    ensure!(
        run::sha256(&uploaded)? == sum,
        "curl {mode}: another file was sent"
    );
    // Nobody may write over it: the next mode sends it anew.
    for server in SERVERS {
        let _ = fs::remove_file(lab.dir.join("ftp").join(server).join("upload/big"));
    }
    Ok(())
}

/// A client with several commands under way, passive and active.
fn lftp(lab: &Lab, service: &Service, sum: &str) -> Result<()> {
    for passive in ["on", "off"] {
        let script = lab.dir.join("lftp");
        let to = lab.dir.join("lftp-got");
        let _ = fs::remove_file(&to);
        let _ = fs::remove_file(lab.dir.join("lftp-got-again"));
        fs::write(
            &script,
            format!(
                "set net:timeout 10\nset net:max-retries 1\nset ftp:passive-mode {passive}\nset ftp:ssl-allow off\nset ftp:sync-mode off\n\
                 open ftp://{}\ncls\nget big -o {}\ncat name\nget big -o {}-again\nbye\n",
                service.address(),
                to.display(),
                to.display()
            ),
        )?;
        let said = lab.text("client", &format!("lftp -f {}", script.display()), 60)?;
        ensure!(said.contains("rs"), "lftp printed:\n{said}");
        ensure!(run::sha256(&to)? == sum, "lftp: another file arrived");
    }
    Ok(())
}

/// What the server says of where it listens shows the virtual address.
fn the_vip_is_announced(router: &Router<'_>, service: &Service) -> Result<()> {
    if (service.method, service.family) != (Method::Masq, Family::Ipv4) {
        return Ok(());
    }
    let line = format!(
        "curl --verbose --disable-epsv --max-time 20 --output /dev/null ftp://{}/name",
        service.address()
    );
    let ended = run::end(&mut router.lab().on("client", &line), 30)?;
    let announced = format!("({}", service.vip().replace('.', ","));
    ensure!(
        ended.code == Some(0) && ended.stderr.contains(&announced),
        "{}",
        ended.stderr
    );
    ensure!(!ended.stderr.contains("10,1,0,1"), "{}", ended.stderr);
    Ok(())
}

/// A control connection that is silent for longer than its timeout, while a file is under way: it is there when that is done.
fn silent() -> Result<()> {
    let service = Service {
        port: 21,
        server_port: 21,
        weights: &[1],
        ..Service::http(Method::Masq, Family::Ipv4)
    };
    let setup = Setup {
        more: "[settings]\ntcp_timeout = 2\n\n".into(),
        ..Setup::new(service.text())
    };
    with_router(&setup, |router| {
        let lab = router.lab();
        let sum = lab.publish("big", 2)?;
        let _servers = serve(lab, service)?;
        let url = format!("ftp://{}", service.address());
        let got = lab.dir.join("got");
        let line = format!(
            "curl --silent --show-error --fail --max-time 60 --limit-rate 400k --output {} {url}/big --output /dev/null {url}/name",
            got.display()
        );
        lab.text("client", &line, 60)?;
        ensure!(run::sha256(&got)? == sum, "another file arrived");
        ensure!(
            router.tarpon("connections --limit 10")?.contains(":21"),
            "the connection is not listed"
        );
        Ok(())
    })
}
