//! The library's tests: which there are, how long each takes, and which mutants it reaches.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::build::Program;
use crate::cage::{Cage, End, Run};
use crate::failure::{Failure, about};

/// As many bytes as `active.rs.txt` maps.
const BYTES: usize = 1 << 16;

/// No test takes that long without a mutant.
const PATIENCE: Duration = Duration::from_secs(300);

/// These read the source or the documents, not the library.
const OF_THE_SOURCE: &[&str] = &["architecture::", "documents::"];

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
    /// The program's name and the test's.
    pub fn title(&self, programs: &[Program]) -> String {
        let program = &programs[self.program].target;
        self.name.as_ref().map_or(program.clone(), |name| format!("{program} {name}"))
    }
}

/// Runs each test of the programs alone whose title contains one of the words. What fails without a mutant is told
/// and left out.
pub fn record(
    cage: &Cage,
    programs: &[Program],
    words: &[String],
    reached: &Path,
) -> Result<Vec<Test>, Failure> {
    let mut tests = Vec::new();
    for (program, built) in programs.iter().enumerate() {
        for name in names(built)? {
            let (time, end) = (Duration::ZERO, BTreeSet::new());
            let mut test = Test { program, name, time, reached: end };
            let title = test.title(programs);
            if !words.is_empty() && !words.iter().any(|word| title.contains(word)) {
                continue;
            }
            match once(cage, built, &mut test, reached)? {
                End::Passed => tests.push(test),
                end => eprintln!("left out, since it fails without a mutant: {title}: {end:?}"),
            }
        }
    }
    Ok(tests)
}

/// Runs a test alone and notes what it takes and reaches.
fn once(cage: &Cage, built: &Program, test: &mut Test, reached: &Path) -> Result<End, Failure> {
    fs::write(reached, [0; BYTES]).map_err(about(reached))?;
    let arguments = test.name.as_deref().map(|name| vec!["--exact", name, "--test-threads", "1"]);
    let variable = ("MUTANTS_REACHED", reached.display().to_string());
    let program = &built.path;
    let arguments = arguments.unwrap_or_default();
    let began = Instant::now();
    let end = cage.run(&Run { program, arguments, variable, patience: PATIENCE })?;
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
        !ignored.contains(name) && !OF_THE_SOURCE.iter().any(|start| name.starts_with(start))
    };
    Ok(list(&[])?.into_iter().filter(is_asked).map(Some).collect())
}
