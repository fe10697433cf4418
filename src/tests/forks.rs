//! Keeps forks and recoveries apart. Until it has become another program, a forked child holds its parent's locks,
//! and a left-over that a recovery has just let go looks alive to the next one.

use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

use crate::naming::Names;
use crate::recovery::audience::Audience;
use crate::recovery::run;
use crate::recovery::scan::Scan;
use crate::report::error::Error;
use crate::report::recovery::Recovery;

static FORKS: RwLock<()> = RwLock::new(());

/// To be held by whoever forks, until the child has become another program or is gone.
#[cfg_attr(windows, allow(dead_code, reason = "Windows has no forks"))]
pub(crate) fn forking() -> RwLockWriteGuard<'static, ()> {
    FORKS.write().unwrap_or_else(PoisonError::into_inner)
}

/// A recovery during which no test forks.
pub(crate) fn recover(
    scan: Scan<'_>,
    own: Option<&Names>,
    recovery: &mut Recovery,
) -> Result<(), Error> {
    let _no_forks = FORKS.read().unwrap_or_else(PoisonError::into_inner);
    let untold = run::run(scan, own, recovery, &mut Audience::default())?;
    recovery.errors.extend(untold.errors);
    Ok(())
}

/// Something with a recovery in it, during which no test forks.
pub(crate) fn without<T>(what: impl FnOnce() -> T) -> T {
    let _no_forks = FORKS.read().unwrap_or_else(PoisonError::into_inner);
    what()
}
