//! Plants bugs, one at a time, and expects what must notice each to fail. Run it by `scripts/planted`,
//! `scripts/planted-disk` and `scripts/planted-sanitize`, from the root of the repository.
//!
//!     planted [--disk | --sanitize] [--list | --build-only] [WORD...]
//!
//! With words, only bugs whose names contain one of them. `--build-only` runs no tests: after code was moved, it
//! tells in a few seconds for each bug whether it still compiles.
//!
//! `PLANTED_EVERY=N` plants each N-th. The exit code is 0 if all were caught. Linux only: `timeout` and
//! `git` must be there.

use bufferedwriter_testkit::planted::{Bug, Check, Kind, apply, load, read};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;
use std::{env, iter};

/// All models.
const MODELS: &str = "tests::loom::";

/// Ends the line with which the output of a failed test begins.
const FAILED: &str = " stdout ----";

/// Models that take long. The others are asked first, since most bugs show in them.
const SLOW_MODELS: &[&str] = &[
    "seal_and_inbox",
    "chunks_go_round",
    "sleep_and_a_swap",
    "free_list",
    "scrape_keeps_order",
    "accepted_is_consistent",
];

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("planted: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<ExitCode, String> {
    let options = Options::parse(env::args().skip(1))?;
    let bugs: Vec<Bug> = load(Path::new("."))?;
    if options.list {
        options.list(&bugs);
        return Ok(ExitCode::SUCCESS);
    }
    let planter = Planter::new(&options).map_err(|error| error.to_string())?;
    let (mut caught, mut survived, mut turn) = (0, 0, 0);
    for (bug, check) in options.chosen(&bugs) {
        turn += 1;
        if turn % options.every != 0 {
            continue;
        }
        let verdict =
            planter.plant(bug, check).map_err(|error| format!("{}: {error}", bug.name))?;
        match &verdict {
            Verdict::Caught(what) => println!("planted {}: caught {what}", bug.name),
            Verdict::Built => println!("planted {}: builds", bug.name),
            Verdict::Skipped(what) => println!("planted {}: {what}", bug.name),
            Verdict::Survived(what) => println!("planted {}: {what}", bug.name),
        }
        caught += usize::from(matches!(verdict, Verdict::Caught(_) | Verdict::Built));
        survived += usize::from(matches!(verdict, Verdict::Survived(_)));
    }
    if turn == 0 {
        return Err(format!("no bug's name contains any of {:?}", options.words));
    }
    let (every, what) = (options.every, if options.build_only { "built" } else { "caught" });
    println!(
        "planted bugs: {caught} {what}, {survived} not {what}, of {turn} (every {every}. planted)"
    );
    Ok(if survived == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Which checks are made.
#[derive(Clone, Copy, PartialEq)]
enum Suite {
    Tests,
    Disk,
    Sanitize,
}

impl Suite {
    fn of(kind: Kind) -> Suite {
        match kind {
            Kind::Disk => Suite::Disk,
            Kind::Sanitize => Suite::Sanitize,
            _ => Suite::Tests,
        }
    }

    /// Below the target directory.
    fn folder(self) -> &'static str {
        match self {
            Suite::Tests => "planted",
            Suite::Disk => "planted-disk",
            Suite::Sanitize => "planted-sanitize",
        }
    }
}

struct Options {
    suite: Suite,
    list: bool,
    build_only: bool,
    every: usize,
    /// None = all bugs.
    words: Vec<String>,
}

impl Options {
    fn parse(args: impl Iterator<Item = String>) -> Result<Options, String> {
        let every = match env::var("PLANTED_EVERY") {
            Ok(every) => every.parse().ok().filter(|&every| every > 0),
            Err(_) => Some(1),
        };
        let every = every.ok_or("PLANTED_EVERY is a number from 1 on")?;
        let suite = Suite::Tests;
        let mut options =
            Options { suite, list: false, build_only: false, every, words: Vec::new() };
        for arg in args {
            match arg.as_str() {
                "--disk" => options.suite = Suite::Disk,
                "--sanitize" => options.suite = Suite::Sanitize,
                "--list" => options.list = true,
                "--build-only" => options.build_only = true,
                option if option.starts_with("--") => return Err(format!("no option {option}")),
                word => options.words.push(word.into()),
            }
        }
        Ok(options)
    }

    fn names(&self, bug: &Bug) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| bug.name.contains(word))
    }

    /// Prints names with what must notice them, and how many there are of each kind.
    fn list(&self, bugs: &[Bug]) {
        for bug in bugs.iter().filter(|bug| self.names(bug)) {
            for check in &bug.checks {
                println!("{}: {} {}", bug.name, check.kind.name(), check.args.join(" "));
            }
        }
        for (kind, count) in Kind::count(bugs) {
            println!("{count} for {}", kind.name());
        }
    }

    fn chosen<'a>(&self, bugs: &'a [Bug]) -> impl Iterator<Item = (&'a Bug, &'a Check)> {
        let named = bugs.iter().filter(|bug| self.names(bug));
        let pairs = named.flat_map(|bug| iter::repeat(bug).zip(&bug.checks));
        pairs.filter(|(_, check)| Suite::of(check.kind) == self.suite)
    }
}

