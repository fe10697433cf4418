//! The way of one file: ask, create, compare, and only then perhaps delete.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Instant;

use crate::config::Config;
use crate::journal::Journal;
use crate::pace::Rate;
use crate::shipper::queue::Waiting;
use crate::source::content::Content;
use crate::source::manifest::Line;
use crate::store::{Abandoned, Compared, Destination, Kind, Notes, Same, Trouble, Upload};

/// What all files of a shipper share. Used on one thread, and never borrowed while something is awaited.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) destination: Destination,
    pub(crate) journal: RefCell<Journal>,
    pub(crate) rate: RefCell<Rate>,
}

impl Notes for Shared {
    fn began(&self, what: &Abandoned) {
        self.journal.borrow_mut().began(what);
    }

    fn ended(&self, what: &Abandoned) {
        self.journal.borrow_mut().ended(what);
    }

    fn reserve(&self, bytes: u64) -> Instant {
        self.rate.borrow_mut().reserve(bytes, Instant::now())
    }
}

/// What is to be done with a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    /// What the manifest says of it.
    pub(crate) line: Option<Line>,
    /// Delete it after the compare.
    pub(crate) deletes: bool,
}

/// The end of one attempt.
pub(crate) struct Outcome {
    pub(crate) waiting: Waiting,
    pub(crate) task: Task,
    pub(crate) result: Result<Done, Failure>,
}

/// Its object is there, and equal.
#[derive(Debug)]
pub(crate) struct Done {
    /// Whether this attempt sent it.
    pub(crate) is_new: bool,
    pub(crate) is_deleted: bool,
    pub(crate) bytes: u64,
    pub(crate) checksum: u32,
    /// Why it could not be deleted.
    pub(crate) warning: Option<String>,
}

#[derive(Debug)]
pub(crate) enum Failure {
    /// Object and file differ. Nothing was touched.
    Conflict(String),
    /// Try again.
    Trouble(Trouble),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Failure::Trouble(trouble)
    }
}

pub(crate) async fn attempt(shared: Rc<Shared>, waiting: Waiting, task: Task) -> Outcome {
    let result = ship(&shared, &waiting, task).await;
    Outcome { waiting, task, result }
}

async fn ship(shared: &Shared, waiting: &Waiting, task: Task) -> Result<Done, Failure> {
    let Shared { config, destination, .. } = shared;
    let Some(key) = destination.key(&waiting.file.path) else {
        return Err(Failure::Conflict("its name is no text, which a key must be".to_owned()));
    };
    let content = Content::open(config.from.join(&waiting.file.path)).await.map_err(unreadable)?;
    if let Some(line) = task.line.filter(|line| line.bytes != content.bytes) {
        let text =
            format!("the manifest says {} bytes, the file has {}", line.bytes, content.bytes);
        return Err(Failure::Conflict(text));
    }
    let checksum = content.checksum().await.map_err(unreadable)?;
    let compare = || destination.compare(&key, content.bytes, checksum);
    let mut compared = if waiting.asks_first { compare().await? } else { Compared::Missing };
    let is_new = compared == Compared::Missing;
    if is_new {
        let (multipart, part) = (config.multipart, config.part);
        let upload = Upload { content: &content, checksum, multipart, part, notes: shared };
        match destination.create(&key, &upload).await {
            Err(trouble) if trouble.kind != Kind::Exists => return Err(trouble.into()),
            Ok(()) | Err(_) => compared = compare().await?,
        }
    }
    match compared {
        Compared::Same(proof) => {
            let mut done =
                Done { is_new, is_deleted: false, bytes: content.bytes, checksum, warning: None };
            if task.deletes {
                delete(content, proof, &mut done).await;
            }
            Ok(done)
        }
        Compared::Different(text) => Err(Failure::Conflict(text)),
        // S3 answers 409 while another request for the key is under way, and nothing may come of that one.
        Compared::Missing => {
            let text = "the store refused the object as existing, but it is not there";
            Err(Trouble::new(Kind::Failed, text).into())
        }
    }
}

/// Only a compare gives the proof.
async fn delete(content: Content, _: Same, done: &mut Done) {
    match content.delete().await {
        Ok(is_deleted) => done.is_deleted = is_deleted,
        Err(error) => done.warning = Some(format!("delete: {error}")),
    }
}

fn unreadable(error: std::io::Error) -> Failure {
    let kind = match error.kind() {
        ErrorKind::NotFound => Kind::Gone,
        ErrorKind::UnexpectedEof => Kind::Changed,
        _ => Kind::Failed,
    };
    Trouble::new(kind, format!("read the file: {error}")).into()
}
