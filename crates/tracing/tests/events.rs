//! Are events whole records in files, whatever writes them, and is the swap from tracing-appender two lines?

use std::fmt;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use bufferedwriter::{Boundary, BufferedWriter, Config};
use bufferedwriter_testkit::dir::{TestDir, paths_below};
use tracing_subscriber::fmt::MakeWriter;

const CHILD: &str = "BUFFEREDWRITER_TRACING_CHILD";

fn config(dir: &Path) -> Config {
    Config::default().path(dir.join("out")).temp(dir.join("tmp")).create_dirs(true)
}

fn contents(dir: &Path) -> String {
    let files = paths_below(&dir.join("out"));
    files.iter().map(|file| fs::read_to_string(file).unwrap()).collect()
}

/// What the guide shows: these lines, and these with those of tracing-appender.
#[test]
fn the_swap_is_two_lines() {
    let (before, after) = (TestDir::new(), TestDir::new());
    let log = || (0..100).for_each(|number| tracing::info!(number, "ready"));
    {
        let file = tracing_appender::rolling::hourly(before.path(), "events.log");
        let (writer, _guard) = tracing_appender::non_blocking(file);
        let subscriber = tracing_subscriber::fmt().with_writer(writer).with_ansi(false).finish();
        tracing::subscriber::with_default(subscriber, log);
    }
    {
        let file = BufferedWriter::new(config(after.path()).rotate_at(Boundary::Hours(1))).unwrap();
        let (writer, _guard) = bufferedwriter_tracing::writer(&file);
        let subscriber = tracing_subscriber::fmt().with_writer(writer).with_ansi(false).finish();
        tracing::subscriber::with_default(subscriber, log);
    }
    let without_time = |text: String| -> Vec<String> {
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    };
    let [log] = &paths_below(before.path())[..] else { panic!("one file") };
    let before = without_time(fs::read_to_string(log).unwrap());
    assert_eq!((before.len(), before), (100, without_time(contents(after.path()))));
}

/// Not a test of its own: a program that ends right after its last event.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let files = BufferedWriter::new(config(Path::new(&dir))).unwrap();
    let (writer, _guard) = bufferedwriter_tracing::writer(&files);
    tracing_subscriber::fmt().with_writer(writer).init();
    drop(files);
    (0..1000).for_each(|number| tracing::info!(number, "event"));
}

/// The global subscriber keeps its writer for ever; the guard closes it.
#[test]
fn nothing_is_lost_at_the_end_of_a_program() {
    let dir = TestDir::new();
    let mut program = Command::new(std::env::current_exe().unwrap());
    let output = program.args(["--exact", "child"]).env(CHILD, dir.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(contents(dir.path()).lines().count(), 1000);
}

#[test]
fn whatever_number_of_calls_writes_an_event_it_is_one_record() {
    let dir = TestDir::new();
    let files = BufferedWriter::new(config(dir.path())).unwrap();
    let (writer, guard) = bufferedwriter_tracing::writer(&files);
    for number in 0..50 {
        let mut event = writer.make_writer();
        (0..=number).for_each(|_| event.write_all(b"part ").unwrap());
        event.write_all(b"\n").unwrap();
    }
    // No bytes are no record.
    drop(writer.make_writer());
    assert_eq!(guard.close().unwrap().written.records, 50);
    assert_eq!(contents(dir.path()).matches("part ").count(), 50 * 51 / 2);
}

/// With the subscriber's own defaults, which colour.
#[test]
fn files_have_no_colours() {
    let dir = TestDir::new();
    let files = BufferedWriter::new(config(dir.path())).unwrap();
    let (writer, guard) = bufferedwriter_tracing::writer(&files);
    let subscriber = tracing_subscriber::fmt().with_writer(writer).with_ansi(true).finish();
    tracing::subscriber::with_default(subscriber, || {
        let _span = tracing::info_span!("request", id = 7).entered();
        tracing::error!(answer = 42, "failed");
    });
    assert_eq!(guard.close().unwrap().written.records, 1);
    let text = contents(dir.path());
    assert!(
        !text.contains('\x1b') && text.contains("ERROR request{id=7}: events: failed answer=42"),
        "{text}"
    );
}

/// Its `Debug` logs.
struct Loud;

impl fmt::Debug for Loud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        tracing::info!("within");
        f.write_str("loud")
    }
}

#[test]
fn an_event_within_an_event_is_a_record_of_its_own() {
    let dir = TestDir::new();
    let files = BufferedWriter::new(config(dir.path())).unwrap();
    let (writer, guard) = bufferedwriter_tracing::writer(&files);
    {
        let (mut outer, mut inner) = (writer.make_writer(), writer.make_writer());
        outer.write_all(b"outer\n").unwrap();
        inner.write_all(b"inner\n").unwrap();
    }
    let subscriber = tracing_subscriber::fmt().with_writer(writer).finish();
    tracing::subscriber::with_default(subscriber, || tracing::info!(what = ?Loud, "around"));
    let report = guard.close().unwrap();
    let text = contents(dir.path());
    assert_eq!(report.written.records, text.lines().count() as u64);
    let mut lines: Vec<_> = text.lines().take(2).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["inner", "outer"]);
    assert!(text.contains("around what=loud"), "{text}");
}

/// Too large for memory: nobody waits, nothing is printed, and the writer counts it.
#[test]
fn what_is_refused_is_counted() {
    let dir = TestDir::new();
    let files = BufferedWriter::new(config(dir.path()).size(64).queue_size(1).workers(1)).unwrap();
    let (writer, guard) = bufferedwriter_tracing::writer(&files);
    let subscriber = tracing_subscriber::fmt().with_writer(writer).finish();
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!("{}", "x".repeat(1 << 20));
    });
    let report = guard.close().unwrap();
    assert_eq!((report.written.records, report.refused.total().records), (0, 1));
}

#[test]
fn the_guard_reports_once() {
    for closes_by_hand in [false, true] {
        let dir = TestDir::new();
        let files = BufferedWriter::new(config(dir.path())).unwrap();
        let (writer, guard) = bufferedwriter_tracing::writer(&files);
        let (told, hears) = mpsc::channel();
        let guard = guard.deadline(Duration::from_secs(60)).on_close(move |closed| {
            told.send(closed.unwrap().written.records).unwrap();
        });
        writer.make_writer().write_all(b"event\n").unwrap();
        if closes_by_hand {
            assert_eq!(guard.close().unwrap().written.records, 1);
        } else {
            drop(guard);
            assert_eq!(hears.try_recv(), Ok(1));
        }
        assert!(hears.try_recv().is_err());
        // Whoever still has the writer is refused.
        drop(writer.make_writer());
        assert!(files.write(b"late").is_err());
    }
}
