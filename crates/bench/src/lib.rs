//! What a write costs its caller, beside the alternatives, and what becomes of the records.
//!
//! Layers, each may use those below it:
//!
//! - `main.rs`: the command line
//! - `measure`: one module for each measure, which fills its part of the report. Its own layers: `jobs`; the
//!   measures; `rounds`, `pacer`, `child`; `lines`, `args`
//! - `bench`: what all measures share: the chosen subjects and how each is set up
//! - `subjects`: the implementations of `subject`, the trait that all go through
//! - `system`: clocks, counters, the disk and other services of the machine
//! - `output`: the report as tables, targets and plots
//! - `stats`: medians, percentiles, pseudo-random numbers
//! - `report`: what a run found out, as plain data
//! - `traced`: an event of tracing in its spans, for the programs that count and time it

#[cfg(feature = "harness")]
pub mod bench;
#[cfg(feature = "harness")]
pub mod measure;
#[cfg(feature = "harness")]
pub mod output;
#[cfg(feature = "harness")]
pub mod report;
#[cfg(feature = "harness")]
pub mod stats;
#[cfg(feature = "harness")]
pub mod subject;
#[cfg(feature = "harness")]
pub mod subjects;
#[cfg(feature = "harness")]
pub mod system;
#[cfg(feature = "events")]
pub mod traced;
