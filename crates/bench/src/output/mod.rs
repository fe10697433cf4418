//! What users see of a report: tables, plots, and targets beside what was reached. Measures nothing.

pub mod plot;
mod table;
pub mod tables;
mod targets;
