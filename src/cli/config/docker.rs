//! `--docker-create-custom-dockerfile`: what is needed to build an image that has
//! this machine's configuration in it.

use super::archive::{self, Owners};
use super::tar::{self, Look};
use super::{gzip, Tool};
use crate::cli::VERSION;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Writes an archive of a `Dockerfile` and the configuration.
///
/// # Errors
/// Lines for stderr.
pub(super) fn create(tool: &Tool, to: &Path) -> Result<(), String> {
    let config = archive::pack(tool, Owners::Root)?;
    let look = Look {
        mode: 0o644,
        user: "root".to_owned(),
        group: "root".to_owned(),
        modified: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        ..Look::default()
    };
    let private = Look {
        mode: 0o600,
        ..look.clone()
    };
    let mut out = Vec::new();
    tar::put(
        &mut out,
        Path::new("Dockerfile"),
        &look,
        dockerfile().as_bytes(),
    )
    .and_then(|()| {
        tar::put(
            &mut out,
            Path::new("agent_config.tar.gz"),
            &private,
            &config,
        )
    })
    .and_then(|()| tar::end(&mut out))
    .map_err(|error| format!("Can't make the archive: {error}"))?;
    archive::deliver(to, &gzip::compress(&out))
}

fn dockerfile() -> String {
    format!(
        "# An image of the agent with a configuration of its own:\n\
         #   docker build --build-arg BASE=IMAGE -t NAME .\n\
         # where IMAGE is one that has the agent in it. The API key is in the result: keep it to\n\
         # yourself, or remove the key from the configuration and set SCALYR_API_KEY.\n\
         ARG BASE=scalyr-agent-2:{VERSION}\n\
         FROM ${{BASE}}\n\
         # ADD unpacks it.\n\
         ADD agent_config.tar.gz /etc/scalyr-agent-2/\n"
    )
}
