//! Publishes finished files, and finds out at the start whether that can work.
//!
//! Guarantees: a file appears whole, under a name that no file had, with a stamp taken just before.
//! Nothing is replaced. Refuses, at the start: directories that are missing, and
//! directories in which files can't be created, renamed and removed.

use std::io;
use std::path::{Path, PathBuf};

use crate::fs::Fs;
use crate::naming::{self, Names, Stamp};
use crate::report::error::Error;

/// Tries for a name that no file has yet. One name that exists is odd; this many are a fault.
const ATTEMPTS_MAX: usize = 8;

/// Why a file did not become visible.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The temp file's name no longer exists.
    Gone(Error),
    /// No rename leads from the directory of the temp file to that of visible files: they are on
    /// different file systems or mounts by now.
    Apart(Error),
    /// The temp file is unchanged, as far as is known: try again later. It may have got this name,
    /// if only the answer was lost.
    Retry(Error, Option<PathBuf>),
}

/// The file that a rename makes visible.
#[derive(Clone, Copy)]
pub(crate) struct Identity<'a> {
    pub(crate) names: &'a Names,
    pub(crate) worker: usize,
    pub(crate) seq: u64,
    /// With crash-proof memory the rename must be atomic.
    pub(crate) in_one_step: bool,
}

/// Renames a sealed temp file into `dir`. Returns its visible path. Before each try, `before` hears
/// of that path.
pub(crate) fn rename(
    fs: &dyn Fs,
    temp: &Path,
    dir: &Path,
    of: Identity<'_>,
    mut before: impl FnMut(&Path) -> Result<(), Error>,
) -> Result<PathBuf, Refusal> {
    let Identity { names, worker, seq, in_one_step } = of;
    let mut attempt = 1;
    loop {
        let target = dir.join(names.visible(Stamp::next(), worker, seq));
        before(&target).map_err(|error| Refusal::Retry(error, None))?;
        let error = match step(fs, temp, &target, in_one_step) {
            Ok(()) => return Ok(target),
            Err(error) => error,
        };
        match error.kind() {
            io::ErrorKind::AlreadyExists if attempt < ATTEMPTS_MAX => attempt += 1,
            io::ErrorKind::NotFound => return missing(fs, temp, dir, target, error),
            kind => {
                let error = Error::between("rename", temp, &target, error);
                return Err(match kind {
                    io::ErrorKind::CrossesDevices => Refusal::Apart(error),
                    // The system has looked, and has done nothing.
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                        Refusal::Retry(error, None)
                    }
                    _ => Refusal::Retry(error, Some(target)),
                });
            }
        }
    }
}

impl Refusal {
    pub(crate) fn error(self) -> Error {
        let (Refusal::Gone(error) | Refusal::Apart(error) | Refusal::Retry(error, _)) = self;
        error
    }
}

/// Gives a file that can't be trusted a hidden name, in the same directory, that no recovery
/// touches. Returns its new path.
pub(crate) fn set_aside(fs: &dyn Fs, path: &Path) -> Result<PathBuf, Error> {
    let to = aside(path);
    fs.rename(path, &to).map_err(|e| Error::io("set aside", path, e))?;
    Ok(to)
}

/// The path of a file once it is set aside.
pub(crate) fn aside(path: &Path) -> PathBuf {
    path.with_file_name(naming::aside(path.file_name().unwrap_or_default()))
}

/// A rename. With crash-proof memory it must be atomic.
fn step(fs: &dyn Fs, from: &Path, to: &Path, in_one_step: bool) -> io::Result<()> {
    if in_one_step { fs.rename_in_one_step(from, to) } else { fs.rename(from, to) }
}

/// `NotFound` may mean the temp file, its directory, or the target's directory.
fn missing(
    fs: &dyn Fs,
    temp: &Path,
    dir: &Path,
    target: PathBuf,
    error: io::Error,
) -> Result<PathBuf, Refusal> {
    let retry = |error| Err(Refusal::Retry(error, None));
    match (fs.exists(temp), fs.exists(&target)) {
        // A network file system repeats a call when the answer is lost. No other file has this
        // instance, worker and sequence number, so the file there is ours.
        (Ok(false), Ok(true)) => Ok(target),
        (Ok(false), Ok(false)) => Err(Refusal::Gone(Error::io("rename", temp, error))),
        (Ok(true), _) => retry(Error::between("rename", temp, dir, error)),
        (Err(unknown), _) => retry(Error::io("look up", temp, unknown)),
        (_, Err(unknown)) => retry(Error::io("look up", &target, unknown)),
    }
}

