//! The existing paths that a pattern leads to.
//!
//! Others may make folders and links below a pattern, so the work is bounded: an expansion takes at
//! most [`MOST_STEPS`], and says so if there is more to do. `**` follows a link to a folder only if it
//! has not been in that folder, and after all real folders; so links in a circle cost one look each,
//! and a file in a real folder is always found under its real path. Folders are taken level by level:
//! what is near is found even if the bound is met further down.

use super::fence::{get_on, touch};
use super::glob::{self, component, is_pattern};
use super::identity::{self, FileId};
use super::trust::{self, Refusal};
use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::{self, FileType};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The steps of one expansion: one for a name in a directory or a look at one path, more for
/// [`LISTING`] and [`LINK`]. A step takes 2 µs of a server's processor, so all of them 0.4 s, and a
/// few seconds of a small board's. While it lasts an expansion takes up to 30 MB of memory.
pub const MOST_STEPS: usize = 200_000;
/// Steps that it costs to open a directory.
const LISTING: usize = 3;
/// Steps that it costs to examine a link.
const LINK: usize = 6;

/// The paths that a pattern leads to.
#[derive(Debug, Default)]
pub struct Expansion {
    /// The existing paths that match, sorted.
    pub paths: Vec<PathBuf>,
    /// Links to folders that must not be followed.
    pub refused: Vec<(PathBuf, Refusal)>,
    /// The folder before the first wildcard, if it can't be listed, and why.
    pub unlisted: Option<(PathBuf, String)>,
    /// [`MOST_STEPS`] was met: there may be more.
    pub is_cut: bool,
}

/// The refusal of a pattern whose expansion was cut.
pub fn cut() -> Refusal {
    Refusal {
        why: format!(
            "the pattern leads to more than can be looked at ({MOST_STEPS} names, of which a folder \
             counts for {}), and files beyond that are not found",
            1 + LISTING
        ),
        todo: "use a narrower pattern or several of them".to_owned(),
    }
}

/// Expands an absolute pattern. Directories that can't be read count as empty. Links to folders are
/// examined ([`trust`]) if `examine`. `enter` is called with each folder in which a file could come to match, before it
/// is looked into.
pub fn expand(pattern: &Path, examine: bool, enter: &mut dyn FnMut(&Path)) -> Expansion {
    within(pattern, examine, MOST_STEPS, enter)
}

fn within(pattern: &Path, examine: bool, most: usize, enter: &mut dyn FnMut(&Path)) -> Expansion {
    let mut search = Search {
        pattern,
        examine,
        enter,
        left: most,
        last: None,
        found: Expansion::default(),
    };
    search.descend(PathBuf::from("/"), &glob::parts(pattern), false);
    let mut found = search.found;
    crate::util::sort::plainly(&mut found.paths);
    found.paths.dedup();
    found
}

/// The names in a directory, and whether each is a folder or a link.
type Names = Rc<Vec<(OsString, Option<FileType>)>>;

/// The real folders on the way to one, by which a bind mount that leads back up is told.
struct Way {
    id: FileId,
    up: Option<Rc<Way>>,
}

impl Way {
    fn has(way: &Option<Rc<Way>>, id: FileId) -> bool {
        let mut next = way;
        while let Some(way) = next {
            if way.id == id {
                return true;
            }
            next = &way.up;
        }
        false
    }
}

struct Search<'a> {
    pattern: &'a Path,
    examine: bool,
    enter: &'a mut dyn FnMut(&Path),
    left: usize,
    /// The last listing: that of a folder serves `**` and what comes after it.
    last: Option<(PathBuf, Names)>,
    found: Expansion,
}

