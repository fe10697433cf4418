//! Is every line in a visible file, whole and once?

use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::help::{PLAIN, Place, numbered, sorted};

#[test]
fn standard_input_is_written_line_by_line() {
    let place = Place::new();
    let input = numbered(50_000);
    let ended = place.run(PLAIN, &input);
    assert_eq!((ended.code, ended.records("written")), (0, 50_000), "{ended:?}");
    assert_eq!(sorted(&place.written()), sorted(input.as_bytes()));
}

#[test]
fn files_are_read_one_after_the_other_and_dash_is_standard_input() {
    let place = Place::new();
    let (one, two) = (place.file("one", numbered(1000)), place.file("two", "last, no newline"));
    let args = [one.to_str().unwrap(), "-", two.to_str().unwrap()];
    let ended = place.run(args, "from the pipe");
    assert_eq!(ended.code, 0, "{ended:?}");
    let expected = format!("{}from the pipe\nlast, no newline\n", numbered(1000));
    assert_eq!(sorted(&place.written()), sorted(expected.as_bytes()));
}

#[test]
fn one_worker_keeps_the_order_of_the_input_from_file_to_file() {
    let place = Place::new();
    let input = numbered(50_000);
    let ended = place.run(["--workers=1", "--file-size=50KB", "--size=1000"], &input);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(place.visible().len() > 5, "{ended:?}");
    assert!(place.written() == input.as_bytes());
}

#[test]
fn a_missing_final_newline_is_added() {
    let place = Place::new();
    assert_eq!(place.run(PLAIN, "one\ntwo").code, 0);
    assert_eq!(sorted(&place.written()), [b"one\n", b"two\n"]);
}

#[test]
fn crlf_empty_lines_and_odd_bytes_are_kept() {
    let place = Place::new();
    let input = b"dos\r\n\n\r\n\xff\x00\xfe\nlone\rcr\n";
    assert_eq!(place.run(PLAIN, input).code, 0);
    assert_eq!(sorted(&place.written()), sorted(input));
}

#[test]
fn empty_input_makes_no_file() {
    let place = Place::new();
    let ended = place.run(PLAIN, "");
    assert_eq!((ended.code, &ended.json["files"]), (0, &0.into()), "{ended:?}");
    assert_eq!(place.visible(), [] as [PathBuf; 0]);
}

#[test]
fn a_full_memory_makes_the_input_wait() {
    let place = Place::new();
    let input = numbered(5_000);
    let ended = place.run(["--queue-size=0", "--workers=1", "--size=64"], &input);
    assert_eq!((ended.code, ended.records("written")), (0, 5_000), "{ended:?}");
    assert_eq!(sorted(&place.written()), sorted(input.as_bytes()));
}

#[test]
fn a_full_memory_drops_and_counts_where_asked_for() {
    let place = Place::new();
    let input = place.file("log", numbered(200_000));
    let args = ["--queue-size=0", "--workers=1", "--size=64", "--when-full=drop"];
    let args = args.into_iter().chain([input.to_str().unwrap()]);
    let ended = place.run(args, "");
    assert_eq!((ended.code, ended.records("read")), (3, 200_000), "{ended:?}");
    assert!(ended.records("refused") > 0 && ended.records("written") > 0, "{ended:?}");
    let written = place.written();
    let lines = sorted(&written);
    assert_eq!(lines.len() as u64, ended.records("written"));
    let whole = numbered(200_000);
    let whole = sorted(whole.as_bytes());
    assert!(lines.iter().all(|line| whole.binary_search(line).is_ok()), "torn lines");
}

#[test]
fn synced_files_hold_the_same() {
    let place = Place::new();
    let input = numbered(20_000);
    let ended = place.run(["--durability=file", "--file-size=100KB", "--workers=2"], &input);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(place.visible().len() > 1);
    assert_eq!(sorted(&place.written()), sorted(input.as_bytes()));
}

#[test]
fn real_logs() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let logs = env::var_os("BUFFEREDWRITER_TEST_LOGS").map_or(beside, PathBuf::from);
    if !logs.is_dir() {
        println!("skipped: no logs in {}", logs.display());
        return;
    }
    let place = Place::new();
    let mut inputs: Vec<_> = fs::read_dir(&logs).unwrap().map(|log| log.unwrap().path()).collect();
    inputs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    assert!(!inputs.is_empty(), "no logs in {}", logs.display());
    let mut expected = Vec::new();
    for input in &inputs {
        expected.extend(fs::read(input).unwrap());
        if expected.last() != Some(&b'\n') {
            expected.push(b'\n');
        }
    }
    let ended = place.run(&inputs, "");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.json["written"]["bytes"], expected.len());
    assert!(sorted(&place.written()) == sorted(&expected), "other lines than in the logs");
}
