//! A run: builds, lets tests look at each mutant, then loom's models at what is left, and counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, fs};

use crate::build::{Builder, Flavour, Program};
use crate::cage::Cage;
use crate::failure::{Failure, about};
use crate::memo;
use crate::options::Options;
use crate::record::Record;
use crate::suite::{self, Test};
use crate::tree::Tree;
use crate::trial::{Outcome, Trial};

/// How the names of loom's models begin.
const MODELS: &str = "tests::loom::";

/// Tests that take longer look only at what nothing else has noticed.
const LONG: Duration = Duration::from_secs(2);

/// The file with the names of what does not compile.
const UNVIABLE: &str = "unviable.txt";

/// All that a run needs.
pub struct Session {
    options: Options,
    work: PathBuf,
    tree: Tree,
    record: Record,
    cage: Cage,
    /// How many times longer tests may take.
    slow: u32,
    /// What does not compile.
    unviable: BTreeSet<usize>,
}

impl Session {
    /// Prepares the directory `work`.
    pub fn new(options: Options, work: PathBuf, tree: Tree) -> Result<Self, Failure> {
        fs::create_dir_all(&work).map_err(about(&work))?;
        let record = Record::open(&work.join("outcomes.txt"), options.go_on)?;
        let cage = Cage::new(work.join("scratch"));
        let slow = match env::var("SLOW") {
            Ok(times) => times.parse().map_err(|_| "SLOW is a number")?,
            Err(_) => 1,
        };
        let mut unviable = BTreeSet::new();
        if options.go_on {
            let known = fs::read_to_string(work.join(UNVIABLE)).unwrap_or_default();
            let known: BTreeSet<&str> = known.lines().collect();
            let named = tree.mutants().into_iter().enumerate();
            let named = named.filter(|(_, mutant)| known.contains(&*mutant.name));
            unviable = named.map(|(number, _)| number).collect();
        }
        Ok(Self { options, work, tree, record, cage, slow, unviable })
    }

    /// Tries what is asked for: quick tests, then models, then tests that take long. Each looks at what is left.
    pub fn run(mut self) -> Result<Summary, Failure> {
        let chosen = self.chosen();
        let (programs, tests) = self.prepare(Flavour::Tests, self.options.tests.clone())?;
        let (long, quick): (Vec<_>, Vec<_>) = tests.into_iter().partition(|test| test.time > LONG);
        // What survived an earlier run may meet other tests now.
        let is_caught = |outcome: &Outcome| !matches!(outcome, Outcome::Survived(_));
        let is_open = |number: &usize| !self.outcome(*number).is_some_and(is_caught);
        let open = chosen.iter().copied().filter(is_open).collect();
        self.try_all(&programs, &quick, open)?;
        let asks_for_models = self.options.tests.iter().all(|word| word.contains("loom"));
        if asks_for_models && !self.left(&chosen).is_empty() {
            let (programs, models) = self.prepare(Flavour::Models, vec![MODELS.to_owned()])?;
            self.try_all(&programs, &models, self.left(&chosen))?;
        }
        self.try_all(&programs, &long, self.left(&chosen))?;
        Ok(self.summary(&chosen))
    }

    /// Those that nothing has noticed so far.
    fn left(&self, chosen: &[usize]) -> Vec<usize> {
        let is_left = |number: &usize| matches!(self.outcome(*number), Some(Outcome::Survived(_)));
        chosen.iter().copied().filter(is_left).collect()
    }

    fn name(&self, number: usize) -> &str {
        &self.tree.mutants()[number].name
    }

    fn outcome(&self, number: usize) -> Option<&Outcome> {
        self.record.outcomes.get(self.name(number))
    }

    /// The mutants that are to be tried.
    fn chosen(&self) -> Vec<usize> {
        let all = self.tree.mutants();
        let is_asked = |&number: &usize| {
            all[number].is_choosable && self.options.asks_for(number, &all[number].name)
        };
        (0..all.len()).filter(is_asked).collect()
    }

    /// Builds what looks at mutants; its tests, those whose names contain one of the words.
    fn prepare(
        &mut self,
        flavour: Flavour,
        words: Vec<String>,
    ) -> Result<(Vec<Program>, Vec<Test>), Failure> {
        let (target, copy) = (self.work.join(flavour.name()), self.work.join("tree"));
        let builder = Builder { tree: &self.tree, copy: &copy, target: &target, flavour };
        let mut refused = self.unviable.clone();
        let programs = builder.build(&mut refused)?;
        // What loom's types refuse in addition was tried by tests.
        if flavour == Flavour::Tests {
            self.unviable = refused;
            let names = self.unviable.iter().map(|&number| format!("{}\n", self.name(number)));
            let path = self.work.join(UNVIABLE);
            fs::write(&path, names.collect::<String>()).map_err(about(&path))?;
        }
        let tests = self.tests(&programs, &words, flavour)?;
        Ok((programs, tests))
    }

