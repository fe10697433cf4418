//! Promise: options can be read from YAML too, with its own ideas of what is a number or a flag.

use std::time::Duration;

use bufferedwriter::{Boundary, Compression, Config, CrashProof};
use bufferedwriter_log::{Format, LogConfig};

const FILE: &str = "
size: 64KiB
queue_size: 7
workers: '3'
path: /var/log/app
prefix: access_
mode: 0640
file_size: 8000
file_age: 1m30s
forced: 0
rotate_at: 15m
compression: zstd:3
crash_proof: off
create_dirs: true
latest: ~
partition: app={app}
partition_value:
  app: shop
";

#[test]
fn a_file_says_what_setters_say() {
    let config: Config = serde_yaml_ng::from_str(FILE).unwrap();
    let expected = Config::default()
        .size(64 << 10)
        .queue_size(7)
        .workers(3)
        .path("/var/log/app")
        .prefix("access_")
        .mode(0o640)
        .file_size(8000)
        .file_age(Duration::from_secs(90))
        .forced(Duration::ZERO)
        .rotate_at(Boundary::Minutes(15))
        .compression(Compression::Zstd(3))
        .crash_proof(CrashProof::Off)
        .create_dirs(true)
        .partition("app={app}")
        .partition_value("app", "shop");
    assert_eq!(format!("{config:?}"), format!("{expected:?}"));
    let written = serde_yaml_ng::to_string(&config).unwrap();
    let again: Config = serde_yaml_ng::from_str(&written).unwrap();
    assert_eq!(format!("{again:?}"), format!("{config:?}"));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, message) in [
        (
            "size: 1\nworker: 4\n",
            "unknown key `worker`, did you mean `workers`? at line 2 column 1",
        ),
        (
            "size: 64 apples\n",
            "size = \"64 apples\": not a size, such as 8192, 8KB or 64KiB at line 1",
        ),
        ("path:\n", "path: has no value"),
        ("mode: 640\n", "mode = \"640\": must be octal text in quotes"),
        ("forced: 5\n", "forced = \"5\": not a duration with a unit"),
        ("partition_value:\n  app: 5\n", "partition_value.app: must be text, in quotes"),
    ] {
        let error = serde_yaml_ng::from_str::<Config>(text).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn a_logger_is_read_with_its_files() {
    let file = "filter: warn,app::db=debug\nformat: json\ntime: no\nfiles:\n  size: 64KiB\n";
    let error = serde_yaml_ng::from_str::<LogConfig>(file).unwrap_err().to_string();
    assert!(error.contains("expected a boolean at line 3 column 7"), "{error}");
    let config: LogConfig = serde_yaml_ng::from_str(&file.replace("no", "false")).unwrap();
    assert_eq!((config.format, config.time), (Format::Json, false));
    assert_eq!(config.filter, "warn,app::db=debug");
    assert_eq!(config.files.get("size").unwrap(), "64KiB");
}
