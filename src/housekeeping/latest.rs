//! The symbolic link to the newest published file.
//!
//! Guarantees: the link is relative, and replaced at once, so who opens it gets one file or another.
//! Nothing but a symbolic link is replaced: it is looked at just before. Refuses, at the start, a
//! path that is anything else, and a directory that does not exist.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::file::publish;
use crate::fs::Fs;
use crate::naming::Names;
use crate::report::error::Error;

/// The link of one writer.
pub(crate) struct Latest {
    fs: Arc<dyn Fs>,
    /// Absolute; its directory has no symbolic links.
    link: PathBuf,
    /// A link of its own beside it, which is renamed. A process that is killed in between leaves it.
    next: PathBuf,
}

impl Latest {
    /// Finds the directory of the link.
    pub(crate) fn new(
        fs: &Arc<dyn Fs>,
        link: &Path,
        create_dirs: bool,
        names: &Names,
    ) -> Result<Self, Error> {
        let refused = || {
            let permitted = "a symbolic link, or a name that does not exist in a directory";
            Error::option("latest", format!("{link:?}"), permitted)
        };
        let name = link.file_name().ok_or_else(refused)?;
        let parent = link.parent().filter(|parent| !parent.as_os_str().is_empty());
        let dir = parent.unwrap_or(Path::new("."));
        if create_dirs {
            fs.create_dir_all(dir).map_err(|e| Error::io("create directory", dir, e))?;
        }
        let dir = publish::directory(&**fs, dir)?;
        let next = OsString::from(format!(".{:016x}-{}.latest", names.instance, names.pid));
        let latest = Latest { fs: fs.clone(), link: dir.join(name), next: dir.join(next) };
        match latest.read() {
            Err(error) if error.kind() == ErrorKind::InvalidInput => Err(refused()),
            read => read.map(|_| latest),
        }
    }

    /// Has the link lead to this file, whose path is absolute and free of symbolic links.
    pub(crate) fn point_to(&self, file: &Path) -> Result<(), Error> {
        let Latest { fs, link, next } = self;
        let target = relative(link.parent().unwrap_or(Path::new("/")), file);
        // Somebody may have put something else there by now.
        if self.read()?.as_ref() == Some(&target) {
            return Ok(());
        }
        let failed = |error| Error::io("link", next, error);
        match fs.symlink(&target, next) {
            // A rename that failed left it, and so did the removal after it.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                fs.remove(next).map_err(|e| Error::io("unlink", next, e))?;
                fs.symlink(&target, next).map_err(failed)?;
            }
            made => made.map_err(failed)?,
        }
        fs.replace(next, link).map_err(|error| {
            let _ = fs.remove(next);
            Error::between("rename", next, link, error)
        })
    }

    /// Where the link leads, if it is there.
    fn read(&self) -> Result<Option<PathBuf>, Error> {
        self.fs.read_link(&self.link).map_err(|e| Error::io("read link", &self.link, e))
    }
}

