//! What earlier shippers did: lines of JSON in a file. It saves requests, and names what has to be removed.
//!
//! It is never trusted for a deletion: an object is compared again before. A line that is torn says nothing.
//! Each shipper has a file of its own, under a lock: the next ones in a directory take the next names.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};

use crate::report::Error;
use crate::store::Abandoned;

/// Shippers of one directory to one destination.
const SHARERS_MAX: usize = 64;

/// An open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    header: String,
    /// The first failure to write. It is told once; what is missing costs requests only.
    failed: Option<String>,
}

/// What was read from it.
#[derive(Debug, Default)]
pub(crate) struct Past {
    pub(crate) done: HashMap<PathBuf, u64>,
    pub(crate) abandoned: Vec<Abandoned>,
}

impl Journal {
    /// Opens the first one that nobody else has, and takes over the others that nobody has any longer.
    pub(crate) fn open(path: &Path, destination: &str) -> Result<(Journal, Past), Error> {
        let failed = |error| Error::new("open the journal", path.display().to_string(), error);
        let header = format!("{}\n", json!({ "destination": destination }));
        let mut ours: Option<(PathBuf, File)> = None;
        let (mut past, mut others) = (Past::default(), Vec::new());
        for nth in 1..=SHARERS_MAX {
            let path = if nth == 1 { path.to_owned() } else { with_end(path, &format!(".{nth}")) };
            if ours.is_some() && !path.exists() {
                continue;
            }
            let Some(file) = lock(&path).map_err(failed)? else { continue };
            read(&file, &header, &mut past).map_err(failed)?;
            match &ours {
                None => ours = Some((path, file)),
                Some(_) => others.push((path, file)),
            }
        }
        let (path, file) =
            ours.ok_or_else(|| failed(io::Error::other("too many shippers have it")))?;
        past.abandoned.sort();
        past.abandoned.dedup();
        let mut journal = Journal { path, file, header, failed: None };
        journal.rewrite(&past).map_err(failed)?;
        for (other, _lock) in others {
            fs::remove_file(other).map_err(failed)?;
        }
        Ok((journal, past))
    }

    pub(crate) fn done(&mut self, file: &Path, bytes: u64, checksum: u32) {
        if let Some(name) = file.to_str() {
            self.append(&line_of(name, bytes, Some(checksum)));
        }
    }

    pub(crate) fn began(&mut self, what: &Abandoned) {
        self.append(&json!({ "began": what.key, "upload": what.upload }));
    }

    pub(crate) fn ended(&mut self, what: &Abandoned) {
        self.append(&json!({ "ended": what.key, "upload": what.upload }));
    }

    pub(crate) fn take_failure(&mut self) -> Option<String> {
        self.failed.take()
    }

    fn append(&mut self, line: &Value) {
        if let Err(error) = self.file.write_all(format!("{line}\n").as_bytes()) {
            let text = format!("write the journal {}: {error}", self.path.display());
            self.failed.get_or_insert(text);
            // Ends what may be half a line.
            let _ = self.file.write_all(b"\n");
        }
    }

    /// Leaves out what nobody needs. The new file is locked before it has the name.
    pub(crate) fn rewrite(&mut self, past: &Past) -> io::Result<()> {
        let new = with_end(&self.path, ".new");
        let _ = fs::remove_file(&new);
        let mut file = options().create_new(true).open(&new)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let mut lines = self.header.clone();
        for (name, bytes) in &past.done {
            if let Some(name) = name.to_str() {
                lines += &format!("{}\n", line_of(name, *bytes, None));
            }
        }
        for Abandoned { key, upload } in &past.abandoned {
            lines += &format!("{}\n", json!({ "began": key, "upload": upload }));
        }
        file.write_all(lines.as_bytes())?;
        fs::rename(&new, &self.path)?;
        self.file = file;
        Ok(())
    }
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn line_of(name: &str, bytes: u64, checksum: Option<u32>) -> Value {
    match checksum {
        Some(sum) => json!({ "done": name, "bytes": bytes, "crc32c": format!("{sum:08x}") }),
        None => json!({ "done": name, "bytes": bytes }),
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(0o600);
    options
}

/// `None` if another shipper has it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    loop {
        let file = options().create(true).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
            Ok(()) => {}
        }
        // Its owner may have put a new one in its place just now.
        let named = fs::metadata(path).map(|facts| (facts.dev(), facts.ino())).ok();
        let facts = file.metadata()?;
        if named == Some((facts.dev(), facts.ino())) {
            return Ok(Some(file));
        }
    }
}

