//! The manifest: a file with one line of JSON for each published file.
//!
//! Guarantees: lines are appended whole, under the file's lock, so writers in several processes may
//! share a manifest. What a failed append has written is cut off again, and so is the beginning of a
//! line whose writer died. The file is opened for each append, so it may be moved away at any time.
//! Refuses a symbolic link.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::sys::file::has_no_locks;
use crate::file::publish;
use crate::fs::{Fs, FsFile, lock_within, read_full, write_all};
use crate::housekeeping::publication::LINE_BEGIN;
use crate::report::error::Error;

/// How long to wait for another process that appends.
const LOCK_MAX: Duration = Duration::from_secs(1);
/// How often the file may be moved away while it is being opened.
const ATTEMPTS_MAX: usize = 8;
/// Room that the next lines find though the disk is full, where the file system can keep it: retention may wait for
/// the hook, the hook for its line, and the line for what retention would delete.
const RESERVED_BYTES: u64 = 64 << 10;
/// Bytes of one step of a search. Each line is shorter.
const SEARCH_BYTES: usize = 256 << 10;

/// Where the lines go.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    path: PathBuf,
    mode: u32,
    is_durable: bool,
    /// A failed append that could not be cut off: the file, its length before and after.
    remains: Option<Remains>,
}

#[derive(Clone, Copy, Debug)]
struct Remains {
    id: (u64, u64),
    from: u64,
    to: u64,
}

/// The open file, locked, and its length.
struct Opened {
    file: Box<dyn FsFile>,
    id: (u64, u64),
    len: u64,
}

impl Manifest {
    pub(crate) fn new(path: PathBuf, mode: u32, is_durable: bool) -> Self {
        Manifest { path, mode, is_durable, remains: None }
    }

    /// Makes sure that there is a file that lines can be appended to. Another process may have its lock for long.
    pub(crate) fn probe(&self, fs: &dyn Fs) -> Result<(), Error> {
        let facts = fs.facts(&self.path).map_err(|e| Error::io("look up", &self.path, e))?;
        if facts.is_some_and(|facts| !facts.is_file) {
            let permitted = "a regular file, not a link to one, or a name that does not exist";
            return Err(Error::option("manifest", self.path.display(), permitted));
        }
        self.open_or_create(fs).map(drop)
    }

    /// Appends lines. After an error the file has none of them.
    pub(crate) fn append(&mut self, fs: &dyn Fs, lines: &str) -> Result<(), Error> {
        let Opened { mut file, id, mut len } = self.open(fs)?;
        let remains = self.remains.take();
        if let Some(remains) = remains.filter(|remains| (remains.id, remains.to) == (id, len)) {
            self.cut(&mut *file, remains)?;
            len = remains.from;
        }
        // A last line that is not ours may have no end.
        let gap = if self.last_byte(&mut *file, len)? == b'\n' { "" } else { "\n" };
        let end = len + (gap.len() + lines.len()) as u64;
        if let Err(error) = self.write(&mut *file, len, [gap, lines]) {
            // A write that fails may have written a part. Where nobody tells how much, all of it.
            let to = file.facts().map_or(end, |facts| facts.len);
            // The error of the append says more than one of this.
            let _ = self.cut(&mut *file, Remains { id, from: len, to });
            return Err(error);
        }
        reserve(&mut *file, end);
        Ok(())
    }

    fn write(&self, file: &mut dyn FsFile, len: u64, texts: [&str; 2]) -> Result<(), Error> {
        let mut slices = texts.map(|text| IoSlice::new(text.as_bytes()));
        let mut result = write_all(file, &mut slices, len).1;
        let mut operation = "write";
        if self.is_durable && result.is_ok() {
            (operation, result) = ("fsync", file.sync());
        }
        result.map_err(|e| Error::io(operation, &self.path, e))
    }

    /// A newline if the file is empty.
    fn last_byte(&self, file: &mut dyn FsFile, len: u64) -> Result<u8, Error> {
        let mut last = [b'\n'];
        if len > 0 {
            let read = read_full(file, &mut last, len - 1);
            read.map_err(|e| Error::io("read", &self.path, e))?;
        }
        Ok(last[0])
    }

