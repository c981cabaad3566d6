//! Each kind of check against real sockets on loopback.

use super::*;
use health::{Bind, Http, Pattern, Script, Timing, Tls, Udp, reply::Expected};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use std::{path::PathBuf, sync::Arc, time::Instant};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
};

/// Runs `test` on a runtime like the daemon's.
fn on_runtime<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(tokio::task::LocalSet::new().run_until(test))
}

fn check(kind: Kind) -> Check {
    Check {
        kind,
        timing: Timing {
            timeout: Duration::from_millis(400),
            ..Timing::default()
        },
        address: None,
        port: None,
        bind: Bind::default(),
        aim: None,
        detour: None,
    }
}

const fn tcp() -> Kind {
    Kind::Tcp {
        send: None,
        expect: None,
    }
}

fn failed(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Failed(why) => why,
        other => panic!("{other:?}"),
    }
}

/// A server that waits for something (unless it speaks first), says `answer` and closes; its address.
async fn says(answer: &'static str, first: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::task::spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            if !first {
                let _ = stream.read(&mut buffer).await;
            }
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

/// A port nobody listens on.
fn closed() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

#[test]
fn tcp_connects_or_says_why_not() {
    on_runtime(async {
        let server = says("", true).await;
        assert_eq!(run(&check(tcp()), server).await, Outcome::PASSED);
        let outcome = run(&check(tcp()), closed()).await;
        assert_eq!(failed(&outcome), "connection refused");
        let mut bound = check(tcp());
        bound.bind.address = "192.0.2.77".parse().ok();
        let outcome = run(&bound, server).await;
        assert!(matches!(outcome, Outcome::Undecided(_)), "{outcome:?}");
    });
}

#[test]
fn what_is_said_must_match() {
    on_runtime(async {
        let server = says("+PONG\r\n", false).await;
        let kind = |expect: &str| Kind::Tcp {
            send: Some("PING\r\n".into()),
            expect: expect.parse().ok(),
        };
        assert_eq!(run(&check(kind("^\\+PONG")), server).await, Outcome::PASSED);
        let outcome = run(&check(kind("NO")), server).await;
        assert!(failed(&outcome).contains("+PONG"), "{outcome:?}");
    });
}

#[test]
fn a_silent_server_costs_the_timeout_and_no_more() {
    on_runtime(async {
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = silent.local_addr().expect("an address");
        let begun = Instant::now();
        let outcome = run(&check(Kind::Http(Http::default())), address).await;
        assert_eq!(failed(&outcome), "no answer within 0.4 s");
        let took = begun.elapsed();
        assert!((400..800).contains(&took.as_millis()), "{took:?}");
    });
}

#[test]
fn http_is_judged() {
    on_runtime(async {
        let server = says("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell", false).await;
        let http = |body: Option<Pattern>| {
            Kind::Http(Http {
                body,
                ..Http::default()
            })
        };
        assert_eq!(
            run(&check(http("well".parse().ok())), server).await,
            Outcome::PASSED
        );
        assert!(matches!(
            run(&check(http("ill".parse().ok())), server).await,
            Outcome::Failed(_)
        ));
        let server = says("HTTP/1.0 503 no\r\n\r\n", false).await;
        let outcome = run(&check(http(None)), server).await;
        assert_eq!(failed(&outcome), "status 503, not 200-299");
    });
}

/// A directory that goes with the value.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tarpon-probe-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An HTTPS server for `www.example` alone, whose certificate `ca` is its own authority.
async fn https(expired: bool) -> (SocketAddr, String) {
    https_for(expired, None).await
}

/// The same, for clients with this certificate only.
async fn https_for(expired: bool, client: Option<CertificateDer<'static>>) -> (SocketAddr, String) {
    let mut parameters = rcgen::CertificateParams::new(vec!["www.example".into()]).expect("a name");
    if expired {
        parameters.not_after = rcgen::date_time_ymd(2001, 1, 1);
        parameters.not_before = rcgen::date_time_ymd(2000, 1, 1);
    }
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let private = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions");
    let builder = match client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(client).expect("an authority");
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
                Arc::new(roots),
                provider,
            );
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
    };
    let config = builder
        .with_single_cert(chain, private)
        .expect("a configuration");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let named = stream
                .get_ref()
                .1
                .server_name()
                .unwrap_or("none")
                .to_owned();
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let answer = format!("HTTP/1.0 200 OK\r\n\r\nyou want {named}");
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (address, certificate.pem())
}

fn https_kind(sni: Option<&str>, ca: Option<PathBuf>, body: &str) -> Kind {
    Kind::Http(Http {
        tls: Some(Tls {
            sni: sni.map(str::to_owned),
            ca,
            identity: None,
        }),
        body: body.parse().ok(),
        ..Http::default()
    })
}

