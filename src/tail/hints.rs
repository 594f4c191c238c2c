//! Hints from the kernel about which files may have changed: one inotify instance for the process, and one thread
//! that reads it.
//!
//! A hint is a reason to look, and never a proof. One may be lost, late, doubled or wrong: whoever follows files looks at
//! them without being told as well, only more seldom.

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, Receiver, Sender, TrySendError};

/// The name that the kernel gives to a watch.
pub type Watch = WatchDescriptor;

/// Hints that come within this time of the last ones are passed on together. A file may be gone soon after it came.
const TOGETHER: Duration = Duration::from_millis(225);
/// However fast the text of files changes, a session is woken for that at most this often, and so that a line in a
/// file that was idle is read within half a second.
const CHANGES_TOGETHER: Duration = Duration::from_millis(440);
/// The most files that one session is told of at a time; beyond that it is told to look at all of them.
const MOST_WAITING: usize = 4096;
/// The stack of the thread, in bytes: it calls nothing deep.
const STACK: usize = 64 << 10;

/// `IN_EXCL_UNLINK`: who writes to a file that has no name any more pays nothing. nix does not name it.
const NOT_WITHOUT_NAME: u32 = 0x0400_0000;

/// The hints that a watch asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Of a folder: names that come, go, or change their permissions.
    Names,
    /// Of a folder: also each change of a file in it. Whoever writes there pays a little for each write.
    Changes,
    /// Of a file: its next change, once.
    OneChange,
}

impl Wish {
    fn mask(self) -> AddWatchFlags {
        let names = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR
            | AddWatchFlags::from_bits_retain(NOT_WITHOUT_NAME);
        match self {
            Wish::Names => names,
            Wish::Changes => names | AddWatchFlags::IN_MODIFY,
            Wish::OneChange => {
                AddWatchFlags::IN_MODIFY
                    | AddWatchFlags::IN_ATTRIB
                    | AddWatchFlags::IN_MOVE_SELF
                    | AddWatchFlags::IN_ONESHOT
            }
        }
    }
}

/// The news that a hint has of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    /// Its text may have changed.
    pub changed: bool,
    /// It may have come, gone, or got other permissions.
    pub named: bool,
    /// It may be a folder.
    pub is_folder: bool,
    /// The thing that was watched is gone or lies elsewhere, and the watch tells nothing more.
    pub over: bool,
}

/// The file that a hint is about: a name in a watched folder, or what is watched itself.
pub type About = (Watch, Option<OsString>);

/// Hints that a session has not taken yet.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Each file once.
    pub hints: HashMap<About, Told>,
    /// Some were lost: anything may have changed.
    pub lost: bool,
    /// One of them is about more than text that has changed.
    pub(super) presses: bool,
}

impl Waiting {
    fn add(&mut self, about: About, told: Told) {
        if self.hints.len() >= MOST_WAITING {
            self.lost = true;
            self.presses = true;
            self.hints.clear();
        }
        if self.lost {
            return;
        }
        self.presses |= told.named || told.over;
        let all = self.hints.entry(about).or_default();
        all.changed |= told.changed;
        all.named |= told.named;
        all.is_folder |= told.is_folder;
        all.over |= told.over;
    }

    #[cfg(test)]
    pub(super) fn add_all(&mut self, other: Waiting) {
        self.lost |= other.lost;
        for (about, told) in other.hints {
            self.add(about, told);
        }
    }
}

/// A place where hints wait for one session.
#[derive(Debug)]
struct Mailbox {
    waiting: Mutex<Waiting>,
    bell: Sender<()>,
}

impl Mailbox {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Each change leaves it whole
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One mailbox's wish for one watch.
type Wished = (u64, Wish);

#[derive(Debug, Default)]
struct State {
    watches: HashMap<Watch, Vec<Wished>>,
    mailboxes: HashMap<u64, Arc<Mailbox>>,
    last: u64,
}

#[derive(Debug)]
struct Shared {
    inotify: Inotify,
    /// Ends the thread.
    end: EventFd,
    most: usize,
    /// No system call while it is held.
    state: Mutex<State>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change leaves it whole
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The inotify instance and its thread, which ends when this is dropped.
#[derive(Debug)]
pub struct Hints(Arc<Shared>);

/// By which sessions subscribe.
#[derive(Debug, Clone)]
pub struct Source(Arc<Shared>);

impl Hints {
    /// Starts the thread. At most `most` watches are had at a time, and no more than a quarter of those that the
    /// kernel grants to the user, whose other programs need some too.
    ///
    /// # Errors
    /// The system has no inotify instance, descriptor or thread to give.
    pub fn start(most: usize) -> io::Result<Hints> {
        let hints = Hints::without_thread(most)?;
        let shared = hints.0.clone();
        thread::Builder::new()
            .name("hints".to_owned())
            .stack_size(STACK)
            .spawn(move || listen(&shared))?;
        Ok(hints)
    }