    /// Cuts off the beginning of a line of ours whose writer died. Returns the length.
    fn cut_torn(&self, file: &mut dyn FsFile, len: u64) -> Result<u64, Error> {
        if self.last_byte(file, len)? == b'\n' {
            return Ok(len);
        }
        let from = len.saturating_sub(SEARCH_BYTES as u64);
        let mut end = vec![0; (len - from) as usize];
        let read = read_full(file, &mut end, from).map_err(|e| Error::io("read", &self.path, e))?;
        let whole = end[..read].iter().rposition(|&byte| byte == b'\n').map(|at| at + 1);
        let Some(whole) = whole.or((from == 0).then_some(0)) else { return Ok(len) };
        if !is_torn(&end[whole..read]) {
            return Ok(len);
        }
        let len = from + whole as u64;
        file.set_len(len).map_err(|e| Error::io("truncate", &self.path, e))?;
        Ok(len)
    }

    /// Cuts off what a failed append has written, or notes it for the next try.
    fn cut(&mut self, file: &mut dyn FsFile, remains: Remains) -> Result<(), Error> {
        if remains.from == remains.to {
            return Ok(());
        }
        file.set_len(remains.from).map_err(|e| {
            self.remains = Some(remains);
            Error::io("truncate", &self.path, e)
        })
    }

    /// Which of these ids lines of the file have. It may be long, and others append meanwhile. No line
    /// counts as having an empty id.
    pub(crate) fn which(&self, fs: &dyn Fs, ids: &[String]) -> Result<Vec<bool>, Error> {
        let mut known = vec![false; ids.len()];
        let mut left: HashMap<&[u8], usize> = ids.iter().map(String::as_bytes).zip(0..).collect();
        left.remove(&b""[..]);
        if left.is_empty() {
            return Ok(known);
        }
        // What a dead writer began is cut off here. From there on nothing needs the lock.
        drop(self.open(fs)?);
        let mut file = fs.open(&self.path).map_err(|e| Error::io("open", &self.path, e))?;
        let (mut bytes, mut kept, mut at) = (vec![0; 2 * SEARCH_BYTES], 0, 0);
        loop {
            let room = &mut bytes[kept..kept + SEARCH_BYTES];
            let read = read_full(&mut *file, room, at);
            let read = read.map_err(|e| Error::io("read", &self.path, e))?;
            let found = &bytes[..kept + read];
            // The last line may go on in the next step; none of ours is longer than a step.
            let whole = found.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            let end = if read == 0 { found.len() } else { whole };
            for id in found[..end].split(|&byte| byte == b'\n').filter_map(id_of) {
                if let Some(nth) = left.remove(id) {
                    known[nth] = true;
                }
            }
            if read == 0 || left.is_empty() {
                return Ok(known);
            }
            at += read as u64;
            let tail = found.len() - end;
            kept = if tail > SEARCH_BYTES { 0 } else { tail };
            bytes.copy_within(end..end + kept, 0);
        }
    }

    fn open(&self, fs: &dyn Fs) -> Result<Opened, Error> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(mut file) = self.open_or_create(fs)? else { continue };
            self.lock(&mut *file)?;
            let look = |e| Error::io("look up", &self.path, e);
            let facts = file.facts().map_err(look)?;
            // It may have been moved away while we waited for the lock.
            if fs.facts(&self.path).map_err(look)?.is_some_and(|named| named.id == facts.id) {
                let len = self.cut_torn(&mut *file, facts.len)?;
                return Ok(Opened { file, id: facts.id, len });
            }
        }
        Err(Error::io("open", &self.path, io::ErrorKind::NotFound.into()))
    }

    /// `None` if another process created it just now.
    fn open_or_create(&self, fs: &dyn Fs) -> Result<Option<Box<dyn FsFile>>, Error> {
        match fs.open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => match self.create(fs) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
                created => created.map(Some),
            },
            opened => opened.map(Some).map_err(|e| Error::io("open", &self.path, e)),
        }
    }

    fn create(&self, fs: &dyn Fs) -> Result<Box<dyn FsFile>, Error> {
        // It is opened again for each append, by whoever the process is.
        let mut file = fs
            .create(&self.path, self.mode | 0o600)
            .map_err(|e| Error::io("create", &self.path, e))?;
        reserve(&mut *file, 0);
        if self.is_durable {
            publish::sync_dir(fs, self.path.parent().unwrap_or(Path::new("/")))?;
        }
        Ok(file)
    }

    fn lock(&self, file: &mut dyn FsFile) -> Result<(), Error> {
        match lock_within(file, LOCK_MAX) {
            Err(error) if !has_no_locks(&error) => Err(Error::io("lock", &self.path, error)),
            _ => Ok(()),
        }
    }
}

