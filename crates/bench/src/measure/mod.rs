//! The measures. Each fills its part of the report; what can't be measured here is noted with a reason.

pub mod latency;
pub mod tight;
pub mod two_threads;