/// What became of a planted bug; each with the rest of its line.
enum Verdict {
    Caught(String),
    /// No more was asked.
    Built,
    Survived(String),
    /// What must notice it can't run here.
    Skipped(String),
}

/// Where bugs are planted.
struct Planter {
    /// For builds and logs.
    work: PathBuf,
    /// The copy that is patched.
    tree: PathBuf,
    build_only: bool,
}

impl Planter {
    fn new(options: &Options) -> io::Result<Planter> {
        let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        let work = Path::new(&target).join(options.suite.folder());
        fs::create_dir_all(&work)?;
        let work = work.canonicalize()?;
        Ok(Planter { tree: work.join("tree"), work, build_only: options.build_only })
    }

    /// A fresh tree with the bug in it, and whether the check fails there.
    fn plant(&self, bug: &Bug, check: &Check) -> io::Result<Verdict> {
        let texts = match apply(bug, |file| read(Path::new("."), file)) {
            Ok(texts) => texts,
            Err(error) => return Ok(Verdict::Survived(format!("OUT OF DATE: {error}"))),
        };
        self.grow_tree(&texts)?;
        match Suite::of(check.kind) {
            _ if self.build_only => self.try_build(&Tests::of(check)),
            Suite::Tests => self.try_tests(&Tests::of(check)),
            Suite::Disk => self.try_disk(&check.args[0], &check.args[1..]),
            Suite::Sanitize => self.try_sanitizer(&check.args[0]),
        }
    }

    /// All that git knows or would add, with the patched texts. A file that is there as it should be is
    /// not touched, so that cargo builds anew only what this bug and the last one changed.
    fn grow_tree(&self, texts: &BTreeMap<String, String>) -> io::Result<()> {
        let mut list = Command::new("git");
        list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let list = list.stderr(Stdio::inherit()).output()?;
        if !list.status.success() {
            return Err(io::Error::other("git does not list the files"));
        }
        let mut wanted = BTreeSet::new();
        for file in String::from_utf8_lossy(&list.stdout).split_terminator('\0') {
            // Git also lists what was removed since.
            if !Path::new(file).is_file() {
                continue;
            }
            let text = match texts.get(file) {
                Some(text) => text.clone().into_bytes(),
                None => fs::read(file)?,
            };
            put(Path::new(file), &text, &self.tree.join(file))?;
            wanted.extend(Path::new(file).ancestors().map(|path| self.tree.join(path)));
        }
        clear(&self.tree, &wanted)
    }

    /// The package compiles, as its unit tests have it.
    fn try_build(&self, tests: &Tests) -> io::Result<Verdict> {
        let log = self.work.join("build.log");
        let mut command = self.cargo(tests, Command::new("cargo"));
        command.args(["check", "-q", "--profile", "test", "-p", tests.package]);
        command.args(tests.workspace());
        command.args(if tests.package == "bufferedwriter" { ["--lib"] } else { ["--bins"] });
        Ok(match self.status(command, &log)? {
            Some(0) => Verdict::Built,
            _ => Verdict::Survived(format!("DOES NOT BUILD, see {}", log.display())),
        })
    }

    /// They build, and one fails, aborts or hangs.
    fn try_tests(&self, tests: &Tests) -> io::Result<Verdict> {
        let log = self.work.join("build.log");
        if self.cargo_test(tests, None, &["--no-run"], &log)? != Some(0) {
            return Ok(Verdict::Survived(format!("DOES NOT BUILD, see {}", log.display())));
        }
        let began = Instant::now();
        let log = self.work.join("run.log");
        let run = |args: &[&str]| self.cargo_test(tests, Some(tests.patience), args, &log);
        let mut status = Some(0);
        if tests.filters == [MODELS] {
            let skips = SLOW_MODELS.iter().flat_map(|name| ["--skip", name]);
            status = run(&["--", MODELS].into_iter().chain(skips).collect::<Vec<_>>())?;
        }
        if status == Some(0) {
            let filters = tests.filters.iter().map(String::as_str);
            status = run(&iter::once("--").chain(filters).collect::<Vec<_>>())?;
        }
        let said = read_lossy(&log)?;
        let seconds = began.elapsed().as_secs();
        // A model that fails says so, and one that waits in vain is told by loom. So this shows nothing.
        if tests.are_models && is_time_over(status) && !said.contains(FAILED) {
            return Ok(Verdict::Survived(format!("NOT CAUGHT: the time was over ({seconds} s)")));
        }
        if status != Some(0) {
            let what = what_failed(&said, status);
            return Ok(Verdict::Caught(format!("by {what} ({seconds} s)")));
        }
        // Programs of their own do not say how many tests they are.
        let ran_none = !tests.filters.is_empty() && count_of_tests(&said) == 0;
        let told = if ran_none { "NOT CAUGHT: no test has such a name" } else { "NOT CAUGHT" };
        Ok(Verdict::Survived(told.into()))
    }

