//! What earlier shippers did: lines of JSON in a file. It saves requests, and names what has to be removed.
//!
//! It is never trusted for a deletion: an object is compared again before. A line that is torn says nothing.
//! What was begun is noted before it is sent, so that the next shipper does the same: a file that goes alone, and the
//! files of a joined object.
//! Each shipper has a file of its own, under a lock: the next ones in a directory take the next names.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};

use crate::join::Plan;
use crate::report::Error;
use crate::store::Abandoned;

/// Shippers of one directory to one destination.
const SHARERS_MAX: usize = 64;
/// Files that are gone are left out of a journal from this length on.
const PRUNED_FROM: u64 = 256 << 10;

/// An open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    header: String,
    /// Its length, and that at the last rewrite.
    bytes: [u64; 2],
    /// The first failure to write. It is told once; what is missing costs requests only.
    failed: Option<String>,
}

impl Drop for Journal {
    fn drop(&mut self) {
        // A child that is just being made has the descriptor too, and the next shipper would have to take another name.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// What was read from it.
#[derive(Debug, Default)]
pub(crate) struct Past {
    pub(crate) done: HashMap<PathBuf, u64>,
    /// Files that may have been sent alone.
    pub(crate) alone: HashSet<PathBuf>,
    /// Joined objects that may have been sent.
    pub(crate) plans: Vec<Plan>,
    pub(crate) abandoned: Vec<Abandoned>,
}

impl Journal {
    /// Opens the first one that nobody else has, and takes over the others that nobody has any longer.
    pub(crate) fn open(path: &Path, destination: &str) -> Result<(Journal, Past), Error> {
        let failed = |error: io::Error| {
            let hint = match error.kind() {
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                    "; --journal names another place"
                }
                _ => "",
            };
            let why = format!("{error}{hint}");
            Error::new("open the journal", path.display().to_string(), why)
        };
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
        let is_done = |plan: &Plan| {
            plan.members.iter().all(|one| past.done.contains_key(Path::new(&one.path)))
        };
        let plans = std::mem::take(&mut past.plans);
        past.plans = plans.into_iter().filter(|plan| !is_done(plan)).collect();
        past.abandoned.sort();
        past.abandoned.dedup();
        let mut journal = Journal { path, file, header, bytes: [0; 2], failed: None };
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

    /// A file is about to be sent alone, so it is never joined.
    pub(crate) fn alone(&mut self, file: &Path) {
        if let Some(name) = file.to_str() {
            self.append(&json!({ "alone": name }));
        }
    }

    /// Whether it is noted: only then may anything of it be sent.
    pub(crate) fn plan(&mut self, plan: &Plan) -> bool {
        self.append(&json!({ "joins": plan.to_json() })) && self.file.sync_data().is_ok()
    }

    /// An object is there, and its files are noted as done.
    pub(crate) fn joined(&mut self, object: &str) {
        self.append(&json!({ "joined": object }));
    }

    pub(crate) fn began(&mut self, what: &Abandoned) {
        self.append(&json!({ "began": what.key, "upload": what.upload }));
    }

    pub(crate) fn ended(&mut self, what: &Abandoned) {
        self.append(&json!({ "ended": what.key, "upload": what.upload }));
    }

    /// Where something may be kept beside it, without a name.
    pub(crate) fn scratch(&self) -> PathBuf {
        with_end(&self.path, ".joined")
    }

    pub(crate) fn take_failure(&mut self) -> Option<String> {
        self.failed.take()
    }

    fn append(&mut self, line: &Value) -> bool {
        let line = format!("{line}\n");
        self.bytes[0] += line.len() as u64;
        let Err(error) = self.file.write_all(line.as_bytes()) else { return true };
        let text = format!("write the journal {}: {error}", self.path.display());
        self.failed.get_or_insert(text);
        // Ends what may be half a line.
        let _ = self.file.write_all(b"\n");
        false
    }

    /// Leaves out files that are gone, once that halves it.
    pub(crate) fn prune(&mut self, is_there: impl Fn(&Path) -> bool) -> io::Result<()> {
        if self.bytes[0] < 2 * self.bytes[1] + PRUNED_FROM {
            return Ok(());
        }
        let mut past = Past::default();
        read(&File::open(&self.path)?, &self.header, &mut past)?;
        past.done.retain(|file, _| is_there(file));
        past.alone.retain(|file| is_there(file));
        past.plans.retain(|plan| plan.members.iter().any(|one| is_there(one.path.as_ref())));
        self.rewrite(&past)
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
        for name in past.alone.iter().filter_map(|name| name.to_str()) {
            lines += &format!("{}\n", json!({ "alone": name }));
        }
        for plan in &past.plans {
            lines += &format!("{}\n", json!({ "joins": plan.to_json() }));
        }
        file.write_all(lines.as_bytes())?;
        fs::rename(&new, &self.path)?;
        self.file = file;
        self.bytes = [lines.len() as u64; 2];
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

/// Adds what a journal with this first line says. What begins otherwise is no journal, and says nothing.
fn read(file: &File, header: &str, past: &mut Past) -> io::Result<()> {
    let mut lines = BufReader::new(file).split(b'\n');
    match lines.next().transpose()? {
        Some(first) if first == header.trim_end().as_bytes() => {}
        Some(first) => {
            let first: Option<Value> = serde_json::from_slice(&first).ok();
            let other = first.as_ref().and_then(|line| line.get("destination")?.as_str());
            return match other {
                Some(other) => {
                    Err(io::Error::other(format!("it is of another destination, {other}")))
                }
                None => Ok(()),
            };
        }
        None => return Ok(()),
    }
    for line in lines {
        let Ok(line) = serde_json::from_slice::<Value>(&line?) else { continue };
        let text = |key| line.get(key).and_then(Value::as_str).map(str::to_owned);
        let upload = text("upload").unwrap_or_default();
        if let (Some(name), Some(bytes)) = (text("done"), line.get("bytes").and_then(Value::as_u64))
        {
            past.alone.remove(Path::new(&name));
            past.done.insert(name.into(), bytes);
        } else if let Some(name) = text("alone") {
            past.alone.insert(name.into());
        } else if let Some(plan) = line.get("joins").and_then(Plan::parse) {
            past.plans.retain(|one| one.object != plan.object);
            past.plans.push(plan);
        } else if let Some(object) = text("joined") {
            past.plans.retain(|one| one.object != object);
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
    use crate::join::Member;
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
        let error = Journal::open(&path, "s3://other").unwrap_err().to_string();
        assert!(error.contains("another destination, s3://b/p"), "{error}");
        fs::write(&path, "no journal\n{\"done\":\"f\",\"bytes\":7}\n").unwrap();
        let (_journal, past) = Journal::open(&path, "s3://other").unwrap();
        assert!(past.done.is_empty());
    }

    #[test]
    fn what_was_begun_is_there_until_it_is_done() {
        let dir = TestDir::new();
        let path = dir.join("j");
        let plan = |object: &str| {
            let member =
                |nth: u32| Member { path: format!("{object}{nth}"), bytes: 1, checksum: nth };
            let members = vec![member(1), member(2)];
            let (header, footer) = (Vec::new(), Vec::new());
            Plan { object: object.into(), bytes: 2, checksum: 0, header, footer, members }
        };
        let (mut journal, _) = Journal::open(&path, "d").unwrap();
        for file in ["a", "b"] {
            journal.alone(file.as_ref());
        }
        journal.done("b".as_ref(), 1, 1);
        for object in ["x", "y", "z"] {
            assert!(journal.plan(&plan(object)));
        }
        journal.joined("y");
        for file in ["x1", "z1", "z2"] {
            journal.done(file.as_ref(), 1, 1);
        }
        journal.file.write_all(b"{\"joins\":{\"object\":\"torn\"").unwrap();
        drop(journal);
        for _ in 0..2 {
            let (_journal, past) = Journal::open(&path, "d").unwrap();
            assert_eq!(past.alone, HashSet::from(["a".into()]));
            assert_eq!(past.plans, [plan("x")]);
        }
    }

    #[test]
    fn a_plan_that_could_not_be_noted_is_told() {
        let dir = TestDir::new();
        let (mut journal, _) = Journal::open(&dir.join("j"), "d").unwrap();
        let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else { return };
        journal.file = full;
        let plan = |header| Plan {
            header,
            object: "o".into(),
            bytes: 0,
            checksum: 0,
            footer: Vec::new(),
            members: Vec::new(),
        };
        assert!(!journal.plan(&plan(Vec::new())));
        assert!(journal.take_failure().unwrap().contains("write the journal"));
        assert_eq!(journal.take_failure(), None);
    }

    #[test]
    fn a_long_journal_is_shortened() {
        let dir = TestDir::new();
        let path = dir.join("j");
        let (mut journal, _) = Journal::open(&path, "d").unwrap();
        journal.prune(|_| panic!("it is short")).unwrap();
        (0..10_000).for_each(|nth| journal.done(nth.to_string().as_ref(), 1, 1));
        journal.began(&Abandoned { key: "k".into(), upload: "1".into() });
        journal.prune(|file| file == Path::new("77")).unwrap();
        assert!(fs::metadata(&path).unwrap().len() < 1000);
        journal.done("new".as_ref(), 1, 1);
        drop(journal);
        let (_journal, past) = Journal::open(&path, "d").unwrap();
        assert_eq!((past.done.len(), past.abandoned.len()), (2, 1));
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
        assert_eq!((&second.path, past.done.len()), (&dir.join("j.2"), 1));
        assert!(!dir.join("j.3").exists(), "taken over");
    }
}
