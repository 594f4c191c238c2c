//! One process as `/proc/PID` shows it: `stat`, `status`, `io` and the number of entries of `fd`.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// No file of interest is larger.
const MOST: usize = 64 * 1024;

/// The measured values of a process, in the order of emission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
#[repr(usize)]
pub enum Item {
    CpuUser,
    CpuSystem,
    Uptime,
    Nice,
    Threads,
    MajorFaults,
    IoWait,
    PeakVmSize,
    VmSize,
    PeakResident,
    Resident,
    BytesRead,
    BytesWritten,
    Reads,
    Writes,
    OpenFiles,
    StorageRead,
    StorageWritten,
}

/// How many there are.
pub const ITEMS: usize = Item::StorageWritten as usize + 1;

/// A value for each [`Item`] that could be read.
pub type Values = [Option<i64>; ITEMS];

/// The files of a process beside `stat` that may be out of reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `/proc/PID/status`
    Status,
    /// `/proc/PID/io`
    Io,
    /// `/proc/PID/fd`
    Fd,
}

impl Part {
    /// The name of the file.
    pub fn name(self) -> &'static str {
        match self {
            Part::Status => "status",
            Part::Io => "io",
            Part::Fd => "fd",
        }
    }
}

/// Reads processes; its buffers are used again and again.
#[derive(Debug)]
pub struct Reader {
    proc: PathBuf,
    path: String,
    buffer: Vec<u8>,
    /// Ticks per second of the times in `stat`.
    ticks: u64,
    /// Whether the size of a directory `fd` is the number of its entries (Linux 6.2 and later).
    counts_fds: bool,
}

/// One process at one moment.
#[derive(Debug)]
pub struct Reading {
    /// Ticks from boot to its start.
    pub start: u64,
    /// The values that could be read.
    pub values: Values,
}

impl Reader {
    /// For the host at `root`.
    pub fn new(root: &Path) -> Self {
        use nix::sys::statfs::{statfs, PROC_SUPER_MAGIC};
        use nix::unistd::{sysconf, SysconfVar};
        let proc = root.join("proc");
        let is_real = statfs(&proc).is_ok_and(|fs| fs.filesystem_type() == PROC_SUPER_MAGIC);
        // Earlier kernels give 0, though any process has some file open: this one does.
        let counts_fds = is_real && fs::metadata("/proc/self/fd").is_ok_and(|meta| meta.len() > 0);
        let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten();
        Reader {
            proc,
            path: String::new(),
            buffer: Vec::new(),
            ticks: ticks
                .and_then(|n| u64::try_from(n).ok())
                .filter(|&n| n > 0)
                .unwrap_or(100),
            counts_fds,
        }
    }

    /// Milliseconds since boot. On the host itself from the clock by which start times are
    /// stamped: `/proc/uptime` may be a container's own.
    ///
    /// # Errors
    /// `/proc/uptime` of a stored tree cannot be read.
    pub fn uptime_ms(&mut self) -> io::Result<u64> {
        use nix::time::{clock_gettime, ClockId};
        if self.proc == Path::new("/proc") {
            if let Ok(time) = clock_gettime(ClockId::CLOCK_BOOTTIME) {
                let ms = i128::from(time.tv_sec()) * 1000 + i128::from(time.tv_nsec()) / 1_000_000;
                return Ok(u64::try_from(ms).unwrap_or(0));
            }
        }
        let path = self.proc.join("uptime");
        let text = fs::read_to_string(&path)?;
        let seconds: Option<f64> = text.split(' ').next().and_then(|word| word.parse().ok());
        match seconds {
            Some(seconds) if seconds >= 0.0 => Ok((seconds * 1000.0) as u64),
            _ => Err(io::Error::other(format!("{}: no number", path.display()))),
        }
    }

