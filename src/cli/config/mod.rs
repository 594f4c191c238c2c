//! `scalyr-agent-2 config`, which also is what the program does when it is called
//! `scalyr-agent-2-config`.
//!
//! Files are edited as text, by the spans that the parser reports: what is not asked to change
//! stays byte for byte. Each is written beside the old one and renamed over it.

mod archive;
mod docker;
mod edit;
mod files;
mod gzip;
mod key;
mod owner;
mod prompt;
mod server;
mod systemd;
mod table;
mod tar;
mod tarball;

#[cfg(test)]
pub(super) use gzip::compress;
pub(super) use gzip::Decoder;
pub(super) use table::OPTIONS;

use super::args::Options;
use super::setup::Setup;
use super::{err, exit, out};
use crate::config::{Config, ConfigError, Secret, Source};
use std::ffi::OsString;
use std::path::PathBuf;

/// As `status` has it.
const PYTHON_VERSION: &str = concat!("none (rust ", env!("CARGO_PKG_RUST_VERSION"), ")");

/// The options that were given.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Request {
    set_python: Option<String>,
    report_python_version: bool,
    systemd_managed: bool,
    set_key_from_stdin: bool,
    set_key: Option<Secret>,
    set_scalyr_server: Option<String>,
    set_server_host: Option<String>,
    set_user: Option<String>,
    upgrade_tarball: Option<OsString>,
    preserve_old_install: bool,
    export_config: Option<PathBuf>,
    import_config: Option<PathBuf>,
    dockerfile: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn config(options: Options) -> i32 {
    let request = options.config.clone();
    // Files keep their owner whoever edits them: there is no user to change to.
    let setup = Setup::new(Options {
        no_change_user: true,
        ..options
    });
    match work(&request, &Tool::new(setup)) {
        Ok(code) => code,
        Err(text) => {
            err(text);
            exit::FAILED
        }
    }
}

/// Does all that is asked for, in the order of the table; the exit code.
fn work(request: &Request, tool: &Tool) -> Result<i32, String> {
    if request.set_python.is_some() {
        out("This agent is one program and needs no Python; there is nothing to switch.");
    }
    if request.report_python_version {
        out(format_args!(
            "The Scalyr Agent is using Python {}",
            PYTHON_VERSION
        ));
    }
    if request.systemd_managed {
        systemd::manage(&systemd::Places::of(&tool.source))?;
    }
    if request.set_key_from_stdin {
        key::set(tool, &prompt::key()?)?;
    }
    if let Some(new) = &request.set_key {
        key::set(tool, new)?;
    }
    if let Some(url) = &request.set_scalyr_server {
        server::set_server(tool, url)?;
    }
    if let Some(name) = &request.set_server_host {
        server::set_host(tool, name)?;
    }
    if let Some(name) = &request.set_user {
        owner::set(tool, name)?;
    }
    if let Some(what) = &request.upgrade_tarball {
        return tarball::upgrade(&tool.source, what, request.preserve_old_install);
    }
    if let Some(to) = &request.export_config {
        archive::export(tool, to)?;
    }
    if let Some(from) = &request.import_config {
        archive::import(tool, from)?;
    }
    if let Some(to) = &request.dockerfile {
        docker::create(tool, to)?;
    }
    Ok(exit::OK)
}

/// The configuration that is worked on.
struct Tool {
    source: Source,
    setup: Setup,
}

impl Tool {
    fn new(setup: Setup) -> Tool {
        Tool {
            source: Source {
                main_file: super::setup::absolute(&setup.source.main_file),
                ..setup.source.clone()
            },
            setup,
        }
    }

    /// Reads the configuration as it is now.
    fn load(&self) -> Result<Config, String> {
        Config::load(&self.source).map_err(|error| self.unreadable(&error))
    }

    fn unreadable(&self, error: &ConfigError) -> String {
        let todo = self.setup.hint_if_missing();
        let todo = todo.unwrap_or_else(|| "Fix the error and try again.".to_owned());
        format!("Failed to read the configuration: {error}\nNothing was changed. {todo}")
    }

    /// Whether an agent of this configuration runs.
    fn runs(&self) -> bool {
        super::setup::Place::of_setup(&self.setup)
            .running()
            .is_some()
    }
}
