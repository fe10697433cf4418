//! Does `stats --watch` show what writers do, and leave the terminal as it was?

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::help::{Place, SPOKEN, exit_code, inherit, wait_until};
use crate::pty::Terminal;
use crate::stats::stats;

/// The program with its terminal; killed if its test fails.
struct Watching<'a> {
    terminal: &'a Terminal,
    child: Child,
}

impl<'a> Watching<'a> {
    fn start(place: &Place, terminal: &'a Terminal, change: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bufferedwriter"));
        command.args(["stats", "--watch", "--temp"]).arg(place.tmp());
        command.env_remove("NO_COLOR").env("TERM", "xterm").process_group(0);
        command.stdin(terminal.output()).stdout(terminal.output()).stderr(terminal.output());
        // A shell's background job is born with some of them ignored.
        inherit(&mut command, libc::SIG_DFL, &[&SPOKEN[..], &[Signal::QUIT]].concat());
        change(&mut command);
        Watching { terminal, child: command.spawn().unwrap() }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn is_stopped(&self) -> bool {
        bufferedwriter_testkit::process::status(self.child.id(), "State:").starts_with('T')
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end. Returns the exit code.
    fn end(mut self) -> i32 {
        wait_until("it ends", || self.has_ended());
        exit_code(self.child.wait().unwrap())
    }

    fn quit(self) {
        self.terminal.press(b"q");
        assert_eq!(self.end(), 0);
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn assert_given_back(terminal: &Terminal, before: &rustix::termios::Termios, by: &str) {
    let after = terminal.settings();
    assert_eq!(after.local_modes, before.local_modes, "{by}");
    assert_eq!(after.input_modes, before.input_modes, "{by}");
    assert_eq!(after.output_modes, before.output_modes, "{by}");
    // All is drained before a program ends, but the test may read later.
    wait_until("the screen is left", || terminal.shown().ends_with("\x1b[?25h\x1b[?1049l"));
}

#[test]
fn a_writer_is_followed_until_it_is_gone() {
    let place = Place::new();
    let terminal = Terminal::sized(80, 24);
    let watching = Watching::start(&place, &terminal, |_| {});
    terminal.wait_for_line(&["There are no writers"]);
    let mut program = place.started(&["--prefix=app_", "--forced=0", "--workers=2"]);
    terminal.wait_for_line(&["app_", "alive"]);
    terminal.wait_for_line(&["accepted", " 1 ", "6 B"]);
    terminal.wait_for_line(&["worker 1", "0 chunks"]);
    program.feed("second\n");
    terminal.wait_for_line(&["accepted", " 2 ", "13 B"]);
    program.signal(Signal::HUP);
    terminal.wait_for_line(&["written", " 2 "]);
    program.signal(Signal::KILL);
    wait_until("it is gone", || program.has_ended());
    terminal.wait_for_line(&["app_", "dead"]);
    fs::remove_dir_all(place.tmp()).unwrap();
    terminal.wait_for_line(&["list ", "No such file"]);
    fs::create_dir(place.tmp()).unwrap();
    terminal.wait_for_line(&["There are no writers"]);
    watching.quit();
}

#[test]
fn each_way_to_quit_gives_the_terminal_back() {
    let place = Place::new();
    let mut ways = vec![("end of input", None, None)];
    ways.extend(
        [("q", "q"), ("Esc", "\x1b"), ("Ctrl-C", "\x03"), ("Ctrl-D", "\x04")]
            .map(|(name, keys)| (name, Some(keys), None)),
    );
    ways.extend(
        [
            ("INT", Signal::INT),
            ("TERM", Signal::TERM),
            ("HUP", Signal::HUP),
            ("QUIT", Signal::QUIT),
        ]
        .map(|(name, signal)| (name, None, Some(signal))),
    );
    for (by, keys, signal) in ways {
        let terminal = Terminal::sized(80, 24);
        let before = terminal.settings();
        let mut watching = Watching::start(&place, &terminal, |command| {
            if keys.is_none() && signal.is_none() {
                command.stdin(Stdio::piped());
            }
        });
        terminal.wait_for_line(&["There are no writers"]);
        match (keys, signal) {
            (Some(keys), _) => terminal.press(keys.as_bytes()),
            (_, Some(signal)) => watching.signal(signal),
            _ => drop(watching.child.stdin.take()),
        }
        assert_eq!(watching.end(), 0, "{by}");
        assert_given_back(&terminal, &before, by);
    }
}

#[test]
fn a_terminal_that_goes_ends_it() {
    let place = Place::new();
    let terminal = Terminal::sized(80, 24);
    let (hung_up, keys) = std::io::pipe().unwrap();
    let mut watching = Watching::start(&place, &terminal, |command| {
        command.stdin(hung_up);
    });
    terminal.wait_for_line(&["There are no writers"]);
    assert!(!watching.has_ended());
    drop(keys);
    assert_eq!(watching.end(), 0);
}

#[test]
fn a_stop_shows_the_shell_and_the_screen_comes_back() {
    let place = Place::new();
    let terminal = Terminal::sized(80, 24);
    let before = terminal.settings();
    let watching = Watching::start(&place, &terminal, |_| {});
    terminal.wait_for_line(&["There are no writers"]);
    terminal.press(b"\x1a");
    wait_until("it stops", || watching.is_stopped());
    assert_given_back(&terminal, &before, "Ctrl-Z");
    watching.signal(Signal::CONT);
    terminal.wait_for_line(&["There are no writers"]);
    assert_ne!(terminal.settings().local_modes, before.local_modes);
    // What a stop from outside leaves is drawn anew, too.
    watching.signal(Signal::STOP);
    wait_until("it stops", || watching.is_stopped());
    let drawn = terminal.shown().len();
    watching.signal(Signal::CONT);
    // Blanks are not drawn on a blank screen.
    wait_until("all is drawn", || terminal.shown()[drawn..].contains("There"));
    watching.quit();
    assert_given_back(&terminal, &before, "q");
}

#[test]
fn it_takes_each_size_and_each_change() {
    let place = Place::new();
    let mut program = place.started(&["--prefix=app_"]);
    let terminal = Terminal::sized(1, 1);
    let watching = Watching::start(&place, &terminal, |_| {});
    for (columns, rows) in
        [(20, 3), (1, 1), (400, 200), (2, 40), (0, 0), (65_535, 65_535), (80, 24)]
    {
        terminal.resize(columns, rows);
        let drawn = terminal.shown().len();
        // It is no terminal that rules this process, so the system tells nothing.
        watching.signal(Signal::WINCH);
        wait_until("it draws", || terminal.shown().len() > drawn || (columns, rows) == (1, 1));
    }
    terminal.wait_for_line(&["app_", "alive"]);
    terminal.wait_for_line(&["accepted", " 1 "]);
    watching.quit();
    program.feed("second\n");
    assert_eq!(program.end().code, 0);
}

#[test]
fn there_are_no_colours_where_nobody_wants_them() {
    let place = Place::new();
    let mut program = place.started(&[]);
    let colours = ["31", "32", "33", "36"].map(|colour| format!(";{colour}m"));
    let is_coloured = |shown: &str| colours.iter().any(|colour| shown.contains(colour));
    for (args, no_color, expected) in [
        (&[][..], None, true),
        (&[], Some(""), true),
        (&[], Some("1"), false),
        (&["--color=never"], None, false),
        (&["--color=always"], Some("1"), true),
    ] {
        let terminal = Terminal::sized(80, 24);
        let watching = Watching::start(&place, &terminal, |command| {
            command.args(args);
            no_color.map(|value| command.env("NO_COLOR", value));
        });
        terminal.wait_for_line(&["alive"]);
        terminal.wait_for_line(&["q quits"]);
        let shown = terminal.shown();
        assert_eq!(is_coloured(&shown), expected, "{args:?}, {no_color:?}: {shown:?}");
        watching.quit();
    }
    program.feed("second\n");
    assert_eq!(program.end().code, 0);
}

#[test]
fn without_a_terminal_it_says_what_to_use() {
    let place = Place::new();
    let (code, out, err) = stats(&place, &["--watch"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("--watch needs a terminal") && err.contains("--json"), "{err}");
    assert_eq!(stats(&place, &["--watch", "--json"]).0, 2);
    let terminal = Terminal::sized(80, 24);
    let watching = Watching::start(&place, &terminal, |command| {
        command.env("TERM", "dumb");
    });
    assert_eq!(watching.end(), 2);
    terminal.wait_for("--watch needs a terminal");
    // An error of the first look is told as always, and the screen is not taken.
    fs::remove_dir(place.tmp()).unwrap();
    let terminal = Terminal::sized(80, 24);
    assert_eq!(Watching::start(&place, &terminal, |_| {}).end(), 1);
    terminal.wait_for("No such file");
    assert!(!terminal.shown().contains("1049"));
}

/// What a line says, without its numbers, and with what was continued on the next line.
fn words(lines: &[String]) -> Vec<Vec<String>> {
    let (mut all, mut width) = (Vec::<String>::new(), 0);
    for line in lines {
        match line.strip_prefix("             ").filter(|rest| !rest.starts_with(' ')) {
            Some(rest) => {
                // A blank at the end of a line can't be seen.
                let blank = if width < 80 { " " } else { "" };
                *all.last_mut().unwrap() += &format!("{blank}{rest}");
            }
            None => all.push(line.clone()),
        }
        width = line.chars().count();
    }
    // Counts, their units, names and paths are those of a run.
    let is_fixed = |word: &&str| {
        word.len() > 2 && !word.contains(|char: char| char.is_ascii_digit() || "/_#".contains(char))
    };
    let of = |line: &String| line.split_whitespace().filter(is_fixed).map(str::to_owned).collect();
    all.iter().filter(|line| !line.is_empty()).map(of).collect()
}

#[test]
fn the_guide_shows_what_a_run_shows() {
    let guide = include_str!("../../../../docs/guide/stats.md");
    let (_, shown) =
        guide.split_once("$ bufferedwriter stats --temp /var/log/app/.tmp --watch\n").unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    let place = Place::new();
    let hook = ["--workers=2", "--compress=zstd", "--on-publish=/bin/false {}"];
    let mut program =
        place.started(&[&hook[..], &["--prefix=access_", "--when-full=drop"]].concat());
    let terminal = Terminal::sized(200, 24);
    let watching = Watching::start(&place, &terminal, |_| {});
    program.signal(Signal::HUP);
    terminal.wait_for_line(&["error", "exit status: 1"]);
    program.feed("second\n");
    terminal.wait_for_line(&["accepted", " 2 "]);
    let seen: Vec<String> = terminal.screen();
    let guide: Vec<String> = shown.lines().map(str::to_owned).collect();
    assert_eq!(words(&guide), words(&seen), "in the guide, and seen: {seen:#?}");
    watching.quit();
    program.signal(Signal::KILL);
    wait_until("it is gone", || program.has_ended());
}
