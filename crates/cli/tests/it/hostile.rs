//! What nobody would send or write on purpose: is each refused with a clear error, or written as it is?

use std::fs;
use std::process::{Command, Stdio};

use bufferedwriter_testkit::random::Random;

use crate::help::{PLAIN, Place};

#[test]
fn a_million_empty_lines_are_a_million_records() {
    let place = Place::new();
    let mut program = place.start(PLAIN);
    program.feed("\n".repeat(1_000_000));
    program.wait_until_read();
    let kib = program.memory_kib_max();
    assert!(kib < 64 << 10, "{kib} KiB");
    let ended = program.end();
    assert_eq!((ended.code, ended.records("written")), (0, 1_000_000), "{ended:?}");
    assert_eq!(place.written().len(), 1_000_000);
}

#[test]
fn any_bytes_pass() {
    let place = Place::new();
    let mut random = Random::new(3);
    let mut input: Vec<u8> = (0..1 << 18).flat_map(|_| random.next().to_le_bytes()).collect();
    // Runs of NUL bytes, longer than a page, a chunk and a block of the reader; UTF-8 cut in the middle.
    for length in [5000, 10_000, 300_000] {
        input.extend(vec![0; length]);
        input.extend(b"\n\xe2\x82\n\xf0\x9f\x98\n\xff\xfe\r\n");
    }
    let ended = place.run(["--file-size=256KiB"], &input);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(place.visible().len() > 4 && place.written() == input);
}

#[test]
fn thousands_of_files_of_others_change_nothing() {
    let place = Place::new();
    for number in 0..3000 {
        // Some look almost like this program's.
        let name =
            ["x", "20301301T000000.000000000Z-0-0-w0-1.log", ".20300101T0.log.tmp", "w0-1.log"]
                [number % 4];
        fs::write(place.out().join(format!("{number}{name}")), "another's").unwrap();
        fs::write(place.tmp().join(format!("{number}{name}")), "another's").unwrap();
    }
    let args = [
        "--retain-files=1",
        "--retain-age=1s",
        "--max-total=1GiB",
        "--rotate-at=hour",
        "--file-size=1",
    ];
    let ended = place.run(args, "one line\n");
    assert_eq!((ended.code, ended.records("written")), (0, 1), "{ended:?}");
    let is_there = |dir: std::path::PathBuf| fs::read_dir(dir).unwrap().count();
    assert_eq!((is_there(place.out()), is_there(place.tmp())), (3001, 3000));
}

/// The keys that a file may have, each with values of wrong types.
fn keys() -> Vec<(String, Vec<&'static str>)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bufferedwriter"));
    let output = command.args(["config", "--path=/p"]).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // Those that are not set are comments.
    let names = text.lines().map(|line| line.trim_start_matches("# "));
    let names = names.filter_map(|line| line.split([' ', '=']).next()).map(str::to_owned);
    let never = ["[1]", "1.5", "2026-11-30", "{ a = [] }", "[{}]", "nan"];
    names
        .map(|name| {
            let value = text.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")));
            let more: &[&str] = match value.map(|value| value.split(' ').next().unwrap()) {
                Some("true" | "false") => &["1", "\"true\"", "\"\""],
                Some(number) if number.parse::<u64>().is_ok() => {
                    &["true", "-1", "\"\"", "\"x\"", "\"1 x\""]
                }
                _ if name == "crash_proof" => &["1"],
                Some(_) => &["true"],
                // Those that are not set are text, or a table.
                None => &["true", "1"],
            };
            (name, [&never[..], more].concat())
        })
        .filter(|(name, _)| !name.is_empty())
        .collect()
}

#[test]
fn each_key_with_a_value_of_a_wrong_type_is_refused_with_its_name_and_its_file() {
    let keys = keys();
    assert!(keys.len() > 30 && keys.iter().any(|(name, _)| name == "when_full"), "{keys:?}");
    let place = Place::new();
    for (key, values) in keys {
        for value in values {
            let file = place.file("wrong.toml", format!("{key} = {value}\n"));
            let output =
                place.write_command([format!("--config={}", file.display())]).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            let told = format!("error: {}: {key}", file.display());
            assert_eq!(output.status.code(), Some(2), "{key} = {value}: {said}");
            assert!(said.starts_with(&told), "{key} = {value}: {said}");
        }
    }
    assert!(place.visible().is_empty());
}

#[test]
fn a_file_of_options_that_is_none_is_refused() {
    let place = Place::new();
    let huge = format!("path = \"{}\"", "x".repeat(1 << 20));
    let endless = "\0".repeat(20 << 20);
    for (content, said) in [
        (&b"\xff\xfe"[..], "valid UTF-8"),
        (b"\0", "TOML parse error"),
        (b"path", "TOML parse error"),
        (b"[path", "TOML parse error"),
        (b"path = \"a\"\npath = \"b\"", "duplicate key"),
        (huge.as_bytes(), "File name too long"),
        (endless.as_bytes(), "longer than 2097152 bytes"),
    ] {
        let file = place.file("wrong.toml", content);
        let mut command = Command::new(env!("CARGO_BIN_EXE_bufferedwriter"));
        command.args(["write", "--config"]).arg(&file).stdin(Stdio::null());
        let output = command.output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(matches!(output.status.code(), Some(1 | 2)) && told.contains(said), "{told:.300}");
    }
}
