//! Tests that need the library's insides, and what they share. Nothing of this is in a build that users get.

#![allow(
    clippy::incompatible_msrv,
    reason = "the oldest Rust builds what is published, and no tests"
)]

#[cfg(all(test, not(loom)))]
pub(crate) mod clock;
#[cfg(all(test, not(loom)))]
pub(crate) mod codec;
#[cfg(all(test, not(loom)))]
pub(crate) mod crash;
#[cfg(all(test, not(loom)))]
pub(crate) mod driven;
#[cfg(all(test, not(loom)))]
mod envelope;
#[cfg(all(test, not(loom)))]
mod every_call;
#[cfg(all(test, not(loom)))]
mod few_files;
#[cfg(all(test, not(loom)))]
pub(crate) mod forks;
#[cfg(not(loom))]
pub(crate) mod fs;
#[cfg(all(test, not(loom)))]
mod housekeeping;
#[cfg(all(test, loom))]
mod loom;
#[cfg(all(test, not(loom)))]
mod output;
#[cfg(all(test, not(loom)))]
mod periods;
#[cfg(all(test, not(loom)))]
mod property;
#[cfg(all(test, not(loom)))]
mod publishing_crash;
#[cfg(not(loom))]
pub mod recovery;
#[cfg(all(test, not(loom)))]
mod recovery_races;
#[cfg(all(test, not(loom)))]
mod simulator;
#[cfg(all(test, not(loom)))]
mod snapshots;
#[cfg(all(test, not(loom)))]
mod stepped;
#[cfg(all(test, not(loom)))]
mod threads;
