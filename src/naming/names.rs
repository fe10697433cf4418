//! Makes file names from their parts.
//!
//! Affixes are bytes and need not be UTF-8. Refuses: nothing; `Config` checks the affixes.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::base::sys::{host, names as sys};
use crate::naming::stamp::Stamp;
use crate::report::error::Error;

pub(super) const TEMP_END: &str = ".tmp";
pub(super) const STATE_END: &str = ".state";
pub(super) const JOURNAL_END: &str = ".journal";
const ASIDE_END: &str = ".aside";

/// Tells one temp file of a worker from its others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TempId {
    /// No record of the file was accepted more than a millisecond before this.
    pub(crate) stamp: Stamp,
    /// Increases with each file of a worker.
    pub(crate) seq: u64,
}

#[cfg(test)]
impl TempId {
    /// For tests of the files themselves.
    pub(crate) fn any() -> TempId {
        TempId { stamp: Stamp::next(), seq: 9 }
    }
}

/// The parts of a name that all files of one writer share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) prefix: OsString,
    pub(crate) extension: OsString,
    /// Random, since in every container the process has the id 1, and a process may have several
    /// writers.
    pub(crate) instance: u64,
    pub(crate) pid: u32,
}

impl Names {
    /// Names of a new instance in this process.
    pub(crate) fn new(prefix: &OsStr, extension: &OsStr) -> Result<Self, Error> {
        let random = host::random()
            .map_err(|e| Error::io("read random bytes", Path::new("/dev/urandom"), e))?;
        Ok(Names {
            prefix: prefix.to_owned(),
            extension: extension.to_owned(),
            instance: u64::from_ne_bytes(random),
            pid: std::process::id(),
        })
    }

    /// Name of a complete file.
    pub(crate) fn visible(&self, stamp: Stamp, worker: usize, seq: u64) -> OsString {
        let Names { prefix, extension, instance, pid } = self;
        let mut name = prefix.clone();
        name.push(format!("{stamp}-{instance:016x}-{pid}-w{worker}-{seq}"));
        if !extension.is_empty() {
            name.push(".");
            name.push(extension);
        }
        name
    }

    /// Name of a file that is being written.
    pub(crate) fn temp(&self, stamp: Stamp, worker: usize, seq: u64) -> OsString {
        hidden(&self.visible(stamp, worker, seq), TEMP_END)
    }

    /// Name of the instance's state file.
    pub(crate) fn state(&self) -> OsString {
        self.of_instance(STATE_END)
    }

    /// Name of the instance's crash-proof memory.
    pub(crate) fn memory(&self) -> OsString {
        self.of_instance(".memory")
    }

    /// Name of the instance's journal of published files.
    pub(crate) fn journal(&self) -> OsString {
        self.of_instance(JOURNAL_END)
    }

    fn of_instance(&self, end: &str) -> OsString {
        let mut name = self.prefix.clone();
        name.push(format!("{:016x}-{}", self.instance, self.pid));
        hidden(&name, end)
    }

    /// Names for the rename that a writer tries at its start. They are as long as the longest temp
    /// name of this instance, so that a file system with shorter names is noticed then.
    pub(crate) fn probes(&self) -> [OsString; 2] {
        let longest = self.visible(Stamp(u64::MAX), 255, u64::MAX);
        [hidden(&longest, ".pb1"), hidden(&longest, ".pb2")]
    }
}

fn hidden(name: &OsStr, end: &str) -> OsString {
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(end);
    hidden
}

/// The name under which a recovery sets aside a temp file or a state file. It is hidden, and no
/// recovery looks for it.
pub(crate) fn aside(name: &OsStr) -> OsString {
    let bare = sys::bytes(name).strip_suffix(TEMP_END.as_bytes()).and_then(sys::name);
    let mut aside = bare.unwrap_or(name).to_owned();
    aside.push(ASIDE_END);
    aside
}

#[cfg(test)]
mod tests {
    use super::*;
    use bufferedwriter_testkit::os::OsStrExt;

    const STAMP: Stamp = Stamp(1_795_376_430_123_456_789);

    fn names(prefix: &[u8], extension: &[u8]) -> Names {
        let os = |bytes| OsStr::from_bytes(bytes).to_owned();
        Names { prefix: os(prefix), extension: os(extension), instance: 0xfeed, pid: 1 }
    }

    #[test]
    fn names_are_these() {
        let names = names(b"access_", b"log");
        let visible = "access_20261122T194030.123456789Z-000000000000feed-1-w3-42.log";
        assert_eq!(names.visible(STAMP, 3, 42), visible);
        assert_eq!(names.temp(STAMP, 3, 42), format!(".{visible}.tmp").as_str());
        assert_eq!(names.state(), ".access_000000000000feed-1.state");
        let bare = Names { extension: OsString::new(), ..names };
        assert_eq!(bare.visible(STAMP, 3, 42), visible.strip_suffix(".log").unwrap());
    }

    #[test]
    fn two_writers_of_a_process_are_two_instances() {
        let [one, two] = [(); 2].map(|()| Names::new("p".as_ref(), "log".as_ref()).unwrap());
        assert_ne!(one.instance, two.instance);
        assert_eq!((one.pid, two.pid), (std::process::id(), std::process::id()));
    }

    #[test]
    fn names_sort_as_their_stamps() {
        let names = names(b"p", b"log");
        let stamps = [0, 1, 999_999_999, 1_000_000_000, STAMP.0, STAMP.0 + 1, u64::MAX];
        let made = stamps.map(|nanos| names.visible(Stamp(nanos), 0, 0));
        assert!(made.is_sorted());
        assert!(stamps.iter().all(|&nanos| Stamp(nanos).to_string().len() == 26));
    }
}