#[test]
fn https_names_the_server_and_verifies_it_when_told() {
    let directory = Directory::new("https");
    on_runtime(async {
        let (server, pem) = https(false).await;
        let ca = Some(directory.file("ca.pem", &pem));
        let well = [
            https_kind(None, None, "you want none"),
            https_kind(Some("other.example"), None, "you want other.example"),
            https_kind(Some("www.example"), ca.clone(), "you want www.example"),
        ];
        for kind in well {
            assert_eq!(run(&check(kind), server).await, Outcome::PASSED);
        }
        let outcome = run(
            &check(https_kind(Some("other.example"), ca.clone(), "")),
            server,
        )
        .await;
        assert!(failed(&outcome).starts_with("TLS: "), "{outcome:?}");
        let outcome = run(
            &check(https_kind(None, Some("/nowhere.pem".into()), "")),
            server,
        )
        .await;
        assert!(matches!(outcome, Outcome::Undecided(_)), "{outcome:?}");
        // Plain HTTP where TLS is spoken.
        let plain = run(&check(Kind::Http(Http::default())), server).await;
        assert!(matches!(plain, Outcome::Failed(_)), "{plain:?}");
    });
}

#[test]
fn an_expired_certificate_fails_where_it_is_verified() {
    let directory = Directory::new("expired");
    on_runtime(async {
        let (server, pem) = https(true).await;
        let ca = Some(directory.file("ca.pem", &pem));
        let outcome = run(&check(https_kind(Some("www.example"), ca, "")), server).await;
        assert!(failed(&outcome).contains("expired"), "{outcome:?}");
        let outcome = run(&check(https_kind(Some("www.example"), None, "")), server).await;
        assert_eq!(outcome, Outcome::PASSED, "nobody asked");
    });
}

#[test]
fn https_shows_the_directors_certificate_when_told() {
    let directory = Directory::new("client");
    on_runtime(async {
        let named = |name: &str| {
            let key = rcgen::KeyPair::generate().expect("a key");
            let parameters = rcgen::CertificateParams::new(vec![name.into()]).expect("a name");
            let certificate = parameters.self_signed(&key).expect("a certificate");
            let file = |what, pem: &str| directory.file(&format!("{name}.{what}"), pem);
            let identity = (
                file("pem", &certificate.pem()),
                file("key", &key.serialize_pem()),
            );
            (CertificateDer::from(certificate.der().to_vec()), identity)
        };
        let (director, identity) = named("lb.example");
        let (_, other) = named("other.example");
        let (server, _) = https_for(false, Some(director)).await;
        let with = |identity| {
            let tls = Some(Tls {
                sni: None,
                ca: None,
                identity,
            });
            check(Kind::Http(Http {
                tls,
                ..Http::default()
            }))
        };
        let shown = run(&with(Some(identity.clone())), server).await;
        assert_eq!(shown, Outcome::PASSED);
        for not in [None, Some(other.clone())] {
            let outcome = run(&with(not), server).await;
            assert!(failed(&outcome).starts_with("TLS: "), "{outcome:?}");
        }
        // A key that is another's, and none at all, are the director's own mistakes.
        for bad in [other.1, directory.0.join("none")] {
            let outcome = run(&with(Some((identity.0.clone(), bad))), server).await;
            assert!(matches!(outcome, Outcome::Undecided(_)), "{outcome:?}");
        }
    });
}

/// Answers each datagram by `answer`.
async fn answers(answer: impl Fn(&[u8]) -> Option<Vec<u8>> + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    tokio::task::spawn_local(async move {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            if let Some(answer) = answer(&buffer[..length]) {
                let _ = socket.send_to(&answer, from).await;
            }
        }
    });
    address
}

#[test]
fn udp_is_well_unless_something_speaks_against_it() {
    on_runtime(async {
        let udp = |reply| {
            check(Kind::Udp(Udp {
                payload: b"hello".to_vec(),
                reply,
            }))
        };
        let expected = |begins: Vec<(u8, u8)>| {
            Some(Expected {
                begins,
                min: 0,
                max: 255,
            })
        };
        let silent = answers(|_| None).await;
        let echo = answers(|bytes| Some(bytes.to_vec())).await;
        assert_eq!(run(&udp(None), silent).await, Outcome::PASSED);
        assert_eq!(
            run(&udp(expected(vec![(b'h', 255)])), echo).await,
            Outcome::PASSED
        );
        assert!(matches!(
            run(&udp(expected(vec![(b'x', 255)])), echo).await,
            Outcome::Failed(_)
        ));
        let outcome = run(&udp(expected(vec![])), silent).await;
        assert_eq!(failed(&outcome), "no answer within 0.4 s");
        let nobody = std::net::UdpSocket::bind("127.0.0.1:0")
            .expect("a port")
            .local_addr();
        let outcome = run(&udp(None), nobody.expect("an address")).await;
        assert_eq!(failed(&outcome), "connection refused");
    });
}