    /// Builds for different flags go to different folders.
    fn cargo(&self, tests: &Tests, mut command: Command) -> Command {
        let letters: String = tests.flags.chars().filter(char::is_ascii_lowercase).collect();
        command.env("RUSTFLAGS", format!("{} --cap-lints allow", tests.flags));
        command.env("CARGO_TARGET_DIR", self.work.join(format!("target{letters}")));
        command
    }

    /// The exit code, if there is one.
    fn cargo_test(
        &self,
        tests: &Tests,
        patience: Option<u64>,
        args: &[&str],
        log: &Path,
    ) -> io::Result<Option<i32>> {
        let command = match patience {
            Some(seconds) => timeout(5, seconds, "cargo"),
            None => Command::new("cargo"),
        };
        let mut command = self.cargo(tests, command);
        command.args(["test", "-q", "-p", tests.package]).args(tests.workspace());
        command.args(tests.targets).args(args);
        // Tests that wait in vain need not do so for long here.
        command.env("BUFFEREDWRITER_SHORT_BOUND", "1");
        command.env("BUFFEREDWRITER_FIRST_FAILURE", "1");
        self.status(command, log)
    }

    /// A script of the tree fails.
    fn try_disk(&self, script: &str, args: &[String]) -> io::Result<Verdict> {
        let began = Instant::now();
        let log = self.work.join("run.log");
        let mut command = timeout(30, 600, self.tree.join("scripts").join(script));
        command.args(args).env("CARGO_TARGET_DIR", self.work.join("target"));
        command.env("RUSTFLAGS", "--cap-lints allow");
        let status = self.status(command, &log)?;
        let (said, seconds) = (read_lossy(&log)?, began.elapsed().as_secs());
        let line = |what: &str| said.lines().find(|line| line.contains(what));
        let last = said.lines().last().unwrap_or_default();
        Ok(if line("does not build").is_some() {
            Verdict::Survived(format!("DOES NOT BUILD, see {}", log.display()))
        } else if status != Some(0) {
            let why: String = line("FAILED").unwrap_or_default().chars().take(200).collect();
            Verdict::Caught(format!("by {script} ({seconds} s): {why}"))
        } else if let Some(line) = line(&format!("{script}: skipped:")) {
            Verdict::Skipped(line.into())
        } else {
            Verdict::Survived(format!("NOT CAUGHT: {last}"))
        })
    }

    /// The sanitizer reports, or the stress program itself notices.
    fn try_sanitizer(&self, sanitizer: &str) -> io::Result<Verdict> {
        let began = Instant::now();
        let log = self.work.join("run.log");
        let mut command = timeout(5, 300, self.tree.join("scripts/sanitize"));
        command.args(["1000", sanitizer]).env("CARGO_TARGET_DIR", self.work.join("target"));
        // What a failure leaves for somebody to look at goes with the tree.
        command.env("TMPDIR", &self.tree);
        self.status(command, &log)?;
        let (said, seconds) = (read_lossy(&log)?, began.elapsed().as_secs());
        Ok(if said.contains("DOES NOT BUILD") {
            Verdict::Survived(format!("DOES NOT BUILD, see {}", log.display()))
        } else if said.contains("FAILED") {
            let report = said.lines().nth(1).unwrap_or_default().trim_start();
            Verdict::Caught(format!("({seconds} s): {report}"))
        } else if said.contains("skipped") {
            Verdict::Skipped(said.trim_end().into())
        } else {
            Verdict::Survived(format!("NOT CAUGHT: {}", said.trim_end()))
        })
    }

    /// Runs a command in the tree. All that it says goes to `log`.
    fn status(&self, mut command: Command, log: &Path) -> io::Result<Option<i32>> {
        let out = File::create(log)?;
        command.current_dir(&self.tree).stdin(Stdio::null());
        command.stderr(out.try_clone()?).stdout(out);
        Ok(command.status()?.code())
    }
}

