//! `scalyr-agent-2 config` as whole processes: what it prints, its exit codes, and
//! that files keep everything they were not asked to lose.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{chown, symlink, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const BINARY: &str = env!("CARGO_BIN_EXE_scalyr-agent-2");
const NOBODY: u32 = 65534;

/// A file as an operator may have written it.
const MAIN: &str = "\
// Our agent. Ask ops before you change it.
{
  api_key: \"old-key-of-test\",   // from the vault
\timplicit_metric_monitor: false,

  \"server_attributes\": { tier: \"web\" /* or db */ }
  logs: []
}
// the end";

/// A folder with a configuration.
struct Site(PathBuf);

impl Site {
    fn new() -> Site {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("cli-config-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("conf/agent.d")).unwrap();
        let site = Site(root);
        site.write("conf/agent.json", MAIN, 0o640);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().mode() & 0o7777
    }

    fn owner(&self, name: &str) -> (u32, u32) {
        let meta = fs::symlink_metadata(self.path(name)).unwrap();
        (meta.uid(), meta.gid())
    }

    /// The names of all files below, so that nothing left behind goes unnoticed.
    fn files(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else {
                    let name = entry.path().strip_prefix(&self.0).unwrap().to_owned();
                    all.push(name.into_os_string().into_string().unwrap());
                }
            }
        }
        all.sort();
        all
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bare(BINARY);
        command.arg("config").arg("-c");
        command.arg(self.path("conf/agent.json")).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Said {
        said(self.command(arguments).output().unwrap())
    }

    /// With something on stdin.
    fn feed(&self, arguments: &[&str], input: &[u8]) -> Said {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        // It may refuse before it has read all.
        let _ = child.stdin.take().unwrap().write_all(input);
        said(child.wait_with_output().unwrap())
    }

    /// That it does something without a word.
    fn silently(&self, arguments: &[&str]) {
        let told = self.run(arguments);
        assert_eq!(
            (told.code, told.out.as_str(), told.err.as_str()),
            (0, "", ""),
            "{arguments:?}"
        );
    }

    /// That it fails and leaves all as it is; what stderr said.
    fn refused(&self, arguments: &[&str]) -> String {
        self.refused_with(arguments, b"")
    }

