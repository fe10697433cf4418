//! A shipper at work on its thread, and how to speak with it.

use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bufferedwriter::{BoxError, PublishedFile};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::report::{Error, Report, Stats};
use crate::shipper::round::Round;
use crate::shipper::{Shipper, Until};

/// How long a hook waits before it says "not yet". Its writer calls it again.
const HOOK_WAITS: Duration = Duration::from_secs(5);

/// What a shipper is asked for.
pub(crate) enum Request {
    /// To tell when this file, below the directory, is shipped. Its length, in case somebody takes it.
    Tell { file: PathBuf, bytes: u64, answer: SyncSender<Result<(), String>> },
    /// To finish what is there, at most until then.
    Stop { deadline: Instant },
}

/// A shipper on its thread.
///
/// Dropped, it stops within the time of the requests that are under way.
#[derive(Debug)]
pub struct Running {
    from: PathBuf,
    requests: UnboundedSender<Request>,
    stats: Arc<Mutex<Stats>>,
    thread: Option<JoinHandle<Report>>,
}

/// Tells a writer's hook what was shipped. May be cloned and outlive the shipper.
#[derive(Clone, Debug)]
pub struct Acknowledger {
    from: PathBuf,
    requests: UnboundedSender<Request>,
}

impl Running {
    pub(crate) fn start(shipper: Shipper, until: Until) -> Result<Running, Error> {
        let (requests, received): (_, UnboundedReceiver<Request>) = unbounded_channel();
        let stats = Arc::new(Mutex::new(Stats::default()));
        let from = shipper.config.from.clone();
        let told = Arc::clone(&stats);
        let failed = |error: std::io::Error| Error::new("start", "the shipper", error);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(16)
            .build()
            .map_err(failed)?;
        let thread = std::thread::Builder::new().name("ship".to_owned()).spawn(move || {
            let report =
                runtime.block_on(async { Round::new(shipper, until, received, told).run().await });
            // A look-up of a name that hangs holds nobody up.
            runtime.shutdown_timeout(Duration::from_millis(100));
            report
        });
        Ok(Running { from, requests, stats, thread: Some(thread.map_err(failed)?) })
    }

    /// The counters of this moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it has ended by itself.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// What a writer's hook asks. See [`Acknowledger::acknowledge`].
    #[must_use]
    pub fn acknowledger(&self) -> Acknowledger {
        Acknowledger { from: self.from.clone(), requests: self.requests.clone() }
    }

    /// Waits for its end.
    #[must_use]
    pub fn wait(mut self) -> Report {
        self.join()
    }

    /// Ships what is there, for this time at most. What is left is listed.
    #[must_use]
    pub fn stop(mut self, deadline: Duration) -> Report {
        self.ask_to_stop(deadline);
        self.join()
    }

    /// Like [`stop`](Self::stop), without waiting. A later call may shorten the time.
    pub fn ask_to_stop(&self, deadline: Duration) {
        // It may have ended by itself.
        let _ = self.requests.send(Request::Stop { deadline: Instant::now() + deadline });
    }

    fn join(&mut self) -> Report {
        let report = self.thread.take().map(JoinHandle::join);
        report.and_then(Result::ok).unwrap_or_else(|| Report {
            error: Some(Error::new("run", "the shipper", "its thread panicked")),
            ..Report::default()
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.ask_to_stop(Duration::ZERO);
            drop(self.join());
        }
    }
}

impl Acknowledger {
    /// Returns when the file's object is there and compared. For [`Config::on_publish`](bufferedwriter::Config::on_publish),
    /// so that retention deletes nothing that was not shipped.
    ///
    /// # Errors
    /// After 5 s without success, with the last error: the writer calls again, and the shipper goes on meanwhile. At
    /// once if the shipper has ended or the file is not in its directory.
    pub fn acknowledge(&self, published: &PublishedFile) -> Result<(), BoxError> {
        let file = below(&self.from, &published.path).ok_or("the file is not in the directory")?;
        let (answer, answered) = sync_channel(1);
        let request = Request::Tell { file, bytes: published.bytes, answer };
        self.requests.send(request).map_err(|_| "the shipper has ended")?;
        match answered.recv_timeout(HOOK_WAITS) {
            Ok(result) => result.map_err(BoxError::from),
            Err(RecvTimeoutError::Timeout) => Err("not shipped yet".into()),
            Err(RecvTimeoutError::Disconnected) => Err("the shipper has ended".into()),
        }
    }
}

/// The path below the directory. `None` if it is not there, or leads out of it again.
pub(crate) fn below(from: &Path, file: &Path) -> Option<PathBuf> {
    let named =
        file.parent()?.canonicalize().map(|dir| dir.join(file.file_name().unwrap_or_default()));
    // A directory that retention has removed can still be named.
    let named = named.unwrap_or_else(|_| file.to_owned());
    let inner = named.strip_prefix(from).ok()?;
    let is_plain = inner.components().all(|part| matches!(part, Component::Normal(_)));
    (is_plain && inner.file_name().is_some()).then(|| inner.to_owned())
}
