//! Is a logger what a configuration file says?

use std::fs;

use bufferedwriter::{BufferedWriter, Config};
use bufferedwriter_log::{Format, InitError, LogConfig};
use bufferedwriter_testkit::dir::{TestDir, paths_below};
use log::{Level, Log, Record};

const FILE: &str = r#"
filter = "warn,app::db=debug"
format = "logfmt"
time = false
target = false
source = true

[files]
prefix = "app-"
size = "64KiB"
"#;

/// What a logger with this configuration writes of three records.
fn lines(config: &LogConfig) -> String {
    let dir = TestDir::new();
    let files = config.files.clone().path(dir.path()).temp(dir.path());
    let files = BufferedWriter::new(files).unwrap();
    let logger = config.logger(&files).unwrap();
    for (level, target) in [(Level::Info, "app"), (Level::Warn, "app"), (Level::Debug, "app::db")] {
        let mut record = Record::builder();
        let record = record.level(level).target(target).file(Some("a.rs")).line(Some(7));
        logger.log(&record.args(format_args!("hello")).build());
    }
    files.guard().close().unwrap();
    paths_below(dir.path()).iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn a_file_says_what_the_logger_does() {
    let config: LogConfig = toml::from_str(FILE).unwrap();
    assert_eq!(config.format, Format::Logfmt);
    assert_eq!(config.files.get("size").unwrap(), "64KiB");
    assert_eq!(config.files.get("prefix").unwrap(), "app-");
    assert_eq!(
        lines(&config),
        "level=warn message=hello filename=a.rs line_number=7\nlevel=debug message=hello filename=a.rs line_number=7\n"
    );
    let json = r#"{"format": "json", "time": false, "files": {"workers": 1}}"#;
    let config: LogConfig = serde_json::from_str(json).unwrap();
    assert_eq!(
        lines(&config),
        "{\"level\":\"INFO\",\"fields\":{\"message\":\"hello\"},\"target\":\"app\"}\n\
         {\"level\":\"WARN\",\"fields\":{\"message\":\"hello\"},\"target\":\"app\"}\n"
    );
}

#[test]
fn what_a_file_leaves_out_is_the_default() {
    let config: LogConfig = toml::from_str("").unwrap();
    assert_eq!(format!("{config:?}"), format!("{:?}", LogConfig::default()));
    assert_eq!((config.filter.as_str(), config.format), ("info", Format::Text));
    let mut config = config;
    config.time = false;
    assert_eq!(lines(&config), "INFO  app: hello\nWARN  app: hello\n");
}

#[test]
fn what_is_wrong_is_an_error_at_its_place() {
    let error = |text: &str| toml::from_str::<LogConfig>(text).unwrap_err().to_string();
    let all = "expected one of `filter`, `format`, `time`, `target`, `source`, `files`";
    for (text, place, message) in [
        (
            "time = true\nfromat = \"json\"",
            "line 2, column 1",
            &*format!("unknown field `fromat`, {all}"),
        ),
        (
            "format = \"xml\"",
            "line 1, column 10",
            "unknown variant `xml`, expected one of `text`, `json`, `logfmt`",
        ),
        (
            "format = 1",
            "line 1, column 10",
            "invalid type: integer `1`, expected a format of lines",
        ),
        ("filter = \"info,app=loud\"", "line 1, column 10", "read log filter: "),
        ("source = \"yes\"", "line 1, column 10", "expected a boolean"),
        (
            "[files]\nworker = 4",
            "line 2, column 1",
            "unknown key `worker`, did you mean `workers`?",
        ),
        ("[files]\nsize = \"64KiC\"", "line 2, column 8", "size = \"64KiC\": "),
    ] {
        let error = error(text);
        assert!(error.contains(place) && error.contains(message), "{text}: {error}");
    }
    let twice = r#"{"time": true, "time": true}"#;
    let error = serde_json::from_str::<LogConfig>(twice).unwrap_err().to_string();
    assert!(error.starts_with("duplicate field `time`"), "{error}");
}

/// One test for the program's logger, since there is one.
#[test]
fn init_checks_the_filter_opens_the_files_and_sets_the_logger() {
    let dir = TestDir::new();
    let config = || {
        let mut config: LogConfig = toml::from_str(FILE).unwrap();
        config.files = Config::default().path(dir.path().join("logs")).create_dirs(true);
        config
    };
    let mut wrong = config();
    wrong.filter = "info,app=loud".to_owned();
    assert!(matches!(wrong.init(), Err(InitError::Filter(_))));
    assert!(paths_below(dir.path()).is_empty(), "a directory was made");
    let mut wrong = config();
    wrong.files = wrong.files.workers(0);
    let error = wrong.init().unwrap_err();
    assert!(error.to_string().starts_with("open log files: option workers is 0"), "{error}");

    let guard = config().init().unwrap();
    log::info!("nobody wants it");
    log::warn!("wanted");
    let error = config().init().unwrap_err();
    assert_eq!(error.to_string(), "set logger: the program has one");
    assert_eq!(guard.close().unwrap().written.records, 1);
}
