//! `docs/first-hour.md`: the first hour with a package, as a terminal of 80 columns shows it. The commands are run for
//! real, against a receiver. `UPDATE_DOCS=1 cargo test --test first_hour` writes the page anew.

use receiver::{Options, Receiver};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_scalyr-agent-2");

/// The key that the receiver takes.
const KEY: &str = "0abcDEFghiJKLmnoPQRstuVWXyz-";

/// A machine with the package installed, and what was seen of it. The places are as long as those of a package, so
/// that lines are broken where they are there.
struct Machine {
    root: PathBuf,
    receiver: Receiver,
    page: String,
}

impl Machine {
    fn new() -> Machine {
        let root = PathBuf::from(format!("/tmp/{:07}", std::process::id()));
        for folder in ["etc-s2/agent.d", "var-lib-s2", "var-log-s2", "n"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        let receiver = Receiver::start(Options {
            tokens: vec![KEY.to_owned()],
            ..Options::default()
        });
        Machine {
            root,
            receiver: receiver.unwrap(),
            page: HEAD.to_owned(),
        }
    }

    fn config(&self) -> PathBuf {
        self.root.join("etc-s2/agent.json")
    }

    /// Words in another place than the terminal.
    fn tell(&mut self, text: &str) {
        let _ = write!(self.page, "\n{text}\n");
    }

    /// A command as it is shown, and its output as a terminal has it.
    fn shows(&mut self, command: &str, output: &str) {
        let mut shown = format!("# {command}\n{output}");
        let here = self.root.display().to_string();
        for (from, to) in [
            (format!("{here}/etc-s2"), "/etc/scalyr-agent-2"),
            (format!("{here}/var-lib-s2"), "/var/lib/scalyr-agent-2"),
            (format!("{here}/var-log-s2"), "/var/log/scalyr-agent-2"),
            (format!("{here}/n/"), "/var/log/nginx/"),
            (self.receiver.port().to_string(), "40123"),
            ("`n`".to_owned(), "`nginx`"),
            ("`var-log-s2`".to_owned(), "`scalyr-agent-2`"),
        ] {
            shown = shown.replace(&from, to);
        }
        assert!(!shown.contains(&here) && !shown.contains(KEY), "{shown}");
        self.page.push_str("\n```\n");
        for line in shown.lines() {
            let line: Vec<char> = line.trim_end().chars().collect();
            for part in line.chunks(80) {
                self.page.extend(part);
                self.page.push('\n');
            }
            if line.is_empty() {
                self.page.push('\n');
            }
        }
        self.page.push_str("```\n");
    }

    /// Runs a command of the agent without showing it.
    fn quietly(&self, words: &[&str], input: &str) -> Output {
        let settings = [
            (
                "SCALYR_AGENT_LOG_PATH",
                self.root.join("var-log-s2").into_os_string(),
            ),
            (
                "SCALYR_AGENT_DATA_PATH",
                self.root.join("var-lib-s2").into_os_string(),
            ),
            ("SCALYR_SERVER", self.receiver.url().into()),
            ("SCALYR_ALLOW_HTTP", "true".into()),
            ("SCALYR_CHECK_REMOTE_IF_NO_TTY", "true".into()),
            // An hour is too long for a test
            ("SCALYR_MAX_REQUEST_SPACING_INTERVAL", "0.2".into()),
            ("SCALYR_MAX_NEW_LOG_DETECTION_TIME", "0.2".into()),
        ];
        let mut child = Command::new(BINARY)
            .args(words)
            .arg("-c")
            .arg(self.config())
            .env_remove("SCALYR_API_KEY")
            .envs(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Runs a command of the agent, or of its configuration tool, and shows it. What stands behind a `<` is its input.
    fn run(&mut self, line: &str, code: Option<i32>) {
        let (command, most) = line.split_once(" | head -n ").unwrap_or((line, "1000"));
        let (command, input) = command.split_once(" < ").unwrap_or((command, ""));
        let mut words: Vec<String> = command.split(' ').map(|word| self.place(word)).collect();
        words[0] = "config".to_owned();
        let from = usize::from(!command.starts_with("scalyr-agent-2-config"));
        let words: Vec<&str> = words[from..].iter().map(String::as_str).collect();
        let input = fs::read_to_string(self.root.join(input)).unwrap_or_default();
        let output = self.quietly(&words, &input);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<&str> = text.lines().take(most.parse().unwrap()).collect();
        let text = lines.join("\n");
        if code.is_some() {
            assert_eq!(output.status.code(), code, "{line}: {text}");
        }
        self.shows(line, &text);
    }

    /// Where a file of the page is.
    fn place(&self, path: &str) -> String {
        let path = path.replace(
            "/etc/scalyr-agent-2",
            &self.root.join("etc-s2").to_string_lossy(),
        );
        path.replace("/var/log/nginx", &self.root.join("n").to_string_lossy())
    }

    /// Writes a file and shows it.
    fn writes(&mut self, path: &str, text: &str) {
        let place = self.place(path);
        fs::write(&place, self.place(text)).unwrap();
        self.shows(&format!("cat {path}"), text);
        // The package's own files have it too
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
        fs::set_permissions(place, mode).unwrap();
    }

    /// Waits until that many lines of the log are at the server.
    fn until_lines(&self, count: u64) {
        let path = self.place("/var/log/nginx/access.log");
        let there = |state: &receiver::State| state.event_count(&path) >= count;
        assert!(
            self.receiver.wait_until(Duration::from_secs(60), there),
            "{}",
            self.log()
        );
    }

    fn log(&self) -> String {
        fs::read_to_string(self.root.join("var-log-s2/agent.log")).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.quietly(&["stop"], "");
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The words of the package's script after installing.
fn next_steps(machine: &Machine) -> String {
    let script = format!(
        ". '{}'\nrunning() {{ return 1; }}\nsystemd_runs() {{ return 0; }}\nnoted() {{ [ $1 = first ]; }}\netc='{}'\nnext_steps\n",
        repository("packaging/scripts/functions.sh").display(),
        machine.root.join("etc-s2").display(),
    );
    let output = Command::new("sh").arg("-ec").arg(script).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The text without what differs from run to run: times, sizes, process ids, the user's name, and where lines are
/// broken for that.
fn masked(text: &str) -> String {
    const DAYS: [&str; 19] = [
        "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "Jan", "Feb", "Mar", "Apr", "May", "Jun",
        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let user = nix::unistd::geteuid();
    let user = match nix::unistd::User::from_uid(user).unwrap() {
        Some(user) => user.name,
        None => user.to_string(),
    };
    let text = text.replace(&format!("checked as {user},"), "checked as root,");
    let words = text.split_whitespace().filter(|word| !DAYS.contains(word));
    let mut out = String::new();
    for c in words.flat_map(str::chars) {
        match c.is_ascii_digit() {
            true if out.ends_with('N') => {}
            true => out.push('N'),
            false => out.push(c),
        }
    }
    out.replace("N.N", "N")
}

const HEAD: &str = "\
<!-- Generated: UPDATE_DOCS=1 cargo test --test first_hour -->

# The first hour

A package is installed, gets a key and a first log, a mistake is made and mended. The commands are run by a test, which
writes this page, in a terminal of 80 columns. Its server is a [receiver](receiver.md) on the same machine, so the address
here is `http://127.0.0.1:40123`; yours begins with `https://`. dpkg's own lines are left out.
";

const LINE: &str =
    "192.0.2.7 - - [01/Dec/2026:06:25:51 +0000] \"GET / HTTP/1.1\" 200 615 \"-\" \"curl/7.88.1\"\n";

#[test]
fn the_first_hour_is_as_its_page_says() {
    let mut machine = Machine::new();
    fs::copy(repository("packaging/files/agent.json"), machine.config()).unwrap();
    // As the package has it
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
    fs::set_permissions(machine.config(), mode).unwrap();
    let access = machine.place("/var/log/nginx/access.log");
    fs::write(&access, LINE.repeat(3)).unwrap();

    machine.tell("## Installed\n\nThe package says what comes next, and starts nothing.");
    let words = next_steps(&machine);
    machine.shows("apt install ./scalyr-agent-2_*.deb", &words);
    machine.tell("Without a key there is nothing to start:");
    machine.run("scalyr-agent-2 start", Some(1));

    machine.tell("## The key\n\n`key` is a file with the \"log write\" key. It is of another account, but who knows that yet.");
    fs::write(machine.root.join("key"), "0ofAnotherAccountOrRegion-\n").unwrap();
    machine.run("scalyr-agent-2-config --set-key-from-stdin < key", Some(0));
    machine.tell("`start` asks the server, and the server does not know the key:");
    machine.run("scalyr-agent-2 start", None);
    machine.run("scalyr-agent-2 stop", Some(0));
    machine.tell("The right one:");
    fs::write(machine.root.join("key"), format!("{KEY}\n")).unwrap();
    machine.run("scalyr-agent-2-config --set-key-from-stdin < key", Some(0));

    machine.tell("## The first log, with a mistake\n\nA file in `agent.d` keeps what is added apart from the rest.");
    let right = "{\n  logs: [\n    { path: \"/var/log/nginx/access.log\", attributes: { parser: \"accessLog\" } }\n  ]\n}\n";
    machine.writes(
        "/etc/scalyr-agent-2/agent.d/nginx.json",
        &right.replace("log\", attr", "log, attr"),
    );
    machine
        .tell("It has mode 640, as `agent.json` has. A quote is missing, and `check` knows where:");
    machine.run("scalyr-agent-2 check", Some(1));
    machine.tell("Mended:");
    machine.writes("/etc/scalyr-agent-2/agent.d/nginx.json", right);
    machine.run("scalyr-agent-2 check", Some(0));

    machine.tell("## Started");
    machine.run("scalyr-agent-2 start", Some(0));
    machine.tell("Which entry copies the file, and from where on? The three lines that were there before stay where they are.");
    machine.run(
        "scalyr-agent-2 explain /var/log/nginx/access.log | head -n 12",
        Some(0),
    );
    machine.tell("Somebody visits the site twice, and the two lines are at the server:");
    let mut file = fs::OpenOptions::new().append(true).open(&access).unwrap();
    file.write_all(LINE.repeat(2).as_bytes()).unwrap();
    machine.until_lines(2);
    machine.run("scalyr-agent-2 status -H", Some(0));
    machine.tell(
        "`scalyr-agent-2 status -v` has the figures of each file. What goes wrong later is in \
         [troubleshooting](troubleshooting.md);\nwhat can be done with lines on their way is in \
         [configuration](configuration.md).",
    );

    let path = repository("docs/first-hour.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &machine.page).unwrap();
    }
    let stored = fs::read_to_string(path).unwrap_or_default();
    assert!(stored.lines().all(|line| line.chars().count() <= 125));
    let (old, new) = (masked(&stored), masked(&machine.page));
    if old != new {
        let same = old.bytes().zip(new.bytes()).take_while(|(a, b)| a == b);
        let same = same.count();
        let around = |text: &str| {
            let bytes = &text.as_bytes()[same.saturating_sub(40)..text.len().min(same + 80)];
            String::from_utf8_lossy(bytes).into_owned()
        };
        panic!(
            "docs/first-hour.md is not current; UPDATE_DOCS=1 cargo test --test first_hour rewrites it\n{}\n{}",
            around(&old),
            around(&new)
        );
    }
}
