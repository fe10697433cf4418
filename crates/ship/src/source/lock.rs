//! Who may ship the files of a directory: many shippers that join nothing, or one that joins.
//!
//! Guarantees: the lock is the directory's own, whatever a shipper's journal and destination are. It ends with its owner.

use std::fs::File;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::report::Error;

/// Held as long as it lives.
#[derive(Debug)]
pub(crate) struct Lock(Option<File>);

impl Drop for Lock {
    fn drop(&mut self) {
        // A child that is just being made has the descriptor too, and would hold the lock until it runs its program.
        if let Some(file) = &self.0 {
            let _ = flock(file, FlockOperation::Unlock);
        }
    }
}

impl Lock {
    pub(crate) fn take(dir: &Path, joins: bool) -> Result<Lock, Error> {
        let failed = |error| Error::new("lock", dir.display().to_string(), error);
        let file = File::open(dir).map_err(failed)?;
        let operation = match joins {
            true => FlockOperation::NonBlockingLockExclusive,
            false => FlockOperation::NonBlockingLockShared,
        };
        match flock(&file, operation) {
            Ok(()) => Ok(Lock(Some(file))),
            Err(Errno::WOULDBLOCK) => Err(Error::busy(dir.display().to_string(), joins)),
            Err(error) if joins => Err(failed(error.into())),
            // A file system without locks has no shipper that joins.
            Err(_) => Ok(Lock(None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bufferedwriter_testkit::dir::TestDir;

    #[test]
    fn one_that_joins_is_alone() {
        let dir = TestDir::new();
        let shared = [false, false].map(|joins| Lock::take(dir.path(), joins).unwrap());
        assert!(Lock::take(dir.path(), true).unwrap_err().is_busy());
        drop(shared);
        let alone = Lock::take(dir.path(), true).unwrap();
        for joins in [false, true] {
            let error = Lock::take(dir.path(), joins).unwrap_err();
            assert!(error.is_busy() && error.to_string().contains("another shipper"), "{error}");
        }
        // As a child has it between fork and exec.
        let of_child = alone.0.as_ref().unwrap().try_clone().unwrap();
        drop(alone);
        Lock::take(dir.path(), false).unwrap();
        drop(of_child);
    }
}
