//! A rule makes a bug of each line of some files that has one of some words: the word is replaced.
//! Comments and imports are left alone.

use super::apply::find_word;
use super::bug::{Bug, Check, Hunk, Scope};

/// A rule.
#[derive(Debug, PartialEq)]
pub(super) struct Rule {
    /// The beginning of its bugs' names; file and line follow.
    pub name: String,
    /// What must notice each of its bugs.
    pub checks: Vec<Check>,
    /// The files, from the root of the repository.
    pub files: Vec<String>,
    /// The words, and what stands in their place.
    pub words: Vec<(String, String)>,
}

impl Rule {
    /// Its bugs; `read` gives a file's text. A file without any is an error, since it needs no rule.
    pub fn expand(
        &self,
        read: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Vec<Bug>, String> {
        let mut bugs = Vec::new();
        for file in &self.files {
            let text = read(file)?;
            let lines = text.lines().enumerate().filter(|(_, line)| is_code(line));
            bugs.extend(lines.filter_map(|(at, line)| self.bug(file, at, line)));
        }
        Ok(bugs)
    }

    fn bug(&self, file: &str, at: usize, line: &str) -> Option<Bug> {
        let mut changed = line.to_string();
        for (from, to) in &self.words {
            if let Some(found) = find_word(&changed, from) {
                changed.replace_range(found..found + from.len(), to);
            }
        }
        let place = file.strip_prefix("src/").unwrap_or(file);
        (changed != line).then(|| Bug {
            name: format!("{} {place}:{}", self.name, at + 1),
            checks: self.checks.clone(),
            hunks: vec![Hunk {
                file: file.into(),
                scope: Scope::Line(at),
                old: vec![line.into()],
                new: vec![changed],
            }],
        })
    }
}

/// Neither a comment nor an import, nor a line of an import of many lines.
fn is_code(line: &str) -> bool {
    let line = line.trim_start();
    let name = line.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    let is_import =
        name.starts_with(|c: char| c.is_ascii_uppercase()) && line[name.len()..].starts_with(", ");
    !line.starts_with("//") && !line.starts_with("use ") && !is_import
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::apply::apply;
    use crate::planted::bug::Kind;

    const TEXT: &str = "\
use sync::{AcqRel, Release};
    Acquire, Release,
// Release: why.
    x.store(1, Release); // Released
    y.swap(1, AcqRel);
    z.store(1, Releases);
";

    #[test]
    fn each_line_of_code_with_a_word_is_a_bug() {
        let word = |from: &str, to: &str| (from.to_string(), to.to_string());
        let rule = Rule {
            name: "Release relaxed at".into(),
            checks: vec![Check { kind: Kind::Loom, args: Vec::new() }],
            files: vec!["src/a/x.rs".into()],
            words: vec![word("Release", "Relaxed"), word("AcqRel", "Acquire")],
        };
        let bugs = rule.expand(|_| Ok(TEXT.into())).unwrap();
        let names: Vec<&str> = bugs.iter().map(|bug| bug.name.as_str()).collect();
        assert_eq!(names, ["Release relaxed at a/x.rs:4", "Release relaxed at a/x.rs:5"]);
        let change = |bug| apply(bug, |_| Ok(TEXT.into())).unwrap().remove("src/a/x.rs").unwrap();
        assert_eq!(change(&bugs[0]), TEXT.replace("(1, Release)", "(1, Relaxed)"));
        assert_eq!(change(&bugs[1]), TEXT.replace("(1, AcqRel)", "(1, Acquire)"));
        assert_eq!(bugs[0].checks, rule.checks);
    }
}