/// Syncs the names in a directory to the disk.
pub(crate) fn sync_dir(fs: &dyn Fs, dir: &Path) -> Result<(), Error> {
    fs.sync_dir(dir).map_err(|e| Error::io("fsync directory", dir, e))
}

/// The directories of a writer: absolute, without symbolic links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// Where files appear.
    pub(crate) path: PathBuf,
    /// Where they are written, on the same file system.
    pub(crate) temp: PathBuf,
}

/// The absolute path of an existing directory.
pub(crate) fn directory(fs: &dyn Fs, dir: &Path) -> Result<PathBuf, Error> {
    fs.canonicalize(dir).map_err(|e| Error::io("open directory", dir, e))
}

/// The requested directories, not probed yet.
pub(crate) fn directories(
    fs: &dyn Fs,
    path: &Path,
    temp: &Path,
    create_dirs: bool,
) -> Result<Places, Error> {
    let open = |dir: &Path| {
        if create_dirs {
            fs.create_dir_all(dir).map_err(|e| Error::io("create directory", dir, e))?;
        }
        directory(fs, dir)
    };
    Ok(Places { path: open(path)?, temp: open(temp)? })
}

/// Checks with a hidden empty file that files can be created in `temp` and renamed into `path`. If
/// `temp` is on another file system, files are written in `path` itself.
pub(crate) fn probed(
    fs: &dyn Fs,
    wanted: Places,
    names: &Names,
    in_one_step: bool,
) -> Result<Places, Error> {
    let Places { path, temp } = wanted;
    let Some(between) = probe(fs, &temp, &path, names, in_one_step)? else {
        return Ok(Places { path, temp });
    };
    // A probe within `path` shows which directory is at fault.
    if let Some(within) = probe(fs, &path, &path, names, in_one_step)? {
        return Err(Error::io("rename a file in", &path, within));
    }
    if between.kind() == io::ErrorKind::CrossesDevices {
        return Ok(Places { temp: path.clone(), path });
    }
    Err(Error::io("rename a file out of", &temp, between))
}

