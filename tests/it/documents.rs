//! Promise: documents speak of what is there. Links and their anchors, paths of this repository, and names of
//! files, code and tests exist. The README and ARCHITECTURE stay short, each script is in the index, and the guide
//! is compiled.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

const README_WORDS_MAX: usize = 900;
const ARCHITECTURE_WORDS_MAX: usize = 1500;

/// Code in backticks that begins with one of these is a path from the root of the repository.
const ROOTS: &[&str] =
    &["src/", "scripts/", "docs/", "tests/", "crates/", "planted/", "fuzz/", "examples/", ".ci/"];

/// These name code and tests by their Rust paths.
const INDEXES: &[&str] = &["docs/invariants.md", "docs/reliability.md"];

/// Link definitions for rustdoc, which lead to its pages and not to files.
const RUSTDOC_LINKS: &str = "docs/rustdoc-links.md";

/// The figures of the README, which rustdoc has as definitions in files of their own.
const FIGURES: [(&str, &str, &str); 2] = [
    ("figure", "docs/benchmarks/latency-1.svg", "docs/benchmarks/latency-1.uri"),
    ("costs", "docs/benchmarks/events.svg", "docs/benchmarks/events.uri"),
];

/// What git ignores, or where the fuzzer puts its inputs.
const NOT_OURS: &[&str] = &["target", "artifacts"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files with this extension below a directory, by their paths from the root.
fn files(dir: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    collect(&root().join(dir), extension, &mut found);
    found.sort();
    found
}

fn collect(dir: &Path, extension: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !name.starts_with('.') && !NOT_OURS.contains(&name) {
                collect(&path, extension, found);
            }
        } else if path.extension().is_some_and(|end| end == extension) {
            let path = path.strip_prefix(root()).unwrap().to_str().unwrap();
            found.push(path.replace('\\', "/"));
        }
    }
}

/// A document without its fenced blocks, which are code.
fn prose(text: &str) -> String {
    let mut prose = String::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            prose += line;
        }
        prose.push('\n');
    }
    prose
}

/// What stands in backticks within a line.
fn code(prose: &str) -> Vec<&str> {
    prose.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// The same prose with nothing left of what stands in backticks.
fn without_code(prose: &str) -> String {
    let line = |line: &str| line.split('`').step_by(2).collect::<Vec<_>>().join("``");
    prose.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Where inline links and images lead: `[text](here)`.
fn inline_links(prose: &str) -> Vec<String> {
    let prose = without_code(prose);
    let ends = prose.match_indices("](");
    ends.filter_map(|(at, _)| Some(prose[at + 2..].split_once(')')?.0.to_owned())).collect()
}

/// The definitions of links: `[name]: there`.
fn definitions(prose: &str) -> Vec<(String, String)> {
    let definition = |line: &str| {
        let (name, target) = line.strip_prefix('[')?.split_once("]: ")?;
        Some((name.to_owned(), target.trim().to_owned()))
    };
    prose.lines().filter_map(definition).collect()
}

/// The names by which the text refers to definitions: `[text][name]`, and `[name]` alone.
fn references(prose: &str) -> BTreeSet<String> {
    let is_text = |line: &&str| definitions(line).is_empty();
    let prose = without_code(&prose.lines().filter(is_text).collect::<Vec<_>>().join("\n"));
    let mut names = BTreeSet::new();
    for (at, _) in prose.match_indices('[') {
        let Some((name, rest)) = prose[at + 1..].split_once(']') else { continue };
        if !name.contains(['[', '\n']) && !name.is_empty() && !rest.starts_with(['(', '[']) {
            names.insert(name.to_owned());
        }
    }
    names
}

/// The anchors of a document's headings, as repositories on the web make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let heading = |line: &str| {
        let title = line.trim_start_matches('#').strip_prefix(' ')?;
        let title = title.replace('`', "").to_lowercase();
        let kept = |c: char| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || matches!(c, '-' | '_') => Some(c),
            _ => None,
        };
        line.starts_with('#').then(|| title.chars().filter_map(kept).collect())
    };
    prose(text).lines().filter_map(heading).collect()
}

/// What is wrong with a link of a document to a file of the repository.
fn broken(document: &str, link: &str) -> Option<String> {
    let is_elsewhere = ["http://", "https://", "mailto:", "data:", "crate::"];
    if is_elsewhere.iter().any(|start| link.starts_with(start)) {
        return None;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if file.is_empty() {
        PathBuf::from(document)
    } else {
        normal(&Path::new(document).parent().unwrap().join(file))
    };
    if !root().join(&target).exists() {
        return Some(format!("{document}: {link} is not there"));
    }
    let is_there = || anchors(&read(target.to_str().unwrap())).contains(anchor);
    (!anchor.is_empty() && !is_there()).then(|| format!("{document}: {link} has no such heading"))
}

/// Without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => assert!(normal.pop(), "{} leaves the root", path.display()),
            part => normal.push(part),
        }
    }
    normal
}

