//! The bugs and the tree fit each other. A bug that went out of date turns this red at once, rather than hours
//! later where the bugs are planted.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bufferedwriter_testkit::planted::{Bug, Kind, apply, load, read, test_names};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn bugs() -> Vec<Bug> {
    load(&root()).unwrap_or_else(|error| panic!("{error}"))
}

/// Fails with all of what is wrong.
fn expect_nothing(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn each_bug_applies_at_exactly_one_place() {
    let bugs = bugs();
    let apply = |bug: &Bug| apply(bug, |file| read(&root(), file)).err();
    let wrong: Vec<String> = bugs
        .iter()
        .filter_map(|bug| apply(bug).map(|error| format!("{}: {error}", bug.name)))
        .collect();
    for (kind, count) in Kind::count(&bugs) {
        println!("{count} bugs are for {}", kind.name());
    }
    expect_nothing(&wrong);
}

#[test]
fn no_name_is_there_twice() {
    let mut seen = BTreeSet::new();
    let twice: Vec<String> =
        bugs().into_iter().map(|bug| bug.name).filter(|name| !seen.insert(name.clone())).collect();
    expect_nothing(&twice);
}

#[test]
fn what_must_notice_a_bug_exists() {
    let root = root();
    let unit = test_names(&root.join("src")).unwrap();
    let all_in = |dirs: [&str; 2]| -> Vec<String> {
        dirs.iter().flat_map(|dir| test_names(&root.join(dir)).unwrap()).collect()
    };
    let integration = all_in(["tests/it", "tests/any"]);
    let program = all_in(["crates/cli/src", "crates/cli/tests/it"]);
    let events = all_in(["crates/tracing/src", "crates/tracing/tests"]);
    let ship = all_in(["crates/ship/src", "crates/ship/tests/it"]);
    let is_there = |names: &[String], filter: &str| names.iter().any(|name| name.contains(filter));
    let mut wrong = Vec::new();
    for bug in bugs() {
        for check in &bug.checks {
            let has = |word: &str| match check.kind {
                Kind::Loom | Kind::Portable => is_there(&unit, word),
                Kind::It => is_there(&unit, word) || is_there(&integration, word),
                Kind::Program => is_there(&program, word),
                Kind::Events => is_there(&events, word),
                Kind::Ship => is_there(&ship, word),
                Kind::Disk => root.join("scripts").join(word).is_file(),
                Kind::Sanitize => ["address", "thread"].contains(&word),
                Kind::Fork | Kind::Crash => false,
            };
            // What follows a script are numbers and words of its own.
            let len = if check.kind == Kind::Disk { 1 } else { check.args.len() };
            let missing = check.args[..len].iter().filter(|word| !has(word));
            wrong.extend(missing.map(|word| format!("{}: no test is like {word}", bug.name)));
        }
    }
    expect_nothing(&wrong);
}

#[test]
fn the_bugs_that_the_invariants_name_exist() {
    let bugs = bugs();
    // All of a rule's bugs in a file go by the beginning that they share.
    let is_there = |name: &str| {
        let is = |bug: &Bug| {
            bug.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        };
        bugs.iter().any(is)
    };
    let named = named_in_tables(&read(&root(), "docs/invariants.md").unwrap());
    assert!(named.len() > 100, "only {} names are found", named.len());
    let missing: Vec<String> = named.into_iter().filter(|name| !is_there(name)).collect();
    expect_nothing(&missing);
}

/// What stands in italics in the last column of tables whose last column is headed "planted bug".
fn named_in_tables(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_named = false;
    for line in text.lines() {
        let Some(row) = line.trim().strip_prefix('|').and_then(|row| row.strip_suffix('|')) else {
            is_named = false;
            continue;
        };
        let last = row.rsplit('|').next().unwrap_or_default().trim();
        if last == "planted bug" {
            is_named = true;
        } else if is_named {
            let without_code: String = last.split('`').step_by(2).collect();
            names.extend(without_code.split('*').skip(1).step_by(2).map(String::from));
        }
    }
    names
}

#[test]
fn names_in_italics_are_found() {
    let text = "\
| a | planted bug |
|---|---|
| *no* | *one*, *two* (`scripts/*`) |

| *a* | b |
|---|---|
| c | *not this* |
";
    assert_eq!(named_in_tables(text), ["one", "two"]);
}
