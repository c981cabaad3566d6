use super::*;
use api::EventKind;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder that goes again.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tarpon-journal-{}-{n}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a new folder");
        Self(path)
    }

    /// In a folder that is not there yet.
    fn events(&self) -> PathBuf {
        self.0.join("lib/events")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const ROOM: u64 = 1 << 20;

fn event(number: u64) -> Event {
    Event {
        number,
        time_ms: number * 1000,
        kind: EventKind::Configured,
        service: None,
        server: None,
        vrrp: None,
        what: format!("change {number}"),
        cause: "test".into(),
    }
}

fn write(disk: &mut Disk, numbers: impl IntoIterator<Item = u64>) {
    let events: Vec<Event> = numbers.into_iter().map(event).collect();
    disk.write(events.iter());
}

/// Numbers of what is kept; 0: a line that is none.
fn kept(disk: &Disk) -> Vec<u64> {
    let mut kept = disk.kept();
    let mut numbers = Vec::new();
    while let Some(line) = kept.next_line() {
        numbers.push(line.map_or(0, |event| event.number));
    }
    numbers
}

#[test]
fn the_next_daemon_goes_on_where_the_last_ended() {
    let folder = Folder::new();
    let (mut disk, last) = Disk::new(folder.events(), ROOM);
    assert_eq!((disk.written(), last), (0, None));
    write(&mut disk, 1..=3);
    write(&mut disk, [4]);
    drop(disk);
    let (mut disk, last) = Disk::new(folder.events(), ROOM);
    assert_eq!((disk.written(), last), (4, Some(event(4))));
    write(&mut disk, [5]);
    assert_eq!(kept(&disk), [1, 2, 3, 4, 5]);
}

#[test]
fn a_line_that_was_cut_off_is_skipped_and_hurts_no_other() {
    let folder = Folder::new();
    let (mut disk, _) = Disk::new(folder.events(), ROOM);
    write(&mut disk, 1..=3);
    let whole = std::fs::read(folder.events()).expect("the file");
    drop(disk);
    // Wherever in its last line it ends; without its last byte the line is whole, but for its end.
    let third = whole.len() / 3;
    for cut in 1..third {
        std::fs::write(folder.events(), &whole[..whole.len() - cut]).expect("a file");
        let (mut disk, last) = Disk::new(folder.events(), ROOM);
        let known = if cut == 1 { 3 } else { 2 };
        assert_eq!(last.map(|event| event.number), Some(known), "cut {cut}");
        write(&mut disk, [9]);
        let torn = if cut == 1 { 3 } else { 0 };
        assert_eq!(kept(&disk), [1, 2, torn, 9], "cut {cut}");
    }
}

#[test]
fn the_oldest_go_when_there_is_no_more_room() {
    let folder = Folder::new();
    let (mut disk, _) = Disk::new(folder.events(), ROOM);
    for batch in 0..200 {
        write(&mut disk, batch * 100 + 1..=batch * 100 + 100);
        let bytes = |path: &Path| path.metadata().map_or(0, |file| file.len());
        let all = bytes(&folder.events()) + bytes(&older(&folder.events()));
        assert!(all <= ROOM, "{all} bytes");
    }
    let numbers = kept(&disk);
    let first = numbers[0];
    assert!(first > 1, "everything is still there");
    assert_eq!(numbers, (first..=20_000).collect::<Vec<u64>>());
    // At least half of the room is used: about a hundred bytes each.
    assert!(numbers.len() > 4000, "{} are kept", numbers.len());
    drop(disk);
    // The next daemon finds the last one, be it in the older file.
    std::fs::write(folder.events(), "").expect("a file");
    assert!(Disk::new(folder.events(), ROOM).1.is_some());
}

#[test]
fn what_could_not_be_written_is_written_later() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.events()).expect("a folder in its place");
    let (mut disk, last) = Disk::new(folder.events(), ROOM);
    assert_eq!(last, None);
    write(&mut disk, 1..=2);
    assert_eq!(disk.written(), 0);
    assert!(disk.said.is_some());
    std::fs::remove_dir(folder.events()).expect("an empty folder");
    // Not at once: what fails is not tried all the time.
    write(&mut disk, 1..=2);
    assert_eq!(disk.written(), 0);
    disk.not_before = None;
    write(&mut disk, 1..=3);
    assert_eq!((disk.written(), disk.said.is_none()), (3, true));
    assert_eq!(kept(&disk), [1, 2, 3]);
}

#[test]
fn a_file_of_another_daemon_or_behind_a_link_is_left_alone() {
    let folder = Folder::new();
    let (mut first, _) = Disk::new(folder.events(), ROOM);
    write(&mut first, [1]);
    let (mut second, _) = Disk::new(folder.events(), ROOM);
    write(&mut second, [7]);
    assert_eq!(second.written(), 0);
    let said = second.said.expect("a complaint");
    assert!(said.contains("another daemon writes to it"), "{said}");
    assert_eq!(kept(&first), [1]);

    let link = folder.0.join("link");
    std::os::unix::fs::symlink(folder.0.join("elsewhere"), &link).expect("a link");
    let (mut third, _) = Disk::new(link, ROOM);
    write(&mut third, [1]);
    assert_eq!(third.written(), 0);
    assert!(!folder.0.join("elsewhere").exists());
}

#[test]
fn a_file_that_was_taken_away_is_made_anew() {
    let folder = Folder::new();
    let (mut disk, _) = Disk::new(folder.events(), ROOM);
    write(&mut disk, [1]);
    std::fs::rename(folder.events(), folder.0.join("taken")).expect("to be moved");
    write(&mut disk, [2]);
    assert_eq!(kept(&disk), [2]);
}

#[test]
fn nonsense_of_any_length_is_no_event() {
    let folder = Folder::new();
    let (disk, _) = Disk::new(folder.events(), ROOM);
    drop(disk);
    let mut bytes = vec![b'x'; 300_000];
    bytes.extend_from_slice(b"\n\n\xff\xfe\n{\"number\":1}\n[]\n");
    std::fs::write(folder.events(), &bytes).expect("a file");
    let (mut disk, last) = Disk::new(folder.events(), ROOM);
    assert_eq!(last, None);
    write(&mut disk, [1]);
    let numbers = kept(&disk);
    assert_eq!(numbers.last(), Some(&1));
    assert!(numbers.iter().rev().skip(1).all(|number| *number == 0));
}
