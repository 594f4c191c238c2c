//! Whether a file that a wildcard found may be read.
//!
//! The agent often runs as root, and a pattern names no file but a folder in which others may be
//! allowed to write. They must not have any file of the machine sent by putting a link to it there.
//! So from a pattern's first wildcard on each symbolic link must belong to root, to the agent's user,
//! or to the owner of what it leads to; and a file with several hard links is taken up only where
//! nobody but root, the agent's user and the file's owner may make one. What the operator names
//! without a wildcard is not examined, nor is what comes before the first one.
//!
//! [`look`] goes along a path by descriptors, so no link can be exchanged between its check and its
//! use. What it returns tells the file by device and inode; whoever opens the path compares these.

use super::fence::touch;
use super::glob;
use super::identity::{self, FileId};
use super::log::Log;
use super::settings::Entry;
use super::tailer::Tailer;
use nix::fcntl::{openat, readlinkat, OFlag};
use nix::sys::stat::Mode;
use nix::sys::statfs::{fstatfs, PROC_SUPER_MAGIC};
use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// As many links may be on the way as the kernel allows.
const MOST_LINKS: u32 = 40;

/// Why a file that a wildcard found is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The fault, a phrase.
    pub why: String,
    /// A phrase that tells the operator what to do.
    pub todo: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}; {}", self.why, self.todo)
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        io::Error::new(io::ErrorKind::PermissionDenied, refusal)
    }
}

/// The refusal that an error of [`look`] stands for, if it is one.
pub fn refusal(e: &io::Error) -> Option<&Refusal> {
    e.get_ref()?.downcast_ref()
}

/// The thing at a path.
#[derive(Debug)]
pub struct Seen {
    /// Of the file itself, past all links.
    pub meta: Metadata,
    /// It has several hard links in a folder where others may have made one.
    pub shared: Option<Refusal>,
}

/// Looks at `path`, which `pattern` has led to: links are examined from the pattern's first wildcard
/// on, and on the whole path if it does not begin as the pattern does. Both are absolute.
///
/// # Errors
/// A [`Refusal`] for a link that must not be followed; else as `stat`.
pub fn look(path: &Path, pattern: &Path) -> io::Result<Seen> {
    let named = before_wildcards(pattern);
    let (start, rest) = match path.strip_prefix(&named) {
        Ok(rest) => (named.as_path(), rest),
        Err(_) => (Path::new("/"), path),
    };
    let agent = nix::unistd::geteuid().as_raw();
    let start = identity::place(start)?;
    touch(path)?;
    let (meta, folder) = walk(start, rest, agent)?;
    let shared = folder
        .filter(|folder| others_may_write(folder.uid(), folder.mode(), meta.uid(), agent))
        .map(|_| Refusal {
            why: format!(
                "it has {} hard links, and others than root and its owner (user {}) may write in its folder and \
                 may have put it there",
                meta.nlink(),
                meta.uid()
            ),
            todo: "let nobody else write in the folder, name the file without a wildcard, or set \
                   follow_foreign_links"
                .to_owned(),
        });
    Ok(Seen { meta, shared })
}

/// As [`look`], for a file that is not followed yet.
///
/// # Errors
/// As [`look`], and a [`Refusal`] also for hard links.
pub fn permit(path: &Path, pattern: &Path) -> io::Result<Metadata> {
    let Seen { meta, shared } = look(path, pattern)?;
    shared.map_or(Ok(meta), |refusal| Err(refusal.into()))
}

/// The directory that the operator named: what comes before a pattern's first component with a
/// wildcard.
fn before_wildcards(pattern: &Path) -> PathBuf {
    let parts = pattern.components();
    parts
        .take_while(|part| !glob::is_pattern(part.as_os_str().as_bytes()))
        .collect()
}

/// Whether a link of this owner may lead to a file of that one.
fn may_lead(link: u32, target: u32, agent: u32) -> bool {
    link == 0 || link == agent || link == target
}

/// Whether anyone but root, the agent's user and the file's owner may make names in the file's
/// folder. Its owner always may: what its mode denies he can allow himself. That a folder is sticky
/// keeps nobody from making names.
fn others_may_write(folder: u32, mode: u32, file: u32, agent: u32) -> bool {
    !may_lead(folder, file, agent) || mode & 0o022 != 0
}

