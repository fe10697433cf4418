//! What a write costs its caller, beside the alternatives, and what becomes of the records.

#![cfg(feature = "harness")]

pub mod bench;
pub mod calls;
pub mod clock;
pub mod disk;
pub mod lines;
pub mod machine;
pub mod measure;
pub mod pages;
pub mod pin;
pub mod plot;
pub mod process;
pub mod report;
pub mod show;
pub mod stats;
pub mod subject;
pub mod subjects;
pub mod table;
pub mod targets;
