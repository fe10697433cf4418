//! The library's tests: which there are, how long each takes, and which mutants it reaches.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::build::Program;
use crate::cage::{Cage, End, Run};
use crate::failure::{Failure, about};

/// As many bytes as `active.rs.txt` maps.
const BYTES: usize = 1 << 16;

/// No test takes that long without a mutant.
const PATIENCE: Duration = Duration::from_secs(300);

/// So many tests run at once. Most of them wait.
const AT_ONCE: usize = 4;

/// These read the source or the documents, not the library; or they take minutes.
const LEFT_OUT: &[&str] = &["architecture::", "documents::", "tests::every_call::"];

/// These need a disk: files in memory have no direct writes.
const ON_DISK: &[&str] =
    &["direct_io::", "every_call::with_sync_past", "every_call::without_sync_past"];

/// A test, without any mutant.
#[derive(Debug)]
pub struct Test {
    /// Which program has it.
    pub program: usize,
    /// Its name; none if it is all of the program.
    pub name: Option<String>,
    /// How long it takes alone.
    pub time: Duration,
    /// The mutants whose code it comes to.
    pub reached: BTreeSet<usize>,
}

impl Test {
    /// Whether it needs a disk.
    pub fn is_on_disk(&self) -> bool {
        self.name.as_ref().is_some_and(|name| ON_DISK.iter().any(|start| name.starts_with(start)))
    }

    /// The program's name and the test's.
    pub fn title(&self, programs: &[Program]) -> String {
        let program = &programs[self.program].target;
        self.name.as_ref().map_or(program.clone(), |name| format!("{program} {name}"))
    }
}

/// Runs each test of the programs alone whose title contains one of the words. What fails without a mutant is told
/// and left out. Needs files whose paths begin with `reached`.
pub fn record(
    cage: &Cage,
    programs: &[Program],
    words: &[String],
    reached: &Path,
) -> Result<Vec<Test>, Failure> {
    let mut tests = Vec::new();
    for (program, built) in programs.iter().enumerate() {
        let test = |name| Test { program, name, time: Duration::ZERO, reached: BTreeSet::new() };
        tests.extend(names(built)?.into_iter().map(test));
    }
    tests.retain(|test| {
        let title = test.title(programs);
        words.is_empty() || words.iter().any(|word| title.contains(word))
    });
    let tests: Vec<Mutex<Test>> = tests.into_iter().map(Mutex::new).collect();
    let (next, passed) = (AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    let work = |worker: usize| -> Result<(), Failure> {
        let reached = reached.with_extension(worker.to_string());
        while let at = next.fetch_add(1, Ordering::Relaxed)
            && let Some(test) = tests.get(at)
        {
            let mut test = test.lock().expect("each test has one worker");
            match once(cage, &programs[test.program], &mut test, &reached)? {
                End::Passed => drop(passed.lock().expect("no worker panics").insert(at)),
                end => {
                    let title = test.title(programs);
                    eprintln!("left out, since it fails without a mutant: {title}: {end:?}");
                }
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> =
            (0..AT_ONCE).map(|worker| scope.spawn(move || work(worker))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no worker panics"))
    })?;
    let passed = passed.into_inner().expect("no worker panics");
    let tests = tests.into_iter().map(|test| test.into_inner().expect("no worker panics"));
    Ok((0..).zip(tests).filter(|(at, _)| passed.contains(at)).map(|(_, test)| test).collect())
}

/// Runs a test alone and notes what it takes and reaches.
fn once(cage: &Cage, built: &Program, test: &mut Test, reached: &Path) -> Result<End, Failure> {
    fs::write(reached, [0; BYTES]).map_err(about(reached))?;
    let arguments = test.name.as_deref().map(|name| vec!["--exact", name, "--test-threads", "1"]);
    let variable = ("MUTANTS_REACHED", reached.display().to_string());
    let program = &built.path;
    let arguments = arguments.unwrap_or_default();
    let began = Instant::now();
    let (is_on_disk, patience) = (test.is_on_disk(), PATIENCE);
    let end = cage.run(&Run { program, arguments, variable, is_on_disk, patience })?;
    test.time = began.elapsed();
    let bytes = fs::read(reached).map_err(about(reached))?;
    test.reached = (0..).zip(bytes).filter(|(_, byte)| *byte != 0).map(|(at, _)| at).collect();
    Ok(end)
}

/// The names of a program's tests. A program without the test harness is one test.
fn names(program: &Program) -> Result<Vec<Option<String>>, Failure> {
    if program.target == "fork" {
        return Ok(vec![None]);
    }
    let list = |option: &[&str]| -> Result<BTreeSet<String>, Failure> {
        let output = Command::new(&program.path)
            .args(["--list", "--format", "terse"])
            .args(option)
            .output()
            .map_err(about(&program.path))?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    };
    let ignored = list(&["--ignored"])?;
    let is_asked = |name: &String| {
        !ignored.contains(name) && !LEFT_OUT.iter().any(|start| name.starts_with(start))
    };
    Ok(list(&[])?.into_iter().filter(is_asked).map(Some).collect())
}
