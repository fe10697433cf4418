//! What was found out so far, in a file that a run which is broken off leaves.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::failure::{Failure, about};
use crate::trial::Outcome;

/// Outcomes by the mutants' names.
pub struct Record {
    file: File,
    /// All outcomes so far.
    pub outcomes: BTreeMap<String, Outcome>,
}

impl Record {
    /// Opens the file; with what it has, if that is to be kept.
    pub fn open(path: &Path, is_kept: bool) -> Result<Self, Failure> {
        let text =
            if is_kept { fs::read_to_string(path).unwrap_or_default() } else { String::new() };
        let outcomes = text.lines().filter_map(parse).collect();
        let mut options = OpenOptions::new();
        let options = options.create(true).write(true);
        let file = if is_kept { options.append(true) } else { options.truncate(true) };
        Ok(Self { file: file.open(path).map_err(about(path))?, outcomes })
    }

    /// Adds an outcome.
    pub fn add(&mut self, name: &str, outcome: Outcome, time: Duration) -> Result<(), Failure> {
        let (what, by) = match &outcome {
            Outcome::Caught(by) => ("caught", by.clone()),
            Outcome::Late(by) => ("late", by.clone()),
            Outcome::Survived(tests) => ("survived", tests.to_string()),
        };
        let line = format!("{what}\t{name}\t{by}\t{:.1}", time.as_secs_f64());
        self.outcomes.insert(name.to_owned(), outcome);
        writeln!(self.file, "{line}").map_err(|error| error.to_string())
    }
}

/// A line of the file.
fn parse(line: &str) -> Option<(String, Outcome)> {
    let mut fields = line.split('\t');
    let (what, name, by) = (fields.next()?, fields.next()?, fields.next()?.to_owned());
    let outcome = match what {
        "caught" => Outcome::Caught(by),
        "late" => Outcome::Late(by),
        _ => Outcome::Survived(by.parse().ok()?),
    };
    Some((name.to_owned(), outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_outcome_of_each_mutant_is_kept() {
        let path = std::env::temp_dir().join(format!("mutants-record-{}", std::process::id()));
        let mut record = Record::open(&path, false).unwrap();
        let outcomes =
            [Outcome::Survived(3), Outcome::Late("it a".into()), Outcome::Caught("lib b".into())];
        for outcome in &outcomes {
            record.add("m", outcome.clone(), Duration::from_secs(1)).unwrap();
            record.add("n", outcomes[0].clone(), Duration::ZERO).unwrap();
        }
        let again = Record::open(&path, true).unwrap();
        assert_eq!(again.outcomes, record.outcomes);
        assert_eq!(again.outcomes["m"], outcomes[2]);
        assert!(Record::open(&path, false).unwrap().outcomes.is_empty());
        std::fs::remove_file(path).unwrap();
    }
}
