use super::*;
use api::RouterRef;
use config::{Notify, NotifyFormat, NotifyTo};
use rustix::fs::{self, CWD, FileType, Mode, OFlags};
use std::{
    fs::File,
    io::Read as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

const SERVICE: &str = "192.0.2.10:80";

fn service() -> ServiceKey {
    ServiceKey::Address {
        protocol: types::Protocol::Tcp,
        address: SERVICE.parse().expect("an address"),
    }
}

fn event(number: u64, kind: EventKind) -> Event {
    let of_server = !matches!(kind, EventKind::QuorumLost | EventKind::QuorumWon);
    Event {
        number,
        time_ms: 1000,
        kind,
        service: Some(service()),
        server: of_server.then(|| "10.1.0.11:8080".parse().expect("an address")),
        vrrp: None,
        what: "what".into(),
        cause: "cause".into(),
    }
}

/// A directory that goes again.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tarpon-tell-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).expect("a directory of its own");
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn fifo(path: &Path) -> Notify {
    Notify {
        mode: 0o640,
        ..Notify::new(NotifyTo::Fifo(path.to_owned()), NotifyFormat::Json)
    }
}

/// Who reads a FIFO without waiting.
fn reader(path: &Path) -> File {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    File::from(fs::open(path, flags, Mode::empty()).expect("a FIFO"))
}

fn read(file: &mut File) -> String {
    let mut text = Vec::new();
    // It ends with "would block" while somebody may still write.
    let _ = file.read_to_end(&mut text);
    String::from_utf8(text).expect("text")
}

#[test]
fn lines_are_those_of_keepalived() {
    use EventKind::{
        QuorumLost, QuorumWon, ServerDown, VrrpConflict, VrrpFault, VrrpMaster, VrrpStopped,
    };
    let line = |event: &Event, state| lines::line(NotifyFormat::Keepalived, event, state);
    let said = |kind, state| line(&event(1, kind), state).unwrap_or_default();
    // Recorded from keepalived 2.2.7 (routers), and as keepalived.conf(5) has them (services).
    assert_eq!(
        said(ServerDown, Some(false)),
        "RS [10.1.0.11]:tcp:8080 [192.0.2.10]:tcp:80 DOWN\n"
    );
    assert_eq!(said(ServerDown, None), "", "no news");
    assert_eq!(said(QuorumLost, None), "VS [192.0.2.10]:tcp:80 DOWN\n");
    assert_eq!(said(QuorumWon, None), "VS [192.0.2.10]:tcp:80 UP\n");
    assert_eq!(said(EventKind::Configured, None), "");
    let router = |kind, name: &str, priority| Event {
        vrrp: Some(RouterRef {
            name: name.into(),
            priority,
        }),
        ..event(1, kind)
    };
    let of = |event: Event| line(&event, None).unwrap_or_default();
    assert_eq!(
        of(router(VrrpMaster, "VI_1", Some(150))),
        "INSTANCE \"VI_1\" MASTER 150\n"
    );
    assert_eq!(
        of(router(VrrpConflict, "VI_1", Some(150))),
        "INSTANCE \"VI_1\" MASTER_RX_LOWER_PRI 150\n"
    );
    assert_eq!(of(router(VrrpFault, "G1", None)), "GROUP \"G1\" FAULT 0\n");
    assert_eq!(
        of(router(VrrpStopped, "VI_1", Some(1))),
        "INSTANCE \"VI_1\" STOP 1\n"
    );
}

#[test]
fn a_server_is_told_of_once_whoever_finds_it_so() {
    use EventKind::{ServerDown, ServerEjected, ServerReadmitted, ServerUp};
    let mut tellers = Tellers::from_now(0);
    let mut state = |kind, is_up| tellers.state(&event(1, kind), |_, _| is_up);
    assert_eq!(state(ServerDown, false), Some(false));
    assert_eq!(state(ServerDown, false), None, "its second check");
    assert_eq!(state(ServerEjected, false), None);
    assert_eq!(
        state(ServerReadmitted, false),
        None,
        "its checks still fail"
    );
    assert_eq!(state(ServerUp, true), Some(true));
    assert_eq!(state(ServerUp, true), None);
    assert_eq!(state(ServerEjected, false), Some(false));
    assert_eq!(state(ServerUp, false), None, "it is still ejected");
    assert_eq!(state(ServerReadmitted, true), Some(true));
}

#[test]
fn a_fifo_is_made_kept_for_the_next_reader_and_removed() {
    let place = Place::new("fifo");
    let path = place.file("events");
    let mut stream = Stream::new(fifo(&path));
    let made = std::fs::metadata(&path).expect("it is made");
    assert_eq!(made.permissions().mode() & 0o7777, 0o640);
    assert_eq!(FileType::from_raw_mode(made.mode()), FileType::Fifo);
    let mut tell = |text: &str| {
        stream.push(format!("{text}\n"));
        stream.flush();
    };
    tell("before anybody reads");
    let mut first = reader(&path);
    tell("one reads");
    assert_eq!(read(&mut first), "before anybody reads\none reads\n");
    drop(first);
    tell("nobody reads");
    let mut second = reader(&path);
    assert_eq!(read(&mut second), "nobody reads\n");
    drop(stream);
    assert!(!path.exists());
}

#[test]
fn what_nobody_reads_is_bounded_and_its_loss_told() {
    let place = Place::new("full");
    let path = place.file("events");
    let mut stream = Stream::new(fifo(&path));
    let line = format!("{}\n", "x".repeat(999));
    let all = 2000;
    for _ in 0..all {
        stream.push(line.clone());
        stream.flush();
    }
    let mut reader = reader(&path);
    let mut got = String::new();
    for _ in 0..100 {
        got += &read(&mut reader);
        stream.flush();
    }
    let kept = got.lines().filter(|l| l.len() == 999).count();
    let last = got.lines().last().unwrap_or_default();
    assert_eq!(last, format!("{{\"lost\":{}}}", all - kept));
    assert!((1000..1100).contains(&kept), "{kept} lines");
    assert_eq!(got.lines().count(), kept + 1, "no line is torn");
}

#[test]
fn one_that_is_replaced_is_opened_again() {
    let place = Place::new("file");
    let path = place.file("log");
    let to = NotifyTo::File(path.clone());
    let mut stream = Stream::new(Notify::new(to, NotifyFormat::Json));
    let mut tell = |text: &str| {
        stream.push(format!("{text}\n"));
        stream.flush();
    };
    tell("one");
    std::fs::rename(&path, place.file("log.1")).expect("rotated");
    tell("two");
    tell("three");
    let text = |name: &str| std::fs::read_to_string(place.file(name)).expect("a file");
    assert_eq!(
        (text("log.1"), text("log")),
        ("one\n".into(), "two\nthree\n".into())
    );
    drop(stream);
    assert!(path.exists(), "a file stays");
}

#[test]
fn a_reader_gets_every_line_to_the_last() {
    let place = Place::new("reader");
    let got = place.file("got");
    let own = rustix::process::geteuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").expect("users");
    let mut users = passwd.lines().map(|line| line.split(':'));
    let user = users.find_map(|mut of| {
        let name = of.next()?;
        (of.nth(1)? == own).then(|| name.to_owned())
    });
    let script = format!("exec cat \"$0\" >{}", got.display());
    let plan = Notify {
        reader: vec!["/bin/sh".into(), "-c".into(), script],
        reader_user: user,
        ..fifo(&place.file("events"))
    };
    let mut stream = Stream::new(plan);
    stream.look_after_reader();
    stream.push("one\n".into());
    stream.flush();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let read = || std::fs::read_to_string(&got).unwrap_or_default();
    while read() != "one\n" {
        assert!(std::time::Instant::now() < end, "{:?}", read());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    stream.push("two\n".into());
    let ending = stream.end().expect("a reader that ends");
    ending.join().expect("it has ended");
    assert_eq!(read(), "one\ntwo\n");
    assert!(!place.file("events").exists());
}

#[test]
fn what_is_no_fifo_is_left_alone() {
    let place = Place::new("wrong");
    let path = place.file("events");
    std::fs::write(&path, "mine").expect("a file");
    let mut stream = Stream::new(fifo(&path));
    stream.push("x\n".into());
    stream.flush();
    drop(stream);
    assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "mine");
    let nobody = Notify {
        user: Some("no-such-user".into()),
        ..fifo(&place.file("other"))
    };
    drop(Stream::new(nobody));
    assert!(
        !place.file("other").exists(),
        "nobody else's is left behind"
    );
    // A link is not followed: it could lead to anything.
    let link = place.file("link");
    fs::mknodat(CWD, place.file("target"), FileType::Fifo, Mode::RUSR, 0).expect("a FIFO");
    std::os::unix::fs::symlink(place.file("target"), &link).expect("a link");
    let mut stream = Stream::new(fifo(&link));
    stream.push("x\n".into());
    stream.flush();
    assert_eq!(read(&mut reader(&place.file("target"))), "");
}
