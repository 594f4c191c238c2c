//! Which mounted filesystems are reported, as `df` and the monitor's own filters have it.
//! Works on the text of `/proc/self/mountinfo` alone.

use crate::wildcard;
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// Without a size of interest.
const PSEUDO: [&str; 13] = [
    "autofs",
    "debugfs",
    "devfs",
    "devpts",
    "fuse.portal",
    "fusectl",
    "ignore",
    "kernfs",
    "mqueue",
    "proc",
    "rpc_pipefs",
    "subfs",
    "sysfs",
];
/// The kernel gives these no size, so they need not be asked for it.
const SIZELESS: [&str; 10] = [
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "nsfs",
    "pstore",
    "securityfs",
    "selinuxfs",
    "tracefs",
];
/// Filesystems of other hosts or shared with them, by whatever name their source goes.
const REMOTE: [&str; 9] = [
    "acfs",
    "afs",
    "auristorfs",
    "coda",
    "fhgfs",
    "gpfs",
    "ibrix",
    "ocfs2",
    "vxfs",
];
const SMB: [&str; 4] = ["cifs", "smb2", "smb3", "smbfs"];

/// The options that select mounts.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub local_only: bool,
    /// Shell patterns of mount points.
    pub ignore: Vec<String>,
}

/// A filesystem to report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    pub path: PathBuf,
    /// The path as the field shows it.
    pub field: String,
    pub fstype: String,
    /// Whether its blocks are reported; its inodes always are.
    pub blocks: bool,
}

struct Entry {
    device: Vec<u8>,
    /// The part of the filesystem that is mounted here.
    root: Vec<u8>,
    path: Vec<u8>,
    fstype: String,
    source: Vec<u8>,
}

impl Entry {
    fn is_remote(&self) -> bool {
        let kind = self.fstype.as_str();
        self.source.contains(&b':')
            || (self.source.starts_with(b"//") && SMB.contains(&kind))
            || REMOTE.contains(&kind)
            || self.source == b"-hosts"
    }

    fn is_same_filesystem(&self, other: &Entry) -> bool {
        // The subvolumes of one btrfs share the number that stands here, and `df` tells them apart.
        self.device == other.device && (self.fstype != "btrfs" || self.root == other.root)
    }

    /// Whether it stands for the filesystem rather than `seen`, which came earlier.
    fn is_better_than(&self, seen: &Entry) -> bool {
        let named = |entry: &Entry| entry.source.contains(&b'/');
        // A part of the filesystem does not stand for the whole.
        let deeper = seen.root.len() < self.root.len();
        (named(self) && !named(seen)) || (self.path.len() < seen.path.len() && !deeper)
    }
}

/// Selects from the text of `/proc/self/mountinfo`, in its order.
pub(super) fn select(mountinfo: &[u8], rules: &Rules) -> Vec<Mount> {
    let entries: Vec<Entry> = mountinfo.split(|&b| b == b'\n').filter_map(parse).collect();
    // The last of several mounts on one mount point hides the others.
    let top: HashMap<&[u8], usize> = entries
        .iter()
        .enumerate()
        .map(|(at, entry)| (entry.path.as_slice(), at))
        .collect();
    let mut chosen: Vec<usize> = Vec::new();
    // By device, which of `chosen` may stand for it. Most have one.
    let mut of_device: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (at, entry) in entries.iter().enumerate() {
        let kind = entry.fstype.as_str();
        let remote = entry.is_remote();
        if top.get(entry.path.as_slice()) != Some(&at)
            || PSEUDO.contains(&kind)
            || SIZELESS.contains(&kind)
            || (remote && rules.local_only)
        {
            continue;
        }
        let rivals = of_device.entry(&entry.device).or_default();
        let rival = rivals.iter_mut().find(|&&mut rival| {
            let other = &entries[rival];
            // Two exports of one server may look like one device.
            let exports = remote && other.is_remote() && entry.source != other.source;
            entry.is_same_filesystem(other) && !exports
        });
        match rival {
            None => rivals.push(at),
            Some(rival) if entry.is_better_than(&entries[*rival]) => {
                chosen.retain(|chosen| chosen != rival);
                *rival = at;
            }
            Some(_) => continue,
        }
        chosen.push(at);
    }
    let mounts = chosen.into_iter().map(|at| {
        let Entry { path, fstype, .. } = &entries[at];
        let field = String::from_utf8_lossy(path).into_owned();
        Mount {
            blocks: fstype != "devtmpfs"
                && field != "/dev"
                && !field.starts_with("/dev/")
                && !field.starts_with("/lib/"),
            path: PathBuf::from(OsString::from_vec(path.clone())),
            field,
            fstype: fstype.clone(),
        }
    });
    let ignored = |mount: &Mount| {
        let patterns = &mut rules.ignore.iter();
        patterns.any(|pattern| wildcard::matches(pattern, &mount.field))
    };
    mounts.filter(|mount| !ignored(mount)).collect()
}