    fn refused_with(&self, arguments: &[&str], input: &[u8]) -> String {
        let contents = |site: &Site| -> Vec<_> {
            let files = site.files().into_iter();
            files
                .map(|name| {
                    let path = site.path(&name);
                    let meta = fs::symlink_metadata(&path).unwrap();
                    let content = match fs::read_link(&path) {
                        Ok(target) => target.into_os_string().into_encoded_bytes(),
                        Err(_) => fs::read(&path).unwrap(),
                    };
                    (name, content, meta.mode(), meta.uid())
                })
                .collect()
        };
        let before = contents(self);
        let told = self.feed(arguments, input);
        assert_eq!(told.code, 1, "{arguments:?}: {told:?}");
        assert!(!told.err.contains("panicked"), "{told:?}");
        assert!(contents(self) == before, "{arguments:?} changed something");
        told.err
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

fn bare(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().to_uppercase().starts_with("SCALYR") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

fn said(output: Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

#[test]
fn a_new_key_changes_the_key_and_not_one_other_byte() {
    let site = Site::new();
    if is_root() {
        chown(site.path("conf/agent.json"), Some(NOBODY), Some(7)).unwrap();
    }
    let owner = site.owner("conf/agent.json");
    site.silently(&["--set-key", "new-key"]);
    assert_eq!(
        site.read("conf/agent.json"),
        MAIN.replace("old-key-of-test", "new-key")
    );
    assert_eq!(site.mode("conf/agent.json"), 0o640);
    assert_eq!(site.owner("conf/agent.json"), owner);
    assert_eq!(site.files(), ["conf/agent.json"]);

    // Line ends of another system, and a key that is made of pieces
    let text = "{\r\n  api_key: \"new\" + \"-\" + \"key\",\r\n  logs: []\r\n}\r\n";
    site.write("conf/agent.json", text, 0o600);
    site.silently(&["--set-key=third"]);
    assert_eq!(
        site.read("conf/agent.json"),
        "{\r\n  api_key: \"third\",\r\n  logs: []\r\n}\r\n"
    );
    assert_eq!(site.mode("conf/agent.json"), 0o600);
}

#[test]
fn a_key_from_stdin_is_never_shown() {
    let site = Site::new();
    let told = site.feed(&["--set-key-from-stdin"], b"  key-of-stdin \nmore\n");
    assert_eq!((told.code, told.err.as_str()), (0, ""));
    assert_eq!(told.out, "Please enter key: ");
    assert!(site
        .read("conf/agent.json")
        .contains("api_key: \"key-of-stdin\","));
    for nothing in [&b""[..], b"\n", b"  \nkey\n"] {
        let error = site.refused_with(&["--set-key-from-stdin"], nothing);
        assert!(error.contains("No key was given"), "{error}");
    }
    let error = site.refused_with(&["--set-key-from-stdin"], b"two words\n");
    assert!(
        !error.contains("two") && !error.contains("words"),
        "{error}"
    );
}

#[test]
fn a_key_that_is_not_there_exactly_once_is_left_to_a_person() {
    let site = Site::new();
    // Also within another word
    let twice = MAIN.replace("// from the vault", "// xold-key-of-testx");
    site.write("conf/agent.json", &twice, 0o640);
    let error = site.refused(&["--set-key", "n"]);
    assert_eq!(
        error,
        format!(
            "The present API key stands more than once in \"{}\" (lines 3, 3), so it is not clear \
             what to replace.\nNothing was changed. Edit the file by hand.\n",
            site.path("conf/agent.json").display()
        )
    );

    // In a fragment, which is named
    site.write("conf/agent.json", "{ logs: [] }", 0o640);
    site.write("conf/agent.d/key.json", "{\n api_key: \"k\" }", 0o640);
    let error = site.refused(&["--set-key", "n"]);
    assert!(error.contains("could not be found"), "{error}");
    assert!(error.contains("agent.d/key.json, line 2"), "{error}");
    fs::remove_file(site.path("conf/agent.d/key.json")).unwrap();

    // In a variable, by the file and without it
    let error = site.refused(&["--set-key", "n"]);
    assert!(error.contains("put a line api_key: \"\""), "{error}");
    site.write(
        "conf/agent.json",
        "{ import_vars: [\"OUR_KEY\"], api_key: \"$OUR_KEY\" }",
        0o640,
    );
    let mut command = site.command(&["--set-key", "n"]);
    let told = said(command.env("OUR_KEY", "from-outside").output().unwrap());
    assert_eq!(told.code, 1);
    assert!(told.err.contains("comes from a variable"), "{told:?}");
    assert!(!told.err.contains("from-outside"), "{told:?}");
    assert!(site.read("conf/agent.json").contains("\"$OUR_KEY\""));
}

#[test]
fn an_empty_key_can_be_filled_in_and_none_emptied() {
    let site = Site::new();
    site.write("conf/agent.json", "{ api_key: \"\" /* fill in */ }", 0o640);
    site.silently(&["--set-key", "first"]);
    assert_eq!(
        site.read("conf/agent.json"),
        "{ api_key: \"first\" /* fill in */ }"
    );
    for bad in ["", " ", "a b", "ümlaut"] {
        site.refused(&["--set-key", bad]);
    }
}

#[test]
fn server_and_host_get_fragments_of_their_own() {
    let site = Site::new();
    site.silently(&[
        "--set-server-host",
        "web-9",
        "--set-scalyr-server",
        "https://upload.example.com",
    ]);
    assert_eq!(
        site.files(),
        [
            "conf/agent.d/scalyr_server.json",
            "conf/agent.d/server_host.json",
            "conf/agent.json"
        ]
    );
    assert_eq!(
        site.read("conf/agent.d/scalyr_server.json"),
        "// Written by scalyr-agent-2-config --set-scalyr-server.\n\
         {\"scalyr_server\":\"https://upload.example.com\"}\n"
    );
    assert_eq!(
        site.read("conf/agent.d/server_host.json"),
        "// Written by scalyr-agent-2-config --set-server-host.\n\
         {\"server_attributes\":{\"serverHost\":\"web-9\"}}\n"
    );
    assert_eq!(site.mode("conf/agent.d/server_host.json"), 0o640);
    assert_eq!(
        site.owner("conf/agent.d/server_host.json"),
        site.owner("conf/agent.d")
    );
    assert_eq!(site.read("conf/agent.json"), MAIN);

    // Again: the files are edited, not written anew
    site.write(
        "conf/agent.d/server_host.json",
        "// ours\n{server_attributes: {serverHost: \"a\", rack: 5}}\n",
        0o600,
    );
    site.silently(&["--set-server-host", "b \"q\""]);
    assert_eq!(
        site.read("conf/agent.d/server_host.json"),
        "// ours\n{server_attributes: {serverHost: \"b \\\"q\\\"\", rack: 5}}\n"
    );
    assert_eq!(site.mode("conf/agent.d/server_host.json"), 0o600);
}

#[test]
fn a_setting_is_changed_where_it_is_set_so_that_it_counts() {
    let site = Site::new();
    let main = MAIN.replace("tier: \"web\"", "serverHost: \"old\", tier: \"web\"");
    let main = main.replace(
        "logs:",
        "scalyr_server: \"https://old.example.com\" // eu\n  logs:",
    );
    site.write("conf/agent.json", &main, 0o640);
    site.silently(&["--set-server-host", "new"]);
    site.silently(&["--set-scalyr-server", "https://new.example.com:8443"]);
    let expected = main
        .replace("\"old\"", "\"new\"")
        .replace("https://old.example.com", "https://new.example.com:8443");
    assert_eq!(site.read("conf/agent.json"), expected);
    assert_eq!(site.files(), ["conf/agent.json"]);
    for bad in [
        "",
        "ftp://x",
        "https://user@host",
        "https://h/path",
        "https://",
    ] {
        let error = site.refused(&["--set-scalyr-server", bad]);
        assert!(error.contains("https://HOST"), "{error}");
    }
    for bad in ["", "two\nlines"] {
        site.refused(&["--set-server-host", bad]);
    }
}

#[test]
fn a_broken_configuration_is_named_and_left_alone() {
    let site = Site::new();
    site.write(
        "conf/agent.json",
        "{\n  api_key: \"k\",\n  logs: [ } ]\n}",
        0o640,
    );
    for arguments in [
        &["--set-key", "n"][..],
        &["--set-server-host", "n"],
        &["--export-config", "-"],
    ] {
        let error = site.refused(arguments);
        assert!(
            error.starts_with("Failed to read the configuration: "),
            "{error}"
        );
        assert!(error.contains("line 3, column 11"), "{error}");
    }
    let told = said(
        bare(BINARY)
            .args(["config", "-c", "/no/such/agent.json", "--set-key", "secret"])
            .output()
            .unwrap(),
    );
    assert_eq!((told.code, told.out.as_str()), (1, ""));
    assert!(told.err.contains("/no/such/agent.json"), "{told:?}");
    assert!(!told.err.contains("secret"), "{told:?}");
}

#[test]
fn what_is_about_python_and_windows_says_so() {
    let site = Site::new();
    let told = site.run(&["--set-python", "python3", "--report-python-version"]);
    assert_eq!((told.code, told.err.as_str()), (0, ""));
    assert!(
        told.out.starts_with("This agent is one program"),
        "{told:?}"
    );
    assert!(
        told.out
            .contains("\nThe Scalyr Agent is using Python none (rust 1."),
        "{told:?}"
    );
    for refused in [
        "--upgrade-windows",
        "--init-config",
        "--k8s-create-custom-dockerfile=x",
    ] {
        let told = site.run(&[refused]);
        assert_eq!((told.code, told.out.as_str()), (2, ""));
        assert!(told.err.contains(": refused: "), "{told:?}");
    }
    // Nothing asked for, nothing said
    site.silently(&[]);
}

#[test]
fn the_program_is_the_tool_under_the_tool_s_name_and_options_may_stand_before_config() {
    let site = Site::new();
    let link = site.path("scalyr-agent-2-config");
    symlink(BINARY, &link).unwrap();
    let file = site.path("conf/agent.json");
    let told = said(
        bare(&link)
            .args(["--set-key", "by-name", "-c"])
            .arg(&file)
            .output()
            .unwrap(),
    );
    assert_eq!((told.code, told.err.as_str()), (0, ""));
    assert!(site.read("conf/agent.json").contains("\"by-name\""));
    let told = said(bare(&link).arg("start").output().unwrap());
    assert_eq!(told.code, 2);
    assert!(told
        .err
        .starts_with("usage: scalyr-agent-2-config [options]\n"));

    let mut command = bare(BINARY);
    command.arg("-c").arg(&file);
    let told = said(
        command
            .args(["config", "--set-key", "before"])
            .output()
            .unwrap(),
    );
    assert_eq!((told.code, told.err.as_str()), (0, ""));
    assert!(site.read("conf/agent.json").contains("\"before\""));
}

#[test]
fn an_export_brings_back_what_was_and_removes_what_was_not() {
    let site = Site::new();
    site.write("conf/agent.d/a.json", "{logs: [] /* a */}", 0o640);
    site.write("conf/agent.d/ü b.json", "{}", 0o600);
    site.write("conf/agent.d/README", "stays", 0o644);
    let archive = site.path("export.tar.gz");
    let archive = archive.to_str().unwrap();
    site.silently(&["--export-config", archive]);
    assert_eq!(site.mode("export.tar.gz"), 0o600);
    let before = site.files();

    site.write("conf/agent.json", "{api_key: \"other\"", 0o600);
    fs::remove_file(site.path("conf/agent.d/ü b.json")).unwrap();
    site.write("conf/agent.d/a.json", "{}", 0o600);
    site.write("conf/agent.d/later.json", "broken", 0o644);
    if is_root() {
        chown(site.path("conf/agent.json"), Some(NOBODY), Some(7)).unwrap();
    }
    let owner = site.owner("conf/agent.json");
    // The configuration of the moment is broken; that must not keep it from being mended.
    site.silently(&["--import-config", archive]);
    assert_eq!(site.files(), before);
    assert_eq!(site.read("conf/agent.json"), MAIN);
    assert_eq!(site.read("conf/agent.d/a.json"), "{logs: [] /* a */}");
    assert_eq!(site.read("conf/agent.d/README"), "stays");
    assert_eq!(site.mode("conf/agent.json"), 0o600);
    assert_eq!(site.mode("conf/agent.d/a.json"), 0o600);
    for name in [
        "conf/agent.json",
        "conf/agent.d/a.json",
        "conf/agent.d/ü b.json",
    ] {
        assert_eq!(site.owner(name), owner, "{name}");
    }

    // By pipes
    let bytes = site.command(&["--export-config", "-"]).output().unwrap();
    assert_eq!(bytes.status.code(), Some(0));
    let other = Site::new();
    let told = other.feed(&["--import-config", "-"], &bytes.stdout);
    assert_eq!((told.code, told.err.as_str()), (0, ""));
    assert_eq!(other.read("conf/agent.d/a.json"), "{logs: [] /* a */}");
    assert_eq!(other.mode("conf/agent.d/a.json"), 0o600);
}

#[test]
fn fragments_that_lie_elsewhere_are_exported_and_come_back_there() {
    let site = Site::new();
    fs::create_dir(site.path("parts")).unwrap();
    let elsewhere = format!(
        "logs: [], config_directory: \"{}\"",
        site.path("parts").display()
    );
    let main = MAIN.replace("logs: []", &elsewhere);
    site.write("conf/agent.json", &main, 0o640);
    site.write("parts/a.json", "{}", 0o640);
    site.write("conf/agent.d/not-this.json", "broken", 0o640);
    let archive = site.path("export.tar.gz");
    let archive = archive.to_str().unwrap();
    site.silently(&["--export-config", archive]);
    site.write("parts/a.json", "broken", 0o640);
    site.write("parts/later.json", "broken", 0o640);
    site.silently(&["--import-config", archive]);
    assert_eq!(
        site.files(),
        [
            "conf/agent.d/not-this.json",
            "conf/agent.json",
            "export.tar.gz",
            "parts/a.json"
        ]
    );
    assert_eq!(site.read("parts/a.json"), "{}");

    let broken = gzip(&tar(&[("parts/a.json", b'0', "", "{ a")]));
    let error = site.refused_with(&["--import-config", "-"], &broken);
    assert!(
        error.contains("does not load: \"a.json\", line 1"),
        "{error}"
    );
}

/// A tar archive of one file or link after another, as anybody may make one.
fn tar(entries: &[(&str, u8, &str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, kind, link, content) in entries {
        let mut block = [0_u8; 512];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[100..107].copy_from_slice(b"0000777");
        let size = format!("{:011o}", content.len());
        block[124..135].copy_from_slice(size.as_bytes());
        block[148..156].fill(b' ');
        block[156] = *kind;
        block[157..157 + link.len()].copy_from_slice(link.as_bytes());
        block[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        out.extend(block);
        out.extend(content.as_bytes());
        out.resize(out.len().div_ceil(512) * 512, 0);
    }
    out.extend([0; 1024]);
    out
}

/// gzip without compression.
fn gzip(content: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3];
    let mut blocks = content.chunks(0xFFFF).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap();
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    // The longest one is read to its limit, not to its end.
    let mut crc = u32::MAX;
    for byte in content.iter().take(1 << 20) {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    out.extend((!crc).to_le_bytes());
    out.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
    out
}

#[test]
fn an_archive_that_means_harm_or_is_broken_changes_nothing() {
    let good = ("agent.json", b'0', "", "{api_key: \"k\"}");
    let site = Site::new();
    site.write("conf/agent.d/a.json", "{}", 0o640);
    site.write("target.json", "victim", 0o640);
    for (what, entry) in [
        ("leads elsewhere", ("../evil.json", b'0', "", "{}")),
        (
            "leads elsewhere",
            ("agent.d/../../evil.json", b'0', "", "{}"),
        ),
        ("leads elsewhere", ("/tmp/evil.json", b'0', "", "{}")),
        (
            "not a regular file",
            ("agent.d/x.json", b'2', "../../target.json", ""),
        ),
        (
            "not a regular file",
            ("agent.d/x.json", b'1', "agent.json", ""),
        ),
        ("not a regular file", ("agent.d/x.json", b'3', "", "")),
        ("neither the main file", ("other/x.json", b'0', "", "{}")),
        (
            "neither the main file",
            ("agent.d/deep/x.json", b'0', "", "{}"),
        ),
        ("does not load", ("agent.d/x.json", b'0', "", "{ logs: ")),
        (
            "does not load",
            ("agent.d/x.json", b'0', "", "{ api_key: \"twice\" }"),
        ),
        ("does not load", ("agent.json", b'0', "", "{ api_key: 5 ")),
    ] {
        let error = site.refused_with(&["--import-config", "-"], &gzip(&tar(&[good, entry])));
        assert!(error.contains(what), "{entry:?}: {error}");
        assert!(error.ends_with("Nothing was changed.\n"), "{error}");
        // Not the folder in which it was tried
        assert!(!error.contains(".import."), "{error}");
    }
    for (what, bytes) in [
        ("no *.json file", gzip(&tar(&[]))),
        ("no *.json file", gzip(&tar(&[("README", b'0', "", "x")]))),
        ("no gzip file", tar(&[good])),
        ("no gzip file", Vec::new()),
        ("no tar archive", gzip(&[b'x'; 2048])),
        ("cut short", gzip(&tar(&[good])[..512])),
        ("cut short", gzip(&tar(&[good]))[..300].to_vec()),
    ] {
        let error = site.refused_with(&["--import-config", "-"], &bytes);
        assert!(error.contains(what), "{error}");
    }
    let error = site.refused(&["--import-config", "/no/such.tar.gz"]);
    assert!(error.contains("/no/such.tar.gz"), "{error}");
    assert_eq!(site.read("target.json"), "victim");
}

#[test]
fn an_archive_made_by_hand_is_taken_and_becomes_readable_for_nobody_else() {
    let site = Site::new();
    let archive = gzip(&tar(&[
        ("./", b'5', "", ""),
        ("./agent.json", b'0', "", "{api_key: \"k\"}"),
        ("./agent.d/", b'5', "", ""),
        ("./agent.d/notes.txt", b'0', "", "x"),
        ("./agent.d/b.json", b'0', "", "{logs: []}"),
    ]));
    fs::remove_dir(site.path("conf/agent.d")).unwrap();
    let told = site.feed(&["--import-config", "-"], &archive);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.err.contains("Left out: \"./agent.d/notes.txt\""));
    assert_eq!(site.files(), ["conf/agent.d/b.json", "conf/agent.json"]);
    assert_eq!(site.mode("conf/agent.d/b.json"), 0o640);
}

#[test]
fn an_archive_that_unpacks_to_gigabytes_ends_early() {
    let site = Site::new();
    let header = &tar(&[("agent.d/x.json", b'0', "", "")])[..512];
    let mut header = header.to_vec();
    // 1 GiB
    header[124..135].copy_from_slice(b"10000000000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header.resize(512 + (65 << 20), b' ');
    let error = site.refused_with(&["--import-config", "-"], &gzip(&header));
    assert!(error.contains("more than 64 MiB"), "{error}");
}

#[test]
fn a_change_of_user_reaches_all_files_and_nothing_else() {
    let site = Site::new();
    for folder in ["log", "data", "data/deep", "outside"] {
        fs::create_dir(site.path(folder)).unwrap();
    }
    let dirs = format!(
        "logs: [], agent_log_path: \"{}\", agent_data_path: \"{}\"",
        site.path("log").display(),
        site.path("data").display()
    );
    site.write("conf/agent.json", &MAIN.replace("logs: []", &dirs), 0o640);
    for name in [
        "conf/agent.d/a.json",
        "log/agent.log",
        "data/deep/c.json",
        "outside/victim",
    ] {
        site.write(name, "{}", 0o640);
    }
    symlink(site.path("outside/victim"), site.path("log/link")).unwrap();
    symlink(site.path("outside"), site.path("data/folder")).unwrap();
    if !is_root() {
        let error = site.refused(&["--set-user", "nobody"]);
        assert_eq!(
            error,
            "Only root may change the user that the agent runs as.\n"
        );
        return;
    }
    fs::hard_link(site.path("outside/victim"), site.path("log/hard")).unwrap();
    let error = site.refused(&["--set-user", "nosuchuser"]);
    assert_eq!(error, "User \"nosuchuser\" does not exist.  Failing.\n");

    let told = site.run(&["--set-user", "nobody"]);
    assert_eq!((told.code, told.out.as_str()), (0, ""), "{told:?}");
    assert!(told.err.contains("log/hard"), "{told:?}");
    for name in [
        "conf/agent.json",
        "conf/agent.d",
        "conf/agent.d/a.json",
        "log",
        "log/agent.log",
        "log/link",
        "data",
        "data/deep",
        "data/deep/c.json",
        "data/folder",
    ] {
        assert_eq!(site.owner(name), (NOBODY, 0), "{name}");
    }
    for name in ["conf", "outside", "outside/victim"] {
        assert_eq!(site.owner(name), (0, 0), "{name}");
    }

    // Not all logs of the machine
    let shared = MAIN.replace("logs: []", "logs: [], agent_log_path: \"/var/log\"");
    site.write("conf/agent.json", &shared, 0o640);
    let error = site.refused(&["--set-user", "root"]);
    assert!(error.contains("/var/log"), "{error}");
}

#[test]
fn who_may_not_write_is_told_what_has_to_be_writable() {
    let site = Site::new();
    if is_root() {
        // Root may everywhere, but not into a file system that is none.
        let told = said(
            bare(BINARY)
                .args(["config", "-c"])
                .arg(site.path("conf/agent.json"))
                .args(["--export-config", "/proc/export.tar.gz"])
                .output()
                .unwrap(),
        );
        assert_eq!(told.code, 1);
        assert!(told.err.contains("/proc/export.tar.gz"), "{told:?}");
        return;
    }
    let folder = site.path("conf");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
    let error = site.refused(&["--set-key", "n"]);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(error.contains("must be writable"), "{error}");
}

#[test]
#[ignore = "needs script"]
fn a_terminal_shows_nothing_of_a_key_and_is_as_before_afterwards() {
    let site = Site::new();
    // Ctrl-C reaches the shell too, and dash would end with it
    let line = format!(
        "trap : INT; '{BINARY}' config -c '{}' --set-key-from-stdin; echo \"code $?\"; stty -a",
        site.path("conf/agent.json").display()
    );
    for (typed, code) in [
        (&b"key-of-tty\n"[..], "code 0"),
        (b"half-a-key\x03", "code 1"),
    ] {
        let mut command = bare("timeout");
        command.args(["60", "script", "-qec", &line, "/dev/null"]);
        command.env("SHELL", "/bin/sh");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut seen = String::new();
        let mut byte = [0];
        while !seen.ends_with("key: ") {
            assert_eq!(out.read(&mut byte).unwrap(), 1, "{seen}");
            seen.push(char::from(byte[0]));
        }
        let mut keyboard = child.stdin.take().unwrap();
        keyboard.write_all(typed).unwrap();
        drop(keyboard);
        out.read_to_string(&mut seen).unwrap();
        child.wait().unwrap();
        assert!(seen.contains(code), "{seen}");
        assert!(
            !seen.contains("key-of-tty") && !seen.contains("half"),
            "{seen}"
        );
        assert!(
            seen.contains(" echo ") && seen.contains(" -echonl "),
            "{seen}"
        );
    }
    assert!(site.read("conf/agent.json").contains("\"key-of-tty\""));
}

#[test]
#[ignore = "needs tar"]
fn tar_reads_what_is_exported_and_what_it_writes_is_imported() {
    let site = Site::new();
    let long = format!("conf/agent.d/{}.json", "x".repeat(120));
    site.write(&long, "{}", 0o640);
    let list = |archive: &str| {
        let mut command = Command::new("tar");
        command.arg("-tzf").arg(site.path(archive));
        said(command.output().unwrap()).out
    };
    let export = |option: &str, archive: &str| {
        site.silently(&[option, site.path(archive).to_str().unwrap()]);
    };
    export("--export-config", "e.tar.gz");
    let name = long.trim_start_matches("conf/");
    assert_eq!(list("e.tar.gz"), format!("agent.json\n{name}\n"));

    export("--docker-create-custom-dockerfile", "d.tar.gz");
    assert_eq!(list("d.tar.gz"), "Dockerfile\nagent_config.tar.gz\n");
    let mut unpack = Command::new("tar");
    unpack
        .arg("-xzf")
        .arg(site.path("d.tar.gz"))
        .arg("-C")
        .arg(&site.0);
    assert!(unpack.status().unwrap().success());
    assert_eq!(list("agent_config.tar.gz"), list("e.tar.gz"));
    assert!(site.read("Dockerfile").contains("\nFROM ${BASE}\n"));

    for format in ["gnu", "pax", "ustar"] {
        let other = Site::new();
        let archive = other.path("a.tar.gz");
        let mut pack = Command::new("tar");
        pack.arg(format!("--format={format}"))
            .arg("-czf")
            .arg(&archive);
        pack.arg("-C").arg(site.path("conf")).arg(".");
        // ustar can't name the long one
        let packed = pack.output().unwrap().status.success();
        assert!(packed || format == "ustar");
        if packed {
            fs::write(other.path("conf/agent.json"), "{}").unwrap();
            other.silently(&["--import-config", archive.to_str().unwrap()]);
            assert_eq!(other.read("conf/agent.json"), MAIN);
            assert!(other.path(&long).exists());
        }
    }
}
