//! Open directories of the machine's file system, behind the trait of `fs/mod.rs`.
//!
//! Guarantees: those of the trait, as far as the system has them.

use std::ffi::OsStr;
use std::io;

use crate::base::sys::dir::Dir;
use crate::fs::{Entry, Facts, FsDir};

/// An open directory.
pub(super) struct RealDir(pub(super) Dir);

impl FsDir for RealDir {
    fn each(&self, see: &mut dyn FnMut(Entry<'_>) -> bool) -> io::Result<()> {
        self.0.each(&mut |name, may_be_dir| see(Entry { name, may_be_dir }))
    }

    fn facts(&self, name: &OsStr) -> io::Result<Option<Facts>> {
        self.0.facts(name)
    }

    fn open_dir(&self, name: &OsStr) -> io::Result<Option<Box<dyn FsDir>>> {
        let found = self.0.open_dir(name)?;
        Ok(found.map(|dir| Box::new(RealDir(dir)) as Box<dyn FsDir>))
    }

    fn remove(&self, name: &OsStr) -> io::Result<()> {
        self.0.remove(name)
    }

    fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        self.0.remove_dir(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Fs;
    use crate::fs::real::RealFs;
    use bufferedwriter_testkit::dir::TestDir;
    use bufferedwriter_testkit::os::{PermissionsExt, makes_links, symlink};
    use std::fs;
    use std::io::ErrorKind;
    use std::path::Path;

    fn seen(dir: &dyn FsDir) -> Vec<(String, bool)> {
        let mut seen = Vec::new();
        dir.each(&mut |entry| {
            seen.push((entry.name.to_str().unwrap().to_owned(), entry.may_be_dir));
            true
        })
        .unwrap();
        seen.sort();
        seen
    }

    /// While few permissions are given by default.
    fn with_umask<T>(create: impl FnOnce() -> T) -> T {
        #[cfg(unix)]
        let umask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let created = create();
        #[cfg(unix)]
        rustix::process::umask(umask);
        created
    }

    #[test]
    fn what_is_in_a_directory_is_reached_through_it_and_nothing_else() {
        let dir = TestDir::new();
        let below = dir.dir("below");
        fs::write(dir.join("file"), "text").unwrap();
        if !makes_links() {
            return;
        }
        symlink(dir.join("file"), dir.join("link")).unwrap();
        symlink(&below, dir.join("way")).unwrap();
        let open = RealFs.open_dir(dir.path()).unwrap();
        let named = |name: &str, is_dir| (name.to_owned(), is_dir);
        let expected =
            [named("below", true), named("file", false), named("link", false), named("way", false)];
        assert_eq!(seen(&*open), expected);
        assert_eq!(open.facts("file".as_ref()).unwrap(), RealFs.facts(&dir.join("file")).unwrap());
        assert!(!open.facts("link".as_ref()).unwrap().unwrap().is_file);
        assert_eq!(open.facts("nothing".as_ref()).unwrap(), None);
        for name in ["file", "link", "way", "nothing"] {
            assert!(open.open_dir(name.as_ref()).unwrap().is_none(), "{name}");
        }
        // A link to a directory is no directory.
        assert!(RealFs.open_dir(&dir.join("way")).is_err());

        let inner = open.open_dir("below".as_ref()).unwrap().unwrap();
        if cfg!(windows) {
            // An open directory stays where it is.
            return drop(fs::rename(&below, dir.join("moved")).unwrap_err());
        }
        fs::rename(&below, dir.join("moved")).unwrap();
        symlink(dir.path(), &below).unwrap();
        fs::write(dir.join("moved/file"), "").unwrap();
        inner.remove("file".as_ref()).unwrap();
        assert!(dir.join("file").exists() && !dir.join("moved/file").exists());
        assert_eq!(inner.remove("file".as_ref()).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(open.remove_dir("below".as_ref()).is_err());
        open.remove_dir("moved".as_ref()).unwrap();
        open.remove("link".as_ref()).unwrap();
        assert_eq!(dir.list(), ["below", "file", "way"]);
    }

    #[test]
    fn a_look_ends_when_nobody_wants_to_see_more() {
        let dir = TestDir::new();
        (0..9).for_each(|i| fs::write(dir.join(format!("{i}")), "").unwrap());
        let mut count = 0;
        let open = RealFs.open_dir(dir.path()).unwrap();
        open.each(&mut |_| {
            count += 1;
            count < 3
        })
        .unwrap();
        assert_eq!((count, seen(&*open).len()), (3, 9));
    }

    #[test]
    fn links_are_made_read_and_replaced() {
        if !makes_links() {
            return;
        }
        let dir = TestDir::new();
        let (one, two) = (dir.join("one"), dir.join("two"));
        assert_eq!(RealFs.read_link(&one).unwrap(), None);
        RealFs.symlink(Path::new("there"), &one).unwrap();
        RealFs.symlink(Path::new("elsewhere"), &two).unwrap();
        let again = RealFs.symlink(Path::new("there"), &two).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        RealFs.replace(&one, &two).unwrap();
        assert_eq!(RealFs.read_link(&two).unwrap(), Some("there".into()));
        assert_eq!(dir.list(), ["two"]);
        fs::write(&one, "").unwrap();
        assert_eq!(RealFs.read_link(&one).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn directories() {
        let dir = TestDir::new();
        let deep = dir.join("a/b");
        assert_eq!(RealFs.canonicalize(&deep).unwrap_err().kind(), ErrorKind::NotFound);
        RealFs.create_dir_all(&deep).unwrap();
        RealFs.create_dir_all(&deep).unwrap();
        assert_eq!(fs::metadata(&deep).unwrap().permissions().mode() & 0o077, 0);
        if makes_links() {
            symlink(&deep, dir.join("link")).unwrap();
            assert_eq!(RealFs.canonicalize(&dir.join("link")).unwrap(), deep);
        }
        RealFs.sync_dir(&deep).unwrap();
        fs::write(dir.join("file"), "").unwrap();
        let file = dir.join("file");
        assert_eq!(RealFs.canonicalize(&file).unwrap_err().kind(), ErrorKind::NotADirectory);
        assert_eq!(RealFs.sync_dir(&file).unwrap_err().kind(), ErrorKind::NotADirectory);
        RealFs.remove(&file).unwrap();
    }

    #[test]
    fn a_directory_is_created_once_with_its_permissions_and_through_no_link() {
        if !makes_links() {
            return;
        }
        let dir = TestDir::new();
        for mode in [0o700, 0o750, 0o755] {
            let made = dir.join(format!("{mode:o}"));
            with_umask(|| RealFs.create_dir(&made, mode)).unwrap();
            let facts = RealFs.facts(&made).unwrap().unwrap();
            assert_eq!((facts.is_dir, facts.is_file), (true, false));
            // Windows has others.
            assert_eq!(facts.mode, if cfg!(unix) { mode } else { 0o600 });
            let again = RealFs.create_dir(&made, 0o700).unwrap_err();
            assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        }
        symlink(dir.join("700"), dir.join("link")).unwrap();
        symlink(dir.join("nothing"), dir.join("loose")).unwrap();
        for link in ["link", "loose"] {
            let error = RealFs.create_dir(&dir.join(link), 0o700).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
            assert!(!RealFs.facts(&dir.join(link)).unwrap().unwrap().is_dir);
        }
        let error = RealFs.create_dir(&dir.join("a/b"), 0o700).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn only_regular_files_are_opened_and_no_link_is_followed() {
        if !makes_links() {
            return;
        }
        let dir = TestDir::new();
        fs::write(dir.join("file"), "text").unwrap();
        symlink(dir.join("file"), dir.join("link")).unwrap();
        // An open of a pipe would wait for its other end.
        let fifo = dir.join("fifo");
        crate::tests::fs::fifo(&fifo);
        assert!(RealFs.open(&dir.join("link")).is_err());
        assert!(RealFs.open(&fifo).is_err());
        assert!(RealFs.open(dir.path()).is_err());
        let mut file = RealFs.open(&dir.join("file")).unwrap();
        let mut bytes = [0; 9];
        assert_eq!(file.read_at(&mut bytes, 1).unwrap(), 3);
        assert_eq!(&bytes[..3], b"ext");
        let facts = file.facts().unwrap();
        assert_eq!((facts.is_file, facts.len, facts.links), (true, 4, 1));
        assert_eq!(RealFs.facts(&dir.join("file")).unwrap(), Some(facts));
        let link = RealFs.facts(&dir.join("link")).unwrap().unwrap();
        assert!(!link.is_file && link.id != facts.id);
        assert_eq!(RealFs.facts(&dir.join("nothing")).unwrap(), None);
        let mut names = RealFs.list(dir.path()).unwrap();
        names.sort();
        assert_eq!(names, ["fifo", "file", "link"]);
        assert!(RealFs.free_bytes(dir.path()).unwrap() > 0);
    }
}
