//! What an event goes through: each makes itself the logger of the process.

use std::any::Any;
use std::io;
use std::path::Path;

use bufferedwriter::{BufferedWriter, Config};
use bufferedwriter_bench::traced::event;
use flexi_logger::{FileSpec, LogSpecification, WriteMode};
use log::LevelFilter;
use logforth::append::asynchronous::AsyncBuilder;
use logforth::append::file::FileBuilder;
use logforth::bridge::log::LogBridge;
use logforth::layout::{JsonLayout, TextLayout};
use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_subscriber::prelude::*;

pub struct Subject {
    pub name: &'static str,
    pub start: fn(&Path) -> io::Result<Box<dyn Any>>,
    pub log: fn(u32),
    /// Those of `log` have none.
    pub has_spans: bool,
    pub is_plotted: bool,
}

const fn traced(name: &'static str, start: fn(&Path) -> io::Result<Box<dyn Any>>) -> Subject {
    Subject { name, start, log: event, has_spans: true, is_plotted: true }
}

const fn logged(name: &'static str, start: fn(&Path) -> io::Result<Box<dyn Any>>) -> Subject {
    Subject { name, start, log: record, has_spans: false, is_plotted: true }
}

/// The one that others are compared with.
pub const OURS: usize = 1;

pub const SUBJECTS: [Subject; 11] = [
    Subject { is_plotted: false, ..traced("an enabled event without a layer", nothing) },
    traced("bufferedwriter-tracing json", |dir| {
        let (layer, guard) = bufferedwriter_tracing::json(&files(dir)?);
        tracing_subscriber::registry().with(layer).init();
        Ok(Box::new(guard))
    }),
    traced("bufferedwriter-tracing logfmt", |dir| {
        let (layer, guard) = bufferedwriter_tracing::logfmt(&files(dir)?);
        tracing_subscriber::registry().with(layer).init();
        Ok(Box::new(guard))
    }),
    Subject {
        is_plotted: false,
        ..traced("tracing-subscriber json over bufferedwriter", |dir| {
            let (writer, guard) = bufferedwriter_tracing::writer(&files(dir)?);
            tracing_subscriber::fmt().json().with_writer(writer).init();
            Ok(Box::new(guard))
        })
    },
    Subject {
        is_plotted: false,
        ..traced("tracing-subscriber text over bufferedwriter", |dir| {
            let (writer, guard) = bufferedwriter_tracing::writer(&files(dir)?);
            tracing_subscriber::fmt().with_ansi(false).with_writer(writer).init();
            Ok(Box::new(guard))
        })
    },
    traced("tracing-subscriber json over tracing-appender", |dir| {
        let (writer, guard) = appender(dir);
        tracing_subscriber::fmt().json().with_writer(writer).init();
        Ok(Box::new(guard))
    }),
    traced("tracing-subscriber text over tracing-appender", |dir| {
        let (writer, guard) = appender(dir);
        tracing_subscriber::fmt().with_ansi(false).with_writer(writer).init();
        Ok(Box::new(guard))
    }),
    traced("json-subscriber over tracing-appender", |dir| {
        let (writer, guard) = appender(dir);
        json_subscriber::fmt().with_writer(writer).init();
        Ok(Box::new(guard))
    }),
    logged("logforth json, async", |dir| logforth(dir, true)),
    logged("logforth text, async", |dir| logforth(dir, false)),
    logged("flexi_logger text, async", flexi),
];

fn record(number: u32) {
    log::info!(number, path = "/api/v1/orders", elapsed = 0.125; "request is done");
}

/// Memory for a burst, as the peers' queues have it.
fn files(dir: &Path) -> io::Result<BufferedWriter> {
    BufferedWriter::new(Config::default().path(dir).temp(dir)).map_err(io::Error::other)
}

fn appender(dir: &Path) -> (NonBlocking, WorkerGuard) {
    tracing_appender::non_blocking(tracing_appender::rolling::never(dir, "events.log"))
}

/// Every event is wanted, and nobody writes it.
struct Nothing;

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Nothing {}

fn nothing(_: &Path) -> io::Result<Box<dyn Any>> {
    tracing_subscriber::registry().with(Nothing).init();
    Ok(Box::new(()))
}

fn logforth(dir: &Path, is_json: bool) -> io::Result<Box<dyn Any>> {
    let file = FileBuilder::new(dir, "events");
    let file = if is_json {
        file.layout(JsonLayout::default())
    } else {
        file.layout(TextLayout::default().no_color())
    };
    let file = file.build().map_err(|error| io::Error::other(error.to_string()))?;
    let queue = AsyncBuilder::new("logforth").append(file).build();
    let logger = logforth::core::builder().dispatch(|dispatch| dispatch.append(queue)).build();
    log::set_boxed_logger(Box::new(LogBridge::new(logger))).map_err(io::Error::other)?;
    log::set_max_level(LevelFilter::Info);
    Ok(Box::new(()))
}

/// A format of its own that has the fields.
fn flexi(dir: &Path) -> io::Result<Box<dyn Any>> {
    let spec = FileSpec::default().directory(dir).basename("events");
    let handle = flexi_logger::Logger::with(LogSpecification::info())
        .log_to_file(spec)
        .format(flexi_logger::detailed_format)
        .write_mode(WriteMode::Async)
        .start()
        .map_err(io::Error::other)?;
    Ok(Box::new(handle))
}