    /// One that no hint ever comes from: tests make their own.
    pub(super) fn without_thread(most: usize) -> io::Result<Hints> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let end = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let granted = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches");
        let granted = granted.ok().and_then(|text| text.trim().parse().ok());
        Ok(Hints(Arc::new(Shared {
            inotify,
            end,
            most: most.min(granted.unwrap_or(usize::MAX) / 4),
            state: Mutex::default(),
        })))
    }

    /// Does the thread's work once, of what the kernel has told by now.
    #[cfg(test)]
    pub(super) fn pass_on(&self) {
        while let Ok(events) = self.0.inotify.read_events() {
            let lost = sort(&self.0, events);
            ring(&self.0, lost, true);
        }
    }

    /// For sessions.
    pub fn source(&self) -> Source {
        Source(self.0.clone())
    }
}

impl Drop for Hints {
    fn drop(&mut self) {
        let _ = self.0.end.write(1);
    }
}

/// Why there is no watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The bound of [`Hints::start`] is met.
    Most,
    /// The system's reason.
    System(Errno),
}

/// A session's watches, and the hints that come from them. Dropped, they end.
#[derive(Debug)]
pub struct Subscription {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    number: u64,
    bell: Receiver<()>,
}

impl Source {
    /// One without watches.
    pub fn subscribe(&self) -> Subscription {
        let (ring, bell) = bounded(1);
        let mailbox = Arc::new(Mailbox {
            waiting: Mutex::default(),
            bell: ring,
        });
        let mut state = self.0.state();
        state.last += 1;
        let number = state.last;
        state.mailboxes.insert(number, mailbox.clone());
        Subscription {
            shared: self.0.clone(),
            mailbox,
            number,
            bell,
        }
    }
}

impl Subscription {
    /// Rings when hints have come; they are taken with [`Subscription::take`].
    pub fn bell(&self) -> &Receiver<()> {
        &self.bell
    }

    /// Takes all hints that have come.
    pub fn take(&self) -> Waiting {
        std::mem::take(&mut *self.mailbox.waiting())
    }

    /// Watches what a path leads to, or changes the wish for it. The same for two paths that lead to the same thing. May
    /// hang as each look at the path may.
    ///
    /// # Errors
    /// There is no watch to have, or the path can't be watched.
    pub fn watch(&self, path: &Path, wish: Wish) -> Result<Watch, Refused> {
        let add = |mask| self.shared.inotify.add_watch(path, mask);
        let watch = add(wish.mask()).map_err(Refused::System)?;
        let mut state = self.shared.state();
        let is_full = state.watches.len() >= self.shared.most;
        if is_full && !state.watches.contains_key(&watch) {
            drop(state);
            let _ = self.shared.inotify.rm_watch(watch);
            return Err(Refused::Most);
        }
        let wishes = state.watches.entry(watch).or_default();
        wishes.retain(|(number, _)| *number != self.number);
        let others = wishes
            .iter()
            .fold(AddWatchFlags::empty(), |all, (_, wish)| all | wish.mask());
        wishes.push((self.number, wish));
        drop(state);
        if !wish.mask().contains(others) {
            // Another session has more to know of it, and a new mask replaces the former one
            add(wish.mask() | others).map_err(Refused::System)?;
        }
        Ok(watch)
    }

