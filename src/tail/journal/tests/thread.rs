//! The thread on a real folder, behind a gate that has its calls hang or fail.

use super::*;
use crate::tail::journal::disk::{Disk, Folder};
use crate::tail::journal::file::NAME;
use crate::tail::journal::thread::{Durable, Figures, Health, Journal, PATIENCE};
use crate::util::random::uuid4;
use std::fs::{self, File};
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

fn durably(journal: &Journal, records: &Records, patience: Duration) -> Durable {
    let upto = journal.append(records);
    journal.wait(upto, patience)
}

#[derive(Default)]
struct Gate {
    is_shut: bool,
    /// Somebody waits at it.
    is_reached: bool,
    sync_fails: bool,
}

struct Gated {
    folder: Folder,
    gate: Arc<(Mutex<Gate>, Condvar)>,
}

impl Gated {
    /// Waits where the disk hangs.
    fn pass(&self) {
        let mut gate = self.gate.0.lock().unwrap();
        gate.is_reached = gate.is_shut;
        drop(self.gate.1.wait_while(gate, |gate| gate.is_shut).unwrap());
    }
}

impl Disk for Gated {
    type File = File;

    fn open(&self, name: &str) -> io::Result<File> {
        self.folder.open(name)
    }

    fn create(&self, name: &str) -> io::Result<File> {
        self.folder.create(name)
    }

    fn read(&self, file: &File) -> io::Result<Vec<u8>> {
        self.folder.read(file)
    }

    fn write(&self, file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.pass();
        self.folder.write(file, at, bytes)
    }

    fn reserve(&self, file: &File, at: u64, len: u64) -> io::Result<()> {
        self.folder.reserve(file, at, len)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.pass();
        match self.gate.0.lock().unwrap().sync_fails {
            true => Err(io::Error::other("Input/output error")),
            false => self.folder.sync(file),
        }
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.folder.sync_folder()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.folder.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.folder.remove(name)
    }

    fn names(&self, prefix: &str) -> io::Result<Vec<String>> {
        self.folder.names(prefix)
    }

    fn id_at(&self, name: &str) -> io::Result<Option<FileId>> {
        self.folder.id_at(name)
    }

    fn id(&self, file: &File) -> io::Result<FileId> {
        self.folder.id(file)
    }
}

struct Place {
    dir: PathBuf,
    gate: Arc<(Mutex<Gate>, Condvar)>,
}

impl Place {
    fn new() -> Place {
        let dir = std::env::temp_dir().join(format!("journal-{}", uuid4()));
        fs::create_dir(&dir).unwrap();
        let gate = Arc::default();
        Place { dir, gate }
    }

    fn open(&self, sync_each: Duration) -> Journal {
        let disk = Gated {
            folder: Folder(self.dir.clone()),
            gate: self.gate.clone(),
        };
        Journal::on(disk, sync_each, None, Memory::default)
            .unwrap()
            .0
    }

    fn set(&self, is_shut: bool, sync_fails: bool) {
        *self.gate.0.lock().unwrap() = Gate {
            is_reached: false,
            is_shut,
            sync_fails,
        };
        self.gate.1.notify_all();
    }

