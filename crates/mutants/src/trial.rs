//! Which tests look at a mutant, and in which order.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::build::Program;
use crate::cage::{Cage, End, Run};
use crate::failure::Failure;
use crate::suite::Test;

/// Tests are run together until they have taken that long, in seconds; then come the slower ones.
const TOGETHER: [f64; 4] = [0.25, 1.0, 4.0, 16.0];

/// How many tests that caught others of the same file are asked first, and how long each may take.
const FAVOURITES: usize = 3;
const FAVOURITE: Duration = Duration::from_millis(500);

/// The program with the unit tests.
const LIBRARY: &str = "lib";

/// A number that no mutant has.
const NO_MUTANT: usize = 1 << 16;

/// A test that takes so many times its usual time has noticed.
const TIMES: u32 = 5;

/// So much longer may each take: the machine may be busy.
const SLACK: Duration = Duration::from_secs(4);

/// What became of a mutant.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// This test failed.
    Caught(String),
    /// Tests took too long, these for instance.
    Late(String),
    /// All tests passed, so many.
    Survived(usize),
}

/// Tests that run in one process.
#[derive(Debug, PartialEq)]
struct Batch {
    program: usize,
    tests: Vec<usize>,
}

/// Tries mutants one after the other.
pub struct Trial<'a> {
    /// Where programs run.
    pub cage: &'a Cage,
    /// The programs with all mutants.
    pub programs: &'a [Program],
    /// Their tests, without mutants.
    pub tests: &'a [Test],
    /// How many times their usual time tests may take besides.
    pub slow: u32,
    /// How many mutants of a file each test has caught.
    pub caught: BTreeMap<(String, usize), usize>,
}

impl Trial<'_> {
    /// Runs the tests that reach a mutant of this file until one fails.
    pub fn of(&mut self, mutant: usize, file: &str) -> Result<Outcome, Failure> {
        let reaches = |&test: &usize| self.tests[test].reached.contains(&mutant);
        let reaching: Vec<usize> = (0..self.tests.len()).filter(reaches).collect();
        for batch in self.batches(&reaching, file) {
            let end = self.cage.run(&self.run(&batch, mutant))?;
            if end == End::Passed || self.is_chance(&batch)? {
                continue;
            }
            let first = self.tests[batch.tests[0]].title(self.programs);
            let End::Failed(name) = end else {
                return Ok(Outcome::Late(format!("{first} and {} more", batch.tests.len() - 1)));
            };
            let named = |&&test: &&usize| self.tests[test].name.as_deref() == Some(&name);
            if let Some(&test) = batch.tests.iter().find(named) {
                *self.caught.entry((file.to_owned(), test)).or_default() += 1;
            }
            let program = &self.programs[batch.program].target;
            return Ok(Outcome::Caught(format!("{program} {name}")));
        }
        Ok(Outcome::Survived(reaching.len()))
    }

    /// Whether tests from outside fail without a mutant too, as on a machine that is too busy for them.
    fn is_chance(&self, batch: &Batch) -> Result<bool, Failure> {
        Ok(self.is_outside(batch.tests[0])
            && self.cage.run(&self.run(batch, NO_MUTANT))? != End::Passed)
    }

    /// Favourites first, then the quick ones.
    fn batches(&self, reaching: &[usize], file: &str) -> Vec<Batch> {
        let count = |&test: &usize| self.caught.get(&(file.to_owned(), test)).copied().unwrap_or(0);
        let is_quick = |test: &&usize| self.tests[**test].time <= FAVOURITE && count(test) > 0;
        let mut favourites: Vec<usize> = reaching.iter().filter(is_quick).copied().collect();
        favourites.sort_by_key(|test| std::cmp::Reverse(count(test)));
        favourites.truncate(FAVOURITES);

        let mut others: Vec<usize> = reaching.to_vec();
        others.retain(|test| !favourites.contains(test));
        others.sort_by_key(|&test| (self.is_outside(test), self.tests[test].time));
        let mut levels = vec![favourites];
        let (mut level, mut taken, mut longest) = (vec![], 0.0, TOGETHER.iter());
        for (at, &test) in others.iter().enumerate() {
            let is_turn = at > 0 && self.is_outside(test) != self.is_outside(others[at - 1]);
            taken += self.tests[test].time.as_secs_f64();
            if is_turn {
                longest = TOGETHER.iter();
            }
            if is_turn || longest.as_slice().first().is_some_and(|longest| taken > *longest) {
                levels.push(std::mem::take(&mut level));
                taken = self.tests[test].time.as_secs_f64();
                longest.next();
            }
            level.push(test);
        }
        levels.push(level);
        levels.into_iter().flat_map(|level| self.by_program(&level)).collect()
    }

    /// Unit tests come first. They wait for nothing.
    fn is_outside(&self, test: usize) -> bool {
        self.programs[self.tests[test].program].target != LIBRARY
    }

    fn by_program(&self, level: &[usize]) -> Vec<Batch> {
        let mut batches: BTreeMap<(usize, bool), Vec<usize>> = BTreeMap::new();
        for &test in level {
            let Test { program, .. } = self.tests[test];
            batches.entry((program, self.tests[test].is_on_disk())).or_default().push(test);
        }
        batches.into_iter().map(|((program, _), tests)| Batch { program, tests }).collect()
    }

    fn run<'r>(&'r self, batch: &Batch, mutant: usize) -> Run<'r> {
        let tests = || batch.tests.iter().map(|&test| &self.tests[test]);
        let longest = tests().map(|test| test.time).max().unwrap_or_default();
        let mut arguments: Vec<&str> = tests().filter_map(|test| test.name.as_deref()).collect();
        if !arguments.is_empty() {
            // Tests of the library compute; those from outside wait for the disk.
            let is_library = self.programs[batch.program].target == LIBRARY;
            arguments.extend(["--exact", "--test-threads", if is_library { "2" } else { "16" }]);
        }
        Run {
            program: &self.programs[batch.program].path,
            arguments,
            variable: ("MUTANT", mutant.to_string()),
            is_on_disk: self.tests[batch.tests[0]].is_on_disk(),
            patience: (longest * TIMES + SLACK) * self.slow,
        }
    }
}
