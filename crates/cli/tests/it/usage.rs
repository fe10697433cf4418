//! Do errors of the command line and of the environment have their exit code, and name the cause?

use std::process::{Command, Output};

use crate::help::{Place, exit_code};

fn run(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_bufferedwriter")).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (exit_code(status), text(stdout), text(stderr))
}

#[test]
fn wrong_command_lines_are_2() {
    for args in [
        &["write"][..],
        &["write", "--path"],
        &["write", "--path=/tmp", "--no-such-flag"],
        &["write", "--path=/tmp", "--size=-1"],
        &["write", "--path=/tmp", "--size=0.3KiB"],
        &["write", "--path=/tmp", "--forced=-5s"],
        &["write", "--path=/tmp", "--forced=5"],
        &["write", "--path=/tmp", "--mode=9"],
        &["write", "--path=/tmp", "--durability=always"],
        &["write", "--path=/tmp", "--compress=lz4"],
        &["write", "--path=/tmp", "--rotate-at=week"],
        &["write", "--path=/tmp", "--header=@/no/such/file"],
        &["no-such-command"],
        &[],
    ] {
        let (code, stdout, stderr) = run(args);
        assert_eq!((code, stdout.as_str()), (2, ""), "{args:?}");
        assert!(stderr.contains("Usage") || stderr.contains("--help"), "{args:?}: {stderr}");
    }
}

#[test]
fn a_wrong_value_says_why_and_a_wrong_flag_what_was_meant() {
    for (arg, said) in [
        ("--forced=-1s", "must not be negative"),
        ("--forced=5", "not a duration with a unit, such as 100ms, 5s or 1m30s"),
        ("--file-size=0.3KiB", "not a whole number of bytes"),
        ("--compres=zstd", "a similar argument exists: '--compress'"),
        ("--retain-day=3", "a similar argument exists: '--retain-"),
        ("--when-full=dropp", "a similar value exists: 'drop'"),
    ] {
        let (code, _, stderr) = run(&["write", "--path=/tmp", arg]);
        assert!(code == 2 && stderr.contains(said), "{arg}: {stderr}");
    }
    let (_, _, stderr) = run(&["wirte"]);
    assert!(stderr.contains("a similar subcommand exists: 'write'"), "{stderr}");
}

#[test]
fn values_are_as_people_write_them() {
    for (arg, line) in [
        ("--forced=1.5s", "forced = \"1.5s\""),
        ("--forced=5m", "forced = \"5m\""),
        ("--forced=1h30m", "forced = \"1h30m\""),
        ("--file-size=1.5GiB", "file_size = \"1.5GiB\""),
    ] {
        let (code, stdout, stderr) = run(&["config", "--path=/tmp", arg]);
        assert!(code == 0 && stdout.contains(line), "{arg}: {stdout}{stderr}");
    }
}

#[test]
fn options_out_of_range_are_2_and_named() {
    for (arg, option) in [
        ("--size=0", "size"),
        ("--size=2GiB", "size"),
        ("--queue-size=2000000", "queue-size"),
        ("--workers=0", "workers"),
        ("--workers=257", "workers"),
        ("--mode=1777", "mode"),
        ("--prefix=a/b", "prefix"),
        ("--rotate-at=7m", "rotate-at"),
        ("--rotate-at=0h", "rotate-at"),
        ("--rotate-at=48h", "rotate-at"),
        ("--time-zone=Europe/Atlantis", "time-zone"),
        ("--extension=a/b", "extension"),
        ("--compress=zstd:20", "compress"),
        ("--compress=gzip:10", "compress"),
        ("--header=@/dev/zero", "header"),
        ("--footer=@/dev/zero", "footer"),
    ] {
        let (code, _, stderr) = run(&["write", "--path=/tmp", arg, "/dev/null"]);
        assert_eq!(code, 2, "{arg}: {stderr}");
        assert!(stderr.starts_with(&format!("error: --{option} is ")), "{arg}: {stderr}");
        assert!(stderr.contains("; permitted: "), "{arg}: {stderr}");
    }
}

#[test]
fn a_bad_directory_is_1_and_named() {
    let place = Place::new();
    let missing = place.join("missing");
    let (code, _, stderr) = run(&["write", "--path", missing.to_str().unwrap(), "/dev/null"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains(missing.to_str().unwrap()), "{stderr}");
    assert!(stderr.ends_with("; --create-dirs makes missing directories\n"), "{stderr}");
}

#[test]
fn help_and_version_are_0_and_tell_the_exit_codes() {
    let (code, stdout, _) = run(&["--version"]);
    assert_eq!((code, stdout), (0, format!("bufferedwriter {}\n", env!("CARGO_PKG_VERSION"))));
    let (code, stdout, stderr) = run(&["write", "--help"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    for said in ["Exit codes", "SIGHUP", "[default: 8192]", "--when-full", "newline"] {
        assert!(stdout.contains(said), "{said}");
    }
}

#[test]
fn completions_and_man_pages_know_each_option() {
    let place = Place::new();
    let program = || Command::new(env!("CARGO_BIN_EXE_bufferedwriter"));
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let output = program().args(["generate", "completions", shell]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains("retain-unacknowledged"), "{shell}");
    }
    let output = program().args(["generate", "man"]).arg(place.out()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    for page in ["bufferedwriter", "bufferedwriter-write", "bufferedwriter-recover"] {
        let text = std::fs::read_to_string(place.out().join(format!("{page}.1"))).unwrap();
        assert!(text.contains(".TH") && text.contains("SYNOPSIS"), "{page}: {text}");
    }
    let text = std::fs::read_to_string(place.out().join("bufferedwriter-write.1")).unwrap();
    assert!(text.contains(r"retain\-unacknowledged") && text.contains("Exit codes"), "{text}");
    let output = program().args(["generate", "man", "/no/such/dir"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