#[test]
fn a_name_server_must_answer_without_error() {
    on_runtime(async {
        let dns = check(Kind::Dns {
            name: "www.example".into(),
            record: health::dns::Record::SOA,
        });
        let answering = |code: u8| {
            answers(move |bytes| {
                let mut answer = bytes.to_vec();
                answer[2] |= 0x80;
                answer[3] = code;
                Some(answer)
            })
        };
        assert_eq!(run(&dns, answering(0).await).await, Outcome::PASSED);
        let outcome = run(&dns, answering(5).await).await;
        assert!(failed(&outcome).contains("REFUSED"));
        let echo = answers(|bytes| Some(bytes.to_vec())).await;
        assert_eq!(failed(&run(&dns, echo).await), "no answer within 0.4 s");
    });
}

#[test]
fn a_mail_server_is_greeted() {
    on_runtime(async {
        let smtp = check(Kind::Smtp {
            helo: "lb.example".into(),
        });
        let server = says("220 mx\r\n", true).await;
        let outcome = run(&smtp, server).await;
        assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
        let busy = says("421 busy\r\n", true).await;
        assert!(failed(&run(&smtp, busy).await).contains("421 busy"));
    });
}

#[test]
fn a_load_sets_the_weight_and_nothing_else() {
    on_runtime(async {
        let server: SocketAddr = "127.0.0.1:80".parse().expect("an address");
        let monitor = |command: &str| {
            check(Kind::Script(Script {
                command: vec!["/bin/sh".into(), "-c".into(), command.into()],
                user: own_user(),
                dynamic: false,
                load_weight: Some(100),
                expect: None,
            }))
        };
        let weight = |weight| Outcome::Passed {
            weight: Some(Wish::To(weight)),
        };
        let outcome = run(&monitor("cat /proc/loadavg"), server).await;
        assert!(
            matches!(
                outcome,
                Outcome::Passed {
                    weight: Some(Wish::To(1..=100))
                }
            ),
            "{outcome:?}"
        );
        let rup = "echo '10.1.0.11   up  2 days, 12:03,    load average: 4.00, 0.12, 0.05'";
        assert_eq!(run(&monitor(rup), server).await, weight(25));
        for none in ["echo nothing", "echo load 1; exit 1", "sleep 5"] {
            let outcome = run(&monitor(none), server).await;
            assert!(
                matches!(outcome, Outcome::Undecided(_)),
                "{none}: {outcome:?}"
            );
        }
    });
}

/// Who runs this.
fn own_user() -> String {
    let own = rustix::process::geteuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").expect("users");
    let user = passwd
        .lines()
        .find(|line| line.split(':').nth(2) == Some(own.as_str()))
        .and_then(|line| line.split(':').next());
    user.expect("the test's user has a name").to_owned()
}

#[test]
fn a_program_decides_by_its_exit_status() {
    on_runtime(async {
        let user = own_user();
        let server: SocketAddr = "127.0.0.1:80".parse().expect("an address");
        let script = |command: &str, dynamic| {
            check(Kind::Script(Script {
                command: vec!["/bin/sh".into(), "-c".into(), command.into()],
                user: user.clone(),
                dynamic,
                load_weight: None,
                expect: None,
            }))
        };
        assert_eq!(
            run(
                &script("test %h = 127.0.0.1 && test $TARPON_PORT = 80", false),
                server
            )
            .await,
            Outcome::PASSED
        );
        for code in [1, 2, 255] {
            let outcome = run(&script(&format!("exit {code}"), false), server).await;
            assert_eq!(failed(&outcome), format!("exit status {code}"));
        }
        for code in 2..=255 {
            let outcome = run(&script(&format!("exit {code}"), true), server).await;
            assert_eq!(
                outcome,
                Outcome::Passed {
                    weight: Some(Wish::To(code - 2))
                }
            );
        }
        assert_eq!(
            failed(&run(&script("exit 1", true), server).await),
            "exit status 1"
        );
        assert_eq!(
            failed(&run(&script("kill -9 $$", false), server).await),
            "ended by signal 9"
        );
        // nanny's programs: what they print decides as well.
        let printing = |command: &str| {
            let mut check = script(command, false);
            if let Kind::Script(script) = &mut check.kind {
                script.expect = Some("^OK".parse().expect("a pattern"));
            }
            check
        };
        assert_eq!(run(&printing("echo OK %h"), server).await, Outcome::PASSED);
        let endless = printing("echo OK; exec head -c 200000 /dev/zero");
        assert_eq!(run(&endless, server).await, Outcome::PASSED);
        assert_eq!(
            failed(&run(&printing("echo no"), server).await),
            "its output does not match \"^OK\": \"no\\n\""
        );
        assert_eq!(
            failed(&run(&printing("echo OK; exit 3"), server).await),
            "exit status 3"
        );
        // What it started is ended with it.
        let outcome = run(&script("sleep 60 & sleep 60", false), server).await;
        assert_eq!(failed(&outcome), "not done within 0.4 s");
        let mut missing = script("", false);
        if let Kind::Script(script) = &mut missing.kind {
            script.command = vec!["/nowhere/program".into()];
        }
        assert!(matches!(run(&missing, server).await, Outcome::Undecided(_)));
        if let Kind::Script(script) = &mut missing.kind {
            script.user = "nobody-by-this-name".into();
        }
        assert!(matches!(run(&missing, server).await, Outcome::Undecided(_)));
    });
}