    fn on_disk(&self) -> Memory {
        let replayed = replay(&fs::read(self.dir.join(NAME)).unwrap());
        assert_eq!(replayed.wrong, None);
        replayed.memory
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

const LONG: Duration = Duration::from_secs(3_600);

fn cursor(stream: &str, text: &[u8]) -> Records {
    let mut records = Records::default();
    assert!(records.cursor(stream, text));
    records
}

fn until(journal: &Journal, wanted: impl Fn(&Figures) -> bool) -> Figures {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let figures = journal.figures();
        if wanted(&figures) {
            return figures;
        }
        assert!(Instant::now() < end, "{figures:?}");
        std::thread::yield_now();
    }
}

#[test]
fn what_was_waited_for_is_on_disk_and_one_sync_serves_all_that_wait() {
    let place = Place::new();
    let journal = place.open(LONG);
    let start = journal.figures().counts.syncs;
    std::thread::scope(|scope| {
        for n in 0..20 {
            let journal = journal.clone();
            scope.spawn(move || {
                let name = format!("stream {n}");
                let done = durably(&journal, &cursor(&name, b"x"), PATIENCE);
                assert_eq!(done, Durable::Yes);
            });
        }
    });
    assert_eq!(place.on_disk().cursors.len(), 20);
    let counts = journal.figures().counts;
    assert!(counts.writes <= 20 && counts.syncs - start <= 20);
    assert!(
        place.on_disk().saved.time > 1.7e9,
        "the time comes with the records"
    );
    // Nothing is left to sync
    assert_eq!(
        durably(&journal, &Records::default(), PATIENCE),
        Durable::Yes
    );
    assert_eq!(journal.figures().counts, counts);
}

#[test]
fn what_nobody_waits_for_is_written_at_once_and_synced_in_time() {
    for (sync_each, synced) in [
        (LONG, 0),
        (Duration::ZERO, 1),
        (Duration::from_millis(20), 1),
    ] {
        let place = Place::new();
        let journal = place.open(sync_each);
        let start = journal.figures().counts.syncs;
        journal.append(&cursor("a", b"1"));
        let counts = until(&journal, |f| {
            f.counts.writes == 1 && f.counts.syncs >= start + synced
        });
        assert_eq!(counts.counts.syncs, start + synced);
        assert_eq!(place.on_disk().cursors["a"], b"1");
        assert!(journal.stop(PATIENCE));
        assert_eq!(
            journal.figures().counts.syncs,
            start + 1,
            "a stop syncs what is not synced"
        );
        assert_eq!(journal.figures().health, Health::Stopped);
    }
}

/// Without a sync for it, the first start of an agent took ten seconds.
#[test]
fn whoever_begins_to_wait_while_the_records_are_written_is_not_forgotten() {
    let place = Place::new();
    let journal = place.open(LONG);
    place.set(true, false);
    let upto = journal.append(&cursor("a", b"1"));
    while !place.gate.0.lock().unwrap().is_reached {
        std::thread::yield_now();
    }
    std::thread::scope(|scope| {
        let begun = Instant::now();
        let waits = scope.spawn(|| journal.wait(upto, PATIENCE));
        // Nothing shows from outside that it waits
        std::thread::sleep(Duration::from_millis(50));
        place.set(false, false);
        assert_eq!(waits.join().unwrap(), Durable::Yes);
        assert!(begun.elapsed() < PATIENCE / 2);
    });
}

#[test]
fn a_disk_that_hangs_holds_nobody_longer_than_their_patience() {
    let place = Place::new();
    let journal = place.open(LONG);
    place.set(true, false);
    let first = cursor("a", b"1");
    assert_eq!(
        durably(&journal, &first, Duration::from_millis(30)),
        Durable::No
    );
    let Health::Degraded { why, .. } = journal.figures().health else {
        panic!("{:?}", journal.figures());
    };
    assert_eq!(why, "the disk does not answer");
    // Nobody waits for it again
    let begun = Instant::now();
    for n in 0..50 {
        assert_eq!(durably(&journal, &cursor("b", &[n; 9]), LONG), Durable::No);
    }
    assert!(begun.elapsed() < PATIENCE);
    place.set(false, false);
    until(&journal, |f| f.health == Health::Good);
    assert_eq!(
        durably(&journal, &cursor("c", b"3"), PATIENCE),
        Durable::Yes
    );
    assert_eq!(
        place.on_disk().cursors["b"],
        [49; 9],
        "all that waited was written"
    );
    assert_eq!(journal.generation(), 0);
}

#[test]
fn what_a_hanging_disk_has_no_room_for_is_asked_for_again() {
    let place = Place::new();
    let journal = place.open(LONG);
    place.set(true, false);
    let large = cursor("large", &[7; 4_000]);
    // The thread takes some of it before it hangs
    while journal.figures().dropped == 0 {
        journal.append(&large);
    }
    assert!(journal.figures().dropped < 5_000);
    assert_eq!(journal.generation(), 0);
    assert_eq!(durably(&journal, &cursor("a", b"1"), PATIENCE), Durable::No);
    place.set(false, false);
    let end = Instant::now() + Duration::from_secs(60);
    while journal.generation() == 0 {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    let found = place.on_disk().cursors;
    assert!(found.contains_key("large"));
    assert!(!found.contains_key("a"), "nothing follows a gap");
    assert_eq!(
        durably(&journal, &cursor("a", b"1"), PATIENCE),
        Durable::Yes
    );
    assert!(place.on_disk().cursors.contains_key("a"));
}

#[test]
fn a_failing_disk_is_said_and_nothing_is_lost_when_it_is_over() {
    let place = Place::new();
    let journal = place.open(LONG);
    place.set(false, true);
    assert_eq!(durably(&journal, &cursor("a", b"1"), LONG), Durable::No);
    let Health::Degraded { why, since } = journal.figures().health else {
        panic!("{:?}", journal.figures());
    };
    assert_eq!(why, "Input/output error");
    assert_eq!(durably(&journal, &cursor("b", b"2"), LONG), Durable::No);
    let again = journal.figures().health;
    assert_eq!(again, Health::Degraded { why, since });
    place.set(false, false);
    // As it would be tried after a while
    journal.compact();
    until(&journal, |f| f.health == Health::Good);
    assert_eq!(place.on_disk().cursors.len(), 2);
    assert_eq!(
        durably(&journal, &Records::default(), PATIENCE),
        Durable::Yes
    );
    assert_eq!(journal.generation(), 0);
}

#[test]
fn an_older_start_is_shut_out_by_a_newer_one() {
    let place = Place::new();
    let older = place.open(LONG);
    assert_eq!(durably(&older, &cursor("a", b"1"), PATIENCE), Durable::Yes);
    let newer = place.open(LONG);
    assert_eq!(durably(&older, &cursor("a", b"2"), LONG), Durable::No);
    assert_eq!(older.figures().health, Health::Lost);
    assert_eq!(durably(&older, &cursor("a", b"3"), LONG), Durable::No);
    assert_eq!(durably(&newer, &cursor("b", b"4"), PATIENCE), Durable::Yes);
    assert_eq!(place.on_disk().cursors["a"], b"1");
}

#[test]
fn a_stop_writes_what_waits_and_the_last_handle_ends_the_thread() {
    let place = Place::new();
    let journal = place.open(LONG);
    journal.append(&cursor("a", b"1"));
    assert!(journal.stop(PATIENCE));
    journal.append(&cursor("a", b"2"));
    assert_eq!(durably(&journal, &cursor("a", b"3"), LONG), Durable::No);
    assert_eq!(place.on_disk().cursors["a"], b"1");
    let journal = place.open(LONG);
    let other = journal.clone();
    drop(journal);
    assert_eq!(durably(&other, &cursor("a", b"4"), PATIENCE), Durable::Yes);
    let gate = Arc::downgrade(&place.gate);
    let count = gate.strong_count();
    drop(other);
    // The thread has the disk, which goes with it
    let end = Instant::now() + Duration::from_secs(60);
    while gate.strong_count() >= count {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
}

#[test]
fn the_file_has_the_mode_and_the_reserve_that_it_should() {
    use std::os::unix::fs::MetadataExt;
    let place = Place::new();
    let journal = place.open(LONG);
    assert_eq!(
        durably(&journal, &cursor("a", b"1"), PATIENCE),
        Durable::Yes
    );
    let meta = fs::metadata(place.dir.join(NAME)).unwrap();
    assert_eq!(meta.mode() & 0o777 & !0o640, 0);
    assert!(meta.blocks() * 512 >= 16 << 10, "{} blocks", meta.blocks());
    assert_eq!(fs::read_dir(&place.dir).unwrap().count(), 1);
}
