//! From the text of a `.bugs` file to bugs and rules. An error names its line.

use super::bug::{Bug, Check, Hunk, Kind, Scope};
use super::rule::Rule;

/// A block of a file.
#[derive(Debug, PartialEq)]
pub(super) enum Entry {
    Bug(Bug),
    Rule(Rule),
}

/// What a block has said so far.
#[derive(Default)]
struct Block {
    name: String,
    checks: Vec<Check>,
    file: Option<String>,
    hunks: Vec<Hunk>,
    each: Vec<String>,
    words: Vec<(String, String)>,
}

/// `origin` is the file's name, for errors.
pub(super) fn parse(origin: &str, text: &str) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    let mut block: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        let told = |error: String| format!("{origin}:{}: {error}", index + 1);
        if let Some(name) = line.strip_prefix("## ") {
            if let Some(block) = block.take() {
                entries.push(block.end().map_err(told)?);
            }
            block = Some(Block { name: name.trim().into(), ..Block::default() });
        } else if line.starts_with('#') {
            // A comment.
        } else if let Some(block) = &mut block {
            block.take(line).map_err(told)?;
        } else if !line.trim().is_empty() {
            return Err(told(format!("no bug has begun: {line}")));
        }
    }
    if let Some(block) = block {
        entries.push(block.end().map_err(|error| format!("{origin}: {error}"))?);
    }
    Ok(entries)
}

impl Block {
    fn take(&mut self, line: &str) -> Result<(), String> {
        if let Some(scope) = line.strip_prefix("@@") {
            return self.begin_hunk(scope.trim());
        }
        if let (Some(mark), Some(hunk)) = (line.chars().next(), self.hunks.last_mut())
            && " -+".contains(mark)
        {
            let text = &line[1..];
            if mark != '+' {
                hunk.old.push(text.into());
            }
            if mark != '-' {
                hunk.new.push(text.into());
            }
            return Ok(());
        }
        if line.trim().is_empty() {
            return Ok(());
        }
        let (key, value) =
            line.split_once(": ").ok_or_else(|| format!("not understood: {line}"))?;
        let value = value.trim();
        match key {
            "tests" => self.checks.push(check(value)?),
            "file" => self.file = Some(value.into()),
            "each" => self.each.push(value.into()),
            "word" => {
                let (from, to) = value.split_once(" -> ").ok_or("a word needs ` -> `")?;
                self.words.push((from.into(), to.into()));
            }
            _ => return Err(format!("unknown key: {key}")),
        }
        Ok(())
    }

    fn begin_hunk(&mut self, scope: &str) -> Result<(), String> {
        let file = self.file.clone().ok_or("a hunk before its file")?;
        let scope = if scope.is_empty() { Scope::File } else { Scope::Item(scope.into()) };
        self.hunks.push(Hunk { file, scope, old: Vec::new(), new: Vec::new() });
        Ok(())
    }

    fn end(self) -> Result<Entry, String> {
        let name = self.name;
        let wrong = |what: &str| Err(format!("{name:?} {what}"));
        if self.checks.is_empty() {
            return wrong("names no tests");
        }
        if !self.each.is_empty() || !self.words.is_empty() {
            if self.each.is_empty() || self.words.is_empty() || !self.hunks.is_empty() {
                return wrong("is a rule, which has `each` and `word`, and no hunks");
            }
            let (checks, files, words) = (self.checks, self.each, self.words);
            return Ok(Entry::Rule(Rule { name, checks, files, words }));
        }
        if self.hunks.is_empty() {
            return wrong("changes nothing");
        }
        if self.hunks.iter().any(|hunk| hunk.old == hunk.new) {
            return wrong("has a hunk that changes nothing");
        }
        if self.hunks.iter().any(|hunk| hunk.old.is_empty()) {
            return wrong("has a hunk that only adds: give it a line of context");
        }
        Ok(Entry::Bug(Bug { name, checks: self.checks, hunks: self.hunks }))
    }
}

