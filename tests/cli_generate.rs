//! Completions and man pages, as `cargo xtask` makes them: complete, and understood by the programs that they are for. A test of
//! xtask compares the files in `packaging/generated` with the code.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_scalyr-agent-2");

const PAGES: [&str; 4] = [
    "scalyr-agent-2.8",
    "scalyr-agent-2-config.8",
    "agent.json.5",
    "scalyr-agent-2-monitors.7",
];

const BASH: &str = "scalyr-agent-2.bash";
const FISH: &str = "scalyr-agent-2.fish";
const ZSH: &str = "scalyr-agent-2.zsh";

fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn generated(name: &str) -> String {
    fs::read_to_string(repository("packaging/generated").join(name)).unwrap()
}

/// The names of all commands, from the help.
fn commands() -> Vec<String> {
    let output = Command::new(BINARY).arg("--help").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let list = text
        .lines()
        .skip_while(|line| !line.ends_with("}:"))
        .skip(1);
    let names = list.map_while(|line| line.strip_prefix("  ")?.split(' ').next());
    let names: Vec<String> = names.map(str::to_owned).collect();
    assert!(names.len() >= 10, "{text}");
    names
}

/// The words that the helps of all commands offer.
fn long_options(command: &str) -> Vec<String> {
    let output = Command::new(BINARY)
        .args([command, "--help"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter(|line| line.starts_with("  -") || line.starts_with("      --"))
        .filter_map(|line| line.split([' ', ',']).find(|word| word.starts_with("--")))
        .map(str::to_owned)
        .collect()
}

fn feed(mut command: Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

/// That a program takes a text and has nothing to say about it; what it made of it.
fn accepts(program: &str, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(program);
    command.args(arguments);
    let output = feed(command, input);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program}: {errors}");
    assert_eq!(errors, "", "{program}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn every_command_and_option_is_in_every_output() {
    for what in [BASH, FISH, ZSH, PAGES[0]] {
        let text = generated(what).replace("\\-", "-");
        for command in &commands() {
            assert!(text.contains(command.as_str()), "{what}: {command}");
            let options = long_options(command);
            assert!(!options.is_empty(), "{command}");
            // The tool has a page of its own; everything has --help.
            if what == PAGES[0] && command == "config" {
                continue;
            }
            for option in options
                .iter()
                .filter(|o| what != PAGES[0] || *o != "--help")
            {
                let word = match what {
                    FISH => format!("-l {}", &option[2..]),
                    _ => option.clone(),
                };
                assert!(text.contains(&word), "{what}: {command} {option}");
            }
        }
        assert!(!text.contains("upgrade-windows"), "{what}");
    }
    let page = generated(PAGES[1]).replace("\\-", "-");
    for option in long_options("config") {
        assert!(page.contains(&option), "{option}");
    }
}

/// A text with its lines joined.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text of a manual page, without its marks.
fn read(page: &str) -> String {
    let mut text = generated(page);
    for (mark, plain) in [
        ("\\-", "-"),
        ("\\(aq", "'"),
        ("\\(dq", "\""),
        ("\\fI", ""),
        ("\\fB", ""),
        ("\\fR", ""),
        ("\\&", ""),
        ("\\e", "\\"),
    ] {
        text = text.replace(mark, plain);
    }
    text
}

#[test]
fn the_page_of_the_configuration_has_every_option_and_what_it_means() {
    use scalyr_agent_2::config::{reference, reference::explained};
    let page = read("agent.json.5");
    assert!(page.contains(".TH AGENT.JSON 5 "), "{page}");
    for (option, (_, meaning)) in explained() {
        assert!(
            page.contains(&format!("\n{}", option.name)),
            "{}",
            option.name
        );
        assert!(
            page.contains(&meaning.trim().replace('`', "")),
            "{}",
            option.name
        );
    }
    for option in scalyr_agent_2::config::names::all() {
        assert!(
            page.contains(&format!("\n{}", option.name)),
            "{}",
            option.name
        );
    }
    // Members of entries too: each row of the reference
    for row in reference()
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
    {
        let name = row.split('`').next().unwrap();
        assert!(page.contains(&format!("\n{name}")), "{name}");
    }
    assert!(page.contains(".SH Entries of logs\n"));
    let marks = ["](", "| ", "UPDATE_DOCS", "*No effect"];
    assert_eq!(marks.iter().find(|mark| page.contains(*mark)), None);
}

#[test]
fn the_page_of_the_monitors_has_every_option_and_metric() {
    let page = read("scalyr-agent-2-monitors.7");
    assert!(page.contains(".TH SCALYR-AGENT-2-MONITORS 7 "), "{page}");
    for monitor in monitors::registry::ALL {
        let (_, part) = page
            .split_once(&format!("\n.SH {}\n", monitor.short_name()))
            .unwrap();
        let part = part.split("\n.SH ").next().unwrap();
        assert!(part.contains(monitor.module));
        for option in monitor.options {
            let (_, meaning) = part.split_once(&format!(".TP\n{} (", option.name)).unwrap();
            let text = words(&option.text.replace('`', ""));
            assert!(words(meaning).contains(&text), "{}", option.name);
        }
        for metric in monitor.metrics {
            assert!(
                part.contains(&format!(".TP\n{} ", metric.name)),
                "{}",
                metric.name
            );
        }
    }
    let (_, common) = page.split_once(".SH Options of all monitors\n").unwrap();
    for option in monitors::options::COMMON {
        assert!(common.contains(&format!(".TP\n{} (", option.name)));
        assert_eq!(page.matches(&format!(".TP\n{} (", option.name)).count(), 1);
    }
}

/// A program in a tarball's layout, without anything to print.
fn unpacked(name: &str) -> (Folder, PathBuf) {
    let folder = Folder::new(name);
    for name in ["bin", "config", "misc"] {
        fs::create_dir(folder.0.join(name)).unwrap();
    }
    let program = folder.0.join("bin/scalyr-agent-2");
    fs::hard_link(BINARY, &program)
        .or_else(|_| fs::copy(BINARY, &program).map(drop))
        .unwrap();
    (folder, program)
}

#[test]
fn a_script_that_still_calls_generate_gets_the_installed_file_or_is_told_where_it_would_be() {
    let (folder, program) = unpacked("called");
    for (words, name) in [
        ("bash", BASH),
        ("fish", FISH),
        ("zsh", ZSH),
        ("man", PAGES[0]),
        ("man scalyr-agent-2", PAGES[0]),
        ("man scalyr-agent-2-config", PAGES[1]),
        ("man agent.json", PAGES[2]),
        ("man scalyr-agent-2-monitors", PAGES[3]),
    ] {
        let ask = || {
            let mut command = Command::new(&program);
            let output = command.arg("generate").args(words.split(' ')).output();
            output.unwrap()
        };
        let file = folder.0.join("misc").join(name);
        // A shell has emptied it where its output goes to this very file
        fs::write(&file, "").unwrap();
        let told = ask();
        let error = String::from_utf8_lossy(&told.stderr).into_owned();
        // Not where a package is installed on this very machine
        if told.status.code() != Some(0) {
            assert_eq!(told.status.code(), Some(1), "{words}: {told:?}");
            assert!(told.stdout.is_empty());
            for place in [
                &*file.to_string_lossy(),
                "/usr/share/",
                &format!("packaging/generated/{name}"),
            ] {
                assert!(error.contains(place), "{words}: {error}");
            }
        }
        fs::write(&file, generated(name)).unwrap();
        let output = ask();
        assert_eq!(output.status.code(), Some(0), "{words}: {output:?}");
        assert!(output.stderr.is_empty(), "{words}: {output:?}");
        assert!(output.stdout == generated(name).as_bytes(), "{words}");
    }
}

#[test]
fn what_can_t_be_generated_is_refused() {
    for what in [
        &["generate", "tcsh"][..],
        &["generate", "man", "x"],
        &["generate", "zsh", "y"],
    ] {
        let output = Command::new(BINARY).args(what).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{what:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
}

#[test]
fn a_command_that_only_scripts_of_old_call_is_in_no_list() {
    assert!(!commands().contains(&"generate".to_owned()));
    for name in [BASH, FISH, ZSH, PAGES[0]] {
        assert!(!generated(name).contains("generate"), "{name}");
    }
    assert!(!long_options("generate").is_empty());
}

/// That the tarball, the deb and the rpm carry these very files is for `.ci/packages`; this is what the packager's
/// script makes of them, also for a machine whose programs don't run here.
#[test]
#[ignore = "needs tar"]
fn a_tarball_for_another_machine_carries_pages_and_completions() {
    let folder = Folder::new("foreign");
    let program = folder.0.join("foreign");
    let mut bytes = fs::read(BINARY).unwrap();
    let (arch, machine) = match std::env::consts::ARCH {
        "aarch64" => ("x86_64", 62),
        _ => ("aarch64", 183),
    };
    bytes.truncate(4096);
    bytes[18] = machine;
    fs::write(&program, bytes).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let roots = folder.0.join("roots.pem");
    fs::write(
        &roots,
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let output = Command::new(repository("packaging/package"))
        .args(["tarball", "--arch", arch, "--binary"])
        .arg(&program)
        .arg("--ca-bundle")
        .arg(&roots)
        .arg("--out")
        .arg(&folder.0)
        .env("SOURCE_DATE_EPOCH", "951782400")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let made = String::from_utf8(output.stdout).unwrap();
    let mut unpack = Command::new("tar");
    unpack
        .arg("-xzf")
        .arg(made.trim_end())
        .arg("-C")
        .arg(&folder.0);
    assert!(unpack.status().unwrap().success());
    let top = format!("scalyr-agent-{}", env!("CARGO_PKG_VERSION"));
    let misc = folder.0.join(top).join("misc");
    for name in [PAGES.as_slice(), &[BASH, FISH, ZSH]].concat() {
        let packed = fs::read_to_string(misc.join(name)).unwrap();
        let day = packed.contains(" 2000-02-29 \"scalyr-agent-2 ");
        assert_eq!(day, PAGES.contains(&name), "{name}");
        let same = packed.replace(" 2000-02-29 ", " 1970-01-01 ");
        assert!(same == generated(name), "{name}");
    }
    assert_eq!(fs::read_dir(misc).unwrap().count(), PAGES.len() + 3);
}

#[test]
#[ignore = "needs bash"]
fn bash_completes() {
    let script = generated(BASH);
    accepts("bash", &["-n"], &script);
    let folder = Folder::new("bash");
    fs::write(folder.0.join("a file.json"), "").unwrap();
    fs::create_dir(folder.0.join("a folder")).unwrap();
    let ask = |line: &str| -> Vec<String> {
        // As bash does it, which makes a word of each `=`. A blank at the end begins a new word.
        let spaced = line.replace('=', " = ");
        let mut words: Vec<&str> = spaced.split_ascii_whitespace().collect();
        if spaced.ends_with(' ') {
            words.push("");
        }
        if line.ends_with('=') {
            words.pop();
        }
        let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let input = format!(
            "{script}\ncd '{}'\nCOMP_WORDS=({})\nCOMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
             _scalyr_agent_2\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
            folder.0.display(),
            quoted.join(" ")
        );
        let mut lines: Vec<String> = accepts("bash", &["--norc"], &input)
            .lines()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(ask("scalyr-agent-2 st"), ["start", "status", "stop"]);
    assert_eq!(ask("scalyr-agent-2 ").len(), commands().len());
    assert_eq!(ask("scalyr-agent-2 status --f"), ["--format"]);
    for line in [
        "scalyr-agent-2 status --format ",
        "scalyr-agent-2 status --format=",
        "scalyr-agent-2 -v --format ",
    ] {
        assert_eq!(ask(line), ["json", "text"], "{line}");
    }
    assert_eq!(ask("scalyr-agent-2 status --format=j"), ["json"]);
    // Neither the file nor the option is the command
    assert_eq!(ask("scalyr-agent-2 -c start -v sto"), ["stop"]);
    assert_eq!(ask("scalyr-agent-2 --config-file=start sto"), ["stop"]);
    assert_eq!(
        ask("scalyr-agent-2 start -c a"),
        ["a file.json", "a folder"]
    );
    assert_eq!(ask("scalyr-agent-2 --extra-config-dir a"), ["a folder"]);
    assert_eq!(ask("scalyr-agent-2 explain a"), ["a file.json", "a folder"]);
    assert_eq!(ask("scalyr-agent-2 stop a"), [""; 0]);
    let url = ["url_monitor"];
    assert_eq!(ask("scalyr-agent-2 monitors url"), url);
    assert_eq!(ask("scalyr-agent-2 monitor "), ["run"]);
    assert_eq!(ask("scalyr-agent-2 monitor run ur"), url);
    assert_eq!(ask("scalyr-agent-2 monitor run -n 1 ur"), url);
    assert!(ask("scalyr-agent-2 monitors ").contains(&"shell_monitor".to_owned()));
    assert_eq!(ask("scalyr-agent-2 config --set-user roo"), ["root"]);
    assert_eq!(
        ask("/usr/sbin/scalyr-agent-2-config --set-s"),
        ["--set-scalyr-server", "--set-server-host"]
    );
    assert_eq!(ask("scalyr-agent-2-config --set-key a"), [""; 0]);
}

#[test]
#[ignore = "needs shellcheck"]
fn the_script_for_bash_is_clean() {
    accepts("shellcheck", &["-s", "bash", "-"], &generated(BASH));
}

#[test]
#[ignore = "needs fish"]
fn fish_completes() {
    let script = generated(FISH);
    let folder = Folder::new("fish");
    let file = folder.0.join("scalyr-agent-2.fish");
    fs::write(&file, &script).unwrap();
    let ask = |line: &str| -> Vec<String> {
        let input = format!("source '{}'\ncomplete -C '{line}'\n", file.display());
        let mut command = Command::new("fish");
        command.arg("--no-config").env("HOME", &folder.0);
        let output = feed(command, &input);
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
        let mut words: Vec<String> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| line.split('\t').next())
            .map(str::to_owned)
            .collect();
        words.sort();
        words
    };
    assert_eq!(ask("scalyr-agent-2 st"), ["start", "status", "stop"]);
    assert_eq!(ask("scalyr-agent-2 status --fo"), ["--format"]);
    assert_eq!(ask("scalyr-agent-2 status --format "), ["json", "text"]);
    assert_eq!(ask("scalyr-agent-2 monitors url"), ["url_monitor"]);
    assert_eq!(ask("scalyr-agent-2 monitor r"), ["run"]);
    assert_eq!(ask("scalyr-agent-2 monitor run ur"), ["url_monitor"]);
    assert_eq!(ask("scalyr-agent-2-config --set-u"), ["--set-user"]);
    assert_eq!(ask("scalyr-agent-2 config --set-user roo"), ["root"]);
}

#[test]
#[ignore = "needs zsh"]
fn zsh_completes() {
    let script = generated(ZSH);
    accepts("zsh", &["-n"], &script);
    let folder = Folder::new("zsh");
    let file = folder.0.join("_scalyr-agent-2");
    fs::write(&file, &script).unwrap();
    // An interactive shell behind a pseudo terminal; what is completed is seen by running it.
    let ask = |line: &str| -> String {
        let input = format!(
            "zmodload zsh/zpty\n\
             zpty z 'zsh -f -i'\n\
             zpty -w z 'PS1= RPS1=; unset zle_bracketed_paste; fpath=(\"{folder}\" $fpath); autoload -Uz compinit; \
             compinit -u -D; scalyr-agent-2() {{ print -r -- \"<$*>\" }}; \
             scalyr-agent-2-config() {{ print -r -- \"<$*>\" }}; print rea''dy'\n\
             zpty -r z seen '*ready*'\n\
             zpty -w -n z '{line}'$'\\t'$'\\n'\n\
             zpty -r z seen '*<*>*'\n\
             print -r -- ${{${{seen##*<}}%%>*}}\n\
             zpty -d z\n",
            folder = folder.0.display()
        );
        let mut command = Command::new("timeout");
        command.args(["60", "zsh", "-f"]).env("TERM", "dumb");
        let output = feed(command, &input);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(ask("scalyr-agent-2 condr"), "condrestart");
    assert_eq!(ask("scalyr-agent-2 status --verb"), "status --verbose");
    assert_eq!(
        ask("scalyr-agent-2 -v status --format j"),
        "-v status --format json"
    );
    assert_eq!(ask("scalyr-agent-2 monitors ur"), "monitors url_monitor");
    assert_eq!(ask("scalyr-agent-2 monitor r"), "monitor run");
    assert_eq!(
        ask("scalyr-agent-2 monitor run ur"),
        "monitor run url_monitor"
    );
    assert_eq!(ask("scalyr-agent-2-config --set-us"), "--set-user");
    assert_eq!(ask("scalyr-agent-2 config --set-us"), "config --set-user");
}

#[test]
#[ignore = "needs groff"]
fn groff_has_no_complaint() {
    for page in PAGES {
        let text = accepts("groff", &["-k", "-man", "-ww", "-Tutf8"], &generated(page));
        assert!(
            text.contains("--config-file") || text.contains("config"),
            "{text}"
        );
    }
}

#[test]
#[ignore = "needs mandoc"]
fn mandoc_has_no_complaint() {
    for page in PAGES {
        let text = accepts("mandoc", &["-Tlint", "-Wwarning"], &generated(page));
        assert_eq!(text, "");
    }
}

/// A temporary folder.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("cli-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
