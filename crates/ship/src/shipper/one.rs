//! The way of one file: ask, create, compare, and only then perhaps delete.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::{Instant, SystemTime};

use object_store::path::Path as Key;

use crate::config::{After, Config};
use crate::join::Plan;
use crate::join::assemble::{Apart, Recipe};
use crate::journal::Journal;
use crate::pace::Rate;
use crate::shipper::bound::{Lookup, bound};
use crate::shipper::joined::{self, Joined};
use crate::shipper::queue::Waiting;
use crate::source::Candidate;
use crate::source::content::{Content, Identity};
use crate::source::lock::Lock;
use crate::source::manifest::Line;
use crate::store::{Abandoned, Compared, Destination, Kind, Notes, Same, Trouble, Upload};

/// What all files of a shipper share. Used on one thread, and never borrowed while something is awaited.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) destination: Destination,
    pub(crate) journal: RefCell<Journal>,
    pub(crate) rate: RefCell<Rate>,
    pub(crate) lookup: RefCell<Lookup>,
    pub(crate) recipe: Recipe,
    /// Until the last request is over.
    pub(crate) _lock: Lock,
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

/// The end of one attempt.
pub(crate) struct Outcome {
    pub(crate) waiting: Waiting,
    /// What the manifest says of its files.
    pub(crate) lines: Vec<Option<Line>>,
    pub(crate) result: Result<End, Failure>,
}

/// What an attempt came to.
#[derive(Debug)]
pub(crate) enum End {
    Done(Done),
    Joined(Joined),
    /// Nothing of it is there, so it may wait for others.
    Free,
    /// This plan names it, so it goes no other way.
    Bound(Rc<Plan>),
    /// Some files of a group, by their places, can't go with the others. Nothing was sent.
    Dissolved(Vec<(usize, Apart)>),
}

/// Its object is there, and equal.
#[derive(Debug, Default)]
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

pub(crate) async fn attempt(
    shared: Rc<Shared>,
    mut waiting: Waiting,
    lines: Vec<Option<Line>>,
) -> Outcome {
    let result = match waiting.join.clone() {
        Some(join) => joined::ship(&shared, &mut waiting, &join, &lines).await,
        None => ship(&shared, &mut waiting, lines.first().copied().flatten()).await,
    };
    Outcome { waiting, lines, result }
}

async fn ship(shared: &Shared, waiting: &mut Waiting, line: Option<Line>) -> Result<End, Failure> {
    let Shared { config, destination, .. } = shared;
    let path = &waiting.file.path;
    let Some(key) = destination.key(path) else {
        return Err(Failure::Conflict("its name is no text, which a key must be".to_owned()));
    };
    let content = Content::open(config.from.join(path)).await.map_err(unreadable)?;
    if let Some(line) = line.filter(|line| line.bytes != content.bytes) {
        let text =
            format!("the manifest says {} bytes, the file has {}", line.bytes, content.bytes);
        return Err(Failure::Conflict(text));
    }
    let checksum = content.checksum().await.map_err(unreadable)?;
    let right = [(content.bytes, checksum)];
    let mut compared = Compared::Missing;
    if waiting.asks_first {
        compared = destination.compare_any(&key, &right).await?;
        if compared == Compared::Missing {
            if let Some(plan) = bound(shared, path).await? {
                return Ok(End::Bound(plan));
            }
            if waiting.may_join {
                return Ok(End::Free);
            }
        }
    }
    let is_new = compared == Compared::Missing;
    if is_new {
        if !waiting.is_noted {
            shared.journal.borrow_mut().alone(path);
            waiting.is_noted = true;
        }
        compared = create(shared, &key, &content, checksum, &right).await?;
    }
    let proof = settled(compared)?;
    let mut done = Done { is_new, bytes: content.bytes, checksum, ..Done::default() };
    if deletes(config.after, &waiting.file) {
        delete(content.into_identity(), &proof, &mut done).await;
    }
    Ok(End::Done(done))
}

/// Creates the object, and compares it with what may be there.
pub(crate) async fn create(
    shared: &Shared,
    key: &Key,
    content: &Content,
    checksum: u32,
    right: &[(u64, u32)],
) -> Result<Compared, Failure> {
    let Shared { config, destination, .. } = shared;
    let (multipart, part) = (config.multipart, config.part);
    let upload = Upload { content, checksum, multipart, part, notes: shared };
    match destination.create(key, &upload).await {
        Err(trouble) if trouble.kind != Kind::Exists => Err(trouble.into()),
        Ok(()) | Err(_) => Ok(destination.compare_any(key, right).await?),
    }
}

/// The object is there and equal, or what to do about it.
pub(crate) fn settled(compared: Compared) -> Result<Same, Failure> {
    match compared {
        Compared::Same(proof) => Ok(proof),
        Compared::Different(text) => Err(Failure::Conflict(text)),
        // S3 answers 409 while another request for the key is under way, and nothing may come of that one.
        Compared::Missing => {
            let text = "the store refused the object as existing, but it is not there";
            Err(Trouble::new(Kind::Failed, text).into())
        }
    }
}

/// Whether a file goes once it is compared.
pub(crate) fn deletes(after: After, file: &Candidate) -> bool {
    match after {
        After::Keep => false,
        After::Delete => true,
        After::KeepFor(time) => {
            SystemTime::now().duration_since(file.modified).is_ok_and(|age| age >= time)
        }
    }
}

/// Only a compare gives the proof.
pub(crate) async fn delete(file: Identity, _: &Same, done: &mut Done) {
    match file.delete().await {
        Ok(is_deleted) => done.is_deleted = is_deleted,
        Err(error) => done.warning = Some(format!("delete: {error}")),
    }
}

fn unreadable(error: std::io::Error) -> Failure {
    let kind = match error.kind() {
        ErrorKind::NotFound => Kind::Gone,
        ErrorKind::UnexpectedEof => Kind::Changed,
        _ => Kind::Local,
    };
    Trouble::new(kind, format!("read the file: {error}")).into()
}
