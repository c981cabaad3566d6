use super::*;
use crate::{Pattern, Tls};
use proptest::prelude::*;

fn pattern(text: &str) -> Option<Pattern> {
    Some(text.parse().expect("a pattern"))
}

/// The verdict on `answer`, after which the server closes; and that it does not hang on how the bytes come.
fn verdict(http: &Http, answer: &[u8]) -> Result<(), String> {
    let in_pieces = |size: usize| {
        let mut heard = Answer::new(http);
        for piece in answer.chunks(size) {
            if let Some(verdict) = heard.hear(piece) {
                return verdict;
            }
        }
        heard.closed()
    };
    let whole = in_pieces(answer.len().max(1));
    for size in [1, 2, 7] {
        assert_eq!(in_pieces(size), whole, "in pieces of {size}");
    }
    whole
}

#[test]
fn the_request_names_the_host() {
    let text = |http: &Http, target: &str| {
        String::from_utf8(request(http, target.parse().expect("an endpoint"))).expect("ASCII")
    };
    let plain = Http::default();
    assert!(text(&plain, "10.0.0.1:80").starts_with("GET / HTTP/1.0\r\nHost: 10.0.0.1\r\n"));
    assert!(text(&plain, "[2001:db8::1]:8080").contains("Host: [2001:db8::1]:8080\r\n"));
    let other = Http {
        tls: Some(Tls::default()),
        path: "/health?x=1".into(),
        version_1_1: true,
        ..Http::default()
    };
    assert!(
        text(&other, "10.0.0.1:443").starts_with("GET /health?x=1 HTTP/1.1\r\nHost: 10.0.0.1\r\n")
    );
    let named = Http {
        host: Some("www.example".into()),
        ..other
    };
    assert!(text(&named, "10.0.0.1:443").contains("Host: www.example\r\n"));
}

#[test]
fn the_status_decides() {
    let http = Http {
        status: vec![(200, 299), (404, 404)],
        ..Http::default()
    };
    for (status, well) in [
        (200, true),
        (299, true),
        (300, false),
        (404, true),
        (503, false),
        (199, false),
    ] {
        let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(verdict(&http, answer.as_bytes()).is_ok(), well, "{status}");
    }
    assert_eq!(
        verdict(&http, b"HTTP/1.1 503 x\r\n\r\n"),
        Err("status 503, not 200-299, 404".into())
    );
}

#[test]
fn what_is_not_http_is_a_failure() {
    for bytes in [
        &b""[..],
        b"HTTP/1.1 20",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 x\r\nContent-Length: many\r\n\r\n",
    ] {
        assert!(verdict(&Http::default(), bytes).is_err(), "{bytes:?}");
    }
    let mut endless = Answer::new(&Http::default())
        .hear(&[b"HTTP/1.1 200 x\r\nA: ".to_vec(), vec![b'a'; HEAD]].concat());
    assert!(endless.take().is_some_and(|v| v.is_err()));
}

#[test]
fn a_400_over_tls_may_be_about_the_client_certificate() {
    let said = |tls, status: u16| {
        let http = Http {
            tls,
            ..Http::default()
        };
        verdict(&http, format!("HTTP/1.1 {status} x\r\n\r\n").as_bytes())
    };
    let tls = |identity| {
        Some(crate::Tls {
            sni: None,
            ca: None,
            identity,
        })
    };
    let files = Some(("a.pem".into(), "a.key".into()));
    let ends = |tls, end: &str| {
        let why = said(tls, 400).expect_err("400 is not wanted");
        assert_eq!(why, format!("status 400, not 200-299{end}"));
    };
    ends(None, "");
    ends(
        tls(None),
        " (it may want a client certificate: `certificate` and `key`)",
    );
    ends(tls(files), " (it may not accept the client certificate)");
    let other = said(tls(None), 404);
    assert_eq!(other, Err("status 404, not 200-299".into()));
}

#[test]
fn the_body_is_read_however_it_ends() {
    let http = Http {
        body: pattern("^wel+ done$"),
        digest: Some(Md5::digest(b"well done").into()),
        ..Http::default()
    };
    for answer in [
        "HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\nwell doneand more",
        "HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwell\r\n5;a=b\r\n done\r\n0\r\n\r\n",
        "HTTP/1.0 200 x\r\n\r\nwell done",
        "HTTP/1.1 100 go\r\n\r\nHTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\nwell done",
    ] {
        assert_eq!(verdict(&http, answer.as_bytes()), Ok(()), "{answer}");
    }
    for answer in [
        "HTTP/1.1 200 x\r\nContent-Length: 8\r\n\r\nwell done",
        "HTTP/1.1 200 x\r\nContent-Length: 90\r\n\r\nwell done",
        "HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwell\r\n5\r\n done\r\n",
        "HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\nwell done",
        "HTTP/1.0 200 x\r\n\r\nwell done!",
        "HTTP/1.1 204 x\r\n\r\nwell done",
    ] {
        assert!(verdict(&http, answer.as_bytes()).is_err(), "{answer}");
    }
    let not = Http {
        body_not: pattern("maintenance"),
        ..Http::default()
    };
    assert!(verdict(&not, b"HTTP/1.0 200 x\r\n\r\nwell").is_ok());
    assert!(verdict(&not, b"HTTP/1.0 200 x\r\n\r\nin maintenance").is_err());
}

proptest! {
    /// Nothing a server can say panics.
    #[test]
    fn any_answer_is_judged(bytes in prop::collection::vec(any::<u8>(), 0..300), head: bool, chunked: bool) {
        let http = Http { body: pattern("x"), ..Http::default() };
        let mut answer = Vec::new();
        if head {
            answer.extend_from_slice(b"HTTP/1.1 200 x\r\n");
            if chunked {
                answer.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
            }
            answer.extend_from_slice(b"\r\n");
        }
        answer.extend(bytes);
        let _ = verdict(&http, &answer);
    }
}
