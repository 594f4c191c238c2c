//! The examples are what an operator may copy, and the pages about them say what the agent does.
//! `UPDATE_DOCS=1 cargo test --test examples` rewrites the outputs on the pages.

mod common;
#[path = "examples/page.rs"]
mod page;

use common::{lines, Site};
use page::Page;
use scalyr_agent_2::agent::insight::{self, Claim, Insight};
use scalyr_agent_2::config::{Config, EntryKind, Install, Source};
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const RULES: &str = "docs/rules.md";
const RECIPES: &str = "docs/recipes.md";

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The names and texts of all examples.
fn examples() -> Vec<(String, String)> {
    let folder = top().join("examples/agent.d");
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    all.sort();
    all
}

/// A machine whose files all lie in a folder: `/var/log/x` is `ROOT/var/log/x`.
struct Machine {
    site: Site,
}

impl Machine {
    fn new() -> Machine {
        let machine = Machine { site: Site::new() };
        machine.clean();
        let text = format!(
            "{{ api_key: \"k\", scalyr_server: \"{}\", allow_http: true, \
             agent_log_path: \"{}\", agent_data_path: \"{}\" }}",
            machine.site.receiver.url(),
            machine.file("/var/log/scalyr-agent-2").display(),
            machine.file("/var/lib/scalyr-agent-2").display()
        );
        machine.site.write_config_text(&text);
        machine
    }

    /// Has no files but the agent's empty folders.
    fn clean(&self) {
        let _ = fs::remove_dir_all(self.root());
        for folder in ["/var/log/scalyr-agent-2", "/var/lib/scalyr-agent-2"] {
            fs::create_dir_all(self.file(folder)).unwrap();
        }
    }

    fn root(&self) -> String {
        self.site.path("root").display().to_string()
    }

    fn file(&self, path: &str) -> PathBuf {
        PathBuf::from(self.root() + path)
    }