/// Keeps room behind this length.
fn reserve(file: &mut dyn FsFile, len: u64) {
    let _ = file.reserve(len, len + RESERVED_BYTES);
}

/// The id in a line of ours.
fn id_of(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(LINE_BEGIN.as_bytes())?;
    rest.iter().position(|&byte| byte == b'"').map(|end| &rest[..end])
}

/// Whether this is the beginning of a line of ours, or what a power cut made of it.
fn is_torn(bytes: &[u8]) -> bool {
    let begin = LINE_BEGIN.as_bytes();
    let shared = bytes.len().min(begin.len());
    (bytes[..shared] == begin[..shared] && !is_closed(bytes)) || bytes.iter().all(|&byte| byte == 0)
}

/// Whether a line with an object of JSON lacks nothing but its newline.
fn is_closed(line: &[u8]) -> bool {
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for &byte in line {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_string,
            b'"' => in_string = !in_string,
            b'{' if !in_string => depth += 1,
            b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    depth == 0 && !in_string
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sys::Errno;
    use crate::tests::fs::faulty::{Answer, Faulty, Op};
    use bufferedwriter_testkit::dir::TestDir;
    use std::fs;

    fn manifest(dir: &TestDir) -> Manifest {
        Manifest::new(dir.join("m.ndjson"), 0o640, true)
    }

    #[test]
    fn lines_are_appended_to_whatever_file_has_the_name() {
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let mut manifest = manifest(&dir);
        manifest.append(&fs, "one\n").unwrap();
        manifest.append(&fs, "two\nthree\n").unwrap();
        assert_eq!(fs::read(dir.join("m.ndjson")).unwrap(), b"one\ntwo\nthree\n");
        fs::rename(dir.join("m.ndjson"), dir.join("old")).unwrap();
        manifest.append(&fs, "four\n").unwrap();
        assert_eq!(fs::read(dir.join("m.ndjson")).unwrap(), b"four\n");
    }

    #[test]
    fn the_beginning_of_a_line_of_ours_is_cut_off_and_one_of_others_stays() {
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let mut manifest = manifest(&dir);
        let long = "x".repeat(SEARCH_BYTES);
        for (before, after) in [
            ("{", ""),
            ("{\"id\":\"1\",\"pa", ""),
            ("{\"id\":\"1\"}\n{\"id\":\"2\"", "{\"id\":\"1\"}\n"),
            ("{\"id\":\"1}\\\"}\",\"p\":{", ""),
            // All but the newline.
            ("{\"id\":\"1}\\\"\",\"p\":{}}", "{\"id\":\"1}\\\"\",\"p\":{}}\n"),
            ("whole\n\0\0\0", "whole\n"),
            ("of others", "of others\n"),
            ("{\"of\": \"others\"}", "{\"of\": \"others\"}\n"),
            (&long, &format!("{long}\n")),
        ] {
            fs::write(dir.join("m.ndjson"), before).unwrap();
            let known = manifest.which(&fs, &[String::from("2")]).unwrap();
            assert_eq!(known, [false], "{before}");
            manifest.append(&fs, "new\n").unwrap();
            let text = fs::read_to_string(dir.join("m.ndjson")).unwrap();
            assert_eq!(text, format!("{after}new\n"), "{before}");
        }
    }

    #[test]
    fn a_failed_append_leaves_no_line() {
        for (op, fault) in [
            (Op::Write, Answer::Short(3)),
            (Op::Sync, Answer::Error(Errno::IO)),
            (Op::Read, Answer::Error(Errno::IO)),
            (Op::Open, Answer::Error(Errno::ACCESS)),
            (Op::Lock, Answer::Error(Errno::IO)),
            (Op::Facts, Answer::Error(Errno::IO)),
        ] {
            for (look_fails, cut_fails) in
                [(false, false), (false, true), (true, false), (true, true)]
            {
                let (fs, dir) = (Faulty::default(), TestDir::new());
                let mut manifest = manifest(&dir);
                manifest.append(&fs, "one\n").unwrap();
                fs.plan(op, 1, fault);
                if op == Op::Write {
                    fs.plan(op, 2, Answer::Error(Errno::NOSPC));
                }
                // The first two are those of the open file and of its name.
                if look_fails && matches!(op, Op::Write | Op::Sync) {
                    fs.plan(Op::Facts, 3, Answer::Error(Errno::IO));
                }
                if cut_fails {
                    fs.plan(Op::SetLen, 1, Answer::Error(Errno::IO));
                }
                let lines = "{\"id\":\"two\"}\n{\"id\":\"three\"}\n";
                let error = manifest.append(&fs, lines).expect_err(&format!("{op:?}"));
                assert_eq!(error.path(), Some(&*dir.join("m.ndjson")));
                manifest.append(&fs, lines).unwrap();
                let found = fs::read_to_string(dir.join("m.ndjson")).unwrap();
                let how = format!("{op:?}, look fails: {look_fails}, cut fails: {cut_fails}");
                assert_eq!(found, format!("one\n{lines}"), "{how}");
            }
        }
    }

    #[test]
    fn an_id_is_found_in_whichever_line_it_stands() {
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let manifest = manifest(&dir);
        let ids = ["x", "yy"].map(String::from);
        assert_eq!(manifest.which(&fs, &ids).unwrap(), [false; 2]);
        let step = SEARCH_BYTES;
        for before in [0, 1, step - 30, step - 9, step - 3, step + 5, 2 * step + 1, 5 * step] {
            for (nth, id) in ids.iter().enumerate() {
                let line = format!("{{\"id\":\"{id}\",\"p\":\"{{\"id\":\"zz\"\"}}\n");
                // A long line of others; lines of others; and other lines of ours.
                let others = ["o".repeat(before), "o\n".repeat(before / 2)];
                let ours = "{\"id\":\"z\"}\n".repeat(before / 11);
                for file in others.into_iter().chain([ours]) {
                    let gap = if file.ends_with('o') { "\n" } else { "" };
                    fs::write(dir.join("m.ndjson"), [&file, gap, &line, &file].concat()).unwrap();
                    let known = manifest.which(&fs, &ids).unwrap();
                    assert_eq!(known, [nth == 0, nth == 1], "{before}");
                }
            }
        }
    }

    #[test]
    fn no_line_has_an_empty_id() {
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let mut manifest = manifest(&dir);
        manifest.append(&fs, "{\"id\":\"\"}\n{\"id\":\"two\"}\n").unwrap();
        for (ids, known) in [
            (&["", "two", ""][..], &[false, true, false][..]),
            (&["", ""], &[false; 2]),
            (&[], &[]),
        ] {
            let ids: Vec<_> = ids.iter().copied().map(String::from).collect();
            assert_eq!(manifest.which(&fs, &ids).unwrap(), known);
        }
    }

    /// Files may have any mode. The manifest is opened again and again.
    #[test]
    fn the_owner_may_read_and_write_it_whatever_the_mode() {
        use bufferedwriter_testkit::os::PermissionsExt;
        let (fs, dir) = (Faulty::default(), TestDir::new());
        Manifest::new(dir.join("m"), 0o040, false).append(&fs, "one\n").unwrap();
        let mode = fs::metadata(dir.join("m")).unwrap().permissions().mode();
        // Windows has others.
        assert_eq!(mode & 0o777, if cfg!(unix) { 0o640 } else { 0o600 });
    }

    #[test]
    fn a_link_is_not_followed() {
        if !bufferedwriter_testkit::os::makes_links() {
            return;
        }
        let (fs, dir) = (Faulty::default(), TestDir::new());
        fs::write(dir.join("target"), "").unwrap();
        bufferedwriter_testkit::os::symlink(dir.join("target"), dir.join("m.ndjson")).unwrap();
        assert!(manifest(&dir).append(&fs, "one\n").is_err());
        assert_eq!(fs::read(dir.join("target")).unwrap(), b"");
    }
}
