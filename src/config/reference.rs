//! The reference page `docs/configuration.md`, and the entries of `agent.json(5)`, from the declarations.

use std::fmt::Write;

use super::decl::{Acts, Decl, EnvName, Kind, Val, Words};
use super::logs::{MemberDoc, SHARED};
use super::names::{FOREIGN, STRUCTURED, STRUCTURED_WORDS};
use super::options::{Options, CORE, CORE_WORDS};

const HEAD: &str = "\
# Configuration reference

This page is generated from the declarations in `src/config`; `UPDATE_DOCS=1 cargo test --test docs_are_current`
rewrites it.

## Files

";

/// The rules for files, values and variables of the environment, in Markdown.
pub const FILES: &str = "\
The main file is `agent.json`, by default `/etc/scalyr-agent-2/agent.json` (`-c FILE` names another one). Fragments
are the `*.json` files of the directory `agent.d` beside it (option `config_directory`) and of the directory that
`--extra-config-dir` or `SCALYR_EXTRA_CONFIG_DIR` names, each directory in the order of names. Every option may stand
in any file, but only once over all files, except `logs`, `journald_logs`, `k8s_logs`, `monitors` and `workers`, whose
entries are joined in file order, `server_attributes`, where the later file wins key by key, and `import_vars`, which
applies to its own file.

Files hold one object in JSON with these liberties: `//` and `/* */` comments; keys without quotes; a comma may be
left out at the end of a line and may stand before `}` or `]`; strings may be joined with `+`; `\"\"\"` strings may hold
line breaks and quotes. A member that is `null` is as good as absent.

A value in a file wins over the environment, which wins over the default. The environment variable of an option is
`SCALYR_` and its name in upper case (or the same all in lower case), unless the table says otherwise. Sizes are in
bytes, times in seconds. Relative paths are taken from the directory of the main file, those of log files from
`agent_log_path`.

Bools in files may also be written `t`, `yes`, `on`, `1`, `f`, `no`, `off`, `0` or `\"\"` (a string, any case). In the
environment only `true` is true. Numbers may be strings. Lists in the environment are separated by commas or blanks.
";

const LIST_HEAD: &str = "\n| Member | Type | Default | Meaning |\n|---|---|---|---|\n";

const WORKER: &[MemberDoc] = &[
    (
        "id",
        "string",
        "required",
        "Name, `[a-zA-Z0-9_]+`. Without an entry `default` one is put first.",
    ),
    (
        "api_key",
        "string",
        "required",
        "Write key; for `default` it is the top-level one.",
    ),
    (
        "server_url",
        "string",
        "`scalyr_server`",
        "Address, by the same rules as `scalyr_server`.",
    ),
    (
        "sessions",
        "int, 1 to 1024",
        "`default_sessions_per_worker`",
        "Independent sessions, each with threads and connections of its own; the worker's files are spread over them. Older name: `workers`.",
    ),
];

const MONITOR: &[MemberDoc] = &[
    (
        "module",
        "string",
        "required",
        "Dotted name; the last component says which monitor.",
    ),
    (
        "id",
        "string",
        "its number, if there are several",
        "Name of the instance.",
    ),
    (
        "stop_agent_on_failure",
        "bool",
        "false",
        "Stop the agent when this monitor dies.",
    ),
];

const PATH: MemberDoc = (
    "path",
    "string",
    "required",
    "File or glob: `*`, `?`, `[abc]`, `[!a]`, and `**` for any number of directories. The first entry that matches a file counts.",
);

/// The options that have words, with these.
pub fn explained() -> impl Iterator<Item = (&'static Decl, &'static Words)> {
    let structured = STRUCTURED.iter().zip(STRUCTURED_WORDS);
    CORE.iter().zip(CORE_WORDS).chain(structured)
}