/// The paths that code in backticks names: the first word, without a line's number; `{a,b}` is two paths.
fn paths(code: &str) -> Vec<String> {
    let word = code.split_whitespace().next().unwrap_or_default();
    if !ROOTS.iter().any(|root| word.starts_with(root)) {
        return Vec::new();
    }
    braces(word.split(':').next().unwrap_or_default())
}

/// The name of a source file that code in backticks names, without its folders.
fn source_file(code: &str) -> Option<&str> {
    let word = code.split_whitespace().next()?.split(':').next()?;
    let is_path = |c: char| c.is_alphanumeric() || "_-/.".contains(c);
    (word.ends_with(".rs") && word.chars().all(is_path)).then(|| file_name(word))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// `a{b,c}` is `ab` and `ac`.
fn braces(text: &str) -> Vec<String> {
    let Some((before, (inner, after))) =
        text.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    else {
        return vec![text.to_owned()];
    };
    inner.split(',').map(|part| format!("{before}{}{after}", part.trim())).collect()
}

/// Whether a file or folder is there; the last part may have one `*`.
fn exists(path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let Some((start, end)) = path.split_once('*') else { return root().join(path).exists() };
    let (dir, start) = start.rsplit_once('/').unwrap_or(("", start));
    let Ok(entries) = fs::read_dir(root().join(dir)) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name().into_string().unwrap_or_default();
        name.starts_with(start) && name.ends_with(end)
    })
}

/// The words of Rust paths and of names with an underscore, such as `Slots::close` and `scrape_keeps_order`.
fn names(code: &str) -> Vec<String> {
    let is_name = |c: char| c.is_alphanumeric() || "_:*{}, ".contains(c);
    if !code.chars().all(is_name) || !code.contains("::") && !code.contains('_') {
        return Vec::new();
    }
    let words = braces(code).into_iter().flat_map(|path| {
        path.split("::")
            .map(|word| word.trim().trim_end_matches('*').to_owned())
            .collect::<Vec<_>>()
    });
    words.filter(|word| !word.is_empty() && !word.contains(' ')).collect()
}

/// All words of all sources, and the names of their files and folders.
fn words_of_sources() -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for dir in ["src", "tests", "crates", "examples"] {
        for file in files(dir, "rs") {
            words.extend(file.trim_end_matches(".rs").split('/').map(str::to_owned));
            let text = read(&file);
            let found = text.split(|c: char| !c.is_alphanumeric() && c != '_');
            words.extend(found.map(str::to_owned));
        }
    }
    words
}

