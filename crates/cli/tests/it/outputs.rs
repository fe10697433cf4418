//! What goes to standard output and standard error, and what if nobody reads it?

use std::io::pipe;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::help::{Place, exit_code};

#[test]
fn json_is_one_object_on_standard_output_and_nothing_else() {
    let place = Place::new();
    let output = place.write_command(["--json"]).arg(place.file("log", "a\nb\n")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["read"], serde_json::json!({ "records": 2, "bytes": 4 }));
    assert_eq!(json["written"], json["read"]);
    assert!(json["seconds"].as_f64().unwrap() > 0.0);
    assert!(json["mb_per_second"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_summary_is_one_line_on_standard_error_without_progress_or_escapes() {
    let place = Place::new();
    let output = place.write_command([] as [&str; 0]).arg(place.file("log", "a\nb\n")).output();
    let output = output.unwrap();
    assert_eq!(output.stdout, b"");
    let stderr = String::from_utf8(output.stderr).unwrap();
    let out = place.out();
    let said = format!(
        "bufferedwriter: 2 records, 4 B in 1 file in {}; refused 0, lost 0; ",
        out.display()
    );
    assert!(stderr.starts_with(&said), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr:?}");
    assert!(!stderr.contains(['\r', '\x1b']), "{stderr:?}");
}

#[test]
fn quiet_is_silent_but_for_errors() {
    let place = Place::new();
    let log = place.file("log", "a\n");
    let output = place.write_command(["--quiet"]).arg(&log).output().unwrap();
    assert_eq!((exit_code(output.status), output.stderr, output.stdout), (0, vec![], vec![]));
    let output = place.write_command(["--quiet"]).arg(place.join("missing")).output().unwrap();
    assert_eq!(exit_code(output.status), 1);
    assert!(String::from_utf8(output.stderr).unwrap().contains("missing"));
}

#[test]
fn accounts_that_nobody_can_read_are_no_success() {
    let place = Place::new();
    let log = place.file("log", "a\n");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let unread = pipe().unwrap().1;
    for stdout in [Stdio::from(full), Stdio::from(unread)] {
        let output = place.write_command(["--json"]).arg(&log).stdout(stdout).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("write the summary to standard output: "), "{stderr}");
        assert_eq!(exit_code(output.status), 1);
    }
    assert_eq!(place.written(), b"a\n".repeat(2));
}

#[test]
fn closed_outputs_do_not_matter_to_the_lines() {
    let place = Place::new();
    let (missing, log) = (place.join("missing"), place.file("log", "a\n"));
    for args in [&["--json"][..], &[]] {
        // No descriptors at all.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" >&- 2>&-"]);
        command.arg(env!("CARGO_BIN_EXE_bufferedwriter")).args(["write", "--path"]);
        command.arg(place.out()).arg("--temp").arg(place.tmp()).args(args).args([&missing, &log]);
        assert_eq!(exit_code(command.status().unwrap()), 1);

        // Pipes that nobody reads.
        let unread = || Stdio::from(pipe().unwrap().1);
        let mut command = place.write_command(args);
        command.args([&missing, &log]).stdout(unread()).stderr(unread());
        assert_eq!(exit_code(command.status().unwrap()), 1);
    }
    assert_eq!(place.written(), b"a\n".repeat(4));
}
