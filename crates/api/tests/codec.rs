//! Requests and answers on the wire: what is written is read again, and nothing a peer can send panics.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use api::{
    Answer, Body, Capture, Command, ConnectionFilter, Document, Drain, Edited, Error, ErrorCode,
    LineBuffer, Reply, Request, ServerAdd, ServerDelete, ServiceEdit, ServiceRef, encode_error,
    encode_ok,
};
use proptest::prelude::*;
use serde_json::json;
use types::{Protocol, Scheduler};

fn web() -> ServiceRef {
    ServiceRef::Address {
        protocol: Protocol::Tcp,
        address: "192.0.2.10:80".parse().unwrap(),
    }
}

fn every_kind_of_argument() -> Vec<Command> {
    vec![
        Command::Status,
        Command::Shutdown,
        Command::Connections(ConnectionFilter {
            client: Some("198.51.100.0/24".parse().unwrap()),
            templates: true,
            ..ConnectionFilter::default()
        }),
        Command::Apply(Document {
            file: "tarpon.toml".into(),
            toml: "[director]\nname = \"ü\"\n".into(),
        }),
        Command::ServiceEdit(ServiceEdit {
            service: web(),
            name: None,
            scheduler: Some(Scheduler::Wrr),
            scheduler_flags: None,
            persistent: Some(0),
            netmask: None,
            persistence_engine: Some(api::EngineChoice::None),
            one_packet: Some(true),
            method: None,
        }),
        Command::ServerAdd(ServerAdd {
            service: web(),
            server: "[2001:db8::11]:8080".parse().unwrap(),
            method: None,
            weight: Some(types::Weight(3)),
            tunnel: None,
            upper_threshold: None,
            lower_threshold: None,
        }),
        Command::ServerDelete(ServerDelete {
            service: web(),
            server: "10.1.0.11:8080".parse().unwrap(),
        }),
        Command::ServerDrain(Drain {
            service: web(),
            server: "10.1.0.11:8080".parse().unwrap(),
            deadline_s: Some(30),
            delete: true,
        }),
        Command::Capture(Capture {
            filter: Some("tcp port 80".into()),
            ..Capture::default()
        }),
    ]
}

#[test]
fn requests_are_read_as_written() {
    for command in every_kind_of_argument() {
        let request = Request { id: 7, command };
        let line = request.encode();
        assert_eq!(line.last(), Some(&b'\n'));
        assert_eq!(Request::decode(&line).unwrap(), request);
    }
}

#[test]
fn the_documented_request_is_the_one_on_the_wire() {
    let request = Request {
        id: 7,
        command: Command::ServerDelete(ServerDelete {
            service: web(),
            server: "10.1.0.11:80".parse().unwrap(),
        }),
    };
    let value: serde_json::Value = serde_json::from_slice(&request.encode()).unwrap();
    assert_eq!(
        value,
        json!({"version":1,"id":7,"command":"server_delete",
               "service":{"protocol":"tcp","address":"192.0.2.10:80"},"server":"10.1.0.11:80"})
    );
}