/// Creates a file in `from`, renames it into `to` and removes it. Returns the error that refused
/// the rename, if any. Other errors name the directory at fault. Leaves nothing behind.
fn probe(
    fs: &dyn Fs,
    from: &Path,
    to: &Path,
    names: &Names,
    in_one_step: bool,
) -> Result<Option<io::Error>, Error> {
    let [before, after] = names.probes();
    let (before, after) = (from.join(before), to.join(after));
    let remove = |file, dir| match fs.remove(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove a file in", dir, error))
        }
        _ => Ok(()),
    };
    fs.create(&before, 0o600).map_err(|e| Error::io("create a file in", from, e))?;
    let refused = step(fs, &before, &after, in_one_step).err();
    // Remove both, whatever the rename returned. It may have succeeded although its answer was
    // lost, or have left the old name (see `RealFs::rename`).
    remove(&before, from)?;
    let removed = remove(&after, to);
    // A directory that refuses the rename often refuses this too. The first error says more.
    if refused.is_none() {
        removed?;
    }
    Ok(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sys::Errno;
    use crate::tests::fs::faulty::{Answer, Faulty, Op};
    use bufferedwriter_testkit::dir::{TestDir, list};
    use bufferedwriter_testkit::os::{OsStrExt, makes_links, symlink};
    use std::ffi::{OsStr, OsString};
    use std::fs;

    fn places(
        fs: &dyn Fs,
        path: &Path,
        temp: &Path,
        create_dirs: bool,
        names: &Names,
    ) -> Result<Places, Error> {
        probed(fs, directories(fs, path, temp, create_dirs)?, names, false)
    }

    fn rename(
        fs: &dyn Fs,
        temp: &Path,
        dir: &Path,
        names: &Names,
        worker: usize,
        seq: u64,
        in_one_step: bool,
    ) -> Result<PathBuf, Refusal> {
        let of = Identity { names, worker, seq, in_one_step };
        super::rename(fs, temp, dir, of, |_| Ok(()))
    }

    fn names() -> Names {
        // Not UTF-8.
        let prefix = OsStr::from_bytes(b"p\xff").to_owned();
        Names { prefix, extension: OsString::from("log"), instance: 7, pid: 1 }
    }

    /// A directory with `path` and `temp`, and a file in `temp`.
    fn set_up() -> (Faulty, TestDir, PathBuf, PathBuf, PathBuf) {
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let (path, temp) = (dir.dir("path"), dir.dir("temp"));
        let file = temp.join("file");
        fs::write(&file, "text").unwrap();
        (fs, dir, path, temp, file)
    }

    #[test]
    fn a_file_becomes_visible_under_ascending_names() {
        let (fs, _dir, path, temp, file) = set_up();
        let first = rename(&fs, &file, &path, &names(), 2, 5, false).unwrap();
        assert_eq!(fs::read(&first).unwrap(), b"text");
        assert!(list(&temp).is_empty());
        let name = first.file_name().unwrap();
        let parsed = crate::naming::parse(name, &names().prefix, "log".as_ref()).unwrap();
        assert_eq!((parsed.worker, parsed.seq, parsed.temp), (2, 5, false));
        fs::write(&file, "").unwrap();
        assert!(first < rename(&fs, &file, &path, &names(), 2, 6, false).unwrap());
        sync_dir(&fs, &path).unwrap();
    }

    #[test]
    fn a_name_that_exists_is_left_alone() {
        let (fs, _dir, path, _temp, file) = set_up();
        fs.plan(Op::Rename, 1, Answer::Error(Errno::EXIST));
        fs.plan(Op::Rename, 2, Answer::Error(Errno::EXIST));
        rename(&fs, &file, &path, &names(), 0, 0, false).unwrap();
        assert_eq!((fs.calls(Op::Rename), list(&path).len()), (3, 1));

        fs::write(&file, "").unwrap();
        (1..=ATTEMPTS_MAX).for_each(|n| fs.plan(Op::Rename, n, Answer::Error(Errno::EXIST)));
        let refusal = rename(&fs, &file, &path, &names(), 0, 0, false).unwrap_err();
        assert!(
            matches!(refusal, Refusal::Retry(e, _) if e.kind() == io::ErrorKind::AlreadyExists)
        );
        assert_eq!((fs.calls(Op::Rename), file.exists()), (3 + ATTEMPTS_MAX, true));
    }

    #[test]
    fn gone_is_told_from_later() {
        let (fs, dir, path, temp, file) = set_up();
        fs::remove_dir(&path).unwrap();
        let refusal = rename(&fs, &file, &path, &names(), 0, 0, false).unwrap_err();
        assert!(matches!(refusal, Refusal::Retry(e, _) if e.path() == Some(&path)));
        dir.dir("path");
        for errno in [Errno::NOSPC, Errno::ROFS, Errno::XDEV, Errno::ACCESS] {
            fs.plan(Op::Rename, 1, Answer::Error(errno));
            let refusal = rename(&fs, &file, &path, &names(), 0, 0, false).unwrap_err();
            let is_apart = errno == Errno::XDEV;
            assert_eq!(matches!(refusal, Refusal::Apart(_)), is_apart, "{refusal:?}");
            assert_eq!(matches!(refusal, Refusal::Retry(..)), !is_apart, "{refusal:?}");
            let error = refusal.error();
            assert_eq!(
                (error.operation(), error.path().unwrap().parent()),
                ("rename", Some(&*path))
            );
        }
        fs.plan(Op::Rename, 1, Answer::Error(Errno::NOENT));
        fs.plan(Op::Exists, 1, Answer::Error(Errno::IO));
        let refusal = rename(&fs, &file, &path, &names(), 0, 0, false).unwrap_err();
        assert!(matches!(refusal, Refusal::Retry(..)), "{refusal:?}");

        fs::remove_dir_all(&temp).unwrap();
        let refusal = rename(&fs, &file, &path, &names(), 0, 0, false).unwrap_err();
        assert!(matches!(refusal, Refusal::Gone(e) if e.path() == Some(&file)));
        fs::remove_dir(&path).unwrap();
        let refusal = rename(&fs, &file, &path, &names(), 0, 0, false).unwrap_err();
        assert!(matches!(refusal, Refusal::Gone(_)));
    }

    #[test]
    fn a_rename_whose_answer_was_lost_is_one() {
        let (fs, _dir, path, _temp, file) = set_up();
        fs.plan(Op::Rename, 1, Answer::DoneBut(Errno::NOENT));
        let visible = rename(&fs, &file, &path, &names(), 0, 0, false).unwrap();
        assert!(visible.exists());
    }

    #[test]
    fn places_are_canonical_and_probed_without_a_trace() {
        if !makes_links() {
            return;
        }
        let (fs, dir, path, temp, file) = set_up();
        symlink(&path, dir.join("link")).unwrap();
        let places = |path: &Path, temp: &Path| places(&fs, path, temp, false, &names()).unwrap();
        let expected = Places { path: path.clone(), temp: temp.clone() };
        assert_eq!(places(&dir.join("link"), &dir.join("temp/../temp")), expected);
        let expected = Places { path: path.clone(), temp: path.clone() };
        assert_eq!(places(&path, &dir.join("link")), expected);

        fs.plan(Op::Rename, 1, Answer::Error(Errno::XDEV));
        assert_eq!(places(&path, &temp), expected);
        assert_eq!((list(&path).len(), list(&temp)), (0, vec![file.file_name().unwrap().into()]));
    }

    #[test]
    fn missing_directories_are_created_only_if_asked() {
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let (path, temp) = (dir.join("a/path"), dir.join("b/temp"));
        let error = places(&fs, &path, &temp, false, &names()).unwrap_err();
        assert_eq!((error.operation(), error.path()), ("open directory", Some(&*path)));
        assert!(dir.list().is_empty());
        places(&fs, &path, &temp, true, &names()).unwrap();
        fs::write(dir.join("file"), "").unwrap();
        let error = places(&fs, &path, &dir.join("file"), true, &names()).unwrap_err();
        assert_eq!(error.path(), Some(&*dir.join("file")));
    }

    /// Every call of the probes fails once. The error names the directory of the call, and
    /// everything that can be removed is removed.
    #[test]
    fn unusable_directories_are_noticed_at_the_start() {
        use Op::{Create, Remove, Rename};
        let at = |op, nth| (op, nth, Answer::Error(Errno::ACCESS));
        let cross = (Rename, 1, Answer::Error(Errno::XDEV));
        let lost = (Rename, 1, Answer::DoneBut(Errno::IO));
        for (faults, in_temp, left) in [
            (vec![at(Create, 1)], true, 0),
            (vec![at(Rename, 1)], true, 0),
            (vec![at(Rename, 1), at(Rename, 2)], false, 0),
            (vec![at(Rename, 1), at(Create, 2)], false, 0),
            (vec![cross, at(Create, 2)], false, 0),
            (vec![cross, at(Rename, 2)], false, 0),
            (vec![at(Rename, 1), at(Remove, 1)], true, 1),
            (vec![at(Remove, 2)], false, 1),
            (vec![cross, at(Remove, 4)], false, 1),
            (vec![lost], true, 0),
        ] {
            let (fs, _dir, path, temp, file) = set_up();
            fs::remove_file(&file).unwrap();
            faults.iter().for_each(|&(op, nth, fault)| fs.plan(op, nth, fault));
            let error = places(&fs, &path, &temp, false, &names()).unwrap_err();
            let expected = if in_temp { &temp } else { &path };
            assert_eq!(error.path(), Some(&**expected), "{faults:?}: {error}");
            assert_eq!(list(&path).len() + list(&temp).len(), left, "{faults:?}");
        }
    }

    /// Like a `path` that must not be entered: it refuses the rename and the removal.
    #[test]
    fn a_directory_that_refuses_everything_is_told_by_what_was_wanted_of_it() {
        let (fs, _dir, path, temp, _file) = set_up();
        for (op, nth) in [(Op::Rename, 1), (Op::Remove, 2), (Op::Create, 2)] {
            fs.plan(op, nth, Answer::Error(Errno::ACCESS));
        }
        let error = places(&fs, &path, &temp, false, &names()).unwrap_err();
        assert_eq!((error.operation(), error.path()), ("create a file in", Some(&*path)));
    }

    #[test]
    fn names_too_long_for_the_file_system_are_noticed_at_the_start() {
        let (fs, _dir, path, temp, _file) = set_up();
        let long = Names { prefix: OsString::from("p".repeat(180)), ..names() };
        let error = places(&fs, &path, &temp, false, &long).unwrap_err();
        // Wine finds no such file.
        let is_named = error.kind() == io::ErrorKind::InvalidFilename;
        assert!(is_named || cfg!(windows) && error.kind() == io::ErrorKind::NotFound, "{error}");
    }
}