    /// Looks at a process. `None`: there is no such process, or it has ended and waits for its
    /// parent to notice. `missed` hears of files that cannot be read though the process is there.
    ///
    /// # Errors
    /// Its `stat` cannot be read for another reason.
    pub fn look(
        &mut self,
        pid: i32,
        uptime_ms: Option<u64>,
        mut missed: impl FnMut(Part, &io::Error),
    ) -> io::Result<Option<Reading>> {
        let Self {
            proc, path, buffer, ..
        } = self;
        set_path(path, proc, pid, "stat");
        let text = match read(path, buffer, MOST) {
            Ok(text) => text,
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => {
                return Err(io::Error::new(error.kind(), format!("{path}: {error}")));
            }
        };
        let Some(stat) = Stat::parse(text).filter(|stat| !stat.has_ended()) else {
            return Ok(None);
        };
        let start = stat.start;
        let mut values: Values = [None; ITEMS];
        let mut set = |item: Item, value: u64| {
            values[item as usize] = Some(i64::try_from(value).unwrap_or(i64::MAX));
        };
        let hundredths = |ticks: u64| ticks.saturating_mul(100) / self.ticks;
        set(Item::CpuUser, hundredths(stat.user));
        set(Item::CpuSystem, hundredths(stat.system));
        if let Some(now) = uptime_ms {
            let started = start.saturating_mul(1000) / self.ticks;
            set(Item::Uptime, now.saturating_sub(started));
        }
        set(Item::Threads, stat.threads);
        set(Item::MajorFaults, stat.major_faults);
        set(Item::IoWait, stat.io_wait);
        values[Item::Nice as usize] = Some(stat.nice);
        let mut note = |part: Part, error: &io::Error| {
            // It ended while it was being read.
            if !is_gone(error) {
                missed(part, error);
            }
        };

        set_path(path, proc, pid, Part::Status.name());
        match read(path, buffer, MOST) {
            Ok(text) => {
                const KEYS: [(&str, Item); 4] = [
                    ("VmPeak", Item::PeakVmSize),
                    ("VmSize", Item::VmSize),
                    ("VmHWM", Item::PeakResident),
                    ("VmRSS", Item::Resident),
                ];
                numbers(text, &KEYS, 1024, &mut values);
            }
            Err(error) => note(Part::Status, &error),
        }
        set_path(path, proc, pid, Part::Io.name());
        match read(path, buffer, MOST) {
            Ok(text) => {
                const KEYS: [(&str, Item); 6] = [
                    ("rchar", Item::BytesRead),
                    ("wchar", Item::BytesWritten),
                    ("syscr", Item::Reads),
                    ("syscw", Item::Writes),
                    ("read_bytes", Item::StorageRead),
                    ("write_bytes", Item::StorageWritten),
                ];
                numbers(text, &KEYS, 1, &mut values);
            }
            Err(error) => note(Part::Io, &error),
        }
        set_path(path, proc, pid, Part::Fd.name());
        let count = if self.counts_fds {
            fs::metadata(&*path).map(|meta| meta.len())
        } else {
            fs::read_dir(&*path).map(|entries| entries.count() as u64)
        };
        match count {
            Ok(count) => {
                values[Item::OpenFiles as usize] = Some(i64::try_from(count).unwrap_or(i64::MAX));
            }
            Err(error) => note(Part::Fd, &error),
        }
        Ok(Some(Reading { start, values }))
    }
}

/// Lines of the form `key: number ...`, in units of `unit`.
fn numbers(text: &[u8], keys: &[(&str, Item)], unit: i64, values: &mut Values) {
    for line in crate::procfs::lines(text) {
        let Some((key, rest)) = line.split_once(':') else {
            continue;
        };
        if let Some((_, item)) = keys.iter().find(|(known, _)| *known == key) {
            let number = rest.split_ascii_whitespace().next();
            if let Some(number) = number.and_then(|word| word.parse::<i64>().ok()) {
                values[*item as usize] = Some(number.saturating_mul(unit));
            }
        }
    }
}

/// The fields of `/proc/PID/stat` that matter (proc(5)).
#[derive(Debug, PartialEq, Eq)]
pub struct Stat<'a> {
    /// Without its parentheses.
    pub name: &'a [u8],
    state: u8,
    /// The parent's pid.
    pub parent: i32,
    major_faults: u64,
    user: u64,
    system: u64,
    nice: i64,
    threads: u64,
    /// Ticks from boot to the start of the process.
    pub start: u64,
    io_wait: u64,
}

