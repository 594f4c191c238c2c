//! The export: a checkpoint file of all positions with the Python agent's name and layout, for the way back.

use super::journal::Memory;
use super::ledger::record::{self, Writer};
use super::store::is_default;
use crate::util::sha256;
use crate::util::time::now_secs;
use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// The name of the export.
pub(super) const CONSOLIDATED: &str = "checkpoints.json";
/// The same content again, from versions that had no journal to fall back to.
pub(super) const CONSOLIDATED_COPY: &str = "checkpoints.json.previous";

/// Counts checkpoint writes of this and all earlier runs.
static SERIAL: AtomicU64 = AtomicU64::new(1);

/// All numbers to come are greater than this one.
pub fn serials_follow(serial: Option<u64>) {
    SERIAL.fetch_max(serial.unwrap_or(0).saturating_add(1), Ordering::Relaxed);
}

/// The number of the next checkpoint.
pub fn next_serial() -> u64 {
    SERIAL.fetch_add(1, Ordering::Relaxed)
}

/// The text of the checkpoint file for other agents, in which `id` names it.
pub fn export_text(memory: &Memory, id: &[u8; 16]) -> Vec<u8> {
    let saved = &memory.saved;
    let mut text = Vec::new();
    let mut writer = Writer::new(
        &mut text,
        now_secs(),
        next_serial(),
        saved.watched.as_deref(),
    );
    writer.export(*id);
    let mut paths = HashSet::new();
    // The Python agent knows one entry per path: the default worker's, if it has one
    for ((worker, path), log) in &saved.logs {
        if is_default(worker) && paths.insert(path) {
            writer.saved(path, log);
        }
    }
    for ((worker, path), log) in &saved.logs {
        if !is_default(worker) {
            writer.of_worker(worker, path, log, !paths.insert(path));
        }
    }
    for (root, listing) in &saved.remembered {
        writer.remembered(root, listing);
    }
    // Nothing goes wrong with a buffer
    let _ = writer.finish();
    text
}

/// Puts the checkpoint file for other agents in its place, and takes away what older versions have put beside it.
/// After a loss of power there is the old one or the new one, if `lasts` the new one.
///
/// # Errors
/// The error of the disk.
pub fn put_export(dir: &Path, text: &[u8], lasts: bool) -> io::Result<()> {
    let path = dir.join(CONSOLIDATED);
    let temporary = dir.join(format!("{CONSOLIDATED}~"));
    let write = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o640);
        let mut file = options.open(&temporary)?;
        file.write_all(text)?;
        if lasts {
            file.sync_data()?;
        }
        fs::rename(&temporary, &path)
    };
    if let Err(e) = write() {
        let _ = fs::remove_file(&temporary);
        return Err(e);
    }
    let _ = fs::remove_file(dir.join(CONSOLIDATED_COPY));
    Ok(())
}

/// Names a consolidated checkpoint file: an export of ours by its id, any other by a hash of its bytes.
pub(super) fn name_of(text: &[u8]) -> [u8; 16] {
    let id = record::parse(text, "").ok().and_then(|saved| saved.export);
    id.and_then(|id| id.try_into().ok()).unwrap_or_else(|| {
        let mut name = [0; 16];
        name.copy_from_slice(&sha256::digest(text)[..16]);
        name
    })
}
