//! The file on a disk that fails: a death at each step, torn writes, loss of power, a full disk, failing syncs.

use super::*;
use crate::tail::journal::disk::Disk;
use crate::tail::journal::file::{JournalFile, NAME, RESERVE, RETRY};
use std::cell::RefCell;
use std::io::{self, Error, ErrorKind};
use std::rc::Rc;
use std::time::Instant;

const SECTOR: usize = 512;

#[derive(Clone, Default)]
struct Inode {
    data: Vec<u8>,
    durable: Vec<u8>,
    /// Writes since the last sync.
    unsynced: Vec<(usize, Vec<u8>)>,
    /// Room was set aside up to here.
    reserved: usize,
}

impl Inode {
    fn put(data: &mut Vec<u8>, at: usize, bytes: &[u8]) {
        data.resize(data.len().max(at + bytes.len()), 0);
        data[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

#[derive(Clone)]
enum Name {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

impl Name {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Name::Create(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Name::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Name::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

#[derive(Default)]
struct World {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    unsynced_names: Vec<Name>,
    /// Changes of the disk so far.
    step: usize,
    /// The process dies in this one; of a write so many bytes are done.
    dies: Option<(usize, usize)>,
    is_dead: bool,
    /// Free bytes.
    room: Option<usize>,
    no_reserve: bool,
    sync_fails: bool,
    read_only: bool,
}

#[derive(Clone, Default)]
struct Fake(Rc<RefCell<World>>);

impl World {
    /// One change. An error if the process is dead, or dies in it; then `Some` is what it does yet.
    fn change(&mut self) -> Result<(), Option<usize>> {
        self.step += 1;
        if self.is_dead || self.read_only {
            return Err(None);
        }
        match self.dies {
            Some((step, part)) if step == self.step => {
                self.is_dead = true;
                Err(Some(part))
            }
            _ => Ok(()),
        }
    }

    fn name(&mut self, name: Name) -> io::Result<()> {
        // A death leaves it done or not
        if let Err(None | Some(0)) = self.change() {
            return Err(ErrorKind::ReadOnlyFilesystem.into());
        }
        name.apply(&mut self.names);
        self.unsynced_names.push(name);
        match self.is_dead {
            true => Err(Error::other("dead")),
            false => Ok(()),
        }
    }

    /// Takes room for a file that is to reach up to here; how far it can.
    fn room(&mut self, file: usize, upto: usize) -> usize {
        let inode = &self.inodes[file];
        let have = inode.reserved.max(inode.data.len());
        let more = upto.saturating_sub(have);
        match &mut self.room {
            Some(room) => {
                let given = more.min(*room);
                *room -= given;
                have + given
            }
            None => have + more,
        }
    }

    fn lose_power(&mut self, dice: &mut Dice) {
        for inode in &mut self.inodes {
            let mut data = inode.durable.clone();
            for (at, bytes) in &inode.unsynced {
                let mut from = *at;
                while from < at + bytes.len() {
                    let to = ((from / SECTOR + 1) * SECTOR).min(at + bytes.len());
                    if dice.once_in(2) {
                        Inode::put(&mut data, from, &bytes[from - at..to - at]);
                    }
                    from = to;
                }
            }
            inode.data = data.clone();
            inode.durable = data;
            inode.unsynced.clear();
        }
        let mut names = self.durable_names.clone();
        let kept = dice.below(self.unsynced_names.len() + 1);
        for name in &self.unsynced_names[..kept] {
            name.apply(&mut names);
        }
        self.names = names.clone();
        self.durable_names = names;
        self.unsynced_names.clear();
    }
}

impl Disk for Fake {
    type File = usize;

    fn open(&self, name: &str) -> io::Result<usize> {
        let world = self.0.borrow();
        let file = world.names.get(name).copied();
        file.ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn create(&self, name: &str) -> io::Result<usize> {
        let mut world = self.0.borrow_mut();
        let file = world.inodes.len();
        world.inodes.push(Inode::default());
        world.name(Name::Create(name.to_owned(), file))?;
        Ok(file)
    }

    fn read(&self, file: &usize) -> io::Result<Vec<u8>> {
        Ok(self.0.borrow().inodes[*file].data.clone())
    }

    fn write(&self, file: &usize, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        let done = match world.change() {
            Ok(()) => bytes.len(),
            Err(part) => part.unwrap_or(0).min(bytes.len()),
        };
        let at = at as usize;
        let done = world.room(*file, at + done).saturating_sub(at).min(done);
        let inode = &mut world.inodes[*file];
        Inode::put(&mut inode.data, at, &bytes[..done]);
        inode.unsynced.push((at, bytes[..done].to_vec()));
        match done == bytes.len() && !world.is_dead && !world.read_only {
            true => Ok(()),
            false => Err(ErrorKind::StorageFull.into()),
        }
    }

    fn reserve(&self, file: &usize, at: u64, len: u64) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        if world.change().is_err() {
            return Err(ErrorKind::ReadOnlyFilesystem.into());
        }
        let upto = (at + len) as usize;
        if world.no_reserve {
            // A file system that can't gets zeros written, and keeps them perhaps
            drop(world);
            return self.write(file, at, &vec![0; len as usize]);
        }
        let given = world.room(*file, upto);
        if given < upto {
            // All or nothing
            let have = world.inodes[*file]
                .reserved
                .max(world.inodes[*file].data.len());
            if let Some(room) = &mut world.room {
                *room += given - have;
            }
            return Err(ErrorKind::StorageFull.into());
        }
        let inode = &mut world.inodes[*file];
        inode.reserved = inode.reserved.max(upto);
        Ok(())
    }

    fn sync(&self, file: &usize) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        if world.change().is_err() || world.sync_fails {
            return Err(Error::other("Input/output error"));
        }
        let inode = &mut world.inodes[*file];
        inode.durable = inode.data.clone();
        inode.unsynced.clear();
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        if world.change().is_err() || world.sync_fails {
            return Err(Error::other("Input/output error"));
        }
        world.durable_names = world.names.clone();
        world.unsynced_names.clear();
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let name = Name::Rename(from.to_owned(), to.to_owned());
        self.0.borrow_mut().name(name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.borrow_mut().name(Name::Remove(name.to_owned()))
    }

    fn names(&self, prefix: &str) -> io::Result<Vec<String>> {
        let world = self.0.borrow();
        let names = world.names.keys().filter(|name| name.starts_with(prefix));
        Ok(names.cloned().collect())
    }

    fn id_at(&self, name: &str) -> io::Result<Option<FileId>> {
        let file = self.0.borrow().names.get(name).copied();
        file.map(|file| self.id(&file)).transpose()
    }

    fn id(&self, file: &usize) -> io::Result<FileId> {
        Ok(FileId {
            dev: 1,
            ino: *file as u64,
        })
    }
}

impl Fake {
    fn world(&self) -> std::cell::RefMut<'_, World> {
        self.0.borrow_mut()
    }

    /// The bytes of the file at the journal's path.
    fn journal(&self) -> Vec<u8> {
        let inode = self.world().names[NAME];
        self.read(&inode).unwrap()
    }

    fn open(&self, start: u8, now: Instant) -> (JournalFile<Fake>, Memory) {
        let opened = JournalFile::open(self.clone(), [start; 16], Memory::default, now);
        let (mut file, memory) = opened.unwrap_or_else(|e| panic!("{e}"));
        file.small = 700;
        (file, memory)
    }

    /// The next process starts.
    fn revive(&self) {
        let mut world = self.world();
        world.is_dead = false;
        world.dies = None;
        world.read_only = false;
        world.sync_fails = false;
        world.room = None;
    }
}

/// One history with one death or loss of power after the other. Each start must find one of the states between
/// the last that was durable (or, if the process died alone, in the file) and the last that was appended.
fn lives(seed: u64) {
    let mut dice = Dice(seed);
    let disk = Fake::default();
    let now = Instant::now();
    let (records, _) = history(&mut dice, 60);
    let state = |n: usize| replay(&[&header(&[0; 16])[..], &records[..n].concat()].concat()).memory;
    disk.world().no_reserve = dice.once_in(3);
    // The states of which one must be there
    let (mut from, mut to) = (0, 0);
    for life in 0..6 {
        let (mut file, found) = disk.open(life, now);
        let at = (from..=to).rev().find(|at| state(*at) == found);
        let Some(mut at) = at else {
            let any: Vec<usize> = (0..=records.len())
                .filter(|at| state(*at) == found)
                .collect();
            panic!("seed {seed}, life {life}: none of {from}..={to} was found, but {any:?}");
        };
        if at == records.len() {
            return;
        }
        {
            // From the second change after the start on
            let mut world = disk.world();
            let step = world.step + 1 + dice.below(40);
            world.dies = Some((step, dice.below(4) * dice.below(300)));
        }
        let loses_power = dice.once_in(2);
        // The start has synced it
        assert!(file.is_synced());
        from = at;
        to = at;
        while at < records.len() && !disk.world().is_dead {
            let some = (1 + dice.below(3)).min(records.len() - at);
            to = at + some;
            file.append(&records[at..to].concat(), now);
            at = to;
            if !loses_power && file.trouble().is_none() && !disk.world().is_dead {
                from = at;
            }
            match dice.below(5) {
                0 => file.sync(now),
                1 => file.tend(now),
                2 if dice.once_in(6) => file.compact(now),
                _ => {}
            }
            if file.is_synced() && !disk.world().is_dead {
                from = at;
            }
        }
        assert!(!file.is_lost());
        if loses_power {
            disk.world().lose_power(&mut dice);
        }
        disk.revive();
    }
}

#[test]
fn each_death_and_loss_of_power_leaves_a_state_that_there_was() {
    let first = number("JOURNAL_SEED", 1);
    for seed in first..first + number("JOURNAL_EPISODES", 500) {
        lives(seed);
    }
}

#[test]
fn a_death_at_each_single_step_of_a_start_and_of_a_compaction_loses_nothing() {
    let (records, _) = history(&mut Dice(77), 40);
    let states = states(&records);
    let last = &states[records.len()];
    let now = Instant::now();
    for loses_power in [false, true] {
        for part in [0, 1, 100] {
            for step in 1.. {
                let disk = Fake::default();
                let (mut file, _) = disk.open(1, now);
                file.append(&records.concat(), now);
                file.sync(now);
                let before = disk.world().step;
                disk.world().dies = Some((before + step, part));
                file.compact(now);
                let (_, _) = disk.open(2, now);
                let is_over = !disk.world().is_dead;
                if loses_power {
                    disk.world().lose_power(&mut Dice(step as u64));
                }
                disk.revive();
                assert_eq!(&disk.open(3, now).1, last, "step {step} part {part}");
                if is_over {
                    assert!(step > 12, "{step}");
                    break;
                }
            }
        }
    }
}

#[test]
fn a_full_disk_uses_the_reserve_then_memory_and_nothing_is_lost_when_it_is_over() {
    let mut used_up = 0;
    for seed in 1..25 {
        let mut dice = Dice(seed);
        let (records, _) = history(&mut dice, 1_800);
        let state =
            |n: usize| replay(&[&header(&[0; 16])[..], &records[..n].concat()].concat()).memory;
        let (disk, mut now) = (Fake::default(), Instant::now());
        let (mut file, _) = disk.open(1, now);
        file.small = 1 << 20;
        let full_from = dice.below(1_200);
        let (mut in_file, mut all) = (0, records.len());
        // The disk may have room again right after the reserve was used up
        let is_short = dice.once_in(2);
        for (n, record) in records.iter().enumerate() {
            if n == full_from {
                disk.world().room = Some(dice.below(50));
            }
            file.append(record, now);
            file.sync(now);
            file.tend(now);
            if file.trouble().is_none() {
                in_file = n + 1;
            } else if is_short {
                all = n + 1;
                break;
            }
        }
        let written: usize = records[..in_file].iter().map(Vec::len).sum();
        let after: usize = records[full_from..in_file].iter().map(Vec::len).sum();
        assert!(
            in_file == records.len() || after >= RESERVE as usize - 2_000,
            "{after} of {written} bytes went into the reserve"
        );
        // The file is as it was when it failed
        let bytes = disk.journal();
        assert_eq!(replay(&bytes).memory, state(in_file));
        if in_file < records.len() {
            used_up += 1;
            assert!(!file.is_synced());
        }
        // The next try is one pause away
        disk.world().room = None;
        now += RETRY;
        file.tend(now);
        assert!(file.is_synced() && file.trouble().is_none());
        assert_eq!(disk.open(2, now).1, state(all), "seed {seed}");
    }
    assert!(used_up > 15, "{used_up}");
}

#[test]
fn a_failing_sync_or_a_read_only_folder_is_put_up_with_until_it_is_over() {
    for read_only in [false, true] {
        for from_the_start in [false, true] {
            let (records, _) = history(&mut Dice(8), 300);
            let (disk, mut now) = (Fake::default(), Instant::now());
            let set = |fails: bool| match read_only {
                true => disk.world().read_only = fails,
                false => disk.world().sync_fails = fails,
            };
            set(from_the_start);
            let (mut file, _) = disk.open(1, now);
            set(true);
            for record in &records {
                file.append(record, now);
                file.sync(now);
                file.tend(now);
            }
            assert!(file.trouble().is_some() && !file.is_synced());
            let before = disk.world().step;
            file.append(&records[0], now);
            file.sync(now);
            file.tend(now);
            assert_eq!(
                disk.world().step,
                before,
                "the disk is left alone between two tries"
            );
            now += RETRY;
            file.tend(now);
            assert!(disk.world().step > before && file.trouble().is_some());
            set(false);
            now += RETRY;
            file.tend(now);
            assert!(file.is_synced() && file.trouble().is_none());
            assert!(!file.lacks_records());
            let again = [&records[..], &records[..1]].concat();
            let expected = super::states(&again).pop().unwrap();
            let found = disk.open(2, now).1;
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn in_memory_the_journal_stays_as_small_as_in_a_file() {
    let (disk, now) = (Fake::default(), Instant::now());
    let (mut file, _) = disk.open(1, now);
    disk.world().read_only = true;
    let mut owners = Owners::default();
    let key = owners.born(&mut Dice(1));
    let mut most = 0;
    for _ in 0..5_000 {
        let mut out = Records::default();
        owners.advance(key, 2);
        owners.write(key, Reason::Evidence, &mut out);
        file.append(out.bytes(), now);
        most = most.max(file.length());
    }
    assert!(most < 1_000, "{most}");
}

#[test]
fn a_writer_of_an_older_start_writes_nothing_more_and_says_so() {
    let (records, _) = history(&mut Dice(9), 60);
    let (disk, now) = (Fake::default(), Instant::now());
    let (mut older, _) = disk.open(1, now);
    older.append(&records[0], now);
    let (mut newer, found) = disk.open(2, now);
    assert_eq!(found, states(&records[..1])[1]);
    newer.append(&records[1], now);
    let before = disk.journal();
    for record in &records {
        older.append(record, now);
    }
    older.sync(now);
    older.compact(now);
    older.tend(now + RETRY);
    assert!(older.is_lost() && !older.is_synced());
    let after = disk.journal();
    assert_eq!(before, after);
    // One whose disk fails meanwhile must not come back either
    let (mut third, _) = disk.open(3, now);
    disk.world().sync_fails = true;
    third.append(&records[2], now);
    third.sync(now);
    disk.world().sync_fails = false;
    let (_, found) = disk.open(4, now);
    third.tend(now + RETRY);
    assert!(third.is_lost() && !newer.is_synced());
    assert_eq!(disk.open(5, now).1, found);
}

#[test]
fn a_damaged_end_is_set_aside_and_named_and_few_are_kept() {
    let (records, _) = history(&mut Dice(10), 40);
    let states = states(&records);
    let (disk, now) = (Fake::default(), Instant::now());
    let (mut file, _) = disk.open(1, now);
    file.append(&records[..20].concat(), now);
    let sound = file.length();
    let bad = vec![0xAB; 300 << 10];
    let inode = disk.world().names[NAME];
    disk.write(&inode, sound, &bad).unwrap();
    for n in 0..9 {
        disk.create(&format!("positions.journal.damaged-{n}"))
            .unwrap();
    }
    let (file, found) = disk.open(2, now);
    assert_eq!(found, states[20]);
    let damage = file.damage().unwrap().clone();
    assert_eq!((damage.at, damage.length), (sound, bad.len() as u64));
    let names = disk.names("positions.journal.damaged-").unwrap();
    assert_eq!(names.len(), 4);
    let aside = disk.world().names[&damage.aside.unwrap()];
    assert_eq!(disk.read(&aside).unwrap(), bad[..256 << 10]);
    assert_eq!(file.counts().damaged, 1);
    assert!(disk.open(3, now).0.damage().is_none());
}

#[test]
fn what_a_later_version_wrote_is_kept_as_a_whole() {
    let (disk, now) = (Fake::default(), Instant::now());
    let other = disk.create(NAME).unwrap();
    let mut bytes = header(&[1; 16]);
    bytes[8] = 2;
    bytes.extend(vec![7; 300 << 10]);
    disk.write(&other, 0, &bytes).unwrap();
    let mut seed = Memory::default();
    seed.cursors.insert("from".into(), b"elsewhere".into());
    let opened = JournalFile::open(disk.clone(), [2; 16], || seed.clone(), now);
    let (file, found) = opened.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(found, seed);
    let damage = file.damage().unwrap();
    assert!(damage.why.contains("version"));
    let aside = damage.aside.as_ref().unwrap();
    assert_eq!(disk.world().names[aside], other);
    assert!(file.is_synced());
    assert_eq!(disk.open(3, now).1, seed);
}

#[test]
fn a_file_that_rots_while_it_is_written_has_its_owners_write_all_again() {
    let (records, _) = history(&mut Dice(11), 40);
    let (disk, now) = (Fake::default(), Instant::now());
    let (mut file, _) = disk.open(1, now);
    file.append(&records.concat(), now);
    let inode = disk.world().names[NAME];
    disk.world().inodes[inode].data[100] ^= 1;
    assert!(!file.lacks_records());
    file.compact(now);
    assert!(file.lacks_records() && !file.lacks_records());
    assert_eq!(file.counts().damaged, 1);
    // The same when the file has to be kept in memory
    let inode = disk.world().names[NAME];
    disk.world().inodes[inode].data[100] ^= 1;
    disk.world().sync_fails = true;
    file.append(&records[0], now);
    file.sync(now);
    disk.world().sync_fails = false;
    let mut later = Records::default();
    assert!(later.cursor("later", b"1"));
    file.append(later.bytes(), now);
    assert!(
        !file.lacks_records(),
        "as long as the disk fails, it is of no use"
    );
    file.tend(now + RETRY);
    assert!(file.lacks_records());
    assert_eq!(disk.open(2, now).1.cursors["later"], b"1");
}

#[test]
fn a_journal_grows_to_twice_what_is_live_and_is_then_compacted() {
    let (disk, now) = (Fake::default(), Instant::now());
    let (mut file, _) = disk.open(1, now);
    file.small = 64 << 10;
    let mut owners = Owners::default();
    let keys: Vec<u64> = (0..400).map(|n| owners.born(&mut Dice(n))).collect();
    let mut largest = 0;
    for round in 0..40 {
        for key in &keys {
            let mut out = Records::default();
            owners.advance(*key, 1);
            owners.write(*key, Reason::Born, &mut out);
            file.append(out.bytes(), now);
            file.tend(now);
            largest = largest.max(file.length());
        }
        if round == 0 {
            assert_eq!(file.counts().compactions, 1, "the start's");
        }
    }
    let counts = file.counts();
    assert!(
        counts.compactions > 3 && counts.compactions < 20,
        "{counts:?}"
    );
    assert!(largest > 64 << 10 && largest < 200 << 10, "{largest}");
}

#[test]
fn a_file_that_somebody_deletes_is_written_anew() {
    let (records, _) = history(&mut Dice(12), 40);
    let (disk, now) = (Fake::default(), Instant::now());
    let (mut file, _) = disk.open(1, now);
    file.append(&records[..20].concat(), now);
    disk.remove(NAME).unwrap();
    file.append(&records[20..].concat(), now);
    assert_eq!(file.trouble(), Some("the file was deleted"));
    file.tend(now + RETRY);
    assert!(file.is_synced() && !file.lacks_records());
    assert_eq!(disk.open(2, now).1, states(&records)[records.len()]);
}