impl<'a> Stat<'a> {
    /// `None` if the text is not of that form. The name may hold anything, `) ` included, so it
    /// ends at the last parenthesis.
    pub fn parse(text: &'a [u8]) -> Option<Stat<'a>> {
        let open = text.iter().position(|&b| b == b'(')?;
        let close = text.iter().rposition(|&b| b == b')')?;
        let name = text.get(open + 1..close)?;
        let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
        // `fields` begins with field 3.
        let mut fields = rest.split_ascii_whitespace();
        let mut at = 3;
        let mut field = |number: usize| {
            let found = fields.nth(number - at);
            at = number + 1;
            found
        };
        Some(Stat {
            name,
            state: *field(3)?.as_bytes().first()?,
            parent: field(4)?.parse().ok()?,
            major_faults: field(12)?.parse().ok()?,
            user: field(14)?.parse().ok()?,
            system: field(15)?.parse().ok()?,
            nice: field(19)?.parse().ok()?,
            threads: field(20)?.parse().ok()?,
            start: field(22)?.parse().ok()?,
            io_wait: field(42).and_then(|word| word.parse().ok()).unwrap_or(0),
        })
    }

    /// Nothing of it runs any more. (A process whose first thread has ended lives on in others.)
    pub fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x') && self.threads <= 1
    }
}

/// The process is no more.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// A process id in decimal.
pub fn pid(text: &str) -> Option<i32> {
    let all_digits = crate::procfs::is_number(text);
    text.parse().ok().filter(|&pid| all_digits && pid > 0)
}

/// Makes `path` the path of a process's file.
pub fn set_path(path: &mut String, proc: &Path, pid: i32, name: &str) {
    use std::fmt::Write as _;
    path.clear();
    // Writing into a String cannot fail.
    let _ = write!(path, "{}/{pid}/{name}", proc.display());
}

/// Reads a file of `/proc` into `buffer`, `most` bytes of it. The kernel makes these texts in one
/// piece: a read that does not fill the buffer got all.
///
/// # Errors
/// I/O errors of `open` and `read`. An empty file is no error.
pub fn read<'a>(path: &str, buffer: &'a mut Vec<u8>, most: usize) -> io::Result<&'a [u8]> {
    const FIRST: usize = 4096;
    let mut file = File::open(path)?;
    let mut length = 0;
    loop {
        if length == buffer.len() {
            if length >= most {
                break;
            }
            buffer.resize((2 * length).max(FIRST), 0);
        }
        match file.read(&mut buffer[length..]) {
            Ok(n) => {
                length += n;
                if n == 0 || length < buffer.len() {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(&buffer[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "812 (we) ird (x) S 1 812 812 0 -1 4194304 5000 0 7 0 150 60 1 2 20 -5 4 0 12345 1048576 256 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 33 0 0";

    #[test]
    fn a_name_with_parentheses_and_blanks_does_not_shift_the_fields() {
        let stat = Stat::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(stat.name, b"we) ird (x");
        assert_eq!((stat.parent, stat.start, stat.nice), (1, 12345, -5));
        assert_eq!((stat.user, stat.system, stat.threads), (150, 60, 4));
        assert_eq!((stat.major_faults, stat.io_wait), (7, 33));
    }

    #[test]
    fn text_that_is_cut_off_anywhere_is_no_accident() {
        for end in 0..TEXT.len() {
            if let Some(stat) = Stat::parse(&TEXT.as_bytes()[..end]) {
                assert!(end > TEXT.find(" 12345").unwrap());
                assert!(stat.io_wait <= 33);
            }
        }
        assert_eq!(Stat::parse(b")("), None);
        assert_eq!(Stat::parse(b"1 (x) \xff"), None);
    }

    #[test]
    fn only_digits_are_a_pid() {
        assert_eq!(pid("812"), Some(812));
        for text in ["", "0", "-1", "+1", "1 ", "self", "99999999999"] {
            assert_eq!(pid(text), None, "{text:?}");
        }
    }

    #[test]
    fn files_larger_than_the_buffer_are_read_up_to_the_limit() {
        let scratch = common::testing::Scratch::new("proc-read");
        let path = scratch.path("f");
        fs::write(&path, vec![b'x'; 50_000]).unwrap();
        let path = path.to_str().unwrap();
        let mut buffer = Vec::new();
        assert_eq!(read(path, &mut buffer, 1 << 20).unwrap().len(), 50_000);
        assert_eq!(read(path, &mut Vec::new(), 10_000).unwrap().len(), 16_384);
    }
}