fn check(value: &str) -> Result<Check, String> {
    let mut words = value.split_whitespace().map(String::from);
    let name = words.next().unwrap_or_default();
    let kind = Kind::parse(&name).ok_or_else(|| format!("unknown kind of tests: {name}"))?;
    let args: Vec<String> = words.collect();
    let fits = match kind {
        Kind::Loom => true,
        Kind::It | Kind::Portable | Kind::Program | Kind::Events | Kind::Ship | Kind::Disk => {
            !args.is_empty()
        }
        Kind::Fork | Kind::Crash => args.is_empty(),
        Kind::Sanitize => args.len() == 1,
    };
    if fits { Ok(Check { kind, args }) } else { Err(format!("wrong words after {name}: {value}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "\
# Why these are here.

## no fence
tests: loom sleep
tests: it parker:: worker::
file: src/parker.rs
@@ fn prepare_to_park
-        fence(SeqCst);
@@
 context
-old
+new
file: src/pool.rs
@@
 before
+added

## Release relaxed at
tests: loom
each: src/pool.rs
word: Release -> Relaxed
";

    fn hunk(file: &str, scope: Scope, old: &[&str], new: &[&str]) -> Hunk {
        let owned = |lines: &[&str]| lines.iter().copied().map(String::from).collect();
        Hunk { file: file.into(), scope, old: owned(old), new: owned(new) }
    }

    #[test]
    fn a_block_is_read() {
        let entries = parse("x.bugs", TWO).unwrap();
        let [Entry::Bug(bug), Entry::Rule(rule)] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!(bug.name, "no fence");
        let check =
            |kind, args: &[&str]| Check { kind, args: args.iter().map(|&a| a.into()).collect() };
        assert_eq!(
            bug.checks,
            [check(Kind::Loom, &["sleep"]), check(Kind::It, &["parker::", "worker::"])]
        );
        let item = Scope::Item("fn prepare_to_park".into());
        assert_eq!(
            bug.hunks,
            [
                hunk("src/parker.rs", item, &["        fence(SeqCst);"], &[]),
                hunk("src/parker.rs", Scope::File, &["context", "old"], &["context", "new"]),
                hunk("src/pool.rs", Scope::File, &["before"], &["before", "added"]),
            ]
        );
        assert_eq!(rule.files, ["src/pool.rs"]);
        assert_eq!(rule.words, [("Release".into(), "Relaxed".into())]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let cases = [
            ("tests: it x\n", "x.bugs:1: no bug has begun: tests: it x"),
            ("## a\nfile: b\n@@\n-c\n", "x.bugs: \"a\" names no tests"),
            ("## a\ntests: it x\n@@\n-c\n", "x.bugs:3: a hunk before its file"),
            ("## a\ntests: it x\n## b\n", "x.bugs:3: \"a\" changes nothing"),
            ("## a\ntests: it\n", "x.bugs:2: wrong words after it: it"),
            ("## a\ntests: fork x\n", "x.bugs:2: wrong words after fork: fork x"),
            ("## a\ntests: moon\n", "x.bugs:2: unknown kind of tests: moon"),
            ("## a\nfiles: b\n", "x.bugs:2: unknown key: files"),
            ("## a\n-c\n", "x.bugs:2: not understood: -c"),
            (
                "## a\ntests: it x\nfile: b\n@@\n+c\n",
                "x.bugs: \"a\" has a hunk that only adds: give it a line of context",
            ),
            (
                "## a\ntests: it x\nfile: b\n@@\n c\n",
                "x.bugs: \"a\" has a hunk that changes nothing",
            ),
            (
                "## a\ntests: loom\neach: b\n",
                "x.bugs: \"a\" is a rule, which has `each` and `word`, and no hunks",
            ),
        ];
        for (text, error) in cases {
            assert_eq!(parse("x.bugs", text).unwrap_err(), error);
        }
    }
}
