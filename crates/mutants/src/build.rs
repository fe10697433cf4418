//! Builds the copy with all mutants that compile.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::failure::Failure;
use crate::tree::{Place, Tree};

/// What a build is for.
#[derive(Clone, Copy, PartialEq)]
pub enum Flavour {
    /// Unit tests, integration tests, forked children.
    Tests,
    /// loom's models.
    Models,
}

impl Flavour {
    /// What it runs, in a word.
    pub fn name(self) -> &'static str {
        match self {
            Flavour::Tests => "tests",
            Flavour::Models => "models",
        }
    }
}

/// A program with tests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Program {
    /// The target's name for cargo.
    pub target: String,
    /// Where it is.
    pub path: PathBuf,
}

/// Where the copy is built.
pub struct Builder<'a> {
    /// The mutants.
    pub tree: &'a Tree,
    /// The copy.
    pub copy: &'a Path,
    /// The directory for cargo's output.
    pub target: &'a Path,
    /// What for.
    pub flavour: Flavour,
}

impl Builder<'_> {
    /// Builds until nothing is left that does not compile. Adds that to `unviable`.
    pub fn build(&self, unviable: &mut BTreeSet<usize>) -> Result<Vec<Program>, Failure> {
        self.until_it_compiles(&["check", "--lib"], unviable)?;
        let tests: &[&str] = match self.flavour {
            Flavour::Tests => {
                &["test", "--no-run", "--lib", "--test", "*", "--example", "shutdown"]
            }
            Flavour::Models => &["test", "--no-run", "--release", "--lib"],
        };
        let messages = self.until_it_compiles(tests, unviable)?;
        let mut programs: Vec<_> = messages.iter().filter_map(program).collect();
        // cargo names them in the order in which they are ready.
        programs.sort();
        Ok(programs)
    }

    fn until_it_compiles(
        &self,
        arguments: &[&str],
        unviable: &mut BTreeSet<usize>,
    ) -> Result<Vec<Value>, Failure> {
        loop {
            let places = self.tree.write(|number| !unviable.contains(&number))?;
            let (is_built, messages) = self.cargo(arguments)?;
            if is_built {
                return Ok(messages);
            }
            let before = unviable.len();
            let errors = messages.iter().filter(|message| message["message"]["level"] == "error");
            let mut unclear = String::new();
            for error in errors {
                match blamed(&error["message"], &places) {
                    Some(mutants) => unviable.extend(mutants),
                    None => unclear += error["message"]["rendered"].as_str().unwrap_or_default(),
                }
            }
            if unviable.len() == before {
                return Err(format!("the copy does not compile:\n{unclear}"));
            }
            eprintln!("{} mutants do not compile so far", unviable.len());
        }
    }

    /// Runs cargo. Whether it succeeded, and what it said.
    fn cargo(&self, arguments: &[&str]) -> Result<(bool, Vec<Value>), Failure> {
        let flags = match self.flavour {
            Flavour::Tests => "--cap-lints=allow",
            Flavour::Models => "--cap-lints=allow --cfg loom",
        };
        let output = Command::new("cargo")
            .args(arguments)
            .args(["--package", "bufferedwriter", "--message-format", "json"])
            .current_dir(self.copy)
            .env("CARGO_TARGET_DIR", self.target)
            .env("RUSTFLAGS", flags)
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .env("CARGO_PROFILE_TEST_DEBUG", "false")
            .env("BUFFEREDWRITER_SHORT_BOUND", "1")
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("cargo: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let messages = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok((output.status.success(), messages))
    }
}

/// A program that cargo has built.
fn program(message: &Value) -> Option<Program> {
    let path = message["executable"].as_str()?.into();
    let is_test = message["profile"]["test"] == true || message["target"]["kind"][0] == "test";
    is_test.then_some(())?;
    let kind = message["target"]["kind"][0].as_str()?;
    let name = message["target"]["name"].as_str()?;
    let target = if kind == "lib" { "lib" } else { name };
    Some(Program { target: target.into(), path })
}

/// The mutants that an error is about: the one whose code it points to; else those of the smallest place that it
/// points into.
fn blamed(error: &Value, [spans, sites]: &[Vec<Place>; 2]) -> Option<Vec<usize>> {
    let mut marks: Vec<&Value> = error["spans"].as_array()?.iter().collect();
    marks.sort_by_key(|mark| mark["is_primary"] != true);
    let own = marks.iter().find_map(|mark| around(mark, spans));
    own.or_else(|| marks.iter().find_map(|mark| around(mark, sites)))
        .map(|place| place.mutants.clone())
}

/// The smallest place that has what the compiler marks.
fn around<'a>(mark: &Value, places: &'a [Place]) -> Option<&'a Place> {
    let file = mark["file_name"].as_str()?;
    let start = usize::try_from(mark["byte_start"].as_u64()?).ok()?;
    let end = usize::try_from(mark["byte_end"].as_u64()?).ok()?;
    let has =
        |place: &&Place| place.path == file && place.range.start <= start && end <= place.range.end;
    places.iter().filter(has).min_by_key(|place| place.range.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_blamed_on_the_code_that_it_points_to() {
        let place = |range, mutants: &[usize]| Place {
            path: "src/x.rs".into(),
            range,
            mutants: mutants.to_vec(),
        };
        let places = [
            vec![place(10..20, &[1]), place(20..30, &[2])],
            vec![place(5..40, &[1, 2]), place(0..90, &[3])],
        ];
        let error = |marks: &[(u64, u64, bool)]| {
            let mark = |&(from, to, is_primary): &(u64, u64, bool)| {
                serde_json::json!({
                    "file_name": "src/x.rs", "byte_start": from, "byte_end": to,
                    "is_primary": is_primary,
                })
            };
            serde_json::json!({ "spans": marks.iter().map(mark).collect::<Vec<_>>() })
        };
        assert_eq!(blamed(&error(&[(22, 25, true)]), &places), Some(vec![2]));
        assert_eq!(blamed(&error(&[(33, 35, true), (12, 14, false)]), &places), Some(vec![1]));
        assert_eq!(blamed(&error(&[(33, 35, true)]), &places), Some(vec![1, 2]));
        assert_eq!(blamed(&error(&[(50, 51, true)]), &places), Some(vec![3]));
        assert_eq!(blamed(&error(&[(95, 96, true)]), &places), None);
    }
}