#[test]
fn links_lead_to_files_and_headings() {
    let mut wrong = Vec::new();
    for document in files("", "md") {
        let prose = prose(&read(&document));
        let defined = definitions(&prose);
        let targets = defined.iter().map(|(_, target)| target.clone());
        wrong.extend(
            inline_links(&prose).into_iter().chain(targets).filter_map(|to| broken(&document, &to)),
        );
        let is_defined = |name: &&String| defined.iter().any(|(defined, _)| defined == *name);
        let missing = references(&prose).into_iter().filter(|name| !is_defined(&name));
        wrong.extend(missing.map(|name| format!("{document}: [{name}] is not defined")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn paths_in_backticks_exist() {
    let mut wrong = Vec::new();
    for document in files("", "md") {
        let prose = prose(&read(&document));
        let named = code(&prose).into_iter().flat_map(paths);
        let missing = named.filter(|path| !exists(path));
        wrong.extend(missing.map(|path| format!("{document}: {path}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A file that is named without its folder, such as `pool.rs`, may be in any folder.
#[test]
fn names_of_source_files_exist() {
    let sources = ["src", "tests", "crates", "examples", "fuzz"].map(|dir| files(dir, "rs"));
    let known: BTreeSet<_> = sources.iter().flatten().map(|path| file_name(path)).collect();
    let mut wrong = Vec::new();
    for document in files("", "md") {
        let prose = prose(&read(&document));
        let named = code(&prose).into_iter().filter_map(source_file);
        let missing = named.filter(|name| !known.contains(name));
        wrong.extend(missing.map(|name| format!("{document}: {name}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn names_of_code_and_tests_exist() {
    let words = words_of_sources();
    let mut wrong = Vec::new();
    for document in INDEXES {
        let prose = prose(&read(document));
        // A name that ends in `*` may be the beginning of a word.
        let is_there = |name: &String| {
            words.range(name.clone()..).next().is_some_and(|word| word.starts_with(name.as_str()))
        };
        let missing = code(&prose).into_iter().flat_map(names).filter(|name| !is_there(name));
        wrong.extend(missing.map(|name| format!("{document}: {name}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_first_two_documents_are_short() {
    for (document, max) in
        [("README.md", README_WORDS_MAX), ("ARCHITECTURE.md", ARCHITECTURE_WORDS_MAX)]
    {
        let words = read(document).split_whitespace().count();
        assert!(words <= max, "{document} has {words} words, {max} at most");
    }
}

#[test]
fn every_script_is_in_the_index() {
    let index = read("docs/testing.md");
    for dir in ["scripts", ".ci"] {
        for entry in fs::read_dir(root().join(dir)).unwrap() {
            let name = format!("{dir}/{}", entry.unwrap().file_name().to_str().unwrap());
            let is_named = |code: &str| code.split_whitespace().next() == Some(&name);
            assert!(code(&prose(&index)).into_iter().any(is_named), "{name} is in no table");
        }
    }
}

/// Each page of the guide is a page of rustdoc, where only links by names lead somewhere.
#[test]
fn the_guide_is_compiled_and_its_links_work_in_rustdoc() {
    let crate_root = read("src/lib.rs");
    let links = format!("include_str!(\"../{RUSTDOC_LINKS}\")");
    let known: BTreeSet<_> =
        definitions(&read(RUSTDOC_LINKS)).into_iter().map(|(name, _)| name).collect();
    let mut pages = files("docs/guide", "md");
    pages.push("README.md".to_owned());
    for page in &pages {
        let included = format!("include_str!(\"../{page}\")");
        assert!(crate_root.contains(&included), "src/lib.rs does not include {page}");
        let prose = prose(&read(page));
        let relative = inline_links(&prose).into_iter().find(|to| !to.starts_with("http"));
        assert_eq!(relative, None, "{page}: in rustdoc this leads nowhere");
        let is_figure = |name: &str| FIGURES.iter().any(|(figure, ..)| *figure == name);
        let used = references(&prose).into_iter().filter(|name| !is_figure(name));
        let unknown: Vec<_> = used.filter(|name| !known.contains(name)).collect();
        assert!(unknown.is_empty(), "{page}: {RUSTDOC_LINKS} does not define {unknown:?}");
    }
    assert_eq!(crate_root.matches(&links).count(), pages.len(), "one before each page");
}

/// `BUFFEREDWRITER_BLESS=1` makes the copy again.
#[test]
fn the_figures_in_rustdoc_are_those_of_the_readme() {
    for (name, figure, copy) in FIGURES {
        assert!(read("README.md").contains(&format!("\n[{name}]: {figure}\n")), "{name}");
        let figure = fs::read(root().join(figure)).unwrap();
        let expected = format!("[{name}]: data:image/svg+xml;base64,{}\n", base64(&figure));
        if std::env::var_os("BUFFEREDWRITER_BLESS").is_some() {
            fs::write(root().join(copy), &expected).unwrap();
        }
        assert!(read(copy) == expected, "{copy} is out of date: set BUFFEREDWRITER_BLESS=1");
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 63;
            let is_padding = digit > group.len();
            text.push(if is_padding { '=' } else { char::from(DIGITS[value as usize]) });
        }
    }
    text
}

/// The checks above would pass if they saw nothing.
#[test]
fn the_checks_see_what_they_look_for() {
    let text = "# A `b`, c\n[in](README.md#no) ![image](gone.svg) [named][name] [alone] `[not](this)`\n\
                ```\n[nor](this) `src/nor.rs`\n```\n`src/lib.rs` `src/gone.rs:7` `scripts/{fuzz,gone} [N]`\n\
                `Slots::{close, gone}` `a_test_*` `word` `it/pool.rs:3` `*.rs`\n\n[name]: docs/gone.md\n";
    let prose = prose(text);
    assert_eq!(inline_links(&prose), ["README.md#no", "gone.svg"]);
    assert_eq!(definitions(&prose), [("name".to_owned(), "docs/gone.md".to_owned())]);
    assert!(references(&prose).iter().eq(["alone", "name"]), "{:?}", references(&prose));
    assert!(anchors(text).iter().eq(["a-b-c"]), "{:?}", anchors(text));
    let code = code(&prose);
    let found: Vec<_> = code.iter().flat_map(|code| paths(code)).collect();
    assert_eq!(found, ["src/lib.rs", "src/gone.rs", "scripts/fuzz", "scripts/gone"]);
    let missing: Vec<_> = found.iter().filter(|path| !exists(path)).collect();
    assert_eq!(missing, ["src/gone.rs", "scripts/gone"]);
    assert!(exists("planted/*.bugs") && !exists("planted/*.gone") && exists("src/tests/loom/"));
    let named: Vec<_> = code.iter().flat_map(|code| names(code)).collect();
    assert_eq!(named, ["Slots", "close", "Slots", "gone", "a_test_"]);
    let sources: Vec<_> = code.iter().filter_map(|code| source_file(code)).collect();
    assert_eq!(sources, ["lib.rs", "gone.rs", "pool.rs"]);
    assert!(broken("docs/testing.md", "../README.md").is_none());
    assert!(broken("docs/testing.md", "README.md").is_some());
    assert!(broken("README.md", "docs/testing.md#scripts").is_none());
    assert!(broken("README.md", "docs/testing.md#gone").is_some());
    assert!(files("", "md").len() > 15 && files("src", "rs").len() > 50);
    assert_eq!([b"".as_slice(), b"a", b"ab", b"abc"].map(base64), ["", "YQ==", "YWI=", "YWJj"]);
}