#[test]
fn bad_requests_say_what_is_wrong() {
    let cases: &[(&str, u64, &str)] = &[
        (
            "",
            0,
            "a request is one JSON object on one line; this is not one: EOF while parsing a value at line 1 column 0",
        ),
        (
            "[]",
            0,
            "a request is one JSON object on one line; this is not one: invalid type: sequence, expected a map at line 1 column 0",
        ),
        (
            r#"{"version":1,"command":"status"}"#,
            0,
            "`id` is missing or no number: give each request one, its answer repeats it",
        ),
        (
            r#"{"version":2,"id":5,"command":"status"}"#,
            5,
            "protocol version 2 is not spoken here, only 1: use the client that came with this daemon",
        ),
        (
            r#"{"id":5,"command":"status"}"#,
            5,
            "`version` is missing; write \"version\":1",
        ),
        (
            r#"{"version":1,"id":5,"command":"sttus"}"#,
            5,
            "unknown command `sttus`; did you mean `status`?",
        ),
        (
            r#"{"version":1,"id":5,"command":"server_delete","service":{"protocol":"tcp","address":"192.0.2.10:80"}}"#,
            5,
            "the arguments of `server_delete`: missing field `server`",
        ),
        (
            r#"{"version":1,"id":5,"command":"server_delete","service":{"protocol":"tcp","address":"192.0.2.10"},"server":"10.0.0.1:1"}"#,
            5,
            "the arguments of `server_delete`: invalid socket address syntax",
        ),
        (
            r#"{"version":1,"id":5,"command":"connections","clinet":"10.0.0.0/8"}"#,
            5,
            "the arguments of `connections`: unknown field `clinet`, expected one of `protocol`, `service`, `client`, `server`, `state`, `limit`, `templates`",
        ),
    ];
    for (line, id, message) in cases {
        let refused = Request::decode(line.as_bytes()).unwrap_err();
        assert_eq!(
            (refused.id, refused.error.message.as_str()),
            (*id, *message),
            "{line}"
        );
        assert_eq!(refused.error.code, ErrorCode::BadRequest);
    }
}

#[test]
fn answers_are_read_as_written() {
    let ok = encode_ok(
        3,
        &Reply::Edited(Edited {
            changes: vec!["a".into()],
        }),
    );
    let answer = Answer::decode(&ok).unwrap();
    assert_eq!(
        answer,
        Answer {
            id: 3,
            body: Body::Ok(json!({"changes":["a"]}))
        }
    );
    let error = Error::new(ErrorCode::NotFound, "no such service").with_details(vec!["x".into()]);
    let answer = Answer::decode(&encode_error(4, &error)).unwrap();
    assert_eq!(answer.body, Body::Error(error));
}

#[test]
fn lines_come_whole_however_the_bytes_come() {
    let mut buffer = LineBuffer::new(10);
    buffer.push(b"abc");
    assert_eq!(buffer.next_line(), Ok(None));
    buffer.push(b"def\n\n0123456789\nx");
    assert_eq!(buffer.next_line(), Ok(Some(b"abcdef".to_vec())));
    assert_eq!(buffer.next_line(), Ok(Some(Vec::new())));
    assert_eq!(buffer.next_line(), Ok(Some(b"0123456789".to_vec())));
    assert_eq!(buffer.next_line(), Ok(None));
    buffer.push(b"0123456789");
    assert!(
        buffer.next_line().is_err(),
        "eleven bytes without a line feed"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_refused_or_read(line in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Request::decode(&line);
        let _ = Answer::decode(&line);
    }

    #[test]
    fn any_mutation_of_a_request_is_refused_or_read(
        which in 0usize..9, at in any::<proptest::sample::Index>(), byte in any::<u8>(), cut in any::<proptest::sample::Index>(),
    ) {
        let request = Request { id: 7, command: every_kind_of_argument().swap_remove(which) };
        let mut line = request.encode();
        let at = at.index(line.len());
        line[at] = byte;
        line.truncate(cut.index(line.len()) + 1);
        if let Ok(read) = Request::decode(&line) {
            // What was understood survives being written and read again.
            prop_assert_eq!(Request::decode(&read.encode()).unwrap(), read);
        }
    }

    #[test]
    fn lines_do_not_depend_on_the_pieces(text in "[a-c\n]{0,60}", sizes in proptest::collection::vec(1usize..9, 1..40)) {
        let mut buffer = LineBuffer::new(100);
        let mut got = Vec::new();
        let mut rest = text.as_bytes();
        let mut sizes = sizes.iter().cycle();
        while !rest.is_empty() {
            let n = (*sizes.next().unwrap()).min(rest.len());
            buffer.push(&rest[..n]);
            rest = &rest[n..];
            while let Some(line) = buffer.next_line().unwrap() {
                got.push(String::from_utf8(line).unwrap());
            }
        }
        let mut expected: Vec<String> = text.split('\n').map(str::to_owned).collect();
        expected.pop();
        prop_assert_eq!(got, expected);
    }
}
