//! HTTPS servers that want to know who asks: nginx (`ssl_verify_client`), which tells strangers so in a page, and OpenSSL's server, which
//! ends the handshake. A check gets in with the right certificate, and says what is the matter without.

use crate::{
    failures::{certificates, shell},
    lab::{
        Lab,
        router::{Router, Setup, with_router},
        run,
        runner::Case,
    },
};
use anyhow::{Context, Result, bail, ensure};
use std::{fs, path::Path};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("client_certificates::of_a_check", of_a_check),
        Case::new("client_certificates::of_keepalived", of_keepalived),
    ]
}

/// rs1's ports that want a certificate.
const NGINX: u16 = 8443;
const OPENSSL: u16 = 8444;

/// A service's port, its server's, what its check shows, and what is said of the server; empty: it is up.
struct Asked(u16, u16, &'static str, &'static str);

const SERVICES: [Asked; 7] = [
    Asked(441, NGINX, "me", ""),
    Asked(
        442,
        NGINX,
        "",
        "status 400, not 200-299 (it may want a client certificate: `certificate` and `key`)",
    ),
    Asked(
        443,
        NGINX,
        "stranger",
        "status 400, not 200-299 (it may not accept the client certificate)",
    ),
    Asked(444, OPENSSL, "me", ""),
    // RFC 8446, 6.2: certificate_required, unknown_ca.
    Asked(
        445,
        OPENSSL,
        "",
        "TLS: received fatal alert: CertificateRequired",
    ),
    Asked(
        446,
        OPENSSL,
        "stranger",
        "TLS: received fatal alert: UnknownCA",
    ),
    Asked(
        447,
        NGINX,
        "nobody",
        "nobody.pem: no such file or directory",
    ),
];

/// rs1's two servers, the director's certificate (`me`), by the authority they trust, and one by nobody (`stranger`). nginx's own (`plain`)
/// and the director's have no extensions: of X.509's first version, as many in use.
fn servers(lab: &Lab) -> Result<crate::lab::Background> {
    certificates(lab)?;
    shell(
        lab,
        "exec 2>openssl.log; P='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
         openssl req $P -keyout me.key -out me.csr -subj /CN=lb.lab &&
         for name in me plain; do
             csr=$name.csr; [ $name = me ] || csr=www.csr
             openssl x509 -req -in $csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out $name.pem || exit 1
         done &&
         openssl req -x509 $P -keyout stranger.key -out stranger.pem -subj /CN=lb.lab -days 2",
    )?;
    let dir = lab.dir.display();
    let f = lab.dir.join("rs1");
    let f = f.display();
    fs::write(
        lab.dir.join("rs1/verify.conf"),
        format!(
            "user root;\nworker_processes 1;\npid {f}/v.pid;\nerror_log {f}/v.log;\nevents {{ worker_connections 512; }}\nhttp {{\n\
             access_log {f}/v.access;\nclient_body_temp_path {f}/v; proxy_temp_path {f}/v; fastcgi_temp_path {f}/v; uwsgi_temp_path {f}/v; scgi_temp_path {f}/v;\n\
             server {{ listen {NGINX} ssl; ssl_certificate {dir}/plain.pem; ssl_certificate_key {dir}/www.key;\n\
             ssl_client_certificate {dir}/ca.pem; ssl_verify_client on; return 200 \"hello $ssl_client_s_dn\"; }}\n}}\n"
        ),
    )?;
    lab.text(
        "rs1",
        &format!("nginx -e {f}/v.log -p {f} -c {f}/verify.conf"),
        10,
    )?;
    lab.start(
        "rs1",
        &format!(
            "openssl s_server -accept {OPENSSL} -www -quiet -cert {dir}/good.pem -key {dir}/www.key -CAfile {dir}/ca.pem -Verify 2 -verify_return_error"
        ),
    )
}

/// What each check of a service said last, in order; empty: that it is well.
fn said(router: &Router<'_>) -> Result<Vec<(bool, String)>> {
    let health: Vec<api::ServiceHealth> = router.ask("health")?;
    let mut all = Vec::new();
    for service in &health {
        let server = service.servers.first().context("a server")?;
        let check = server.checks.first().context("a check")?;
        let Some(last) = &check.last else {
            bail!("it has not been made");
        };
        all.push((server.up, last.reason.clone().unwrap_or_default()));
    }
    Ok(all)
}

