//! Is each record a valid line, whatever it holds?

use std::fmt;
use std::fs;
use std::path::Path;

use bufferedwriter::{BufferedWriter, Config};
use bufferedwriter_log::Logger;
use bufferedwriter_testkit::dir::{TestDir, paths_below};
use log::{Level, Log, Record};
use serde_json::{Value, json};

fn files(dir: &Path) -> BufferedWriter {
    BufferedWriter::new(Config::default().path(dir).temp(dir).workers(1)).unwrap()
}

fn contents(dir: &Path) -> String {
    paths_below(dir).iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// What a logger writes of this.
fn lines(new: fn(&BufferedWriter) -> Logger, log: impl FnOnce(&dyn Log)) -> Vec<String> {
    let dir = TestDir::new();
    let writer = files(dir.path());
    let logger = new(&writer);
    log(&logger);
    assert_eq!(writer.guard().close().unwrap().refused.total().records, 0);
    contents(dir.path()).lines().map(str::to_owned).collect()
}

/// Key-values of each kind, one of them twice.
fn odd(logger: &dyn Log) {
    let pairs: [(&str, log::kv::Value<'_>); 9] = [
        ("number", 7.into()),
        ("twice", 1.into()),
        ("ratio", 0.5.into()),
        ("nan", f64::NAN.into()),
        ("path", "/a b\n\"c\"".into()),
        ("yes", true.into()),
        ("odd key=", log::kv::Value::from_debug(&Some("x"))),
        ("message", "hidden".into()),
        ("twice", 2.into()),
    ];
    logger.log(
        &Record::builder()
            .level(Level::Warn)
            .target("app::\"db\"")
            .file(Some("src/main.rs"))
            .line(Some(7))
            .key_values(&pairs)
            .args(format_args!("hello \"{}\"", "world\u{1}"))
            .build(),
    );
}

#[test]
fn json_is_valid_and_has_each_key_once() {
    let lines = lines(|files| bufferedwriter_log::json(files).with_source(true), odd);
    let mut line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(lines[0].matches("\"twice\"").count(), 1);
    let time = line.as_object_mut().unwrap().remove("timestamp").unwrap();
    assert_eq!((time.as_str().unwrap().len(), time.as_str().unwrap().ends_with('Z')), (27, true));
    let fields = json!({
        "message": "hello \"world\u{1}\"", "number": 7, "ratio": 0.5, "nan": null, "path": "/a b\n\"c\"",
        "yes": true, "odd key=": "Some(\"x\")", "twice": 2,
    });
    assert_eq!(
        line,
        json!({
            "level": "WARN", "fields": fields, "target": "app::\"db\"", "filename": "src/main.rs", "line_number": 7,
        })
    );
}

#[test]
fn logfmt_and_text_are_one_line_each() {
    let pairs = "number=7 ratio=0.5 nan=NaN path=\"/a b\\n\\\"c\\\"\" yes=true odd_key_=\"Some(\\\"x\\\")\" twice=2";
    let logfmt = lines(|files| bufferedwriter_log::logfmt(files).without_time(), odd);
    let expected = "level=warn message=\"hello \\\"world\\u0001\\\"\"";
    assert_eq!(logfmt, [format!("{expected} {pairs} target=\"app::\\\"db\\\"\"")]);
    let text = lines(|files| bufferedwriter_log::text(files).without_time().with_source(true), odd);
    assert_eq!(text, [format!("WARN  app::\"db\": src/main.rs:7: hello \"world\u{1}\" {pairs}")]);
}

struct Fails;

impl fmt::Display for Fails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("half")?;
        Err(fmt::Error)
    }
}

#[test]
fn a_display_that_fails_ends_its_text() {
    let log = |logger: &dyn Log| {
        logger.log(&Record::builder().level(Level::Error).args(format_args!("{Fails}")).build());
    };
    let lines =
        lines(|files| bufferedwriter_log::json(files).without_time().with_target(false), log);
    assert_eq!(lines, [r#"{"level":"ERROR","fields":{"message":"half"}}"#]);
}

#[test]
fn a_filter_that_cant_be_read_is_an_error() {
    let dir = TestDir::new();
    let writer = files(dir.path());
    let error = bufferedwriter_log::text(&writer).filter("info,app=loud").unwrap_err();
    assert!(error.to_string().starts_with("read log filter: "), "{error}");
}

/// One test for the program's logger, since there is one.
#[test]
fn init_filters_and_its_guard_closes_the_files() {
    let (dir, other) = (TestDir::new(), TestDir::new());
    let logger = bufferedwriter_log::logfmt(&files(dir.path())).without_time();
    let guard = logger.filter("info,lines::db=debug,lines::web=off").unwrap().init().unwrap();
    log::info!(port = 80; "ready");
    log::debug!("nobody wants it");
    log::debug!(target: "lines::db", "wanted");
    log::error!(target: "lines::web", "off");
    // A second logger is refused, and its files stay open.
    let second = files(other.path());
    assert!(bufferedwriter_log::text(&second).init().is_err());
    second.write(b"open\n").unwrap();
    assert_eq!(guard.close().unwrap().written.records, 2);
    assert_eq!(
        contents(dir.path()),
        "level=info message=ready port=80 target=lines\nlevel=debug message=wanted target=lines::db\n"
    );
}