impl Search<'_> {
    /// Takes up everything that `parts` leads to from `base`. `matched`: a wildcard came before.
    fn descend(&mut self, base: PathBuf, parts: &[&[u8]], matched: bool) {
        let [first, rest @ ..] = parts else {
            self.found.paths.push(base);
            return;
        };
        if first == b"**" {
            // A trailing ** stands for every file below
            if !matched {
                self.note_unlisted(&base);
            }
            return self.below(base, if rest.is_empty() { &[b"*"] } else { rest });
        }
        if !is_pattern(first) {
            let path = base.join(OsStr::from_bytes(first));
            if !matched && !rest.is_empty() {
                return self.descend(path, rest, false);
            }
            (self.enter)(&base);
            let kind = match self.spend(1) && touch(&path).is_ok() {
                true => fs::symlink_metadata(&path).map(|meta| meta.file_type()),
                false => return,
            };
            if kind.is_ok_and(|kind| rest.is_empty() || self.enters(&path, Some(kind))) {
                self.descend(path, rest, matched);
            }
            return;
        }
        if !matched {
            self.note_unlisted(&base);
        }
        for (name, kind) in self.names(&base).iter() {
            if component(first, name.as_bytes()) {
                let path = base.join(name);
                if rest.is_empty() || self.enters(&path, *kind) {
                    self.descend(path, rest, true);
                }
            }
        }
    }

    /// Takes up what `rest` leads to from `base` and from every folder below it.
    fn below(&mut self, base: PathBuf, rest: &[&[u8]]) {
        let mut folders = VecDeque::from([(base, None)]);
        let mut links = Vec::new();
        let mut seen = BTreeSet::new();
        let mut by_link = false;
        loop {
            while let Some((dir, way)) = folders.pop_front() {
                let Ok(meta) = identity::stat(&dir) else {
                    continue;
                };
                let id = FileId::of(&meta);
                if Way::has(&way, id) || !seen.insert(id) && by_link {
                    continue;
                }
                let names = self.names(&dir);
                self.descend(dir.clone(), rest, true);
                let way = Some(Rc::new(Way { id, up: way }));
                let shown = |(name, _): &&(OsString, _)| name.as_bytes().first() != Some(&b'.');
                for (name, kind) in names.iter().filter(shown) {
                    match kind {
                        Some(kind) if kind.is_dir() => {
                            folders.push_back((dir.join(name), way.clone()));
                        }
                        Some(kind) if kind.is_symlink() => links.push(dir.join(name)),
                        _ => {}
                    }
                }
            }
            // Always in the same order, so that the same one of several leads to a folder
            crate::util::sort::plainly(&mut links);
            for link in std::mem::take(&mut links) {
                if !self.spend(1) {
                    break;
                }
                let meta = identity::stat(&link);
                let meta = meta.ok().filter(fs::Metadata::is_dir);
                let is_new = meta.is_some_and(|meta| !seen.contains(&FileId::of(&meta)));
                if is_new && self.may_follow(&link) {
                    folders.push_back((link, None));
                }
            }
            by_link = true;
            if folders.is_empty() {
                return;
            }
        }
    }

    /// Whether the path leads on: a folder, or a link to one that may be followed.
    fn enters(&mut self, path: &Path, kind: Option<FileType>) -> bool {
        match kind {
            Some(kind) if kind.is_symlink() => {
                self.spend(1) && touch(path).is_ok() && path.is_dir() && self.may_follow(path)
            }
            Some(kind) => kind.is_dir(),
            None => false,
        }
    }

    fn may_follow(&mut self, link: &Path) -> bool {
        if !self.examine {
            return true;
        }
        if !self.spend(LINK) {
            return false;
        }
        let looked = trust::look(link, self.pattern);
        let is_fine = looked.is_ok();
        if let Some(refusal) = looked.as_ref().err().and_then(trust::refusal) {
            let refusal = refusal.clone();
            self.found.refused.push((link.to_path_buf(), refusal));
        }
        is_fine
    }

    /// Finds out whether the folder that all matches are in can be listed: that is an error, and a folder
    /// that is not there yet, or below a wildcard, is none.
    fn note_unlisted(&mut self, dir: &Path) {
        let listed = touch(dir).and_then(|()| fs::read_dir(dir).map(drop));
        if let Err(error) = listed {
            let is_absent = matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            );
            if !is_absent {
                self.found.unlisted = Some((dir.to_path_buf(), error.to_string()));
            }
        }
    }

    fn names(&mut self, dir: &Path) -> Names {
        if let Some((last, names)) = &self.last {
            if last == dir {
                return names.clone();
            }
        }
        let mut names = Vec::new();
        let may = self.spend(LISTING) && touch(dir).is_ok();
        if may {
            (self.enter)(dir);
        }
        let entries = may.then(|| fs::read_dir(dir));
        for entry in entries.into_iter().flatten().flatten().flatten() {
            if !self.spend(1) {
                break;
            }
            get_on();
            names.push((entry.file_name(), entry.file_type().ok()));
        }
        let names = Rc::new(names);
        self.last = Some((dir.to_path_buf(), names.clone()));
        names
    }

    /// Takes `steps` off what is left; false if that is not enough.
    fn spend(&mut self, steps: usize) -> bool {
        let is_enough = self.left >= steps;
        self.left = if is_enough { self.left - steps } else { 0 };
        self.found.is_cut |= !is_enough;
        is_enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A folder that is removed at the end.
    struct Tree(PathBuf);

    impl Tree {
        fn with(files: &[&str]) -> Tree {
            let dir = std::env::temp_dir().join(format!("glob-{}", crate::util::random::uuid4()));
            fs::create_dir(&dir).unwrap();
            let tree = Tree(fs::canonicalize(dir).unwrap());
            for file in files {
                fs::create_dir_all(tree.0.join(file).parent().unwrap()).unwrap();
                fs::write(tree.0.join(file), "").unwrap();
            }
            tree
        }

        fn link(&self, name: &str, to: &str) {
            symlink(to, self.0.join(name)).unwrap();
        }

        fn within(&self, pattern: &str, most: usize) -> (Vec<String>, bool) {
            let found = within(&self.0.join(pattern), true, most, &mut |_| {});
            let name = |path: &PathBuf| path.strip_prefix(&self.0).unwrap().display().to_string();
            assert_eq!(found.refused, []);
            (found.paths.iter().map(name).collect(), found.is_cut)
        }

        fn names(&self, pattern: &str) -> Vec<String> {
            let (names, is_cut) = self.within(pattern, MOST_STEPS);
            assert!(!is_cut);
            names
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn expansion_is_sorted_and_survives_a_loop_of_links() {
        let tree = Tree::with(&["z.log", "a.log", "b/m.log", "b/c/n.log", ".h.log"]);
        tree.link("b/up", "..");
        assert_eq!(tree.names("*.log"), ["a.log", "z.log"]);
        assert_eq!(tree.names("nothing.log"), [""; 0]);
        assert_eq!(tree.names("b/*/n.log"), ["b/c/n.log"]);
        assert_eq!(tree.names("*/m.log"), ["b/m.log"]);
        assert_eq!(tree.names("*/c/*.log"), ["b/c/n.log"]);
        assert_eq!(
            tree.names("**/*.log"),
            ["a.log", "b/c/n.log", "b/m.log", "z.log"]
        );
        let below = ["b/c", "b/c/n.log", "b/m.log", "b/up"];
        let by_link = ["b/up/a.log", "b/up/b", "b/up/z.log"];
        assert_eq!(tree.names("b/**"), [&below[..], &by_link].concat());
    }

    #[test]
    fn folders_that_all_lead_to_each_other_are_looked_at_once() {
        const N: usize = 20;
        let tree = Tree::with(&["a.log"]);
        for i in 0..N {
            fs::create_dir_all(tree.0.join(format!("t/d{i}"))).unwrap();
            fs::write(tree.0.join(format!("t/d{i}/x.log")), "").unwrap();
            for j in (0..N).filter(|j| *j != i) {
                tree.link(&format!("t/d{i}/to{j}"), &format!("../d{j}"));
            }
        }
        // Each name once, and no link: none leads to a folder that has not been seen
        let (listings, names, links) = (2 + N, 2 + N + N * N, N * (N - 1));
        let most = listings * LISTING + names + links;
        let (names, is_cut) = tree.within("**/*.log", most);
        assert!(!is_cut);
        assert_eq!(names.len(), 1 + N);
        assert!(names.iter().all(|name| !name.contains("/to")), "{names:?}");
    }

    #[test]
    fn a_folder_outside_is_found_once_by_one_of_its_links() {
        let (tree, outside) = (Tree::with(&["logs/a.log"]), Tree::with(&["b/x.log"]));
        let out = outside.0.to_str().unwrap();
        outside.link("b/back", "..");
        tree.link("logs/two", out);
        tree.link("logs/one", out);
        tree.link("logs/three", &format!("{out}/b"));
        assert_eq!(
            tree.names("logs/**/*.log"),
            ["logs/a.log", "logs/three/x.log"]
        );
        // `*` takes every link
        assert_eq!(
            tree.names("logs/*/b/*.log"),
            ["logs/one/b/x.log", "logs/two/b/x.log"]
        );
    }

    #[test]
    fn what_is_beyond_the_bound_is_not_left_out_in_silence() {
        let names: Vec<String> = (0..30).map(|n| format!("far/off/{n}/x.log")).collect();
        let mut files: Vec<&str> = names.iter().map(String::as_str).collect();
        files.extend(["a.log", "near/a.log"]);
        let tree = Tree::with(&files);
        // 34 folders, 65 names
        let (all, is_cut) = tree.within("**/*.log", 34 * LISTING + 65);
        assert_eq!((all.len(), is_cut), (32, false));
        // Files in folders near the top are found first
        let (some, is_cut) = tree.within("**/*.log", 20);
        assert!(is_cut);
        assert_eq!(some, ["a.log", "near/a.log"]);
        let (_, is_cut) = tree.within("*/*/*/*.log", 20);
        assert!(is_cut);
        let (_, is_cut) = tree.within("far/off/*/x.log", 40);
        assert!(is_cut);
    }

    #[test]
    #[ignore = "makes files of other users: run as root"]
    fn somebodys_link_to_the_whole_machine_is_not_walked() {
        let tree = Tree::with(&["logs/a.log"]);
        tree.link("logs/all", "/");
        std::os::unix::fs::lchown(tree.0.join("logs/all"), Some(30), None).unwrap();
        for (pattern, count) in [("logs/**/*.log", 1), ("logs/*/*/*.log", 0)] {
            let found = within(&tree.0.join(pattern), true, 100, &mut |_| {});
            assert_eq!((found.paths.len(), found.is_cut), (count, false));
            let [(link, refusal)] = &found.refused[..] else {
                panic!("{:?}", found.refused);
            };
            assert_eq!(*link, tree.0.join("logs/all"));
            assert!(refusal.why.contains("belongs to user 30"), "{refusal}");
        }
        assert!(
            within(&tree.0.join("logs/*/e*/passwd"), false, 1000, &mut |_| {})
                .paths
                .contains(&tree.0.join("logs/all/etc/passwd"))
        );
    }
}