/// Adds what a journal with this first line says. Another first line: it is of another destination.
fn read(file: &File, header: &str, past: &mut Past) -> io::Result<()> {
    let mut lines = BufReader::new(file).split(b'\n');
    match lines.next().transpose()? {
        Some(first) if first == header.trim_end().as_bytes() => {}
        _ => return Ok(()),
    }
    for line in lines {
        let Ok(line) = serde_json::from_slice::<Value>(&line?) else { continue };
        let text = |key| line.get(key).and_then(Value::as_str).map(str::to_owned);
        let upload = text("upload").unwrap_or_default();
        if let (Some(name), Some(bytes)) = (text("done"), line.get("bytes").and_then(Value::as_u64))
        {
            past.done.insert(name.into(), bytes);
        } else if let Some(key) = text("began") {
            past.abandoned.push(Abandoned { key, upload });
        } else if let Some(key) = text("ended") {
            // One of them: of two attempts without a number one may have got its own later.
            let mut all = past.abandoned.iter();
            let nth = all.position(|begun| (&begun.key, &begun.upload) == (&key, &upload));
            nth.map(|nth| past.abandoned.remove(nth));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bufferedwriter_testkit::dir::TestDir;

    #[test]
    fn what_was_done_and_begun_is_there_again_and_a_torn_line_is_not() {
        let dir = TestDir::new();
        let path = dir.join("j");
        let (mut journal, past) = Journal::open(&path, "s3://b/p").unwrap();
        assert!(past.done.is_empty() && past.abandoned.is_empty());
        let begun = |upload: &str| Abandoned { key: "k".into(), upload: upload.into() };
        journal.done("dt=1/f".as_ref(), 7, 0xfeed);
        journal.began(&begun("1"));
        journal.began(&begun("2"));
        journal.ended(&begun("1"));
        journal.began(&begun("2"));
        journal.began(&begun("2"));
        journal.ended(&begun("2"));
        journal.file.write_all(b"{\"done\":\"torn\",\"byt").unwrap();
        drop(journal);
        for _ in 0..2 {
            let (_journal, past) = Journal::open(&path, "s3://b/p").unwrap();
            assert_eq!(past.done, HashMap::from([("dt=1/f".into(), 7)]));
            assert_eq!(past.abandoned, [begun("2")]);
        }
        let (_journal, past) = Journal::open(&path, "s3://other").unwrap();
        assert!(past.done.is_empty(), "of another destination");
    }

    #[test]
    fn two_shippers_have_a_journal_each() {
        let dir = TestDir::new();
        let path = dir.join("j");
        let (mut first, _) = Journal::open(&path, "d").unwrap();
        let (second, _) = Journal::open(&path, "d").unwrap();
        assert_eq!((&first.path, &second.path), (&path, &dir.join("j.2")));
        first.rewrite(&Past::default()).unwrap();
        let (mut third, _) = Journal::open(&path, "d").unwrap();
        third.done("f".as_ref(), 1, 1);
        drop((second, third));
        let (second, past) = Journal::open(&path, "d").unwrap();
        assert_eq!((second.path, past.done.len()), (dir.join("j.2"), 1));
        assert!(!dir.join("j.3").exists(), "taken over");
    }
}