/// The whole page.
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    page.push_str(FILES);
    let defaults = Options::default();
    let mut section = "";
    for (decl, (heading, words)) in explained().filter(|(decl, _)| acts(decl)) {
        if *heading != section {
            section = heading;
            page.push_str("\n## ");
            page.push_str(section);
            page.push_str("\n\n| Option | Type | Default | Allowed | Environment | Meaning |\n|---|---|---|---|---|---|\n");
        }
        // Writing to a string can't fail.
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} | {} |",
            decl.name,
            decl.kind.name(),
            default(decl, &defaults),
            decl.allowed(),
            environment(decl),
            meaning(decl, words, "*")
        );
    }
    page.push_str("\n## Entries of `logs`\n\n[rules.md](rules.md) shows what each form of a rule does to lines.\n");
    page.push_str(LIST_HEAD);
    members(&mut page, [&PATH].into_iter().chain(SHARED));
    page.push_str("\n## Entries of `workers`\n");
    page.push_str(LIST_HEAD);
    members(&mut page, WORKER);
    page.push_str("\n## Entries of `monitors`\n\nAll other members are the monitor's own.\n");
    page.push_str(LIST_HEAD);
    members(&mut page, MONITOR);
    // Folded: whoever looks for an option that does something must not read past 90 that don't
    page.push_str(
        "\n## Known, without effect\n\nThese options of the Python agent are accepted, so that its files keep working. \
         Setting one gives a warning.\n\n<details>\n<summary>Options without effect</summary>\n\n\
         | Option | Why |\n|---|---|\n",
    );
    for decl in CORE.iter().chain(FOREIGN.iter().copied().flatten()) {
        if let Acts::Never(why) = decl.acts {
            let _ = writeln!(page, "| `{}` ({}) | {why} |", decl.name, decl.kind.name());
        }
    }
    page.push_str("\n</details>\n");
    page
}

/// Hands out the content of the page in order: the title of each section alone, and of each option or member its
/// name, its type with what is allowed and the default in parentheses, and its meaning. Texts are in Markdown.
pub fn entries(each: &mut dyn FnMut(&str, &str, &str, &str)) {
    let defaults = Options::default();
    let mut section = "";
    for (decl, (heading, words)) in explained() {
        if *heading != section {
            section = heading;
            each(section, "", "", "");
        }
        let mut facts = facts(decl.kind.name(), &decl.allowed(), &default(decl, &defaults));
        match decl.env {
            EnvName::None => facts.push_str("; not from the environment"),
            EnvName::Standard => {}
            EnvName::Named(name) => {
                facts.push_str("; environment: ");
                facts.push_str(name);
            }
        }
        facts.push(')');
        each("", decl.name, &facts, &meaning(decl, words, ""));
    }
    for (title, list) in [
        ("Entries of `logs`", &[PATH][..]),
        ("", SHARED),
        ("Entries of `workers`", WORKER),
        ("Entries of `monitors`", MONITOR),
    ] {
        if !title.is_empty() {
            each(title, "", "", "");
        }
        for (name, kind, default, meaning) in list {
            each("", name, &(facts(kind, "", default) + ")"), meaning);
        }
    }
    each("Known, without effect", "", "", "");
    for decl in FOREIGN.iter().copied().flatten() {
        if let Acts::Never(why) = decl.acts {
            each("", decl.name, &format!("({})", decl.kind.name()), why);
        }
    }
}

/// Type, allowed values and default, in parentheses that the caller closes.
fn facts(kind: &str, allowed: &str, default: &str) -> String {
    let mut text = "(".to_owned();
    text.push_str(kind);
    if !allowed.is_empty() {
        text.push_str(", ");
        text.push_str(allowed);
    }
    text.push_str("; default: ");
    text.push_str(default);
    text
}

fn members<'a>(page: &mut String, members: impl IntoIterator<Item = &'a MemberDoc>) {
    for (name, kind, default, meaning) in members {
        let _ = writeln!(page, "| `{name}` | {kind} | {default} | {meaning} |");
    }
}

fn default(decl: &Decl, defaults: &Options) -> String {
    if let Some(text) = decl.default_text {
        return text.to_owned();
    }
    match (decl.kind, (decl.get)(defaults)) {
        (Kind::Array, _) => "`[]`".to_owned(),
        (Kind::Object, _) => "`{}`".to_owned(),
        (_, Val::Unset) => "unset".to_owned(),
        (_, val) => format!("`{val}`"),
    }
}

fn acts(decl: &Decl) -> bool {
    matches!(decl.acts, Acts::Yes)
}

fn environment(decl: &Decl) -> String {
    match decl.env {
        EnvName::None => "none".to_owned(),
        EnvName::Standard => "yes".to_owned(),
        EnvName::Named(name) => format!("`{name}`"),
    }
}

fn meaning(decl: &Decl, words: &str, mark: &str) -> String {
    let mut text = words.trim().to_owned();
    if let Some(old) = decl.old_name {
        let _ = write!(text, " Older name: `{old}`.");
    }
    match decl.acts {
        Acts::Yes => {}
        Acts::Never(why) => {
            let _ = write!(text, " {mark}No effect: {why}.{mark}");
        }
    }
    text
}
