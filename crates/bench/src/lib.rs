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

#![cfg(feature = "harness")]

pub mod bench;
pub mod measure;
pub mod output;
pub mod report;
pub mod stats;
pub mod subject;
pub mod subjects;
pub mod system;