    /// Gives a watch up.
    pub fn unwatch(&self, watch: Watch) {
        let mut state = self.shared.state();
        let Some(wishes) = state.watches.get_mut(&watch) else {
            return;
        };
        wishes.retain(|(number, _)| *number != self.number);
        let is_last = wishes.is_empty();
        if is_last {
            state.watches.remove(&watch);
        }
        drop(state);
        if is_last {
            // There is none any more if the thing is gone
            let _ = self.shared.inotify.rm_watch(watch);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.mailboxes.remove(&self.number);
        let mine = |wishes: &[Wished]| wishes.iter().any(|(number, _)| *number == self.number);
        let watches = state.watches.iter().filter(|(_, wishes)| mine(wishes));
        let watches: Vec<Watch> = watches.map(|(watch, _)| *watch).collect();
        drop(state);
        for watch in watches {
            self.unwatch(watch);
        }
    }
}

/// Passes hints on until the end.
fn listen(shared: &Shared) {
    // When hints were passed on last, and whether some wait
    let mut last = None::<Instant>;
    let mut waits = false;
    let mut pause = PollTimeout::NONE;
    loop {
        let mut ready = [
            PollFd::new(shared.end.as_fd(), PollFlags::POLLIN),
            PollFd::new(shared.inotify.as_fd(), PollFlags::POLLIN),
        ];
        // While hints come they are taken at each pause: being woken by each of them would cost more
        let asked = if pause.is_none() { 2 } else { 1 };
        match poll(&mut ready[..asked], pause) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return give_up(shared, e),
        }
        if ready[0].revents().is_some_and(|events| !events.is_empty()) {
            return;
        }
        let (mut some, mut lost) = (false, false);
        // At most what the kernel's queue holds, so that a flood does not keep them all waiting
        for _ in 0..256 {
            match shared.inotify.read_events() {
                Ok(events) => {
                    some = true;
                    lost |= sort(shared, events);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(e) => return give_up(shared, e),
            }
        }
        let is_time = last.is_none_or(|last| last.elapsed() >= CHANGES_TOGETHER);
        let rang = ring(shared, lost, is_time);
        if rang {
            last = Some(Instant::now());
        }
        waits = !rang && !is_time && (waits || some);
        pause = match some || waits {
            true => TOGETHER.try_into().unwrap_or(PollTimeout::MAX),
            false => PollTimeout::NONE,
        };
    }
}

fn give_up(shared: &Shared, e: Errno) {
    log::warn!("hints from the kernel end: {e}; files are looked at as without inotify");
    let watches: Vec<Watch> = shared.state().watches.keys().copied().collect();
    let over = Told {
        over: true,
        ..Told::default()
    };
    for watch in watches {
        tell(&shared.state(), (watch, None), over);
    }
    ring(shared, true, true);
}

/// Puts events into the mailboxes of those who wish for them. True if the kernel had to drop some.
fn sort(shared: &Shared, events: Vec<InotifyEvent>) -> bool {
    let mut lost = false;
    let mut state = shared.state();
    for event in events {
        let has = |flags| event.mask.intersects(flags);
        if has(AddWatchFlags::IN_Q_OVERFLOW) {
            lost = true;
            continue;
        }
        let is_over = has(AddWatchFlags::IN_IGNORED | AddWatchFlags::IN_UNMOUNT);
        let is_self = has(AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF);
        let told = Told {
            changed: has(AddWatchFlags::IN_MODIFY),
            named: has(AddWatchFlags::IN_CREATE
                | AddWatchFlags::IN_MOVE
                | AddWatchFlags::IN_DELETE
                | AddWatchFlags::IN_ATTRIB),
            is_folder: has(AddWatchFlags::IN_ISDIR),
            over: is_over || is_self,
        };
        tell(&state, (event.wd, event.name), told);
        if has(AddWatchFlags::IN_IGNORED) {
            state.watches.remove(&event.wd);
        }
    }
    lost
}

fn tell(state: &State, about: About, told: Told) {
    let wishes = state.watches.get(&about.0).map_or(&[][..], Vec::as_slice);
    for (number, _) in wishes {
        if let Some(mailbox) = state.mailboxes.get(number) {
            mailbox.waiting().add(about.clone(), told);
        }
    }
}

/// Wakes the sessions that have hints, but for changes only `with_changes`. True if some were about changes.
fn ring(shared: &Shared, lost: bool, with_changes: bool) -> bool {
    let mailboxes: Vec<Arc<Mailbox>> = shared.state().mailboxes.values().cloned().collect();
    let mut rang = false;
    for mailbox in mailboxes {
        let mut waiting = mailbox.waiting();
        waiting.lost |= lost;
        let presses = waiting.presses || waiting.lost;
        let rings = presses || with_changes && !waiting.hints.is_empty();
        // A session that is woken wants the lock
        drop(waiting);
        if rings {
            rang = true;
            match mailbox.bell.try_send(()) {
                Ok(()) | Err(TrySendError::Full(())) | Err(TrySendError::Disconnected(())) => {}
            }
        }
    }
    rang
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::random;
    use std::fs;
    use std::path::PathBuf;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            let dir = std::env::temp_dir().join(format!("hints-{}", random::uuid4()));
            fs::create_dir_all(&dir).unwrap();
            Folder(dir)
        }

