//! What tests take and reach, in a file: it is the same again as long as the programs are.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::build::Program;
use crate::failure::{Failure, about};
use crate::suite::Test;

/// Writes the tests down.
pub fn write(path: &Path, programs: &[Program], tests: &[Test]) -> Result<(), Failure> {
    let line = |test: &Test| {
        let reached: Vec<String> = test.reached.iter().map(usize::to_string).collect();
        let name = test.name.as_deref().unwrap_or_default();
        let micros = test.time.as_micros();
        format!("{micros}\t{}\t{name}\t{}\n", test.program, reached.join(" "))
    };
    let lines: String = tests.iter().map(line).collect();
    fs::write(path, header(programs) + "\n" + &lines).map_err(about(path))
}

/// The tests of these very programs, if they were written down.
pub fn read(path: &Path, programs: &[Program]) -> Option<Vec<Test>> {
    let text = fs::read_to_string(path).ok()?;
    let (first, lines) = text.split_once('\n')?;
    (first == header(programs)).then(|| lines.lines().map(parse).collect())?
}

fn parse(line: &str) -> Option<Test> {
    let mut fields = line.split('\t');
    let time = Duration::from_micros(fields.next()?.parse().ok()?);
    let program = fields.next()?.parse().ok()?;
    let name = fields.next().filter(|name| !name.is_empty()).map(str::to_owned);
    let reached: Result<BTreeSet<usize>, _> =
        fields.next()?.split_whitespace().map(str::parse).collect();
    Some(Test { program, name, time, reached: reached.ok()? })
}

/// Tells programs apart.
fn header(programs: &[Program]) -> String {
    let one = |program: &Program| {
        let written = fs::metadata(&program.path).and_then(|metadata| metadata.modified()).ok();
        let since = written.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        format!("{} {:?}", program.path.display(), since.unwrap_or_default())
    };
    programs.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_known_as_long_as_their_programs_are_the_same() {
        let file = |name: &str| std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        let (program, path) = (file("mutants-program"), file("mutants-memo"));
        let programs = [Program { target: "lib".into(), path: program.clone() }];
        fs::write(&program, "").unwrap();
        let reached = [3, 5].into();
        let time = Duration::from_micros(7);
        let tests = [
            Test { program: 0, name: Some("a::b".into()), time, reached },
            Test { program: 0, name: None, time, reached: BTreeSet::new() },
        ];
        write(&path, &programs, &tests).unwrap();
        let again = read(&path, &programs).unwrap();
        assert_eq!(format!("{again:?}"), format!("{tests:?}"));
        fs::remove_file(&program).unwrap();
        assert!(read(&path, &programs).is_none());
        fs::remove_file(&path).unwrap();
    }
}