/// A step that is still to be taken on the way along a path.
enum Next {
    /// Take the thing with this name in the folder that was reached.
    Name(Vec<u8>),
    /// The link at this path, of this owner, has led to what was reached.
    Led(PathBuf, u32),
}

/// Follows `path` from the folder `at` on, past all links: the thing there, and the folder that it is
/// in if it is a file with several hard links. At most three files are open at a time.
fn walk(mut at: File, path: &Path, agent: u32) -> io::Result<(Metadata, Option<Metadata>)> {
    let mut todo = VecDeque::new();
    let ahead = |todo: &mut VecDeque<Next>, path: &Path| {
        for name in path.as_os_str().as_bytes().rsplit(|b| *b == b'/') {
            if !matches!(name, b"" | b".") {
                todo.push_front(Next::Name(name.to_vec()));
            }
        }
    };
    ahead(&mut todo, path);
    let mut meta = at.metadata()?;
    let mut folder = None;
    let mut links = 0;
    while let Some(next) = todo.pop_front() {
        let name = match next {
            Next::Led(_, owner) if may_lead(owner, meta.uid(), agent) => continue,
            Next::Led(link, owner) => return Err(foreign(&link, owner, &at, &meta).into()),
            Next::Name(name) => name,
        };
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        let open = |flags| openat(&at, name.as_slice(), flags, Mode::empty()).map(File::from);
        let file = open(flags | OFlag::O_NOFOLLOW)?;
        let its = file.metadata()?;
        if !its.is_symlink() {
            let is_shared = its.is_file() && its.nlink() > 1;
            folder = is_shared.then(|| at.metadata()).transpose()?;
            (at, meta) = (file, its);
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(io::Error::from_raw_os_error(libc::ELOOP));
        }
        let link = path_of(&file).unwrap_or_else(|| glob::path(&name));
        todo.push_front(Next::Led(link, its.uid()));
        if fstatfs(&file)?.filesystem_type() == PROC_SUPER_MAGIC {
            // The target of such a link need not have a name (`/proc/1/root`)
            at = open(flags)?;
        } else {
            let leads_to = PathBuf::from(readlinkat(&file, "")?);
            ahead(&mut todo, &leads_to);
            if leads_to.has_root() {
                at = identity::place(Path::new("/"))?;
            }
        }
        meta = at.metadata()?;
    }
    Ok((meta, folder))
}

fn foreign(link: &Path, owner: u32, target: &File, meta: &Metadata) -> Refusal {
    Refusal {
        why: format!(
            "the symbolic link {} belongs to user {owner}, but {}, to which it leads, to user {}",
            link.display(),
            path_of(target).unwrap_or("the file".into()).display(),
            meta.uid()
        ),
        todo: "give the link to root (chown -h), name the file without a wildcard, or set \
               follow_foreign_links"
            .to_owned(),
    }
}

/// Where an open file or link is; `None` where `/proc` is not mounted.
fn path_of(file: &File) -> Option<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}

impl Tailer {
    /// The thing at a path that an entry matches and that is not followed yet.
    ///
    /// # Errors
    /// As [`look`]. A content that a log has already is not refused for its hard links.
    pub(super) fn permitted(&self, path: &Path, entry: &Entry) -> io::Result<Metadata> {
        let by = |entry: &Entry| {
            if !entry.examines_links() {
                return identity::stat(path);
            }
            let seen = look(path, &entry.pattern)?;
            match seen.shared {
                Some(refusal) if self.ledger.in_file(FileId::of(&seen.meta)).next().is_none() => {
                    Err(refusal.into())
                }
                _ => Ok(seen.meta),
            }
        };
        let permitted = by(entry);
        let Some(_) = permitted.as_ref().err().and_then(refusal) else {
            return permitted;
        };
        // It may be named by another entry, as a whole or as far as the link
        let mut others = self.entries.iter().filter(|e| e.covers(path));
        others
            .find_map(|entry| by(entry).ok())
            .map_or(permitted, Ok)
    }