    /// A configuration's text with the paths in it below the root: strings that begin with a slash,
    /// and expressions that begin with one. `$PATHn` counts from the root.
    fn moved(&self, text: &str) -> String {
        let root = self.root();
        let mut out = text.to_owned();
        for begin in ["\"", "\"^"] {
            out = out.replace(&format!("{begin}/"), &format!("{begin}{root}/"));
        }
        let depth = Path::new(&root).components().count() - 1;
        let mut pieces = out.split("PATH");
        let mut numbered = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let digits = piece.len() - piece.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            numbered.push_str("PATH");
            match piece[..digits].parse::<usize>() {
                Ok(number) => numbered.push_str(&(number + depth).to_string()),
                Err(_) => numbered.push_str(&piece[..digits]),
            }
            numbered.push_str(&piece[digits..]);
        }
        numbered
    }

    /// Makes this the only file of `agent.d`, loads it, and asserts that nobody is warned.
    #[track_caller]
    fn configure(&self, name: &str, text: &str) -> Config {
        self.write_only(text);
        self.load(name)
    }

    /// Why the agent does not take this as the only file of `agent.d`.
    fn refusal(&self, text: &str) -> String {
        self.write_only(text);
        let why = match Config::load(&self.source()) {
            Err(error) => error.to_string(),
            Ok(config) => insight::plan(&config).expect_err("it is taken"),
        };
        let file = self.site.path("conf/agent.d/only.json");
        why.replace(
            file.to_str().unwrap(),
            "/etc/scalyr-agent-2/agent.d/app.json",
        )
        .replace(&self.root(), "")
            + "\n"
    }

    fn write_only(&self, text: &str) {
        let folder = self.site.path("conf/agent.d");
        for old in fs::read_dir(&folder).unwrap() {
            fs::remove_file(old.unwrap().path()).unwrap();
        }
        self.site.write_fragment("only.json", &self.moved(text));
    }

    fn source(&self) -> Source {
        Source {
            main_file: self.site.config_path(),
            extra_dir: None,
            env: Vec::new(),
            install: Install::beneath(&self.site.path("root")),
        }
    }

    #[track_caller]
    fn load(&self, name: &str) -> Config {
        // As packages install them, and as the pages say
        let fragments = fs::read_dir(self.site.path("conf/agent.d")).unwrap();
        let fragments = fragments.map(|entry| entry.unwrap().path());
        for file in fragments.chain([self.site.config_path()]) {
            fs::set_permissions(file, Permissions::from_mode(0o640)).unwrap();
        }
        let config = Config::load(&self.source()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let plans = insight::plan(&config).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut warnings: Vec<_> = plans.iter().flat_map(monitors::Plan::warnings).collect();
        warnings.extend(config.warnings.iter().map(|w| w.text.clone()));
        assert_eq!(warnings, [""; 0], "{name}");
        config
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.file(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The events that `dry-run` prints for files, as pages show them.
    #[track_caller]
    fn dry_run(&self, paths: &[String]) -> String {
        let files: Vec<String> = paths.iter().map(|path| self.root() + path).collect();
        let mut args = vec!["dry-run"];
        args.extend(files.iter().map(String::as_str));
        let said = self.site.run(&args);
        assert_eq!(said.code, 0, "{paths:?}: {}", said.err);
        // A verdict may stand before the events
        let events = said.out.lines().filter(|line| line.starts_with('{'));
        let text: String = events.map(page::event).collect();
        text.replace(&self.root(), "")
    }

    /// Runs a command of a page in a shell, without what its output is piped to.
    #[track_caller]
    fn command(&self, line: &str) {
        let bin = self.site.path("bin");
        if !bin.exists() {
            let script = format!(
                "#!/bin/sh\ncase $1 in monitor*) ;; *) set -- \"$@\" -c '{}' ;; esac\n\
                 exec '{}' \"$@\"\n",
                self.site.config_path().display(),
                env!("CARGO_BIN_EXE_scalyr-agent-2")
            );
            fs::create_dir(&bin).unwrap();
            let program = bin.join("scalyr-agent-2");
            fs::write(&program, script).unwrap();
            fs::set_permissions(program, Permissions::from_mode(0o755)).unwrap();
        }
        let line = line.split('|').next().unwrap_or(line);
        let moved = line.replace(" /", &format!(" {}/", self.root()));
        let path = std::env::var("PATH").unwrap();
        let said = Command::new("/bin/sh")
            .args(["-c", &moved])
            .env("PATH", format!("{}:{path}", bin.display()))
            .current_dir(self.site.path(""))
            .output()
            .unwrap();
        let (out, err) = (said.stdout, said.stderr);
        let (out, err) = (String::from_utf8_lossy(&out), String::from_utf8_lossy(&err));
        assert!(said.status.success(), "{line}: {out}{err}");
    }
}

/// The text of `sh` blocks is shell, and our commands in them succeed.
#[track_caller]
fn shell(machine: &Machine, block: &page::Block) {
    let parsed = Command::new("/bin/sh").args(["-nc", &block.text]).status();
    assert!(parsed.unwrap().success(), "line {}", block.line);
    for line in block
        .text
        .lines()
        .filter(|l| l.starts_with("scalyr-agent-2 "))
    {
        machine.command(line);
    }
}

/// Brings the blocks of a page up to date. Calls `seen` with each configuration and the files that
/// were dry-run with it.
fn walk(page: &mut Page, mut seen: impl FnMut(&str, Config, &[PathBuf])) {
    let machine = Machine::new();
    let mut config: Option<(String, Config)> = None;
    // Commands come before or after the files that they are about
    let mut commands = Vec::new();
    let (mut inputs, mut waiting) = (Vec::new(), Vec::new());
    let mut error = String::new();
    for at in 0..page.blocks.len() {
        let mut block = page.blocks[at].clone();
        let info = block.info.clone();
        match info.split_once(' ').unwrap_or((&info, "")) {
            ("json", "refused") => error = machine.refusal(&block.text),
            ("error", "") => block.text = std::mem::take(&mut error),
            ("json", file) => {
                if let Some((name, config)) = config.take() {
                    commands.drain(..).for_each(|block| shell(&machine, &block));
                    seen(&name, config, &inputs);
                }
                if !file.is_empty() {
                    block.text = fs::read_to_string(top().join(file)).unwrap();
                }
                machine.clean();
                let name = format!("{file} at line {}", block.line);
                config = Some((file.to_owned(), machine.configure(&name, &block.text)));
                (inputs, waiting) = (Vec::new(), Vec::new());
            }
            ("input", path) => {
                machine.write(path, &block.text);
                inputs.push(machine.file(path));
                waiting.push(path.to_owned());
            }
            ("output", "") => {
                assert!(!waiting.is_empty(), "line {}: output of what?", block.line);
                block.text = machine.dry_run(&waiting);
                waiting.clear();
            }
            ("sh", "") => commands.push(block.clone()),
            _ => {}
        }
        page.blocks[at].text = block.text;
    }
    commands.iter().for_each(|block| shell(&machine, block));
    if let Some((name, config)) = config {
        seen(&name, config, &inputs);
    }
    assert_eq!(waiting, [""; 0], "an input without an output");
}

#[test]
fn every_form_of_a_rule_does_what_its_page_says() {
    let mut page = Page::read(RULES);
    walk(&mut page, |_, _, _| {});
    page.is_current();
}

#[test]
fn a_recipe_that_is_copied_from_the_page_works() {
    let mut page = Page::read(RECIPES);
    let mut shown = Vec::new();
    walk(&mut page, |name, config, inputs| {
        // Every entry of the example took a file of the page
        let entries = config.logs.iter();
        let wanted: Vec<_> = entries
            .filter(|entry| entry.kind == EntryKind::Configured)
            .map(|entry| entry.path.clone())
            .collect();
        let insight = Insight::new(config, false).unwrap();
        for pattern in wanted {
            let takes = |input: &PathBuf| {
                let candidates = insight.candidates(input);
                candidates
                    .iter()
                    .any(|c| c.pattern == pattern && c.claim == Claim::Counts)
            };
            assert!(
                inputs.iter().any(takes),
                "{name}: no input for {}",
                pattern.display()
            );
        }
        shown.push(name.to_owned());
    });
    page.is_current();
    for (name, _) in examples() {
        let path = format!("examples/agent.d/{name}");
        assert!(shown.contains(&path), "{RECIPES} does not show {path}");
    }
}

#[test]
fn an_example_that_is_copied_into_agent_d_warns_of_nothing() {
    let machine = Machine::new();
    for (name, text) in examples() {
        assert!(
            text.starts_with("// "),
            "{name} does not say what it is for"
        );
        machine.configure(&name, &text);
    }
}

#[test]
fn all_examples_can_be_used_at_once() {
    let machine = Machine::new();
    for (name, text) in examples() {
        machine.site.write_fragment(&name, &machine.moved(&text));
    }
    let config = machine.load("all examples");
    assert_eq!(config.fragments.len(), examples().len());
}

#[test]
fn the_configuration_in_the_readme_is_one() {
    let machine = Machine::new();
    let page = Page::read("README.md");
    let block = page.blocks.iter().find(|b| b.text.contains("api_key"));
    let text = machine.moved(&block.unwrap().text);
    fs::remove_file(machine.site.config_path()).unwrap();
    machine.site.write_config_text(&text);
    let config = machine.load("README.md");
    let entries = config.logs.iter();
    let configured = entries.filter(|entry| entry.kind == EntryKind::Configured);
    assert_eq!(configured.count(), 2);
}

/// The block of the recipes with this information behind its fence.
fn recipe(info: &str) -> String {
    let blocks = Page::read(RECIPES).blocks;
    let block = blocks.into_iter().find(|block| block.info == info);
    block
        .unwrap_or_else(|| panic!("{RECIPES} has no {info}"))
        .text
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A syslog daemon with the lines of its recipe gets 2,000 messages while no agent runs; one that is
/// started then gets all of them. `write` makes the daemon's configuration of these lines and says how
/// it is started, `queue` is the beginning of the name of its file on disk.
fn keeps_messages(
    (name, port): (&str, &str),
    queue: &str,
    write: impl FnOnce(&Site, &Path, &str) -> Command,
) {
    let mut machine = Machine::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    let socket = machine.site.path("log.sock");
    let lines_for_it = recipe(&format!("conf {name}"));
    let example = format!("examples/agent.d/{name}.json");
    let example = fs::read_to_string(top().join(example)).unwrap();
    assert!(lines_for_it.contains(port) && example.contains(&format!("tcp:{port}")));
    machine.configure(name, &example.replace(port, &free));
    let mut daemon = write(&machine.site, &socket, &lines_for_it.replace(port, &free));
    let daemon = daemon.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let _daemon = Daemon(daemon.unwrap());
    machine.site.until_seen("it listens", || socket.exists());
    let input = machine.site.path("input");
    fs::write(&input, lines("test", 2_000).join("\n")).unwrap();
    let sent = Command::new("logger")
        .arg("--socket")
        .arg(&socket)
        .args(["-t", "test", "-f"])
        .arg(&input)
        .status();
    assert!(sent.unwrap().success());
    // Only then there is an agent
    let folder = machine.site.path("");
    machine.site.until_seen("the queue is on disk", || {
        let mut files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
        files.any(|file| file.file_name().to_str().unwrap().starts_with(queue))
    });
    machine.site.start_as_configured();
    let path = machine.file(&format!("/var/log/scalyr-agent-2/{name}.log"));
    let path = path.to_str().unwrap().to_owned();
    // rsyslog may repeat the message with which it tried whether somebody listens
    let came = |messages: Vec<String>| {
        let texts = messages.iter().filter_map(|m| m.split_once("test, line "));
        let numbers: BTreeSet<String> = texts.map(|(_, rest)| rest.to_owned()).collect();
        numbers.len()
    };
    machine
        .site
        .until("all messages", |state| came(state.lines_of(&path)) == 2_000);
    machine.site.term();
}

#[test]
#[ignore = "needs rsyslogd and logger"]
fn rsyslog_keeps_what_comes_while_the_agent_is_stopped() {
    keeps_messages(
        ("rsyslog", "5140"),
        "scalyr-agent.0",
        |site, socket, lines| {
            let config = site.path("rsyslog.conf");
            let text = format!(
                "global(workDirectory=\"{}\")\nmodule(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             input(type=\"imuxsock\" Socket=\"{}\" RateLimit.Interval=\"0\")\n{lines}",
                site.path("").display(),
                socket.display(),
            );
            fs::write(&config, text).unwrap();
            let mut command = Command::new("rsyslogd");
            command.args(["-n", "-iNONE", "-f"]).arg(&config);
            command
        },
    );
}

#[test]
#[ignore = "needs syslog-ng and logger"]
fn syslog_ng_keeps_what_comes_while_the_agent_is_stopped() {
    keeps_messages(
        ("syslog-ng", "5141"),
        "syslog-ng-0",
        |site, socket, lines| {
            let config = site.path("syslog-ng.conf");
            let folder = site.path("").display().to_string();
            // The folder of buffers is the state folder, unless said otherwise
            let lines = lines.replace("disk-buffer(", &format!("disk-buffer(dir(\"{folder}\") "));
            let text = format!(
                "@version: 3.35\nsource s_src {{ unix-dgram(\"{}\"); }};\n{lines}",
                socket.display(),
            );
            fs::write(&config, text).unwrap();
            let mut command = Command::new("syslog-ng");
            command.arg("-F").arg("-f").arg(&config);
            for (option, file) in [("-R", "persist"), ("-c", "control"), ("-p", "pid")] {
                command.arg(option).arg(site.path(file));
            }
            command
        },
    );
}

#[test]
#[ignore = "needs logrotate"]
fn logrotate_takes_what_the_recipes_have_for_it() {
    let machine = Machine::new();
    let blocks = Page::read(RECIPES).blocks;
    let mut count = 0;
    for block in blocks.iter().filter(|block| block.info == "conf logrotate") {
        let config = machine.site.path("logrotate.conf");
        fs::write(&config, &block.text).unwrap();
        let said = Command::new("logrotate")
            .args(["-d", "-s"])
            .arg(machine.site.path("state"))
            .arg(&config)
            .output()
            .unwrap();
        let err = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success() && !err.contains("error:"), "{err}");
        count += 1;
    }
    assert!(count > 0);
}