/// The way from a directory to a file; both are absolute and free of symbolic links.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(to.components().skip(shared)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sys::Errno;
    use crate::tests::fs::faulty::{Answer, Faulty, Op};
    use bufferedwriter_testkit::dir::TestDir;
    use bufferedwriter_testkit::os::{makes_links, symlink};
    use std::fs;

    fn latest(fs: &Faulty, link: &Path) -> Result<Latest, Error> {
        let names = Names { prefix: "".into(), extension: "log".into(), instance: 7, pid: 1 };
        let fs: Arc<dyn Fs> = Arc::new(fs.clone());
        Latest::new(&fs, link, false, &names)
    }

    fn set_up() -> (Faulty, TestDir, [PathBuf; 2]) {
        let dir = TestDir::new();
        let files = ["one", "two"].map(|name| dir.path().join("ready").join(name));
        dir.dir("ready");
        files.iter().for_each(|file| fs::write(file, file.as_os_str().as_encoded_bytes()).unwrap());
        (Faulty::default(), dir, files)
    }

    #[test]
    fn ways_are_relative() {
        for (from, to, expected) in [
            ("/a/b", "/a/b/c", "c"),
            ("/a/b", "/a/c/d", "../c/d"),
            ("/a/b/c", "/x", "../../../x"),
            ("/", "/a/b", "a/b"),
            ("/a", "/a/dt=1/h=2/f", "dt=1/h=2/f"),
        ] {
            assert_eq!(relative(Path::new(from), Path::new(to)), Path::new(expected));
        }
    }

    #[test]
    fn it_leads_to_the_newest_file_also_when_the_directories_are_moved() {
        if !makes_links() {
            return;
        }
        let (fs, dir, [one, two]) = set_up();
        dir.dir("links");
        symlink(dir.join("links"), dir.join("way")).unwrap();
        let latest = latest(&fs, &dir.join("way/current")).unwrap();
        for file in [&one, &two, &two] {
            latest.point_to(file).unwrap();
            let read = fs::read(dir.join("links/current")).unwrap();
            assert_eq!(read, file.as_os_str().as_encoded_bytes());
        }
        assert_eq!(fs::read_link(dir.join("links/current")).unwrap(), Path::new("../ready/two"));
        assert_eq!(fs::read_dir(dir.join("links")).unwrap().count(), 1);
        assert_eq!(fs.calls(Op::Replace), 2, "it leads there already");
    }

    #[test]
    fn what_is_no_link_is_refused_and_never_replaced() {
        let (fs, dir, [one, _]) = set_up();
        let link = dir.join("current");
        fs::write(&link, "mine").unwrap();
        for path in [&link, &dir.join("ready"), Path::new("/"), &dir.join("ready/..")] {
            let error = latest(&fs, path).err().unwrap();
            assert_eq!(error.operation(), "latest", "{error}");
        }
        let error = latest(&fs, &dir.join("missing/current")).err().unwrap();
        assert_eq!((error.operation(), error.kind()), ("open directory", ErrorKind::NotFound));
        fs::remove_file(&link).unwrap();
        let latest = latest(&fs, &link).unwrap();
        fs::write(&link, "mine").unwrap();
        let error = latest.point_to(&one).unwrap_err();
        assert_eq!((error.operation(), error.path()), ("read link", Some(&*link)));
        assert_eq!(fs::read(&link).unwrap(), b"mine");
        assert_eq!(dir.list(), ["current", "ready"]);
    }

    /// Each call fails once, and once its answer is lost. The link leads to the first file or the
    /// second, and nothing is left beside it in the end.
    #[test]
    fn whichever_call_fails_the_next_try_makes_up_for_it() {
        if !makes_links() {
            return;
        }
        for op in [Op::ReadLink, Op::Symlink, Op::Replace, Op::Remove] {
            for fault in [Answer::Error(Errno::IO), Answer::DoneBut(Errno::IO)] {
                let (fs, dir, [one, two]) = set_up();
                let link = dir.join("current");
                let latest = latest(&fs, &link).unwrap();
                latest.point_to(&one).unwrap();
                fs.plan(op, 1, fault);
                if op == Op::Remove {
                    fs.plan(Op::Replace, 1, Answer::Error(Errno::IO));
                }
                let error = latest.point_to(&two).unwrap_err();
                assert!(error.path().is_some_and(|path| path.starts_with(dir.path())), "{error}");
                assert!([&one, &two].contains(&&fs::canonicalize(&link).unwrap()), "{op:?}");
                latest.point_to(&two).unwrap();
                assert_eq!(fs::canonicalize(&link).unwrap(), two, "{op:?} {fault:?}");
                latest.point_to(&one).unwrap();
                assert_eq!(dir.list(), ["current", "ready"], "{op:?} {fault:?}");
            }
        }
    }
}