    /// Runs each test without a mutant, unless that was done.
    fn tests(
        &self,
        programs: &[Program],
        words: &[String],
        flavour: Flavour,
    ) -> Result<Vec<Test>, Failure> {
        let memo = self.work.join(flavour.name()).with_extension("txt");
        let are_all = self.options.tests.is_empty();
        if self.options.go_on
            && are_all
            && let Some(tests) = memo::read(&memo, programs)
        {
            return Ok(tests);
        }
        eprintln!("runs each of the {} without a mutant", flavour.name());
        let began = Instant::now();
        let tests = suite::record(&self.cage, programs, words, &self.work.join("reached"))?;
        eprintln!("{} {} take {} s", tests.len(), flavour.name(), began.elapsed().as_secs());
        if are_all {
            memo::write(&memo, programs, &tests)?;
        }
        Ok(tests)
    }

    /// Lets tests look at these mutants.
    fn try_all(
        &mut self,
        programs: &[Program],
        tests: &[Test],
        mutants: Vec<usize>,
    ) -> Result<(), Failure> {
        let caught = BTreeMap::new();
        let mut trial = Trial { cage: &self.cage, programs, tests, slow: self.slow, caught };
        let all = self.tree.mutants();
        for (turn, &number) in mutants.iter().enumerate() {
            if self.unviable.contains(&number) {
                continue;
            }
            let (began, name) = (Instant::now(), &all[number].name);
            let outcome = trial.of(number, name.split(':').next().unwrap_or_default())?;
            eprintln!("{}/{}: {outcome:?} {name}", turn + 1, mutants.len());
            let outcome = match (outcome, self.record.outcomes.get(name)) {
                (Outcome::Survived(now), Some(Outcome::Survived(before))) => {
                    Outcome::Survived(now + before)
                }
                (outcome, _) => outcome,
            };
            self.record.add(name, outcome, began.elapsed())?;
        }
        Ok(())
    }

    fn summary(&self, chosen: &[usize]) -> Summary {
        let all = self.tree.mutants();
        let asked = |&number: &usize| self.options.asks_for(number, &all[number].name);
        let viable = || chosen.iter().copied().filter(|number| !self.unviable.contains(number));
        let is_late = |number: &usize| matches!(self.outcome(*number), Some(Outcome::Late(_)));
        let survivor = |number| match self.outcome(number)? {
            Outcome::Survived(0) => Some(format!("{} (no test comes there)", self.name(number))),
            Outcome::Survived(_) => Some(self.name(number).to_owned()),
            _ => None,
        };
        Summary {
            asked: (0..all.len()).filter(asked).count(),
            choosable: chosen.len(),
            viable: viable().count(),
            late: viable().filter(is_late).count(),
            survivors: viable().filter_map(survivor).collect(),
        }
    }
}

/// What came out.
pub struct Summary {
    /// How many mutants were asked for.
    asked: usize,
    /// How many of them can be chosen at run time.
    choosable: usize,
    /// How many of these compile.
    viable: usize,
    /// How many were caught since tests took too long.
    late: usize,
    /// Those that no test noticed.
    survivors: Vec<String>,
}

impl Summary {
    /// Whether nine in ten were caught.
    pub fn is_enough(&self) -> bool {
        self.survivors.len() * 10 <= self.viable
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Summary { asked, choosable, viable, late, survivors } = self;
        let (untried, unviable) = (asked - choosable, choosable - viable);
        let caught = viable - survivors.len();
        let percent = (100 * caught).checked_div(*viable).unwrap_or(100);
        writeln!(f, "changes: {asked}; {unviable} do not compile, {untried} are not tried")?;
        write!(f, "mutants: {caught} of {viable} caught, {percent} %, {late} of them since ")?;
        writeln!(f, "tests took too long; these were not:")?;
        survivors.iter().try_for_each(|name| writeln!(f, "{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_what_was_tried() {
        let summary = |survivors: &[&str]| Summary {
            asked: 30,
            choosable: 25,
            viable: 20,
            late: 1,
            survivors: survivors.iter().map(|&name| name.into()).collect(),
        };
        let text = "changes: 30; 5 do not compile, 5 are not tried\n\
            mutants: 18 of 20 caught, 90 %, 1 of them since tests took too long; these were not:\n\
            a\nb\n";
        assert_eq!(summary(&["a", "b"]).to_string(), text);
        assert!(summary(&["a", "b"]).is_enough() && !summary(&["a", "b", "c"]).is_enough());
    }
}
