//! What do running writers tell through `stats`?

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use bufferedwriter_testkit::dir::{is_hidden, paths};
use rustix::process::Signal;
use serde_json::Value;

use crate::help::{Place, wait_until};

/// `bufferedwriter stats` with these arguments: its exit code, and what it printed on the two outputs.
pub fn stats(place: &Place, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bufferedwriter"));
    command.arg("stats").arg("--temp").arg(place.tmp()).args(args).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn writers(place: &Place, args: &[&str]) -> Vec<Value> {
    let (code, out, err) = stats(place, &[&["--json"], args].concat());
    assert_eq!((code, err.as_str()), (0, ""));
    serde_json::from_str::<Value>(&out).unwrap()["writers"].as_array().unwrap().clone()
}

#[test]
fn a_running_writer_is_shown_and_a_dead_one_is_told_from_it() {
    let place = Place::new();
    let none = format!("bufferedwriter: there are no writers in {}\n", place.tmp().display());
    assert_eq!(stats(&place, &[]), (0, String::new(), none));
    let mut program = place.started(&["--prefix=app_", "--forced=0"]);
    wait_until("the line is told", || {
        writers(&place, &[])[0]["last_refresh"]["accepted"]["records"] == 1
    });
    let writer = writers(&place, &["--prefix=app_"]).pop().unwrap();
    assert_eq!((&writer["alive"], &writer["prefix"]), (&true.into(), &"app_".into()));
    assert_eq!(writer["path"], place.out().to_str().unwrap());
    assert_eq!(
        (&writer["last_refresh"]["pending"]["bytes"], &writer["last_refresh"]["healthy"]),
        (&6.into(), &true.into())
    );
    assert!(writers(&place, &["--prefix=other"]).is_empty());
    let (code, text, _) = stats(&place, &[]);
    assert!(code == 0 && text.starts_with("app_") && text.contains("(alive)"), "{text}");
    assert!(text.contains("\n  accepted    1 records, 6 B; ") && !text.contains("error"), "{text}");
    program.signal(Signal::HUP);
    wait_until("the file is told", || {
        writers(&place, &[])[0]["last_refresh"]["written"]["records"] == 1
    });
    program.signal(Signal::KILL);
    wait_until("it is gone", || program.has_ended());
    assert_eq!(writers(&place, &[])[0]["alive"], false);
    assert!(stats(&place, &[]).1.contains("(dead)"));
}

#[test]
fn metrics_are_those_of_the_guide_and_a_file_of_them_is_replaced_at_once() {
    let place = Place::new();
    let mut program = place.started(&["--prefix=a\"b"]);
    wait_until("the line is told", || {
        writers(&place, &[])[0]["last_refresh"]["accepted"]["records"] == 1
    });
    let (code, text, err) = stats(&place, &["--prometheus"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let labels = format!("{{prefix=\"a\\\"b\",path=\"{}\",writer=", place.out().display());
    let up = format!(
        "# HELP bufferedwriter_up Whether the writer lives\n# TYPE bufferedwriter_up gauge\nbufferedwriter_up{labels}"
    );
    assert!(text.starts_with(&up), "{text}");
    let accepted =
        text.lines().find(|line| line.starts_with("bufferedwriter_accepted_records_total"));
    assert!(
        accepted.is_some_and(|line| line.contains(&labels) && line.ends_with("\"} 1")),
        "{text}"
    );
    let file = place.file("bw.prom", "what was there before, and is longer than nothing");
    let before = fs::File::open(&file).unwrap();
    let (code, out, err) = stats(&place, &["--prometheus", "--output", file.to_str().unwrap()]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", ""));
    let written = fs::read_to_string(&file).unwrap();
    assert!(written.starts_with(&up) && written.ends_with('\n'));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o644);
    // Who read the old one reads on in it.
    assert_eq!(std::io::read_to_string(before).unwrap().len(), 49);
    let left = paths(&place.join(""));
    assert!(!left.iter().any(|file| is_hidden(file)), "{left:?}");
    let (code, _, err) = stats(&place, &["--prometheus", "--output", "/no/such/dir/x.prom"]);
    assert!(code == 1 && err.contains("write to /no/such/dir/x.prom: "), "{err}");
    program.feed("second\n");
    assert_eq!(program.end().code, 0);
    assert!(writers(&place, &[]).is_empty());
}

#[test]
fn a_terminal_obeys_nothing_that_a_writer_is_called() {
    let place = Place::new();
    let mut program = place.started(&["--prefix=a\u{1b}]0;b\u{7}_"]);
    let (code, text, _) = stats(&place, &[]);
    assert!(code == 0 && text.starts_with(r"a\u{1b}]0;b\u{7}_"), "{text:?}");
    assert!(!text.contains(|char: char| char.is_control() && char != '\n'), "{text:?}");
    program.feed("second\n");
    assert_eq!(program.end().code, 0);
}

#[test]
fn what_is_wrong_is_told() {
    let place = Place::new();
    fs::remove_dir(place.tmp()).unwrap();
    let (code, out, err) = stats(&place, &[]);
    assert!(
        code == 1 && out.is_empty() && err.contains("list ") && err.contains("No such file"),
        "{err}"
    );
    assert_eq!(stats(&place, &["--json", "--prometheus"]).0, 2);
    assert_eq!(stats(&place, &["--output=x"]).0, 2);
}
