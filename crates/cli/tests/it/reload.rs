//! What does SIGHUP read anew?

use std::fs;

use rustix::process::Signal;

use crate::help::{Place, Program, wait_until};

/// Publishes a line, and waits until the options are read again for the `nth` time.
fn hup(program: &mut Program<'_>, nth: usize) -> String {
    program.feed("line\n");
    program.wait_until_read();
    program.signal(Signal::HUP);
    let told = |program: &Program<'_>| {
        let stderr = program.stderr();
        let lines: Vec<String> = stderr
            .lines()
            .filter(|line| line.contains("SIGHUP: ") && !line.contains("these change only"))
            .map(str::to_owned)
            .collect();
        lines.get(nth).cloned()
    };
    wait_until("the options are read again", || told(program).is_some());
    told(program).unwrap()
}

fn started<'a>(place: &'a Place, file: &str, args: &[&str]) -> Program<'a> {
    let args = [&["--config", file, "--forced=0", "--file-age=0"], args].concat();
    place.started(&args)
}

#[test]
fn retention_limits_and_hook_change_while_the_program_runs() {
    let place = Place::new();
    let hook = |name: &str| format!("on_publish = \"cp {{}} {}\"\n", place.join(name).display());
    let file = place.file("write.toml", hook("one"));
    let name = file.to_str().unwrap();
    let mut program = started(&place, name, &[]);
    let said = hup(&mut program, 0);
    assert!(said.ends_with("SIGHUP: options are read again; changed: nothing"), "{said}");
    wait_until("the first hook runs", || place.join("one").exists());
    fs::write(&file, format!("retain_files = 1\n{}", hook("two"))).unwrap();
    let said = hup(&mut program, 1);
    assert!(said.ends_with("changed: on_publish, retain_files"), "{said}");
    wait_until("one file stays", || place.visible().len() == 1 && place.join("two").exists());
    // Less free space than any disk has.
    fs::write(&file, format!("retain_files = 1\nmin_free = \"1EiB\"\n{}", hook("two"))).unwrap();
    let said = hup(&mut program, 2);
    assert!(said.ends_with("changed: min_free"), "{said}");
    wait_until("no lines are taken", || program.stderr().contains("no more lines are taken"));
    fs::write(&file, format!("retain_files = 0\n{}", hook("two"))).unwrap();
    program.signal(Signal::HUP);
    wait_until("lines are taken", || program.stderr().contains("there is room again"));
    let before = place.visible().len();
    hup(&mut program, 4);
    wait_until("all stay", || place.visible().len() > before);
    assert_eq!(program.end().code, 0);
}

#[test]
fn a_file_that_is_wrong_changes_nothing_and_says_so() {
    let place = Place::new();
    let file = place.file("write.toml", "retain_files = 1\n");
    let name = file.to_str().unwrap();
    let mut program = started(&place, name, &[]);
    for (nth, (text, why)) in [
        ("retain_fils = 5\n", "unknown key `retain_fils`, did you mean `retain_files`?"),
        ("retain_files = \"x\"\n", "retain_files = \"x\": "),
        ("retain_files = 5\nworkers = 0\n", "option workers is 0; permitted: 1 to 256"),
        ("retain_files", "TOML parse error"),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(&file, text).unwrap();
        let before = program.stderr().len();
        program.feed("line\n");
        program.wait_until_read();
        program.signal(Signal::HUP);
        let stays = "all options stay as they were";
        wait_until(text, || program.stderr()[before..].contains(stays));
        let said = program.stderr()[before..].to_owned();
        assert!(said.contains("SIGHUP: ") && said.contains(why), "{nth}: {said}");
    }
    wait_until("the old rule holds", || place.visible().len() == 1);
    fs::remove_file(&file).unwrap();
    let before = program.stderr().len();
    program.signal(Signal::HUP);
    wait_until("there is no file", || program.stderr()[before..].contains("No such file"));
    assert_eq!(program.end().code, 0);
}

#[test]
fn flags_come_before_the_file_and_what_can_not_change_is_named() {
    let place = Place::new();
    let file = place.file("write.toml", "workers = 1\n");
    let name = file.to_str().unwrap();
    let mut program = started(&place, name, &["--retain-files=1"]);
    let text = "workers = 2\nretain_files = 5\nprefix = \"a\"\non_publish = \"true\"\n";
    fs::write(&file, text).unwrap();
    let said = hup(&mut program, 0);
    assert!(said.ends_with("changed: nothing"), "{said}");
    let fixed = "SIGHUP: these change only with the next start: prefix, on_publish, workers\n";
    wait_until("they are named", || program.stderr().contains(fixed));
    hup(&mut program, 1);
    wait_until("the flag holds", || place.visible().len() == 1);
    assert_eq!(program.end().code, 0);
}

#[test]
fn without_a_file_sighup_publishes_and_says_nothing() {
    let place = Place::new();
    let mut program = place.started(&["--forced=0", "--file-age=0"]);
    program.signal(Signal::HUP);
    wait_until("the line is visible", || place.written() == b"first\n");
    program.feed("second\n");
    let ended = program.end();
    assert!(ended.code == 0 && !ended.stderr.contains("SIGHUP"), "{ended:?}");
}

#[test]
fn a_pipe_is_not_read_again_and_does_not_stop_the_next_ones() {
    let place = Place::new();
    let file = place.file("write.toml", "retain_files = 1\n");
    let mut program = started(&place, file.to_str().unwrap(), &[]);
    let pipe = place.join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    fs::rename(&pipe, &file).unwrap();
    let said = hup(&mut program, 0);
    let stays = "write.toml is not a regular file; all options stay as they were";
    assert!(said.ends_with(stays), "{said}");
    fs::remove_file(&file).unwrap();
    fs::write(&file, "retain_files = 2\n").unwrap();
    let said = hup(&mut program, 1);
    assert!(said.ends_with("changed: retain_files"), "{said}");
    assert_eq!(program.end().code, 0);
}