fn of_a_check() -> Result<()> {
    let setup = Setup {
        host: true,
        ..Setup::new("")
    };
    with_router(&setup, |router| {
        let lab = router.lab();
        let _openssl = servers(lab)?;
        let mut text = fs::read_to_string(&router.config)?;
        for Asked(port, own, shown, _) in SERVICES {
            let shown = match shown {
                "" => String::new(),
                name => {
                    let path = lab.dir.join(name);
                    let path = path.display();
                    format!("certificate = \"{path}.pem\"\nkey = \"{path}.key\"\n")
                }
            };
            text += &format!(
                "[[service]]\nprotocol = \"tcp\"\naddress = \"198.51.100.10:{port}\"\nmethod = \"masq\"\nscheduler = \"rr\"\n\
                 [[service.check]]\ntype = \"https\"\n{shown}delay_loop = 0.3\ntimeout = 2\nretry = 0\nwarmup = 0.1\n\
                 [[service.server]]\naddress = \"10.1.0.11:{own}\"\n"
            );
        }
        fs::write(&router.config, text)?;
        router.tarpon("reload")?;
        let mut last = String::new();
        run::until("every check says what is the matter", 15, || {
            let all = said(router);
            last = format!("{all:?}");
            let all = all.unwrap_or_default();
            // A file of the director's that is not there says nothing about the server: it stays in.
            let fits = |(Asked(.., shown, why), (up, said)): (&Asked, &(bool, String))| {
                *up == (why.is_empty() || *shown == "nobody")
                    && (said.is_empty() == why.is_empty())
                    && said.ends_with(why)
            };
            Ok(all.len() == SERVICES.len() && SERVICES.iter().zip(&all).all(fits))
        })
        .with_context(|| last.clone())?;
        let shown = router.tarpon("health")?;
        ensure!(
            shown.contains("it may want a client certificate"),
            "{shown}"
        );
        // Those the check got in with are those nginx saw, and nobody else was let in.
        let access = fs::read_to_string(lab.dir.join("rs1/v.access"))?;
        ensure!(access.contains("\" 200 ") && access.contains("\" 400 "));

        // The certificate is renewed: files are read anew for each check, without a reload.
        shell(lab, "cp me.pem stranger.pem && cp me.key stranger.key")?;
        run::until("the renewed certificate is shown", 10, || {
            let all = said(router)?;
            let well = |at: usize| all.get(at).is_some_and(|(up, why)| *up && why.is_empty());
            Ok(well(2) && well(5))
        })?;
        stop_nginx(lab)
    })
}

fn stop_nginx(lab: &Lab) -> Result<()> {
    let pid = fs::read_to_string(lab.dir.join("rs1/v.pid"))?;
    lab.text("rs1", &format!("kill {}", pid.trim()), 5)?;
    Ok(())
}

/// keepalived's `SSL` block, and a file without.
fn its_file(directory: Option<&Path>) -> String {
    let block = directory.map_or_else(String::new, |d| {
        let d = d.display();
        format!("SSL {{\n    certificate {d}/me.pem\n    key {d}/me.key\n}}\n")
    });
    format!(
        "{block}virtual_server 198.51.100.10 443 {{\n    delay_loop 1\n    lb_algo rr\n    lb_kind NAT\n    protocol TCP\n    warmup 0\n\
         real_server 10.1.0.11 {NGINX} {{\n        weight 1\n        SSL_GET {{\n            url {{\n                path /\n                status_code 200\n            }}\n\
         connect_timeout 2\n            retry 0\n        }}\n    }}\n}}\n"
    )
}

fn of_keepalived() -> Result<()> {
    let lab = Lab::up(&[])?;
    let machine = Setup {
        host: true,
        ..Setup::new("")
    };
    let _openssl = servers(&lab)?;
    let its = its_file(Some(&lab.dir));
    let file = lab.dir.join("its.conf");
    fs::write(&file, &its)?;
    // The original finds nothing wrong with it.
    lab.text(
        "router",
        &format!("keepalived -t -f {}", file.display()),
        20,
    )?;
    let router = Router::start_keepalived(&lab, &machine.text(&lab), &its)?;
    let until = |up: bool, why: &str| {
        run::until(&format!("up {up}, {why:?}"), 10, || {
            let all = said(&router).unwrap_or_default();
            let fits = |(is_up, said): &(bool, String)| *is_up == up && said.starts_with(why);
            Ok(all.first().is_some_and(fits))
        })
    };
    until(true, "")?;
    fs::write(router.keepalived(), its_file(None))?;
    router.tarpon("reload")?;
    until(
        false,
        "status 400, not 200 (it may want a client certificate",
    )?;
    fs::write(router.keepalived(), its_file(Some(&lab.dir)))?;
    router.tarpon("reload")?;
    until(true, "")?;
    stop_nginx(&lab)?;
    router.stop()
}
