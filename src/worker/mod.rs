//! From chunks to published files: a worker's loop and the decisions behind it.

pub(crate) mod activity;
#[cfg(not(loom))]
pub(crate) mod checkpoint;
pub(crate) mod collect;
pub(crate) mod control;
#[cfg(not(loom))]
pub(crate) mod dumps;
#[cfg(not(loom))]
pub(crate) mod ledger;
#[cfg(not(loom))]
pub(crate) mod output;
#[cfg(not(loom))]
pub(crate) mod pace;
#[cfg(not(loom))]
pub(crate) mod period;
#[cfg(not(loom))]
pub(crate) mod queue;
#[cfg(not(loom))]
pub(crate) mod quota;
pub(crate) mod recall;
#[cfg(not(loom))]
pub(crate) mod recording;
#[cfg(not(loom))]
pub(crate) mod retry;
#[cfg(not(loom))]
pub(crate) mod rotation;
#[cfg(not(loom))]
pub(crate) mod round;
#[cfg(not(loom))]
pub(crate) mod tell;
