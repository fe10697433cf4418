//! What users rely on: each file has one object, whatever stores, networks and kills do. A file per question.

mod after;
mod faults;
mod follow;
mod help;
mod hook;
mod http;
mod kills;
mod proxy;
mod s3;
mod secrets;
mod sharing;
mod stores;