    /// The thing at a log's path. A content that is followed already is not examined, as it is not dropped.
    ///
    /// # Errors
    /// As [`look`].
    pub(super) fn shown(&self, log: &Log) -> io::Result<Metadata> {
        let meta = identity::stat(&log.path)?;
        let mut contents = self.ledger.in_file(FileId::of(&meta));
        if contents.any(|content| content.log == log.id()) {
            return Ok(meta);
        }
        self.permitted(&log.path, &log.entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{chown, lchown, symlink, PermissionsExt};

    const ROOT: u32 = 0;
    const AGENT: u32 = 10;
    const APP: u32 = 20;
    const EVIL: u32 = 30;

    #[test]
    fn a_link_leads_to_its_owners_files_and_anywhere_if_it_is_roots_or_the_agents() {
        for (link, target, may) in [
            (ROOT, ROOT, true),
            (ROOT, APP, true),
            (AGENT, ROOT, true),
            (AGENT, APP, true),
            (APP, APP, true),
            (EVIL, APP, false),
            (EVIL, ROOT, false),
            (EVIL, AGENT, false),
        ] {
            assert_eq!(may_lead(link, target, AGENT), may, "{link} to {target}");
        }
    }

    #[test]
    fn whoever_may_write_in_a_folder_may_have_made_a_hard_link_there() {
        for (folder, mode, file, others) in [
            (ROOT, 0o755, ROOT, false),
            (ROOT, 0o755, APP, false),
            (APP, 0o755, APP, false),
            (AGENT, 0o755, APP, false),
            (EVIL, 0o755, ROOT, true),
            // He can change the mode
            (EVIL, 0o555, ROOT, true),
            (ROOT, 0o775, ROOT, true),
            (APP, 0o770, APP, true),
            (ROOT, 0o757, ROOT, true),
            (ROOT, 0o1777, ROOT, true),
            (ROOT, 0o1777, APP, true),
        ] {
            assert_eq!(
                others_may_write(folder, mode, file, AGENT),
                others,
                "a file of {file} in a folder of {folder} with mode {mode:o}"
            );
        }
    }

    #[test]
    fn what_the_operator_wrote_before_the_first_wildcard_is_trusted() {
        let before = |pattern| before_wildcards(Path::new(pattern));
        assert_eq!(before("/var/log/*.log"), Path::new("/var/log"));
        assert_eq!(before("/var/log/**/app/a.log"), Path::new("/var/log"));
        assert_eq!(before("/*/a.log"), Path::new("/"));
        assert_eq!(before("//var/./l[o]g/x"), Path::new("/var"));
    }

    /// A folder that is removed at the end.
    struct Tree(PathBuf);

    impl Tree {
        fn new() -> Tree {
            let dir = std::env::temp_dir().join(format!("trust-{}", crate::util::random::uuid4()));
            fs::create_dir(&dir).unwrap();
            Tree(fs::canonicalize(dir).unwrap())
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn folder(&self, name: &str, owner: u32) {
            fs::create_dir(self.at(name)).unwrap();
            chown(self.at(name), Some(owner), None).unwrap();
        }

        fn file(&self, name: &str, owner: u32) {
            fs::write(self.at(name), name).unwrap();
            chown(self.at(name), Some(owner), None).unwrap();
        }

        fn link(&self, name: &str, to: &str, owner: u32) {
            symlink(to, self.at(name)).unwrap();
            lchown(self.at(name), Some(owner), None).unwrap();
        }

        /// Reads `name` as `pattern` would: its content, or why it is refused.
        fn read(&self, pattern: &str, name: &str) -> Result<String, String> {
            match permit(&self.at(name), &self.at(pattern)) {
                Ok(meta) => {
                    let (_, opened) = identity::open(&self.at(name)).unwrap();
                    assert_eq!(FileId::of(&meta), FileId::of(&opened));
                    Ok(fs::read_to_string(self.at(name)).unwrap())
                }
                Err(e) => Err(refusal(&e).unwrap_or_else(|| panic!("{e}")).why.clone()),
            }
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn own_links_lead_where_the_kernel_says() {
        let tree = Tree::new();
        let me = nix::unistd::geteuid().as_raw();
        for folder in ["logs", "logs/deep", "real"] {
            tree.folder(folder, me);
        }
        tree.file("real/a", me);
        tree.link("logs/a", "../real/a", me);
        tree.link("logs/b", "./deep/../a", me);
        tree.link("logs/c", tree.at("logs/deep/real/a").to_str().unwrap(), me);
        tree.link("logs/deep/real", "../..//real/", me);
        for name in ["a", "b", "c", "deep/real/a"] {
            let pattern = if name.contains('/') {
                "logs/**"
            } else {
                "logs/*"
            };
            let read = tree.read(pattern, &format!("logs/{name}"));
            assert_eq!(read.as_deref(), Ok("real/a"), "{name}");
        }
        tree.link("logs/circle", "circle", me);
        tree.link("logs/nowhere", "deep/none", me);
        let kind = |name| look(&tree.at(name), &tree.at("logs/*")).unwrap_err();
        assert_eq!(kind("logs/circle").raw_os_error(), Some(libc::ELOOP));
        assert_eq!(kind("logs/nowhere").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_hard_link_is_refused_only_where_others_may_have_made_it() {
        let tree = Tree::new();
        let me = nix::unistd::geteuid().as_raw();
        tree.folder("logs", me);
        tree.file("logs/a", me);
        let mode = |mode| {
            fs::set_permissions(tree.at("logs"), fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(0o1777);
        assert_eq!(tree.read("logs/*", "logs/a").as_deref(), Ok("logs/a"));
        fs::hard_link(tree.at("logs/a"), tree.at("logs/b")).unwrap();
        let why = tree.read("logs/*", "logs/b").unwrap_err();
        assert!(why.contains("2 hard links"), "{why}");
        mode(0o755);
        assert_eq!(tree.read("logs/*", "logs/b").as_deref(), Ok("logs/a"));
    }

    #[test]
    #[ignore = "makes files of other users: run as root"]
    fn nobody_leads_the_agent_to_files_that_are_not_his() {
        let tree = Tree::new();
        fs::set_permissions(&tree.0, fs::Permissions::from_mode(0o755)).unwrap();
        tree.folder("logs", EVIL);
        tree.folder("secret", ROOT);
        tree.folder("his", EVIL);
        tree.file("secret/s.log", ROOT);
        tree.file("his/h.log", EVIL);
        let secret = tree.at("secret").to_str().unwrap().to_owned();
        tree.link("logs/direct.log", "../secret/s.log", EVIL);
        tree.link("logs/chain.log", "hop", EVIL);
        tree.link("logs/hop", "roots", EVIL);
        tree.link("logs/roots", "../secret/s.log", ROOT);
        tree.link("logs/folder", &secret, EVIL);
        // Root's link, but on its way is one of his
        tree.link("logs/over.log", "folder/s.log", ROOT);
        tree.link("logs/proc.log", "/proc/self/root/etc/passwd", EVIL);
        for (pattern, name, link) in [
            ("logs/*.log", "logs/direct.log", "logs/direct.log"),
            ("logs/*.log", "logs/chain.log", "logs/hop"),
            ("logs/*/s.log", "logs/folder/s.log", "logs/folder"),
            ("l*/folder/s.log", "logs/folder/s.log", "logs/folder"),
            ("logs/**/*.log", "logs/folder/s.log", "logs/folder"),
            ("logs/*.log", "logs/over.log", "logs/folder"),
            ("logs/*.log", "logs/proc.log", "logs/proc.log"),
        ] {
            let why = tree.read(pattern, name).unwrap_err();
            let said = format!("link {} belongs to user {EVIL}", tree.at(link).display());
            assert!(why.contains(&said), "{pattern} {name}: {why}");
        }
        tree.link("logs/own.log", "../his/h.log", EVIL);
        tree.link("logs/by_root.log", "../his/h.log", ROOT);
        for (pattern, name) in [
            ("logs/*.log", "logs/own.log"),
            ("logs/*.log", "logs/by_root.log"),
        ] {
            assert_eq!(tree.read(pattern, name).as_deref(), Ok("his/h.log"));
        }
        // The operator named the folder and its link
        let named = tree.read("logs/folder/*.log", "logs/folder/s.log");
        assert_eq!(named.as_deref(), Ok("secret/s.log"));
    }

    #[test]
    #[ignore = "makes files of other users: run as root"]
    fn a_hard_link_to_a_file_of_root_in_somebodys_folder_is_refused() {
        let tree = Tree::new();
        tree.folder("logs", EVIL);
        tree.file("secret", ROOT);
        tree.file("logs/his", EVIL);
        fs::hard_link(tree.at("secret"), tree.at("logs/y.log")).unwrap();
        fs::hard_link(tree.at("logs/his"), tree.at("logs/z.log")).unwrap();
        assert!(tree.read("logs/*", "logs/y.log").is_err());
        assert_eq!(tree.read("logs/*", "logs/z.log").as_deref(), Ok("logs/his"));
    }
}
