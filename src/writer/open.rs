//! What a writer stands on: its directories, its state file, its memory, its guard.
//!
//! Guarantees: a start that fails leaves nothing behind that could be removed. The state file is first, so that
//! whatever is made after it is known as this instance's, if the process dies in the middle. Refuses what
//! the directories and the memory refuse, by name.

use std::path::Path;
use std::time::Instant;

use crate::base::sync::{Arc, Barrier};
use crate::file::publish::{self, Places};
use crate::file::state_file::StateFile;
use crate::file::usage::Scope;
use crate::fs::Fs;
use crate::memory::Shared;
use crate::memory::arena::Arena;
use crate::memory::crash_image::{CrashImage, Layout};
use crate::naming::Names;
use crate::report::error::Error;
use crate::worker::quota::{Limits, Quota};

/// What is known before anything is made.
#[derive(Clone, Copy)]
pub(crate) struct Ground<'a> {
    pub(crate) fs: &'a dyn Fs,
    /// Where the memory goes, if it is to outlive the process.
    pub(crate) memory: Option<&'a Path>,
    pub(crate) names: &'a Names,
    pub(crate) layout: Layout,
}

impl Ground<'_> {
    /// Finds out where files are written, and makes the state file there: before the probes, so that a recovery
    /// knows whose they are if the process dies just then.
    pub(crate) fn settle(self, wanted: Places) -> Result<(Places, StateFile), Error> {
        let Ground { fs, memory, names, layout } = self;
        let probed = |wanted| publish::probed(fs, wanted, names, memory.is_some());
        let create = |places: &Places| {
            // A probe that is refused says better what is wrong with the directory.
            StateFile::create(fs, &places.temp, &places.path, memory, names, layout.workers)
                .or_else(|error| probed(places.clone()).and(Err(error)))
        };
        let state = create(&wanted)?;
        match probed(wanted.clone()) {
            Ok(places) if places == wanted => Ok((places, state)),
            Ok(places) => {
                state.remove(fs)?;
                create(&places).map(|state| (places, state))
            }
            Err(error) => {
                let _ = state.remove(fs);
                Err(error)
            }
        }
    }

    /// The memory of a writer whose files appear in `path`.
    pub(crate) fn memory(self, path: &Path) -> Result<Shared, Error> {
        let Layout { chunks, size, workers, .. } = self.layout;
        let failed = |e| Error::io("map memory for", path, e);
        let arena = match self.memory {
            Some(dir) => {
                let Names { instance, pid, .. } = *self.names;
                let image =
                    CrashImage::create(dir, &self.names.memory(), self.layout, instance, pid)?;
                Arena::in_crash_image(chunks, size, image)
            }
            None => Arena::new(chunks, size).map_err(failed)?,
        };
        Shared::with(arena, workers, Barrier::detect()).map_err(failed)
    }
}

/// The disk guard. Measures at once: what is full already takes no first buffer.
pub(crate) fn guard(
    limits: Limits,
    fs: &std::sync::Arc<dyn Fs>,
    places: &Places,
    names: &Names,
    shared: &Arc<Shared>,
    now: Instant,
) -> Option<Quota> {
    let scope = Scope {
        fs: fs.clone(),
        path: places.path.clone(),
        temp: places.temp.clone(),
        prefix: names.prefix.clone(),
        extension: names.extension.clone(),
    };
    let guard = Quota::new(limits, scope, shared.clone(), now)?;
    while guard.look(|| now) {}
    Some(guard)
}
