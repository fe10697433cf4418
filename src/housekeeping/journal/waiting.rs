//! Which files wait for the hooks of other writers, as their journals say.
//!
//! Guarantees: a file that is seen before the call counts until its hook has acknowledged it, whether
//! its writer lives, died, or has handed it on to another one meanwhile. Changes and locks nothing.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::base::sys::host::user;
use crate::fs::{Entry, Fs, FsFile, read_full};
use crate::housekeeping::journal::dead::is_of;
use crate::housekeeping::journal::format::{
    self, ENTRY_BYTES, HEADER_BYTES, Header, NONE_WAITS, RING_ENTRIES,
};
use crate::naming::{self, Names, Stamp};
use crate::report::error::Error;

/// Files that wait for a hook: none with an older name does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) from: Stamp,
    /// Where the oldest is noted.
    pub(crate) journal: PathBuf,
}

/// Where to look for journals, and which ones.
pub(crate) struct Search<'a> {
    pub(crate) fs: &'a dyn Fs,
    /// The directory of visible files.
    pub(crate) path: &'a Path,
    /// Directories that may hold journals.
    pub(crate) dirs: &'a [&'a Path],
    pub(crate) prefix: &'a OsStr,
    /// The writer that asks, whose own journal does not count.
    pub(crate) own: &'a Names,
}

impl Search<'_> {
    /// The oldest of all files that wait.
    pub(crate) fn oldest(&self) -> Result<Option<Waiting>, Error> {
        // A writer may take over from a dead one after its own journal was read and before the dead one's was.
        let (first, second) = (self.look()?, self.look()?);
        Ok(first.into_iter().chain(second).min_by_key(|waiting| waiting.from))
    }

    fn look(&self) -> Result<Option<Waiting>, Error> {
        let mut oldest: Option<Waiting> = None;
        for dir in self.dirs {
            for names in self.journals(dir).map_err(|e| Error::io("list", dir, e))? {
                let journal = dir.join(names.journal());
                let from = self.waits_from(&journal, &names)?;
                if let Some(from) =
                    from.filter(|&from| oldest.as_ref().is_none_or(|o| from < o.from))
                {
                    oldest = Some(Waiting { from, journal });
                }
            }
        }
        Ok(oldest)
    }

    /// The writers that have one in this directory, which may have many other files.
    fn journals(&self, dir: &Path) -> std::io::Result<Vec<Names>> {
        let mut all = Vec::new();
        self.fs.open_dir(dir)?.each(&mut |Entry { name, .. }| {
            let names = naming::parse_journal(name, Some(self.prefix));
            let own = (self.own.instance, self.own.pid);
            all.extend(names.filter(|names| (names.instance, names.pid) != own));
            true
        })?;
        Ok(all)
    }

    fn waits_from(&self, path: &Path, names: &Names) -> Result<Option<Stamp>, Error> {
        let facts = self.fs.facts(path).map_err(|e| Error::io("look up", path, e))?;
        let uid = user();
        if facts.is_none_or(|facts| !facts.is_file || facts.uid != uid) {
            return Ok(None);
        }
        let mut file = match self.fs.open(path) {
            // Its writer has closed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|e| Error::io("open", path, e))?,
        };
        oldest_in(&mut *file, names, self.path).map_err(|e| Error::io("read", path, e))
    }
}