/// `36 35 98:0 /root /mount/point options [optional]* - type source options`
fn parse(line: &[u8]) -> Option<Entry> {
    let mut words = line.split(|&b| b == b' ');
    let device = words.nth(2)?.to_vec();
    let root = unescape(words.next()?);
    let path = unescape(words.next()?);
    words.find(|word| *word == b"-")?;
    let fstype = String::from_utf8_lossy(&unescape(words.next()?)).into_owned();
    let source = unescape(words.next().unwrap_or_default());
    path.starts_with(b"/").then_some(Entry {
        device,
        root,
        path,
        fstype,
        source,
    })
}

/// Blank, tab, line break, backslash and `#` stand there as `\` and three octal digits.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&first, behind)) = rest.split_first() {
        let octal = match behind {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] if first == b'\\' => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        text.push(octal.unwrap_or(first));
        rest = if octal.is_some() {
            &behind[3..]
        } else {
            behind
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            local_only: true,
            ignore: Vec::new(),
        }
    }

    /// The mount points and types selected from lines of `device root path type source`.
    fn selected(lines: &[&str], rules: &Rules) -> Vec<String> {
        let mut text = String::new();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let [device, root, path, kind, source] = words[..] else {
                panic!("{line}")
            };
            text += &format!("1 2 {device} {root} {path} rw,relatime shared:5 master:3 - {kind} {source} rw,x=y\n");
        }
        let mounts = select(text.as_bytes(), rules).into_iter();
        mounts
            .map(|mount| format!("{} {}", mount.field, mount.fstype))
            .collect()
    }

    #[test]
    fn each_device_is_reported_once_where_it_is_nearest_to_its_root() {
        let lines = [
            "8:1 /sub /srv/bind ext4 /dev/sda1",
            "8:1 / /data/of/it ext4 /dev/sda1",
            "8:1 /etc/hosts /h ext4 /dev/sda1",
            "8:2 / /other ext4 /dev/sda2",
            "8:2 / /o ext4 /dev/sda2",
            "0:50 / /plain overlay overlay",
            "0:50 / /named/longer overlay /dev/mapper/x",
        ];
        // The part came first and its path is shorter than that of the whole.
        assert_eq!(
            selected(&lines, &rules()),
            ["/srv/bind ext4", "/o ext4", "/named/longer overlay"]
        );
    }

    #[test]
    fn only_the_topmost_of_a_mount_point_counts() {
        let lines = [
            "0:1 / / rootfs rootfs",
            "8:1 / / ext4 /dev/sda1",
            "8:2 / /x ext4 /dev/sda2",
            "0:33 / /x nfs4 server:/export",
            "0:34 / /net autofs auto.net",
            "8:3 / /net xfs /dev/sda3",
        ];
        assert_eq!(selected(&lines, &rules()), ["/ ext4", "/net xfs"]);
    }

    #[test]
    fn filesystems_of_other_hosts_are_left_out_unless_asked_for() {
        let lines = [
            "0:40 / /nfs nfs4 server:/export",
            "0:40 / /nfs2 nfs4 server:/export2",
            "0:40 / /nfs3 nfs4 server:/export2",
            "0:41 / /smb cifs //server/share",
            "0:42 / /slashes ext4 //server/share",
            "0:43 / /afs afs none",
            "0:44 / /hosts x -hosts",
            "0:45 / /ssh fuse.sshfs me@host:/home",
        ];
        assert_eq!(selected(&lines, &rules()), ["/slashes ext4"]);
        let all = Rules {
            local_only: false,
            ..rules()
        };
        assert_eq!(
            selected(&lines, &all),
            [
                "/nfs nfs4",
                "/nfs2 nfs4",
                "/smb cifs",
                "/slashes ext4",
                "/afs afs",
                "/hosts x",
                "/ssh fuse.sshfs"
            ]
        );
    }

    #[test]
    fn subvolumes_of_one_btrfs_are_all_reported() {
        let lines = [
            "0:30 /root / btrfs /dev/vda2",
            "0:30 /home /home btrfs /dev/vda2",
            "0:30 /home /bind/of/home btrfs /dev/vda2",
        ];
        assert_eq!(selected(&lines, &rules()), ["/ btrfs", "/home btrfs"]);
    }

    #[test]
    fn a_mount_point_may_be_called_anything() {
        let lines = [
            r"8:1 / /my\040disk\011\134x\043: ext4 /dev/sda1",
            r"8:2 / /a\08 ext4 s",
        ];
        assert_eq!(
            selected(&lines, &rules()),
            ["/my disk\t\\x#: ext4", "/a\\08 ext4"]
        );
    }

    #[test]
    fn nonsense_is_passed_over() {
        for text in [
            "",
            "\n\n",
            "1 2 3",
            "1 2 8:1 / /x rw ext4 /dev/sda",
            "- - - - - -",
            "1 2 8:1 / x rw - ext4 s",
        ] {
            assert_eq!(select(text.as_bytes(), &rules()), []);
        }
        let text = b"1 2 8:1 / /\xff rw - ext4";
        assert_eq!(select(text, &rules())[0].field, "/\u{fffd}");
    }
}
