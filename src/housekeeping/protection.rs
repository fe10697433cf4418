//! Which published files stay, since a hook has yet to acknowledge them.
//!
//! Guarantees: no file that waits for a hook is missed, be it this writer's or that of another process, alive or
//! dead. Refuses nothing: while a journal can't be read, its error stands for all files.

use std::path::PathBuf;

use crate::base::sync::Arc;
use crate::fs::Fs;
use crate::housekeeping::journal::waiting::{Search, Waiting};
use crate::housekeeping::publications::Publications;
use crate::housekeeping::retention::Protection;
use crate::naming::{Names, Stamp};

/// Where the journals are, and what this writer knows itself.
pub(crate) struct Protector {
    /// From the options, hence the `Arc` of std.
    pub(crate) fs: std::sync::Arc<dyn Fs>,
    pub(crate) path: PathBuf,
    pub(crate) temp: PathBuf,
    pub(crate) names: Names,
    /// `None` without a hook.
    pub(crate) publications: Option<Arc<Publications>>,
    /// Whether the recovery has handed on what dead writers left. Before, any file may wait for the hook.
    pub(crate) is_recovered: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Protector {
    pub(crate) fn into_protection(self) -> Protection {
        Box::new(move || {
            let dirs = [&*self.temp, &*self.path];
            let search = Search {
                fs: &*self.fs,
                path: &self.path,
                dirs: if self.temp == self.path { &dirs[..1] } else { &dirs },
                prefix: &self.names.prefix,
                own: &self.names,
            };
            // Before our own, since our recovery takes over from others.
            let others = search.oldest()?;
            let from = self.publications.as_ref().and_then(|publications| {
                if (self.is_recovered)() { publications.protected_from() } else { Some(Stamp(0)) }
            });
            let own =
                from.map(|from| Waiting { from, journal: self.temp.join(self.names.journal()) });
            Ok(others.into_iter().chain(own).min_by_key(|waiting| waiting.from))
        })
    }
}
