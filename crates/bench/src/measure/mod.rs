//! The measures. Each fills its part of the report; what can't be measured here is noted with a reason.

pub mod child;
pub mod latency;
pub mod quiet;
pub mod startup;
pub mod tight;
pub mod two_threads;
