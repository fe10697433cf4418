//! The measures. Each fills its part of the report; what can't be measured here is noted with a reason.

pub mod child;
pub mod http;
pub mod landed;
pub mod latency;
mod pacer;
pub mod quiet;
pub mod startup;
pub mod sustained;
pub mod tight;
pub mod two_threads;
