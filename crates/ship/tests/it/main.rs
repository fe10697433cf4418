//! What users rely on: each file has one object, whatever stores, networks and kills do. A file per question.

mod after;
mod clocks;
mod faults;
mod follow;
mod help;
mod hook;
mod http;
mod joins;
mod joins_killed;
mod kills;
mod operators;
mod proxy;
mod s3;
mod secrets;
mod sharing;
mod stores;
