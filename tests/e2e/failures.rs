//! Every way a real server can fail, each found out within the time that the check promises, for that service alone; and nobody
//! is refused meanwhile but those who were on the dead server.

use crate::lab::{
    Background, Lab,
    router::{Router, Setup, with_router},
    run,
    runner::Case,
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

pub fn cases() -> Vec<Case> {
    vec![Case::new("failures::each_kind_is_found_out", each_kind)]
}

const TIMING: &str =
    "delay_loop = 0.3\ntimeout = 0.4\nretry = 1\ndelay_before_retry = 0.2\nwarmup = 0.1\n";
/// From a failure on until the server is out: the rest of `delay_loop`, the pause, and for a silent one two timeouts.
const REFUSED: Duration = Duration::from_millis(300 + 200);
const SILENT: Duration = Duration::from_millis(300 + 200 + 2 * 400);
/// What looking, and a busy machine, take on top.
const SLACK: Duration = Duration::from_millis(1500);

/// A service of two servers: protocol, its port, theirs, and its check.
struct Checked(&'static str, u16, u16, &'static str);

const SERVICES: [Checked; 5] = [
    Checked(
        "tcp",
        443,
        8443,
        "type = \"https\"\nhost = \"www.lab\"\nbody = \"^rs\"\nca = \"CA\"",
    ),
    Checked("tcp", 80, 8081, "type = \"http\"\nbody = \"^rs\""),
    Checked("tcp", 25, 2525, "type = \"smtp\""),
    Checked(
        "udp",
        53,
        53,
        "type = \"dns\"\nname = \"who.lab\"\nrecord = \"TXT\"",
    ),
    // A query for the same, as bytes; the answer has its identifier and no error.
    Checked(
        "udp",
        5353,
        53,
        "type = \"udp\"\npayload = \"4242 0100 0001 0000 0000 0000 03 77686f 03 6c6162 00 0010 0001\"\nreply = \"4242 XXX0\"",
    ),
];

fn text(lab: &Lab) -> String {
    let ca = lab.dir.join("ca.pem");
    let mut text = String::new();
    for Checked(protocol, port, own, check) in &SERVICES {
        let check = check.replace("CA", &ca.display().to_string());
        text += &format!(
            "[[service]]\nprotocol = \"{protocol}\"\naddress = \"198.51.100.10:{port}\"\nmethod = \"masq\"\nscheduler = \"rr\"\n\
             [[service.check]]\n{check}\n{TIMING}\
             [[service.server]]\naddress = \"10.1.0.11:{own}\"\n[[service.server]]\naddress = \"10.1.0.12:{own}\"\n"
        );
    }
    text
}

pub fn shell(lab: &Lab, line: &str) -> Result<()> {
    let line = format!("cd {} && {line}", lab.dir.display());
    run::text(Command::new("sh").args(["-c", &line]), 30)?;
    Ok(())
}

/// An authority, a certificate for www.lab, one that has expired, and one for whoever sends no name.
pub fn certificates(lab: &Lab) -> Result<()> {
    const EC: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    for line in [
        format!("openssl req -x509 {EC} -keyout ca.key -out ca.pem -subj /CN=lab -days 2"),
        format!("openssl req -x509 {EC} -keyout other.key -out other.pem -subj /CN=other -days 2"),
        format!("openssl req {EC} -keyout www.key -out www.csr -subj /CN=www.lab"),
        "echo subjectAltName=DNS:www.lab > names".to_owned(),
    ] {
        shell(lab, &format!("{line} 2>openssl.log"))?;
    }
    for (file, days) in [("good.pem", 2), ("expired.pem", 0)] {
        shell(
            lab,
            &format!(
                "openssl x509 -req -in www.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days {days} -extfile names -out {file} 2>openssl.log"
            ),
        )?;
    }
    Ok(())
}

/// What a server's second nginx answers, with which certificate.
fn configure(lab: &Lab, server: &str, certificate: &str, page: &str) -> Result<()> {
    let dir = lab.dir.display();
    let files = lab.dir.join(server);
    let text = format!(
        "user root;\nworker_processes 1;\npid {f}/f.pid;\nerror_log {f}/f.log;\nevents {{ worker_connections 512; }}\nhttp {{\n\
         access_log off;\ndefault_type text/plain;\nclient_body_temp_path {f}/f; proxy_temp_path {f}/f; fastcgi_temp_path {f}/f; uwsgi_temp_path {f}/f; scgi_temp_path {f}/f;\n\
         server {{ listen 8443 ssl default_server; ssl_certificate {dir}/other.pem; ssl_certificate_key {dir}/other.key; return 200 \"rs\"; }}\n\
         server {{ listen 8443 ssl; server_name www.lab; ssl_certificate {dir}/{certificate}; ssl_certificate_key {dir}/www.key; return 200 \"rs\"; }}\n\
         server {{ listen 8081; location / {{ {page} }} }}\n}}\n",
        f = files.display()
    );
    fs::write(files.join("f.conf"), text)?;
    Ok(())
}

fn nginx(lab: &Lab, server: &str, argument: &str) -> Result<()> {
    let files = lab.dir.join(server);
    let f = files.display();
    let line = format!("nginx -e {f}/f.log -p {f} -c {f}/f.conf {argument}");
    lab.text(server, &line, 10)?;
    Ok(())
}

fn smtp(lab: &Lab, server: &str) -> Result<Background> {
    lab.start(
        server,
        "python3 -W ignore -m smtpd -n -c DebuggingServer 0.0.0.0:2525",
    )
}

/// Which services have their second server up, in order, and why the others have not.
fn second_servers(router: &Router<'_>) -> Result<(Vec<bool>, String)> {
    let health: Vec<api::ServiceHealth> = router.ask("health")?;
    let mut up = Vec::new();
    let mut why = String::new();
    for service in &health {
        let second = service.servers.get(1).context("two servers")?;
        let check = second.checks.first().context("a check")?;
        ensure!(service.servers.first().is_some_and(|s| s.up), "rs1 is well");
        up.push(second.up && check.last.is_some());
        if let Some(reason) = check.last.as_ref().and_then(|run| run.reason.clone()) {
            why += &format!("{reason}\n");
        }
    }
    Ok((up, why))
}

/// Waits until exactly these services (by their place in [`SERVICES`]) have lost their second server; how long it took.
fn until_lost(router: &Router<'_>, lost: &[usize], reason: &str) -> Result<Duration> {
    let begun = Instant::now();
    let mut last = None;
    while begun.elapsed() < Duration::from_secs(12) {
        let (up, why) = second_servers(router)?;
        let found: Vec<usize> = (0..up.len()).filter(|n| !up[*n]).collect();
        if found == lost && why.contains(reason) {
            return Ok(begun.elapsed());
        }
        last = Some((found, why));
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("not lost are {lost:?} ({reason}) but {last:?}");
}

fn each_kind() -> Result<()> {
    // The authority is read by the check when it is made: it may come after the daemon's start.
    with_router(
        &Setup {
            host: true,
            ..Setup::new("")
        },
        |router| {
            let lab = router.lab();
            certificates(lab)?;
            let well = "return 200 \"rs\";";
            let mut mail = Vec::new();
            for server in ["rs1", "rs2"] {
                configure(lab, server, "good.pem", well)?;
                nginx(lab, server, "")?;
                mail.push(smtp(lab, server)?);
            }
            // Python takes a moment to listen.
            for server in ["10.1.0.11", "10.1.0.12"] {
                run::until("the mail server listens", 10, || {
                    let connect = format!("</dev/tcp/{server}/2525");
                    let mut bash = lab.on("rs3", "bash");
                    Ok(run::end(bash.args(["-c", &connect]), 5)?.code == Some(0))
                })?;
            }
            let before = fs::read_to_string(&router.config)?;
            fs::write(&router.config, before + &text(lab))?;
            router.tarpon("reload")?;
            until_lost(router, &[], "")?;

            let reload = |certificate: &str, page: &str| -> Result<()> {
                configure(lab, "rs2", certificate, page)?;
                nginx(lab, "rs2", "-s reload")
            };
            let promised = |what: &str, took: Duration, at_most: Duration| -> Result<()> {
                println!("    {what}: out after {} ms", took.as_millis());
                ensure!(took < at_most + SLACK, "{what}: out after {took:?}");
                Ok(())
            };
            let back = || until_lost(router, &[], "");

            reload("expired.pem", well)?;
            promised(
                "certificate expired",
                until_lost(router, &[0], "expired")?,
                REFUSED,
            )?;
            reload("good.pem", "return 200 \"maintenance\";")?;
            promised("wrong page", until_lost(router, &[1], "body")?, REFUSED)?;
            reload("good.pem", "return 503;")?;
            promised("status 503", until_lost(router, &[1], "503")?, REFUSED)?;
            let slow = lab.dir.join("www/slow");
            fs::write(&slow, "rs".repeat(100))?;
            reload(
                "good.pem",
                &format!(
                    "root {}; limit_rate 20; try_files /slow =404;",
                    lab.dir.join("www").display()
                ),
            )?;
            promised(
                "slow",
                until_lost(router, &[1], "no answer within 0.4 s")?,
                SILENT,
            )?;
            reload("good.pem", well)?;
            back()?;
            drop(mail.pop());
            promised("port closed", until_lost(router, &[2], "refused")?, REFUSED)?;
            mail.push(smtp(lab, "rs2")?);
            back()?;
            let pid = fs::read_to_string(lab.dir.join("rs2/dnsmasq.pid"))?;
            lab.text("rs2", &format!("kill -STOP {}", pid.trim()), 5)?;
            promised(
                "hanging, UDP",
                until_lost(router, &[3, 4], "no answer")?,
                SILENT,
            )?;
            lab.text("rs2", &format!("kill -CONT {}", pid.trim()), 5)?;
            back()?;
            lab.text("rs2", "ip link set lan down", 5)?;
            promised(
                "host gone",
                until_lost(router, &[0, 1, 2, 3, 4], "")?,
                SILENT,
            )?;
            lab.text("rs2", "ip link set lan up", 5)?;
            lab.text("rs2", "ip route replace default via 10.1.0.1", 5)?;
            back()?;
            Ok(())
        },
    )
}
