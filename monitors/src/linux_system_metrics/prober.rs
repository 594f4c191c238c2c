//! Asks filesystems for their sizes without being held up by one that does not answer, as those of
//! a server that is gone: a helper thread asks. If it gets stuck it is left behind, the filesystem
//! is let alone for a while, and another helper asks the others.

use super::mounts::Mount;
use common::stop::Stop;
use crossbeam_channel::{bounded, select, Receiver, Sender, TryRecvError};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long one filesystem may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Helpers that may be stuck at a time, and one more for each further type of filesystem. Each is a
/// thread.
const MOST_STUCK: usize = 8;
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// Bytes. It makes a system call.
const STACK: usize = 128 * 1024;

/// The size of a filesystem, as `statvfs` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    /// Bytes of a block.
    pub block: u64,
    /// Blocks in all.
    pub blocks: i64,
    /// Blocks that nobody uses.
    pub unused: i64,
    /// Blocks that anybody may use. Some filesystems owe: below 0.
    pub available: i64,
    /// Inodes in all; 0 or less if the filesystem does not count them.
    pub files: i64,
    /// Inodes that nobody uses.
    pub files_unused: i64,
}

impl Space {
    /// A number of blocks in KiB, rounded up.
    pub fn kib(&self, blocks: i64) -> i64 {
        let bytes = i128::from(blocks) * i128::from(self.block);
        let kib = bytes.div_euclid(1024) + i128::from(bytes.rem_euclid(1024) > 0);
        kib.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }
}

/// Asks the filesystem mounted at a path.
pub(crate) type StatFs = Arc<dyn Fn(&Path) -> io::Result<Space> + Send + Sync>;

/// The kernel's answer.
#[allow(clippy::unnecessary_cast)] // the types differ between platforms
pub(super) fn statvfs(path: &Path) -> io::Result<Space> {
    let found = loop {
        match nix::sys::statvfs::statvfs(path) {
            Err(nix::errno::Errno::EINTR) => {}
            result => break result?,
        }
    };
    // The kernel's numbers are unsigned, but for debts, which are written as large ones.
    Ok(Space {
        block: match found.fragment_size() as u64 {
            0 => found.block_size() as u64,
            size => size,
        },
        blocks: found.blocks() as i64,
        unused: found.blocks_free() as i64,
        available: found.blocks_available() as i64,
        files: found.files() as i64,
        files_unused: found.files_free() as i64,
    })
}

pub(super) struct Prober {
    statfs: StatFs,
    patience: Duration,
    /// Not stuck.
    helper: Option<Helper>,
    /// The job that the helper is working at.
    job: Option<Job>,
    answers: Vec<Option<io::Result<Space>>>,
    trouble: Vec<Trouble>,
    news: Vec<String>,
}

struct Helper {
    jobs: Sender<Job>,
    /// Hears of each finished job, and of the helper's end by being disconnected.
    done: Receiver<()>,
}

/// Some of the mounts to ask, by their places.
#[derive(Clone)]
struct Job {
    mounts: Arc<[Mount]>,
    places: Arc<[usize]>,
    progress: Arc<Mutex<Progress>>,
}

#[derive(Default)]
struct Progress {
    answers: Vec<(usize, io::Result<Space>)>,
    /// Nobody waits for the helper any more.
    left_behind: bool,
}

