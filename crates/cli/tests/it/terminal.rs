//! Does the program show on a terminal what is for people, and nowhere else?

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::help::{Place, wait_until};

/// A terminal whose other end keeps what is shown.
struct Terminal {
    device: PathBuf,
    shown: Arc<Mutex<Vec<u8>>>,
    /// Open, so that the terminal stays when a program has ended.
    kept: File,
}

impl Terminal {
    fn new() -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let device =
            PathBuf::from(ptsname(&controller, Vec::new()).unwrap().into_string().unwrap());
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, all) = (File::from(controller), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut block = [0; 4096];
            // An error is the end of the last program.
            while let Ok(read @ 1..) = reader.read(&mut block) {
                all.lock().unwrap().extend(&block[..read]);
            }
        });
        let kept = OpenOptions::new().read(true).write(true).open(&device).unwrap();
        Terminal { device, shown, kept }
    }

    fn output(&self) -> Stdio {
        self.kept.try_clone().unwrap().into()
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    fn wait_for(&self, text: &str) {
        wait_until(&format!("{text} on {}", self.device.display()), || self.shown().contains(text));
    }
}

#[test]
fn errors_have_colours_on_a_terminal_unless_they_are_not_wanted() {
    let coloured = |args: &[&str], no_color: Option<&str>, on_terminal: bool| {
        let terminal = Terminal::new();
        let mut command = Command::new(env!("CARGO_BIN_EXE_bufferedwriter"));
        command.args(args).args(["write", "--path=/tmp", "--no-such-flag"]).stdin(Stdio::null());
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env("TERM", "xterm");
        if let Some(value) = no_color {
            command.env("NO_COLOR", value);
        }
        if !on_terminal {
            let output = command.output().unwrap();
            assert_eq!(output.status.code(), Some(2));
            return output.stderr.contains(&0x1b);
        }
        assert_eq!(command.stderr(terminal.output()).status().unwrap().code(), Some(2));
        terminal.wait_for("--help");
        terminal.shown().contains('\u{1b}')
    };
    assert!(coloured(&[], None, true));
    assert!(!coloured(&[], Some("1"), true));
    assert!(!coloured(&["--color=never"], None, true));
    assert!(!coloured(&["--color=auto"], None, false));
    assert!(coloured(&["--color", "always"], None, false));
    assert!(coloured(&["--color", "always"], Some("1"), true), "a flag comes before a variable");
}

#[test]
fn progress_is_drawn_on_a_terminal_and_goes_with_the_end() {
    let place = Place::new();
    let terminal = Terminal::new();
    let mut child = place.write_command(["--file-size=1"]);
    let mut child = child.stdin(Stdio::piped()).stderr(terminal.output()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"a line\n").unwrap();
    terminal.wait_for(" MB/s, backlog 7 B (memory ");
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    terminal.wait_for("bufferedwriter: 1 records, 7 B in 1 file");
    let shown = terminal.shown();
    let (_, drawn) = shown.rsplit_once("\r0 records, ").unwrap();
    // Blanks over it, then the summary.
    assert!(drawn.contains(" \rbufferedwriter: 1 records"), "{shown:?}");
}

#[test]
fn progress_is_drawn_elsewhere_only_if_it_is_asked_for() {
    let place = Place::new();
    for (flag, is_drawn) in
        [("--progress=always", true), ("--progress=auto", false), ("--progress=never", false)]
    {
        let mut program = place.start(["--verbose", flag]);
        program.feed("a line\n");
        program.wait_until_caught();
        program.wait_until_read();
        if is_drawn {
            wait_until("progress is drawn", || {
                program.stderr().contains("\r0 records, 0 B written, ")
            });
        }
        program.signal(Signal::HUP);
        wait_until("a file is told", || {
            program.stderr().contains("files published: 1; 1 in all, 7 B")
        });
        let ended = program.end();
        assert_eq!(ended.code, 0, "{ended:?}");
        assert_eq!(ended.stderr.contains("records, "), is_drawn, "{flag}: {ended:?}");
    }
}

#[test]
fn details_are_told_if_they_are_asked_for() {
    let place = Place::new();
    let hook = "--on-publish=true {}";
    let quiet = place.run([hook, "--retain-files=1"], "a line\n");
    assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""));
    let file = place.file("input", "a line\n");
    let args = ["-v", hook, file.to_str().unwrap()];
    let told = place.run(args, "").stderr;
    let place_of = |dir: PathBuf| fs::canonicalize(dir).unwrap().display().to_string();
    for said in [
        format!(
            "writing to {}, temp files in {}; workers: 1; memory: ",
            place_of(place.out()),
            place_of(place.tmp())
        ),
        format!("reading {}\n", file.display()),
        "the reading is over: 1 lines\n".to_owned(),
        "recovery: nothing was left over\n".to_owned(),
        ": exit status: 0, 1 records, 7 bytes, ".to_owned(),
    ] {
        assert!(told.contains(&said), "{said}: {told}");
    }
}
