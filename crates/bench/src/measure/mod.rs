//! The measures. Each fills its part of the report and notes with a reason what can't be measured here.

mod args;
pub mod child;
pub mod http;
pub mod jobs;
pub mod landed;
pub mod latency;
mod lines;
pub mod pacer;
pub mod quiet;
mod rounds;
pub mod startup;
pub mod sustained;
pub mod tight;
pub mod two_threads;
