//! A bug's patch on the text of its files. Each hunk must match at exactly one place.

use super::bug::{Bug, Hunk, Scope};
use std::collections::BTreeMap;

/// The files that a bug changes, by their paths, with their texts afterwards. `read` gives a file's text.
///
/// # Errors
/// A file can't be read, or a hunk matches nowhere or more than once.
pub fn apply(
    bug: &Bug,
    read: impl Fn(&str) -> Result<String, String>,
) -> Result<BTreeMap<String, String>, String> {
    let mut texts = BTreeMap::new();
    for hunk in &bug.hunks {
        let text = match texts.remove(&hunk.file) {
            Some(text) => text,
            None => read(&hunk.file)?,
        };
        let changed = replace(&text, hunk).map_err(|error| format!("{}: {error}", hunk.file))?;
        texts.insert(hunk.file.clone(), changed);
    }
    Ok(texts)
}

fn replace(text: &str, hunk: &Hunk) -> Result<String, String> {
    let mut lines: Vec<&str> = text.split('\n').collect();
    let at = match places(&lines, hunk)?[..] {
        [at] => at,
        [] => return Err(format!("matches nowhere: {}", hunk.old.join(" / "))),
        ref all => {
            let numbers: Vec<String> = all.iter().map(|at| (at + 1).to_string()).collect();
            let numbers = numbers.join(", ");
            return Err(format!("matches at lines {numbers}: {}", hunk.old.join(" / ")));
        }
    };
    lines.splice(at..at + hunk.old.len(), hunk.new.iter().map(String::as_str));
    Ok(lines.join("\n"))
}

/// Where the old lines stand.
fn places(lines: &[&str], hunk: &Hunk) -> Result<Vec<usize>, String> {
    let begins: Vec<usize> = match &hunk.scope {
        Scope::File => vec![0],
        Scope::Line(line) => vec![*line],
        Scope::Item(item) => (0..lines.len()).filter(|&at| begins_item(lines[at], item)).collect(),
    };
    if let (Scope::Item(item), []) = (&hunk.scope, &begins[..]) {
        return Err(format!("matches nowhere: there is no {item}"));
    }
    let end = |begin: usize| match &hunk.scope {
        Scope::File => lines.len(),
        Scope::Line(line) => line + 1,
        Scope::Item(_) => item_end(lines, begin),
    };
    let in_range =
        |at: usize| begins.iter().any(|&begin| begin <= at && at + hunk.old.len() <= end(begin));
    let matches = |&at: &usize| {
        in_range(at) && lines[at..].iter().zip(&hunk.old).all(|(line, old)| line == old)
    };
    Ok((0..lines.len()).filter(matches).collect())
}

/// Whether the item's words stand in the line, outside of a comment.
fn begins_item(line: &str, item: &str) -> bool {
    !line.trim_start().starts_with("//") && find_word(line, item).is_some()
}

/// Behind the item that begins at a line: its brace closes with the indentation that it begins with.
fn item_end(lines: &[&str], begin: usize) -> usize {
    let indentation = |line: &str| line.len() - line.trim_start().len();
    if lines[begin].ends_with(['}', ';']) {
        return begin + 1;
    }
    let depth = indentation(lines[begin]);
    let is_end = |line: &&str| {
        let text = line.trim_start();
        indentation(line) == depth && (text.starts_with('}') || text.ends_with(';'))
    };
    let len = lines[begin + 1..].iter().position(is_end);
    len.map_or(lines.len(), |len| begin + 1 + len + 1)
}

/// Where `word` first stands in a line as a whole word.
pub(super) fn find_word(line: &str, word: &str) -> Option<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .map(|(at, _)| at)
        .find(|&at| !line[..at].ends_with(is_word) && !line[at + word.len()..].starts_with(is_word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
use std::mem;

impl A {
    fn one(&self) {
        fence();
        step();
    }

    /// As fn one.
    fn one_more(
        &self,
    ) -> bool {
        fence();
        true
    }
}

impl Drop for A {
    fn drop(&mut self) {
        step();
    }
}
";

    fn apply_to_text(scope: Scope, old: &[&str], new: &[&str]) -> Result<String, String> {
        let owned = |lines: &[&str]| lines.iter().copied().map(String::from).collect();
        let hunk = Hunk { file: "a.rs".into(), scope, old: owned(old), new: owned(new) };
        let bug = Bug { name: "bug".into(), checks: Vec::new(), hunks: vec![hunk] };
        apply(&bug, |_| Ok(TEXT.into())).map(|mut texts| texts.remove("a.rs").unwrap())
    }

    fn item(text: &str) -> Scope {
        Scope::Item(text.into())
    }

    #[test]
    fn lines_that_are_there_once_are_replaced() {
        let changed = apply_to_text(Scope::File, &["        true"], &["        false"]);
        assert_eq!(changed.unwrap(), TEXT.replace("true", "false"));
    }

    #[test]
    fn lines_that_are_there_twice_or_not_at_all_are_told() {
        let error = apply_to_text(Scope::File, &["        fence();"], &[]).unwrap_err();
        assert_eq!(error, "a.rs: matches at lines 5, 13:         fence();");
        let error = apply_to_text(Scope::File, &["fence();"], &[]).unwrap_err();
        assert_eq!(error, "a.rs: matches nowhere: fence();");
        let error = apply_to_text(item("fn two"), &["        fence();"], &[]).unwrap_err();
        assert_eq!(error, "a.rs: matches nowhere: there is no fn two");
    }

    #[test]
    fn context_and_items_tell_places_apart() {
        let without = TEXT.replacen("        fence();\n", "", 1);
        assert_eq!(apply_to_text(item("fn one"), &["        fence();"], &[]).unwrap(), without);
        let (old, new) = (["        fence();", "        step();"], ["        step();"]);
        assert_eq!(apply_to_text(Scope::File, &old, &new).unwrap(), without);
        let changed = apply_to_text(item("fn one_more"), &["        fence();"], &["        ();"]);
        assert_eq!(changed.unwrap(), TEXT.replace("fence();\n        true", "();\n        true"));
        let changed = apply_to_text(item("impl Drop for A"), &["        step();"], &[]).unwrap();
        assert_eq!(
            changed,
            TEXT.replace("self) {\n        step();\n    }\n}\n", "self) {\n    }\n}\n")
        );
    }

    #[test]
    fn a_line_by_its_index() {
        let changed = apply_to_text(Scope::Line(12), &["        fence();"], &["        ();"]);
        assert_eq!(changed.unwrap(), TEXT.replace("fence();\n        true", "();\n        true"));
        assert!(apply_to_text(Scope::Line(3), &["        fence();"], &[]).is_err());
        assert!(apply_to_text(Scope::Line(300), &["        fence();"], &[]).is_err());
    }

    #[test]
    fn hunks_of_one_file_add_up() {
        let hunk = |old: &str, new: &str| Hunk {
            file: "a.rs".into(),
            scope: Scope::File,
            old: vec![old.into()],
            new: vec![new.into()],
        };
        let hunks = vec![hunk("one", "1"), hunk("two", "2")];
        let bug = Bug { name: "bug".into(), checks: Vec::new(), hunks };
        let texts = apply(&bug, |_| Ok("one\ntwo\nthree\n".into())).unwrap();
        assert_eq!(texts["a.rs"], "1\n2\nthree\n");
    }
}