        fn file(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn append(path: &Path) {
        use std::io::Write;
        let file = fs::OpenOptions::new().append(true).create(true).open(path);
        file.unwrap().write_all(b"line\n").unwrap();
    }

    /// All hints until one is about `name`.
    fn until(subscription: &Subscription, name: &str) -> Vec<(String, Told)> {
        let mut all = Vec::new();
        let patience = Duration::from_secs(20);
        while all.iter().all(|(about, _)| about != name) {
            subscription.bell().recv_timeout(patience).unwrap();
            let waiting = subscription.take();
            assert!(!waiting.lost);
            let text = |name: Option<OsString>| name.unwrap_or_default().into_string().unwrap();
            let hints = waiting.hints.into_iter();
            all.extend(hints.map(|((_, name), told)| (text(name), told)));
        }
        all
    }

    #[test]
    fn each_session_is_told_what_it_wished_for_and_no_more() {
        let folder = Folder::new();
        append(&folder.file("a"));
        let hints = Hints::start(100).unwrap();
        let (one, two) = (hints.source().subscribe(), hints.source().subscribe());
        let watch = one.watch(&folder.0, Wish::Changes).unwrap();
        assert_eq!(two.watch(&folder.0, Wish::Names), Ok(watch));
        append(&folder.file("a"));
        let told = until(&one, "a");
        assert!(told[0].1.changed && !told[0].1.named, "{told:?}");
        one.watch(&folder.0, Wish::Names).unwrap();
        append(&folder.file("a"));
        append(&folder.file("b"));
        let told = until(&one, "b");
        assert!(told.iter().all(|(name, told)| name == "b" && told.named));
    }

    #[test]
    fn the_bound_on_watches_holds_and_a_watch_that_is_given_up_makes_room() {
        let (first, second) = (Folder::new(), Folder::new());
        let hints = Hints::start(1).unwrap();
        let session = hints.source().subscribe();
        let watch = session.watch(&first.0, Wish::Names).unwrap();
        assert_eq!(session.watch(&second.0, Wish::Names), Err(Refused::Most));
        assert_eq!(session.watch(&first.0, Wish::Changes), Ok(watch));
        drop(session);
        let session = hints.source().subscribe();
        assert!(session.watch(&second.0, Wish::Names).is_ok());
        let missing = session.watch(&first.file("none"), Wish::Names);
        assert_eq!(missing, Err(Refused::System(Errno::ENOENT)));
    }

    #[test]
    fn a_folder_that_goes_ends_its_watch_with_a_hint() {
        let folder = Folder::new();
        let hints = Hints::start(10).unwrap();
        let session = hints.source().subscribe();
        session.watch(&folder.0, Wish::Names).unwrap();
        fs::remove_dir_all(&folder.0).unwrap();
        assert!(until(&session, "").iter().any(|(_, told)| told.over));
        let other = Folder::new();
        // The bound counts what there is
        for _ in 0..20 {
            session.watch(&other.0, Wish::Names).unwrap();
        }
    }

    #[test]
    fn more_hints_than_anybody_takes_are_one_that_says_so() {
        let mut waiting = Waiting::default();
        let hints = Hints::without_thread(10).unwrap();
        let folder = Folder::new();
        let watch = hints.source().subscribe().watch(&folder.0, Wish::Names);
        for n in 0..=MOST_WAITING {
            let about = (watch.unwrap(), Some(n.to_string().into()));
            waiting.add(about, Told::default());
        }
        assert!(waiting.lost && waiting.hints.is_empty());
    }
}
