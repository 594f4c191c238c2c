//! The evidence that a look asks for, from files as they are on the disk.

use super::gz::GzFile;
use super::identity::{self, FileId};
use super::ledger::{Bytes, ContentKey, Eyes, Listed, Stat};
use super::source::{path_of, Reading, Source};
use super::tailer::Waiting;
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

/// An open file.
pub(super) struct Plain(pub std::fs::File);

impl Bytes for Plain {
    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        identity::read_full_at(&self.0, buf, offset)
    }
}

/// Evidence from real files. The file that was asked for last stays open.
pub(super) struct OpenEyes<'a> {
    pub readings: &'a HashMap<ContentKey, Reading>,
    pub waiting: &'a HashMap<PathBuf, Waiting>,
    pub cache: Option<(Box<[u8]>, FileId, Source)>,
}

impl Eyes for OpenEyes<'_> {
    fn open(&mut self, file: &Listed) -> io::Result<Box<dyn Bytes + '_>> {
        let is_it =
            |(name, id, _): &(Box<[u8]>, FileId, Source)| *name == file.name && *id == file.stat.id;
        if !self.cache.as_ref().is_some_and(is_it) {
            let waiting = self.waiting.get(path_of(&file.name));
            let (opened, meta) = match waiting.filter(|waiting| waiting.id == file.stat.id) {
                // It may be deleted by now
                Some(waiting) => (waiting.file.try_clone()?, waiting.file.metadata()?),
                None => identity::open(path_of(&file.name))?,
            };
            if FileId::of(&meta) != file.stat.id {
                return Err(io::ErrorKind::NotFound.into());
            }
            let source = match file.is_archive() {
                true => Source::Gz(Box::new(GzFile::new(opened)?)),
                false => Source::Plain(opened),
            };
            self.cache = Some((file.name.clone(), file.stat.id, source));
        }
        match &mut self.cache {
            Some((_, _, source)) => Ok(Box::new(source)),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn held(&mut self, key: ContentKey) -> Option<(Stat, Box<dyn Bytes + '_>)> {
        let reading = self.readings.get(&key)?;
        let Some(Source::Plain(file)) = &reading.source else {
            return None;
        };
        let meta = file.metadata().ok()?;
        let stat = identity::stat_at_a_glance(&meta);
        Some((stat, Box::new(file)))
    }
}