/// Makes `copy` a file like `file`, with this text.
fn put(file: &Path, text: &[u8], copy: &Path) -> io::Result<()> {
    let permissions = fs::metadata(file)?.permissions();
    let is_known = |known: fs::Metadata| known.is_file() && known.permissions() == permissions;
    let is_same = fs::symlink_metadata(copy).is_ok_and(is_known) && fs::read(copy)? == text;
    if is_same {
        return Ok(());
    }
    fs::create_dir_all(copy.parent().unwrap_or(copy))?;
    fs::write(copy, text)?;
    fs::set_permissions(copy, permissions)
}

/// Removes what is in the directory and not wanted: what the tests of the last bug left.
fn clear(dir: &Path, wanted: &BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let (path, is_dir) =
            entry.and_then(|entry| Ok((entry.path(), entry.file_type()?.is_dir())))?;
        match (wanted.contains(&path), is_dir) {
            (true, true) => clear(&path, wanted)?,
            (true, false) => {}
            (false, true) => fs::remove_dir_all(&path)?,
            (false, false) => fs::remove_file(&path)?,
        }
    }
    Ok(())
}

const SHIP: &str = "bufferedwriter-ship";

/// What `cargo test` needs for a check.
struct Tests {
    package: &'static str,
    flags: &'static str,
    targets: &'static [&'static str],
    filters: Vec<String>,
    are_models: bool,
    /// In seconds; beyond it they hang.
    patience: u64,
}

impl Tests {
    fn of(check: &Check) -> Tests {
        let (flags, targets, patience): (_, &[_], _) = match check.kind {
            Kind::Loom => ("--cfg loom", &["--release", "--lib"], 300),
            Kind::Fork => ("", &["--test", "fork"], 30),
            Kind::Crash => ("", &["--lib"], 120),
            Kind::Portable => ("--cfg bufferedwriter_portable", &["--lib"], 30),
            Kind::Program => ("", &["--bins", "--test", "it"], 60),
            Kind::Events => ("", &["--lib", "--tests"], 60),
            Kind::Ship => ("", &["--lib", "--test", "it"], 120),
            Kind::It | Kind::Disk | Kind::Sanitize => {
                ("", &["--lib", "--test", "it", "--test", "any"], 30)
            }
        };
        let package = match check.kind {
            Kind::Program => "bufferedwriter-cli",
            Kind::Events => "bufferedwriter-tracing",
            Kind::Ship => SHIP,
            _ => "bufferedwriter",
        };
        let mut filters = check.args.clone();
        let all = match check.kind {
            Kind::Loom => Some(MODELS),
            Kind::Crash => Some("tests::crash::"),
            _ => None,
        };
        filters.extend(all.filter(|_| check.args.is_empty()).map(str::to_owned));
        let are_models = check.kind == Kind::Loom;
        Tests { package, flags, targets, filters, are_models, patience }
    }

    /// Arguments for a package that is a workspace of its own.
    fn workspace(&self) -> &'static [&'static str] {
        const OWN: [&str; 2] =
            ["--manifest-path=crates/ship/Cargo.toml", "--config=crates/ship/.cargo/config.toml"];
        if self.package == SHIP { &OWN } else { &[] }
    }
}

/// The command. After `seconds` it is ended, with its children.
fn timeout(kill_after: u64, seconds: u64, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.args(["-k", &kill_after.to_string(), &seconds.to_string()]).arg(program);
    command
}

fn read_lossy(log: &Path) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(log)?).into_owned())
}

/// The first three of the failed tests' names, and whether a model ran into a deadlock; without any, what
/// else is known.
fn what_failed(said: &str, status: Option<i32>) -> String {
    let named = |line: &str| {
        let name = line.strip_prefix("---- ")?.strip_suffix(FAILED)?;
        Some(name.strip_prefix(MODELS).unwrap_or(name).to_string())
    };
    let mut names: Vec<String> = said.lines().filter_map(named).collect();
    names.extend(said.contains("deadlock").then(|| "deadlock".into()));
    names.sort();
    names.truncate(3);
    let panic = said.lines().find_map(|line| line.split_once(" panicked at "));
    match (status, panic) {
        _ if !names.is_empty() => names.join(" "),
        _ if is_time_over(status) => "a hang".into(),
        (_, Some((_, place))) => format!("a panic at {}", place.trim_end_matches(':')),
        _ => "an abort".into(),
    }
}

/// What `timeout` says, and what is left where that had to kill.
fn is_time_over(status: Option<i32>) -> bool {
    matches!(status, Some(124 | 137))
}

/// How many tests all test programs ran.
fn count_of_tests(said: &str) -> usize {
    let count =
        |line: &str| line.strip_prefix("running ")?.split(' ').next()?.parse::<usize>().ok();
    said.lines().filter_map(count).sum()
}
