//! The command line.

use std::path::PathBuf;

use crate::failure::Failure;

/// How to call the program.
pub const USAGE: &str = "\
usage: mutants [--list] [--go-on] [--only TEXT]... [--tests WORD]... [--work DIR] [SHARD]
  --list        only lists the mutants
  --go-on       keeps what an earlier run has caught, and what its tests take and reach
  --only TEXT   only mutants whose names contain the text
  --tests WORD  only tests whose names contain the word, and no models unless one is named
  --work DIR    where the copy and its builds are (target/mutants)
  SHARD         0/8, for instance: each eighth mutant";

/// What is asked for.
#[derive(Debug, PartialEq)]
pub struct Options {
    /// Only list.
    pub list: bool,
    /// Keep earlier outcomes.
    pub go_on: bool,
    /// Texts of which a mutant's name must contain one, if there are any.
    pub only: Vec<String>,
    /// Words of which a test's name must contain one, if there are any.
    pub tests: Vec<String>,
    /// Where the copy and its builds are.
    pub work: PathBuf,
    /// Which of how many parts.
    pub shard: (usize, usize),
}

impl Options {
    /// Reads the arguments.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options = Options {
            list: false,
            go_on: false,
            only: vec![],
            tests: vec![],
            work: "target/mutants".into(),
            shard: (0, 1),
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value\n{USAGE}"));
            match argument.as_str() {
                "--list" => options.list = true,
                "--go-on" => options.go_on = true,
                "--only" => options.only.push(value()?),
                "--tests" => options.tests.push(value()?),
                "--work" => options.work = value()?.into(),
                shard => options.shard = self::shard(shard).ok_or(USAGE)?,
            }
        }
        Ok(options)
    }

    /// Whether the mutant with this number and name is to be tried.
    pub fn asks_for(&self, number: usize, name: &str) -> bool {
        let (part, parts) = self.shard;
        number % parts == part
            && (self.only.is_empty() || self.only.iter().any(|text| name.contains(text)))
    }
}

fn shard(text: &str) -> Option<(usize, usize)> {
    let (part, parts) = text.split_once('/')?;
    let (part, parts) = (part.parse().ok()?, parts.parse().ok()?);
    (part < parts).then_some((part, parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &str) -> Result<Options, Failure> {
        Options::parse(arguments.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_is_asked_for() {
        let options = parse("--only ab --only cd --tests t 1/2").unwrap();
        assert!(options.asks_for(1, "xcdx") && options.asks_for(3, "ab"));
        assert!(!options.asks_for(2, "ab") && !options.asks_for(1, "ac"));
        assert_eq!(options.tests, ["t"]);
        for wrong in ["2/2", "--only", "--lists", "1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