/// The oldest file in this journal that waits for its writer's hook.
fn oldest_in(
    file: &mut dyn FsFile,
    names: &Names,
    visible: &Path,
) -> std::io::Result<Option<Stamp>> {
    let read = |file: &mut dyn FsFile| {
        let mut header = vec![0; HEADER_BYTES];
        let read = read_full(file, &mut header, 0)?;
        std::io::Result::Ok(format::read_header(&header[..read], names))
    };
    // One that is not whole is just being made, or damaged, and a recovery sets it aside.
    let Some(header) = read(file)? else { return Ok(None) };
    if header.waits_from == 0 || !is_of(&header.path, header.moved, visible) {
        return Ok(None);
    }
    // The rings first: what leaves one meanwhile is in the header then.
    let mut rings = vec![0; header.listed.len() * RING_ENTRIES * ENTRY_BYTES];
    let ring_bytes = read_full(file, &mut rings, format::ring_at(0, 0))?;
    let Some(Header { waits_from, listed, .. }) = read(file)? else { return Ok(None) };
    let entries = rings[..ring_bytes].chunks_exact(ENTRY_BYTES).enumerate();
    let unlisted = entries.filter_map(|(at, entry)| {
        let (number, file) = format::read_entry(entry)?;
        file.stamp().filter(|_| number > listed[at / RING_ENTRIES])
    });
    let waits_from = Some(Stamp(waits_from)).filter(|_| waits_from != NONE_WAITS);
    Ok(unlisted.chain(waits_from).min())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::real::RealFs;
    use crate::housekeeping::journal::Journal;
    use crate::housekeeping::publication::Publication;
    use crate::housekeeping::publication::tests::publication;
    use bufferedwriter_testkit::dir::TestDir;
    use bufferedwriter_testkit::os::{makes_links, symlink};

    fn search(dir: &TestDir, own: &Names) -> Option<Waiting> {
        let dirs = [dir.path()];
        let search =
            Search { fs: &RealFs, path: dir.path(), dirs: &dirs, prefix: "p".as_ref(), own };
        search.oldest().unwrap()
    }

    /// The file of this second.
    fn file(second: u32) -> Publication {
        let mut file = publication(0, second.into());
        let name =
            format!("p20261122T1940{second:02}.000000000Z-000000000000feed-7-w0-{second}.log");
        file.relative = name.into();
        file
    }

    #[test]
    fn a_file_counts_from_its_note_until_it_is_acknowledged() {
        let dir = TestDir::new();
        let [mine, other] = [(); 2].map(|()| Names::new("p".as_ref(), "log".as_ref()).unwrap());
        let make = |has_hook| {
            Journal::create(&RealFs, dir.path(), &other, dir.path(), 2, has_hook, true).unwrap()
        };
        let mut journal = make(true);
        let from = |second| file(second).stamp().unwrap();
        let oldest = || search(&dir, &mine).map(|waiting| waiting.from);
        assert_eq!(oldest(), None);
        let mut ring = journal.ring(0).unwrap();
        ring.note(1, &file(5)).unwrap();
        ring.note(2, &file(6)).unwrap();
        assert_eq!(oldest(), Some(from(5)));
        assert_eq!(search(&dir, &other), None, "its own");
        // One of the recovery's ring, of an older time.
        journal.append(&[&file(3)], false).unwrap();
        assert_eq!(oldest(), Some(from(3)));
        journal.append(&[&file(5)], false).unwrap();
        journal.note_listed(&[1, 0]).unwrap();
        assert_eq!(oldest(), Some(from(3)));
        journal.note_acknowledged(1, Some(from(5))).unwrap();
        assert_eq!(oldest(), Some(from(5)));
        let waiting = search(&dir, &mine).unwrap();
        assert_eq!(waiting.journal, dir.join(other.journal()));
        assert!(!journal.forget_entries().unwrap(), "few of them keep their room");
        assert_eq!(oldest(), Some(from(6)), "in the ring");
        ring.clear(2).unwrap();
        assert_eq!(oldest(), None);
        // Nobody waits without a hook.
        drop((journal, ring));
        std::fs::remove_file(dir.join(other.journal())).unwrap();
        make(false).ring(0).unwrap().note(1, &file(5)).unwrap();
        assert_eq!(oldest(), None);
    }

    #[test]
    fn what_is_no_journal_of_this_directory_counts_for_nothing() {
        let (dir, elsewhere) = (TestDir::new(), TestDir::new());
        let [mine, other] = [(); 2].map(|()| Names::new("p".as_ref(), "log".as_ref()).unwrap());
        let journal =
            Journal::create(&RealFs, dir.path(), &other, elsewhere.path(), 2, true, true).unwrap();
        journal.ring(0).unwrap().note(1, &file(5)).unwrap();
        assert_eq!(search(&dir, &mine), None);
        let third = Names::new("p".as_ref(), "log".as_ref()).unwrap();
        std::fs::write(dir.join(third.journal()), [1; 100]).unwrap();
        assert_eq!(search(&dir, &mine), None);
        if !makes_links() {
            return;
        }
        symlink("/dev/zero", dir.join("x")).unwrap();
        std::fs::rename(dir.join("x"), dir.join(third.journal())).unwrap();
        assert_eq!(search(&dir, &mine), None);
    }
}
