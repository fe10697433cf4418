//! All subjects, in the order of the tables.

mod channel;
mod flexi;
pub mod limits;
mod marks;
mod mutex;
mod ours;
mod ring;
mod sink;
mod slog_async;
mod spdlog;
mod tracing_appender;

use crate::subject::Subject;

/// One of each.
pub fn all() -> Vec<Box<dyn Subject>> {
    vec![
        Box::new(limits::Limit::Memcpy),
        Box::new(ours::Ours { call: ours::Call::Producer, mode: ours::Mode::Files }),
        Box::new(ours::Ours { call: ours::Call::Writer, mode: ours::Mode::Files }),
        Box::new(ours::Ours { call: ours::Call::Record, mode: ours::Mode::Files }),
        Box::new(ours::Ours { call: ours::Call::Send, mode: ours::Mode::Files }),
        Box::new(ours::Ours { call: ours::Call::Producer, mode: ours::Mode::CrashProof }),
        Box::new(ours::Ours { call: ours::Call::Writer, mode: ours::Mode::CrashProof }),
        Box::new(ours::Ours { call: ours::Call::Producer, mode: ours::Mode::Recorder }),
        Box::new(ours::Ours { call: ours::Call::Writer, mode: ours::Mode::Recorder }),
        Box::new(mutex::Locked),
        Box::new(channel::Channel),
        Box::new(ring::Ring),
        Box::new(tracing_appender::TracingAppender),
        Box::new(slog_async::SlogAsync),
        Box::new(flexi::Flexi),
        Box::new(spdlog::Spdlog::Asynchronous),
        Box::new(spdlog::Spdlog::Ring),
    ]
}

/// By the name that it gives itself.
pub fn named(name: &str) -> std::io::Result<Box<dyn Subject>> {
    let unknown = || std::io::Error::other(format!("no such subject: {name}"));
    all().into_iter().find(|subject| subject.name() == name).ok_or_else(unknown)
}
