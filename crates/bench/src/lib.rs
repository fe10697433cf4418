//! What a write costs its caller, beside the alternatives, and what becomes of the records.

pub mod clock;
pub mod report;
pub mod subject;
pub mod subjects;
