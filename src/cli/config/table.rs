//! The options of `config`, in the order in which they work.

use crate::cli::args::Options;
use crate::cli::decl::Action::{Flag, Refused, Value};
use crate::cli::decl::Verdict::{self, Better, Same};
use crate::cli::decl::{Complete, Opt, Setter};
use crate::cli::options::{CONFIG_FILE, EXTRA_CONFIG_DIR, HELP};
use crate::config::Secret;
use std::ffi::OsString;

/// All of them. What is refused is known by name, so that the answer can say why.
pub(in crate::cli) const OPTIONS: &[&Opt] = &[
    &HELP,
    &CONFIG_FILE,
    &EXTRA_CONFIG_DIR,
    &SET_PYTHON,
    &REPORT_PYTHON_VERSION,
    &SYSTEMD_MANAGED,
    &SET_KEY_FROM_STDIN,
    &SET_KEY,
    &SET_SCALYR_SERVER,
    &SET_SERVER_HOST,
    &SET_USER,
    &UPGRADE_TARBALL,
    &PRESERVE_OLD_INSTALL,
    &EXPORT_CONFIG,
    &IMPORT_CONFIG,
    &DOCKER,
    &KUBERNETES,
    &windows("upgrade-windows"),
    &windows("release-track"),
    &windows("upgrade-without-ui"),
    &windows("init-config"),
    &windows("no-error-if-config-exists"),
    &windows("mark-conditional-restart"),
    &windows("conditional-restart"),
    &windows("fix-config-permissions"),
];

const fn flag(
    long: &'static str,
    set: fn(&mut Options),
    text: &'static str,
    more: &'static str,
    verdict: Verdict,
) -> Opt {
    Opt {
        short: None,
        long,
        action: Flag(set),
        text,
        more,
        verdict,
    }
}

