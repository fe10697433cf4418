//! From a directory to a store: which file next, how often, and what then.
//!
//! One thread with a runtime of its own. `known` has what became of each file, `queue` what waits, `one` the way of one
//! file, `round` the loop, `ends` what follows from the end of an attempt.

mod ends;
mod known;
mod one;
mod queue;
mod round;
pub(crate) mod running;

use std::path::PathBuf;
use std::time::Duration;

use crate::config::Config;
use crate::journal::{Journal, Past};
use crate::report::{Error, Report};
use crate::shipper::running::Running;
use crate::store::Destination;

/// When a shipper ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Until {
    /// When each file that was there at the start is shipped or given up: see [`Config::attempts`].
    Once,
    /// When no file is left, or after this time.
    Drained(Duration),
    /// Never: it follows the directory until [`Running::stop`].
    Stopped,
}

/// Ships the finished files of a directory, each once.
///
/// Any number of shippers may have the same directory and destination: an object is made by one of them.
#[derive(Debug)]
pub struct Shipper {
    config: Config,
    destination: Destination,
    only: Option<Vec<PathBuf>>,
    journal: Journal,
    past: Past,
}

impl Shipper {
    /// Opens the journal.
    ///
    /// # Errors
    /// An option out of its range, a directory that is not there, a journal that can't be written.
    pub fn new(mut config: Config, destination: Destination) -> Result<Self, Error> {
        config.check()?;
        let from = config.from.canonicalize();
        config.from = from.map_err(|e| Error::new("find", config.from.display().to_string(), e))?;
        let journal = config.journal.clone().unwrap_or_else(|| beside(&config, &destination));
        let (journal, past) = Journal::open(&journal, &destination.to_string())?;
        Ok(Shipper { config, destination, only: None, journal, past })
    }

    /// Ships these files alone, which lie in the directory.
    ///
    /// # Errors
    /// A path outside of the directory, or no name of a finished file.
    pub fn only(mut self, files: impl IntoIterator<Item = PathBuf>) -> Result<Self, Error> {
        let below = files.into_iter().map(|file| {
            let refuse = |why| Error::new("ship", file.display().to_string(), why);
            let inner = running::below(&self.config.from, &file)
                .ok_or_else(|| refuse("it is not in the directory"))?;
            let name = inner.file_name().and_then(bufferedwriter::FileName::parse);
            name.map(|_| inner).ok_or_else(|| refuse("it has no name of a finished file"))
        });
        self.only = Some(below.collect::<Result<_, _>>()?);
        Ok(self)
    }

    /// Ships what is there, and returns.
    pub fn once(self) -> Report {
        self.run(Until::Once)
    }

    /// Ships what is there and what comes meanwhile, until nothing is left or the time is over. What is left is listed.
    pub fn drain(self, deadline: Duration) -> Report {
        self.run(Until::Drained(deadline))
    }

    fn run(self, until: Until) -> Report {
        match self.spawn(until) {
            Ok(running) => running.wait(),
            Err(error) => Report { error: Some(error), ..Report::default() },
        }
    }

    /// Ships on a thread of its own.
    ///
    /// # Errors
    /// The thread can't be started.
    pub fn spawn(self, until: Until) -> Result<Running, Error> {
        Running::start(self, until)
    }
}

/// Outside of the directory, which engines read, and hidden.
fn beside(config: &Config, destination: &Destination) -> PathBuf {
    let parent = config.from.parent().unwrap_or(&config.from);
    let name = config.from.file_name().unwrap_or_default().to_string_lossy();
    let to = crc32c::crc32c(destination.to_string().as_bytes());
    parent.join(format!(".{name}.ship-{to:08x}.ndjson"))
}