/// A filesystem that did not answer.
struct Trouble {
    mount: Mount,
    /// Disconnected when the helper that asked it has got free.
    stuck: Option<Receiver<()>>,
    again: Instant,
    pause: Duration,
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Prober {
    pub fn new(statfs: StatFs) -> Self {
        Prober {
            statfs,
            patience: PATIENCE,
            helper: None,
            job: None,
            answers: Vec::new(),
            trouble: Vec::new(),
            news: Vec::new(),
        }
    }

    /// Begins to ask all of them but those that are let alone.
    ///
    /// # Errors
    /// There is no helper and none can be started.
    pub fn begin(&mut self, mounts: &Arc<[Mount]>) -> io::Result<()> {
        self.answers.clear();
        self.answers.resize_with(mounts.len(), || None);
        self.job = None;
        for trouble in &mut self.trouble {
            if let Some(Err(TryRecvError::Disconnected)) =
                trouble.stuck.as_ref().map(Receiver::try_recv)
            {
                trouble.stuck = None;
            }
        }
        let now = Instant::now();
        self.trouble
            .retain(|trouble| trouble.stuck.is_some() || mounts.contains(&trouble.mount));
        let places = (0..mounts.len()).filter(|&place| {
            let mut trouble = self.trouble.iter();
            let trouble = trouble.find(|trouble| trouble.mount == mounts[place]);
            trouble.is_none_or(|trouble| trouble.stuck.is_none() && now >= trouble.again)
        });
        let places = places.collect();
        self.hand_over(mounts, places)
    }

    fn hand_over(&mut self, mounts: &Arc<[Mount]>, places: Arc<[usize]>) -> io::Result<()> {
        let places = self.within_bounds(mounts, places);
        if places.is_empty() {
            return Ok(());
        }
        let job = Job {
            mounts: Arc::clone(mounts),
            places,
            progress: Arc::default(),
        };
        let helper = match &self.helper {
            Some(helper) => helper,
            None => {
                let helper = Helper::start(Arc::clone(&self.statfs))?;
                self.helper.insert(helper)
            }
        };
        if helper.jobs.send(job.clone()).is_err() {
            self.helper = None;
            return Err(io::Error::other("the helper thread has died"));
        }
        self.job = Some(job);
        Ok(())
    }

    /// Those that are asked although others are stuck: all of them, but from [`MOST_STUCK`] on none
    /// of the types of those that are, so that the disks of this host do not fall silent with a server.
    fn within_bounds(&mut self, mounts: &[Mount], places: Arc<[usize]>) -> Arc<[usize]> {
        let stuck = self.trouble.iter().filter(|t| t.stuck.is_some());
        let stuck: Vec<&str> = stuck.map(|t| t.mount.fstype.as_str()).collect();
        if stuck.len() < MOST_STUCK {
            return places;
        }
        let of_another_type = |place: &usize| !stuck.contains(&mounts[*place].fstype.as_str());
        let kept: Arc<[usize]> = places.iter().copied().filter(of_another_type).collect();
        if kept.len() < places.len() {
            self.news.push(format!(
                "{} filesystems do not answer; others of the same type are not asked",
                stuck.len()
            ));
        }
        kept
    }

    /// The answer of each mount; `None` for those that were not asked or did not answer in time.
    pub fn finish(&mut self, mounts: &Arc<[Mount]>, stop: &Stop) -> Vec<Option<io::Result<Space>>> {
        let mut seen = 0;
        while let (Some(job), Some(helper)) = (&self.job, &self.helper) {
            let through = select! {
                recv(helper.done) -> message => Some(message.is_ok()),
                recv(stop.channel()) -> _ => Some(false),
                default(self.patience) => None,
            };
            let mut progress = lock(&job.progress);
            if through.is_none() && progress.answers.len() > seen {
                // Slow, but not stuck.
                seen = progress.answers.len();
                continue;
            }
            for (place, answer) in progress.answers.drain(..) {
                if answer.is_ok() {
                    self.trouble
                        .retain(|trouble| trouble.mount != mounts[place]);
                }
                self.answers[place] = Some(answer);
            }
            if through == Some(true) {
                drop(progress);
                self.job = None;
                break;
            }
            progress.left_behind = true;
            drop(progress);
            let asked = job.places.clone();
            let Some(helper) = self.helper.take() else {
                break;
            };
            self.job = None;
            if through == Some(false) {
                // The agent stops, or the helper has died.
                break;
            }
            let unanswered = |place: &usize| self.answers[*place].is_none();
            let mut left = asked.iter().copied().filter(|place| unanswered(place));
            let Some(stuck) = left.next() else { break };
            let left: Arc<[usize]> = left.collect();
            self.is_stuck(&mounts[stuck], helper.done);
            seen = 0;
            if let Err(error) = self.hand_over(mounts, left) {
                self.news
                    .push(format!("filesystems cannot be asked: {error}"));
            }
        }
        std::mem::take(&mut self.answers)
    }

    fn is_stuck(&mut self, mount: &Mount, done: Receiver<()>) {
        let now = Instant::now();
        let known = self.trouble.iter_mut().find(|t| t.mount == *mount);
        let pause = match known {
            Some(trouble) => {
                trouble.pause = (trouble.pause * 2).min(LONGEST_PAUSE);
                trouble.again = now + trouble.pause;
                trouble.stuck = Some(done);
                trouble.pause
            }
            None => {
                self.trouble.push(Trouble {
                    mount: mount.clone(),
                    stuck: Some(done),
                    again: now + FIRST_PAUSE,
                    pause: FIRST_PAUSE,
                });
                FIRST_PAUSE
            }
        };
        self.news.push(format!(
            "filesystem at {:?} ({}) does not answer; it is asked again once it does, at the earliest in {} seconds",
            mount.field,
            mount.fstype,
            pause.as_secs()
        ));
    }

    /// The messages for agent.log since the last call.
    pub fn news(&mut self) -> Vec<String> {
        std::mem::take(&mut self.news)
    }
}

impl Helper {
    fn start(statfs: StatFs) -> io::Result<Helper> {
        let (jobs, to_do) = bounded::<Job>(1);
        let (finished, done) = bounded(1);
        std::thread::Builder::new()
            .name("statvfs".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                for job in to_do {
                    for &place in job.places.iter() {
                        let answer = statfs(&job.mounts[place].path);
                        let mut progress = lock(&job.progress);
                        if progress.left_behind {
                            return;
                        }
                        progress.answers.push((place, answer));
                    }
                    if finished.send(()).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Helper { jobs, done })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::unbounded;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    fn mounts(paths: &[&str]) -> Arc<[Mount]> {
        let mounts = paths.iter().map(|path| Mount {
            path: PathBuf::from(path),
            field: (*path).to_owned(),
            fstype: "nfs".to_owned(),
            blocks: true,
        });
        mounts.collect()
    }

    const SPACE: Space = Space {
        block: 1024,
        blocks: 3,
        unused: 2,
        available: 1,
        files: 0,
        files_unused: 0,
    };

    /// A prober of filesystems of which those under `/hung` answer only when a message comes, how
    /// many were asked, and where to send the messages.
    fn prober() -> (Prober, Arc<AtomicUsize>, Sender<()>) {
        let (free, wait) = unbounded::<()>();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let mut prober = Prober::new(Arc::new(move |path| {
            count.fetch_add(1, SeqCst);
            if path.starts_with("/hung") {
                let _ = wait.recv();
            }
            Ok(SPACE)
        }));
        prober.patience = Duration::from_millis(500);
        (prober, asked, free)
    }

    fn ask(prober: &mut Prober, mounts: &Arc<[Mount]>) -> Vec<bool> {
        let (_stopper, stop) = common::stop::pair();
        prober.begin(mounts).unwrap();
        let answers = prober.finish(mounts, &stop).into_iter();
        answers
            .map(|answer| answer.is_some_and(|answer| answer.unwrap() == SPACE))
            .collect()
    }

    #[test]
    fn a_hung_filesystem_costs_one_delay_and_no_other_its_answer() {
        let (mut prober, asked, free) = prober();
        let mounts = mounts(&["/a", "/hung/1", "/b", "/hung/2", "/c"]);
        let answered = [true, false, true, false, true];
        assert_eq!(ask(&mut prober, &mounts), answered);
        assert_eq!(prober.news().len(), 2);
        assert_eq!(asked.load(SeqCst), 5);
        // It is let alone from now on.
        let began = Instant::now();
        prober.patience = Duration::from_secs(60);
        assert_eq!(ask(&mut prober, &mounts), answered);
        assert!(began.elapsed() < Duration::from_secs(30));
        assert_eq!(prober.news().len(), 0);
        assert_eq!(asked.load(SeqCst), 8);
        drop(free);
    }

    #[test]
    fn a_filesystem_that_answers_again_is_reported_again() {
        let (mut prober, _, free) = prober();
        let mounts = mounts(&["/hung", "/a"]);
        assert_eq!(ask(&mut prober, &mounts), [false, true]);
        for trouble in &mut prober.trouble {
            trouble.again = Instant::now();
        }
        // Its time has come, but the thread that asked it is still stuck.
        assert_eq!(ask(&mut prober, &mounts), [false, true]);
        let stuck = prober.trouble[0].stuck.clone().unwrap();
        drop(free);
        let _ = stuck.recv_timeout(Duration::from_secs(60));
        assert_eq!(ask(&mut prober, &mounts), [true, true]);
        assert!(prober.trouble.is_empty());
    }

    #[test]
    fn the_pauses_of_one_that_stays_hung_grow() {
        let (mut prober, _, free) = prober();
        let mounts = mounts(&["/hung"]);
        for expected in [60, 120, 240] {
            assert_eq!(ask(&mut prober, &mounts), [false]);
            let trouble = &mut prober.trouble[0];
            assert_eq!(trouble.pause.as_secs(), expected);
            trouble.again = Instant::now();
            let stuck = trouble.stuck.clone().unwrap();
            free.send(()).unwrap();
            let _ = stuck.recv_timeout(Duration::from_secs(60));
        }
    }

    #[test]
    fn only_so_many_threads_are_given_to_hung_filesystems() {
        let (mut prober, asked, free) = prober();
        let many: Vec<String> = (0..20).map(|n| format!("/hung/{n}")).collect();
        let mounts = mounts(&many.iter().map(String::as_str).collect::<Vec<_>>());
        prober.patience = Duration::from_millis(5);
        assert_eq!(ask(&mut prober, &mounts), [false; 20]);
        // On a busy machine a helper may be given up before it has got to run at all.
        let deadline = Instant::now() + Duration::from_secs(60);
        while asked.load(SeqCst) < MOST_STUCK {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(ask(&mut prober, &mounts), [false; 20]);
        assert_eq!(asked.load(SeqCst), MOST_STUCK);
        drop(free);
    }

    #[test]
    fn many_hung_filesystems_do_not_silence_those_of_another_kind() {
        let (mut prober, _, free) = prober();
        let many: Vec<String> = (0..MOST_STUCK + 4).map(|n| format!("/hung/{n}")).collect();
        let hung = many.iter().map(String::as_str);
        let paths: Vec<&str> = ["/"].into_iter().chain(hung).chain(["/data"]).collect();
        let mut all = mounts(&paths).to_vec();
        for mount in &mut all {
            if !mount.field.starts_with("/hung") {
                "ext4".clone_into(&mut mount.fstype);
            }
        }
        let all: Arc<[Mount]> = all.into();
        for _ in 0..3 {
            let answered = ask(&mut prober, &all);
            let heard: Vec<usize> = (0..all.len()).filter(|&n| answered[n]).collect();
            assert_eq!(heard, [0, all.len() - 1]);
        }
        assert!(!prober.news().is_empty());
        drop(free);
    }

    #[test]
    fn a_hung_filesystem_does_not_hold_up_the_end_of_the_agent() {
        let (mut prober, _, free) = prober();
        prober.patience = Duration::from_secs(60);
        let mounts = mounts(&["/hung"]);
        let (stopper, stop) = common::stop::pair();
        prober.begin(&mounts).unwrap();
        drop(stopper);
        let began = Instant::now();
        assert!(prober.finish(&mounts, &stop)[0].is_none());
        assert!(began.elapsed() < Duration::from_secs(30));
        drop(free);
    }

    #[test]
    fn the_kernel_is_asked() {
        let space = statvfs(Path::new("/")).unwrap();
        assert!(space.block > 0 && space.blocks >= space.unused);
        assert!(statvfs(Path::new("/no/such/directory")).is_err());
    }
}
