//! Lists published files: in the manifest, then in the journal for the hook.
//!
//! Guarantees: a try that fails is continued where it failed, so no file is listed twice.

use crate::fs::Fs;
use crate::housekeeping::journal::Journal;
use crate::housekeeping::manifest::Manifest;
use crate::housekeeping::publication::Publication;
use crate::report::error::Error;

/// A file to list: its ring, its number in that ring, and what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) ring: usize,
    pub(crate) number: u64,
    pub(crate) file: Publication,
}

/// How far a list of files has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    in_manifest: bool,
    in_journal: bool,
}

/// Owns the manifest and the journal.
pub(crate) struct Lister {
    pub(crate) fs: std::sync::Arc<dyn Fs>,
    pub(crate) manifest: Option<Manifest>,
    /// `None` until there is room for it on the disk.
    pub(crate) journal: Option<Journal>,
    /// Whether a hook hears of the files.
    pub(crate) has_hook: bool,
    pub(crate) is_durable: bool,
    /// Of each ring, the number of the last file that is listed.
    pub(crate) listed: Vec<u64>,
}

impl Lister {
    /// Lists files that are in rings.
    pub(crate) fn list(&mut self, files: &[Listing], progress: &mut Progress) -> Result<(), Error> {
        let all: Vec<&Publication> = files.iter().map(|listing| &listing.file).collect();
        self.append(&all, progress)?;
        for Listing { ring, number, .. } in files {
            if let Some(listed) = self.listed.get_mut(*ring) {
                *listed = (*listed).max(*number);
            }
        }
        match &mut self.journal {
            Some(journal) => journal.note_listed(&self.listed),
            None => Ok(()),
        }
    }

    /// Lists a file of a dead writer, which the manifest may have already. Returns whether the hook will hear of it:
    /// not while there is no journal.
    pub(crate) fn adopt(&mut self, file: &Publication, in_manifest: bool) -> Result<bool, Error> {
        self.append(&[file], &mut Progress { in_manifest, in_journal: false })?;
        Ok(self.journal.is_some() || !self.has_hook)
    }

    fn append(&mut self, files: &[&Publication], progress: &mut Progress) -> Result<(), Error> {
        if let Some(manifest) = self.manifest.as_mut().filter(|_| !progress.in_manifest) {
            let lines: String = files.iter().filter_map(|file| file.line()).collect();
            manifest.append(&*self.fs, &lines)?;
            progress.in_manifest = true;
        }
        let has_hook = self.has_hook;
        if let Some(journal) = self.journal.as_mut().filter(|_| has_hook && !progress.in_journal) {
            journal.append(files, self.is_durable)?;
            progress.in_journal = true;
        }
        Ok(())
    }
}