#[test]
fn a_file_has_a_zero_when_all_is_well_or_adds_to_the_weight() {
    let directory = Directory::new("file");
    let by = |n| Ok(Some(Wish::By(n)));
    let well: Result<Option<Wish>, ()> = Ok(None);
    // What is found with weight 0, with 3, and with 0 and -2 where what is missing is 0.
    let table = [
        (Some("0\n"), [well, by(0), well, by(0)]),
        (Some("1"), [Err(()), by(3), Err(()), by(-2)]),
        (Some(" -3 \n"), [Err(()), by(-9), Err(()), by(6)]),
        (Some("x"), [Err(()), Err(()), well, by(0)]),
        (Some(""), [Err(()), Err(()), well, by(0)]),
        (None, [Err(()), Err(()), well, by(0)]),
        (
            Some("9223372036854775807"),
            [Err(()), by(i64::MAX), Err(()), by(i64::MIN)],
        ),
    ];
    on_runtime(async {
        let server: SocketAddr = "127.0.0.1:80".parse().expect("an address");
        for (text, wanted) in table {
            let path = match text {
                Some(text) => directory.file("state", text),
                None => directory.0.join("none"),
            };
            let kinds = [(0, false), (3, false), (0, true), (-2, true)];
            for ((weight, missing_is_zero), wanted) in kinds.into_iter().zip(wanted) {
                let file = NumberFile {
                    path: path.clone(),
                    weight,
                    missing_is_zero,
                };
                let found = match run(&check(Kind::File(file)), server).await {
                    Outcome::Passed { weight } => Ok(weight),
                    Outcome::Failed(_) => Err(()),
                    Outcome::Undecided(why) => panic!("{why}"),
                };
                assert_eq!(found, wanted, "{text:?} {weight} {missing_is_zero}");
            }
        }
    });
}

#[test]
fn checks_come_from_the_port_the_interface_and_with_the_mark_they_are_to() {
    on_runtime(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a listener");
        let server = listener.local_addr().expect("an address");
        let spare = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = spare.local_addr().expect("an address").port();
        drop(spare);
        let mut bound = check(Kind::Tcp {
            send: None,
            expect: None,
        });
        bound.bind.port = Some(port);
        // Again and again, though the check is who closes.
        for _ in 0..3 {
            let outcome = run(&bound, server).await;
            assert_eq!(outcome, Outcome::PASSED);
            let (_, from) = listener.accept().await.expect("a client");
            assert_eq!(from.port(), port);
        }
        bound.bind.interface = Some("lo".into());
        let outcome = run(&bound, server).await;
        assert_eq!(outcome, Outcome::PASSED);
        let (_, from) = listener.accept().await.expect("a client");
        assert_eq!(from.port(), port);
        bound.bind.interface = Some("none-such".into());
        let outcome = run(&bound, server).await;
        let why = "by interface none-such: no such device";
        assert_eq!(outcome, Outcome::Undecided(why.into()));
        if rustix::process::geteuid().is_root() {
            bound.bind.interface = None;
            bound.bind.mark = Some(7);
            let socket = bind::socket(server, socket2::Type::STREAM, None, &bound.bind);
            assert_eq!(socket.expect("a socket").mark().expect("a mark"), 7);
        }
    });
}

#[test]
fn loopback_answers_ping_where_a_socket_for_it_may_be_had() {
    on_runtime(async {
        for server in ["127.0.0.1:0", "[::1]:0"] {
            let server: SocketAddr = server.parse().expect("an address");
            let outcome = run(&check(Kind::Ping), server).await;
            match outcome {
                Outcome::Passed { .. } => {}
                Outcome::Undecided(why) => assert!(!rustix::process::geteuid().is_root(), "{why}"),
                Outcome::Failed(why) => assert!(server.is_ipv6(), "{server}: {why}"),
            }
        }
    });
}
