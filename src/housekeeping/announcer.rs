//! One worker's, or the recovery's, way to tell of its files.

use std::time::Duration;

use crate::base::sync::Arc;
use crate::housekeeping::journal::Ring;
use crate::housekeeping::lister::Listing;
use crate::housekeeping::publication::Publication;
use crate::housekeeping::publications::Publications;
use crate::report::error::Error;

/// One worker's, or the recovery's, way to tell of its files.
pub(crate) struct Announcer {
    publications: Arc<Publications>,
    ring: Option<Ring>,
    number: usize,
    /// Of the last file that became visible.
    last: u64,
    is_noted: bool,
    /// Visible, but their directory is not synced yet.
    unsynced: Vec<Listing>,
}

impl Announcer {
    pub(crate) fn new(publications: Arc<Publications>, number: usize) -> Self {
        let unsynced = Vec::new();
        Announcer { publications, ring: None, number, last: 0, is_noted: false, unsynced }
    }

    pub(crate) fn publications(&self) -> &Publications {
        &self.publications
    }

    /// Waits for a while until another file may become visible.
    pub(crate) fn wait_for_room(&mut self, wait: Duration) -> Result<(), Error> {
        if self.ring.is_none() {
            self.ring = Some(self.publications.ring(self.number)?);
        }
        self.publications.wait_for_room(self.number, self.last + 1, wait)
    }

    /// Notes a file just before it becomes visible.
    pub(crate) fn note(&mut self, file: &Publication) -> Result<(), Error> {
        let number = self.last + 1;
        self.ring.as_mut().map_or(Ok(()), |ring| ring.note(number, file))?;
        self.is_noted = true;
        Ok(())
    }

    /// The file that was noted has become visible.
    pub(crate) fn published(&mut self, file: Publication) {
        self.last += 1;
        self.is_noted = false;
        self.unsynced.push(Listing { ring: self.number, number: self.last, file });
    }

    /// Whether files wait for the sync of their directory.
    pub(crate) fn has_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// The directories of all visible files are synced, as far as they must be.
    pub(crate) fn synced(&mut self) {
        let listings = std::mem::take(&mut self.unsynced);
        self.publications.push(self.number, listings, self.is_noted);
    }

    /// The file that was noted will not become visible. An error means that a recovery may look for it.
    pub(crate) fn clear(&mut self) {
        let was_noted = std::mem::take(&mut self.is_noted);
        if let Some(ring) = self.ring.as_mut().filter(|_| was_noted) {
            let _ = ring.clear(self.last + 1);
        }
        // What is visible and not synced yet is in no list, so it is still on its way.
        if self.unsynced.is_empty() {
            self.publications.no_file(self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Publishing;
    use crate::fs::real::RealFs;
    use crate::housekeeping::publication::tests::publication;
    use crate::naming::Names;
    use crate::report::published::OnPublish;
    use bufferedwriter_testkit::dir::TestDir;

    /// The sync of its directory may take long: nobody has listed the file yet.
    #[test]
    fn a_file_is_protected_from_before_its_rename_until_it_is_listed() {
        let dir = TestDir::new();
        let fs: std::sync::Arc<dyn crate::fs::Fs> = std::sync::Arc::new(RealFs);
        let on_publish = OnPublish(Some(std::sync::Arc::new(|_| Ok(()))));
        let wanted = Publishing { on_publish, manifest: None };
        let publications = Publications::new(&fs, dir.path(), wanted, 0o600, true, 1);
        let publications = Arc::new(publications.unwrap().unwrap());
        let names = Names::new("".as_ref(), "log".as_ref()).unwrap();
        publications.make(dir.path(), &names, true).unwrap();
        let mut announcer = Announcer::new(publications.clone(), 0);
        let is_protected = || publications.protected_from().is_some();
        assert!(!is_protected());
        for seq in 0..2 {
            announcer.wait_for_room(Duration::ZERO).unwrap();
            let file = publication(0, seq);
            announcer.note(&file).unwrap();
            assert!(is_protected());
            announcer.published(file);
            announcer.clear();
            assert!(is_protected() && announcer.has_unsynced());
        }
        announcer.synced();
        announcer.clear();
        assert!(is_protected() && publications.stats().unlisted == 2);
        publications.step(&mut Default::default());
        publications.step_hook();
        assert!(!is_protected());
        // One that does not become visible.
        announcer.wait_for_room(Duration::ZERO).unwrap();
        announcer.note(&publication(0, 2)).unwrap();
        announcer.clear();
        assert!(!is_protected());
        publications.end();
    }
}
