//! Help for the tests: a place of its own for each, the program in it, waiting with a bound.
//!
//! Guarantees: every run's accounts are checked when it ends; nothing is left behind.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use bufferedwriter_testkit::dir::{TestDir, is_hidden, paths, paths_below};
use bufferedwriter_testkit::process;
use bufferedwriter_testkit::wait::holds_within;
use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The longest that any wait takes before its test fails: whoever uses the program waits no longer than that.
const BOUND: Duration = Duration::from_secs(10);

/// A directory that is removed in the end; `out` and `tmp` in it are the program's.
pub struct Place(TestDir);

impl Place {
    pub fn new() -> Self {
        let place = Place(TestDir::new());
        place.0.dir("out");
        place.0.dir("tmp");
        place
    }

    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    pub fn out(&self) -> PathBuf {
        self.join("out")
    }

    pub fn tmp(&self) -> PathBuf {
        self.join("tmp")
    }

    /// A file with this content.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Visible files, in the order of their names.
    pub fn visible(&self) -> Vec<PathBuf> {
        paths_below(&self.out()).into_iter().filter(|file| !is_hidden(file)).collect()
    }

    /// Bytes in the temp files of workers: more than 0 once a line is in one.
    pub fn temp_bytes(&self) -> u64 {
        let temps = paths(&self.tmp()).into_iter();
        let temps = temps.filter(|file| file.extension() == Some("tmp".as_ref()));
        temps.map(|file| file.metadata().map_or(0, |found| found.len())).sum()
    }

    /// The bytes of all visible files.
    pub fn written(&self) -> Vec<u8> {
        self.visible().iter().flat_map(|path| fs::read(path).unwrap()).collect()
    }

    /// `bufferedwriter write` with these arguments, nothing on standard input.
    pub fn write_command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bufferedwriter"));
        command.arg("write").arg("--path").arg(self.out()).arg("--temp").arg(self.tmp());
        command.args(args).stdin(Stdio::null());
        // Those of the tests are no options.
        let variables = std::env::vars_os().map(|(name, _)| name);
        for name in variables.filter(|name| name.as_encoded_bytes().starts_with(b"BUFFEREDWRITER_"))
        {
            command.env_remove(name);
        }
        // Whatever runs the tests may ignore signals, as `nohup` does.
        inherit(&mut command, libc::SIG_DFL, &SPOKEN);
        command
    }

    /// Starts it with `--json` and an open standard input.
    pub fn start<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Program<'_> {
        self.start_with(args, |_| {})
    }

    /// The same. It has caught signals and read one line.
    pub fn started(&self, args: &[&str]) -> Program<'_> {
        let mut program = self.start(args);
        program.feed("first\n");
        program.wait_until_caught();
        program.wait_until_read();
        program
    }

    /// As [`start`](Self::start), but for some changes.
    pub fn start_with<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        change: impl FnOnce(&mut Command),
    ) -> Program<'_> {
        let mut command = self.write_command(args);
        let (stdout, stderr) = (self.join("stdout"), self.join("stderr"));
        command
            .arg("--json")
            .stdin(Stdio::piped())
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap());
        change(&mut command);
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        Program { place: self, child, stdin }
    }

    /// Runs it to its end with this standard input.
    pub fn run<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        input: impl AsRef<[u8]>,
    ) -> Ended {
        let mut program = self.start(args);
        program.feed(input);
        program.end()
    }
}

/// A running program; killed if its test fails.
pub struct Program<'a> {
    place: &'a Place,
    child: Child,
    stdin: Option<ChildStdin>,
}

/// A program that ended by itself.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    /// Its summary; null where it ended before it read.
    pub json: Value,
    pub stderr: String,
}