const fn value(
    long: &'static str,
    (name, complete, set): (&'static str, Complete, Setter),
    text: &'static str,
    more: &'static str,
    verdict: Verdict,
) -> Opt {
    Opt {
        short: None,
        long,
        action: Value(name, complete, set),
        text,
        more,
        verdict,
    }
}

const fn windows(long: &'static str) -> Opt {
    Opt {
        short: None,
        long,
        action: Refused,
        text: "",
        more: "",
        verdict: Verdict::Refused("it is for Windows, and this agent is for Linux"),
    }
}

/// UTF-8, as everything in a configuration is.
fn text(value: OsString) -> Result<String, String> {
    value
        .into_string()
        .map_err(|_| "the value is not valid UTF-8".to_owned())
}

const PYTHONS: [&str; 4] = ["default", "python", "python2", "python3"];

static SET_PYTHON: Opt = value(
    "set-python",
    ("PYTHON", Complete::Words(&PYTHONS), |o, v| {
        let name = v.to_string_lossy().into_owned();
        if !PYTHONS.contains(&name.as_str()) {
            return Err(format!(
                "invalid choice: '{name}' (choose from {})",
                PYTHONS.map(|name| format!("'{name}'")).join(", ")
            ));
        }
        o.config.set_python = Some(name);
        Ok(())
    }),
    "Only says that there is no Python here.",
    "",
    Better("nothing to choose: prints a notice, so that scripts go on"),
);

static REPORT_PYTHON_VERSION: Opt = flag(
    "report-python-version",
    |o| o.config.report_python_version = true,
    "Likewise, with the version of Rust.",
    "",
    Better("the same line, with \"none\" and the version of Rust"),
);

static SYSTEMD_MANAGED: Opt = flag(
    "systemd-managed",
    |o| o.config.systemd_managed = true,
    "Let systemd run it instead of init.d.",
    "For root. Removes the links of the init script from the runlevels and leaves the marker \
     systemd_managed beside the configuration file, which packages respect. Neither enables nor \
     starts the unit: the commands for that are printed.",
    Better("uses the unit that the package brings along, and writes one only if there is none"),
);

static SET_KEY_FROM_STDIN: Opt = flag(
    "set-key-from-stdin",
    |o| o.config.set_key_from_stdin = true,
    "Set the API key to a line of stdin.",
    "Prompts for it. On a terminal nothing is shown of it. The key never is on a command line.",
    Better("a terminal does not echo the key"),
);

static SET_KEY: Opt = value(
    "set-key",
    ("KEY", Complete::Nothing, |o, v| {
        o.config.set_key = Some(Secret::new(text(v)?));
        Ok(())
    }),
    "Set it to KEY, which ps and history show.",
    "Replaces the API key in the main file. The present key must stand there exactly once. \
     Other users may see the command line while it runs, and shells remember it: \
     --set-key-from-stdin is better.",
    Better("keeps every other byte, owner and mode; an empty key can be replaced"),
);

static SET_SCALYR_SERVER: Opt = value(
    "set-scalyr-server",
    ("URL", Complete::Nothing, |o, v| {
        o.config.set_scalyr_server = Some(text(v)?);
        Ok(())
    }),
    "Where to send to.",
    "Changed where it is set; if it is not, the fragment scalyr_server.json is written.",
    Better("an address that can't be used is refused; no second setting that breaks the first"),
);

static SET_SERVER_HOST: Opt = value(
    "set-server-host",
    ("NAME", Complete::Nothing, |o, v| {
        o.config.set_server_host = Some(text(v)?);
        Ok(())
    }),
    "This machine's serverHost.",
    "Changed where it is set; if it is not, the fragment server_host.json is written.",
    Better("counts also if another file sets it"),
);

static SET_USER: Opt = value(
    "set-user",
    ("USER", Complete::User, |o, v| {
        o.config.set_user = Some(text(v)?);
        Ok(())
    }),
    "Run as USER: change the files' owner.",
    "For root. The owner of the main file, of the folder of fragments, of the data and of the log \
     folder and of all in them becomes USER; groups stay. The agent is to be restarted then.",
    Better("follows no links and takes over no foreign hard links"),
);

static UPGRADE_TARBALL: Opt = value(
    "upgrade-tarball",
    ("FILE", Complete::File, |o, v| {
        o.config.upgrade_tarball = Some(v);
        Ok(())
    }),
    "Replace this tarball installation.",
    "The old program, certificates and so on are replaced by those in FILE; config, log and data \
     stay. The agent is stopped for it and started again. Ends the program: options further down \
     the list are not looked at.",
    Better("the new program is tried before the agent is stopped; folders are renamed, not copied"),
);

static PRESERVE_OLD_INSTALL: Opt = flag(
    "preserve-old-install",
    |o| o.config.preserve_old_install = true,
    "With it: keep the old one and say where.",
    "",
    Same,
);

static EXPORT_CONFIG: Opt = value(
    "export-config",
    ("FILE", Complete::File, |o, v| {
        o.config.export_config = Some(v.into());
        Ok(())
    }),
    "Write all files to a tar.gz; -: stdout.",
    "The main file and its *.json fragments. The API key is among it.",
    Better("the archive has mode 600; a terminal is refused"),
);

static IMPORT_CONFIG: Opt = value(
    "import-config",
    ("FILE", Complete::File, |o, v| {
        o.config.import_config = Some(v.into());
        Ok(())
    }),
    "Replace all files by those; -: stdin.",
    "Fragments that are not in the archive are deleted; what is no *.json stays. Files get the \
     owner and group of the present main file. If what is in the archive does not load, nothing \
     is changed.",
    Better(
        "checked first: names, types, sizes, and whether the configuration loads; no file becomes \
         readable for all; repairs a configuration that can't be read",
    ),
);

static DOCKER: Opt = value(
    "docker-create-custom-dockerfile",
    ("FILE", Complete::File, |o, v| {
        o.config.dockerfile = Some(v.into());
        Ok(())
    }),
    "tar.gz to build an image.",
    "An archive with a Dockerfile and this machine's configuration, to build a container image \
     that has it; -: to stdout. The API key is among it.",
    Better("works (broken under Python 3)"),
);

static KUBERNETES: Opt = Opt {
    short: None,
    long: "k8s-create-custom-dockerfile",
    action: Refused,
    text: "",
    more: "",
    verdict: Verdict::Refused(
        "there is no image for Kubernetes: mount the configuration as a ConfigMap",
    ),
};