impl Program<'_> {
    pub fn feed(&mut self, bytes: impl AsRef<[u8]>) {
        self.stdin.as_mut().unwrap().write_all(bytes.as_ref()).unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it has read all that it was fed.
    pub fn wait_until_read(&self) {
        let stdin = self.stdin.as_ref().unwrap();
        wait_until("the pipe is empty", || ioctl_fionread(stdin).unwrap() == 0);
    }

    /// Waits until it answers signals instead of dying of them.
    pub fn wait_until_caught(&self) {
        wait_until("signals are caught", || self.has_signals("SigCgt:", &SPOKEN));
    }

    /// Waits until it has heard the signals that it was sent, and waits for something else.
    pub fn wait_until_heard(&self) {
        // In this order: asleep after nothing was pending, so after it has looked.
        let is_pending = || SPOKEN.iter().any(|&signal| self.has_signals("ShdPnd:", &[signal]));
        wait_until("signals are heard", || !is_pending() && self.is_asleep());
    }

    /// Whether the set of this name in its status (proc(5)) has all these signals.
    pub fn has_signals(&self, set: &str, signals: &[Signal]) -> bool {
        let wanted: u64 = signals.iter().map(|signal| 1 << (signal.as_raw() - 1)).sum();
        u64::from_str_radix(&self.status(set), 16).unwrap() & wanted == wanted
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether its main thread waits for something just now.
    pub fn is_asleep(&self) -> bool {
        self.status("State:").starts_with('S')
    }

    /// Standard input, for another thread to feed.
    pub fn take_stdin(&mut self) -> ChildStdin {
        self.stdin.take().unwrap()
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(self.place.join("stderr")).unwrap()
    }

    /// Highest resident memory so far, in KiB.
    pub fn memory_kib_max(&self) -> u64 {
        self.number("VmHWM:")
    }

    /// A number in its status.
    pub fn number(&self, field: &str) -> u64 {
        process::number(self.child.id(), field)
    }

    fn status(&self, field: &str) -> String {
        process::status(self.child.id(), field)
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end, with standard input still open.
    pub fn wait(&mut self) -> Ended {
        wait_until("the program ends", || self.has_ended());
        let code = exit_code(self.child.wait().unwrap());
        let stdout = fs::read_to_string(self.place.join("stdout")).unwrap();
        let ended = Ended {
            code,
            json: serde_json::from_str(&stdout).unwrap_or_default(),
            stderr: self.stderr(),
        };
        ended.check_accounts();
        // A test may have moved the directory away.
        let out = self.place.out();
        let left = if out.is_dir() { paths_below(&out) } else { Vec::new() };
        assert!(!left.iter().any(|file| is_hidden(file)), "{left:?}");
        ended
    }

    /// Closes standard input and waits for the end.
    pub fn end(mut self) -> Ended {
        self.stdin = None;
        self.wait()
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Records of this kind.
    pub fn records(&self, kind: &str) -> u64 {
        self.json[kind]["records"].as_u64().unwrap_or_else(|| panic!("{kind}: {self:?}"))
    }

    fn check_accounts(&self) {
        if self.json.is_null() {
            return;
        }
        assert_eq!(self.json["exit_code"], self.code, "{self:?}");
        for unit in ["records", "bytes"] {
            let of = |kind: &str| self.json[kind][unit].as_u64().unwrap();
            let gone = of("refused") + of("lost") + of("overwritten") + of("unresolved");
            assert_eq!(of("read"), of("written") + gone, "{unit}: {self:?}");
        }
    }
}

/// The signals that the program knows.
pub const SPOKEN: [Signal; 3] = [Signal::HUP, Signal::INT, Signal::TERM];

/// Has the program find these signals ignored or with their default action.
pub fn inherit(command: &mut Command, action: libc::sighandler_t, signals: &[Signal]) {
    let signals: Vec<i32> = signals.iter().map(|signal| signal.as_raw()).collect();
    let set = move || {
        for &signal in &signals {
            // SAFETY: no handler is installed.
            unsafe { libc::signal(signal, action) };
        }
        Ok(())
    };
    // SAFETY: between fork and exec, `set` does nothing but call `signal`, which may be called there.
    unsafe { command.pre_exec(set) };
}

/// A pipe that takes no byte more: its reader and its writer.
pub fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    let size = rustix::pipe::fcntl_getpipe_size(&writer).unwrap();
    writer.write_all(&vec![b'x'; size]).unwrap();
    (reader, writer)
}

/// Panics where a signal ended the process.
pub fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| panic!("ended by signal {:?}", status.signal()))
}

/// Waits until it is so.
pub fn wait_until(what: &str, is_so: impl FnMut() -> bool) {
    assert!(holds_within(BOUND, is_so), "not within {BOUND:?}: {what}");
}

/// No options.
pub const PLAIN: [&str; 0] = [];

/// The lines, sorted.
pub fn sorted(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<_> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
    lines.sort_unstable();
    lines
}

/// This many different lines.
pub fn numbered(count: usize) -> String {
    (0..count).map(|number| format!("line {number} of a log\n")).collect()
}
