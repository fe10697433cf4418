//! Promise: each folder of `src/` is a layer, and imports run one way, as ARCHITECTURE.md says; only one module
//! names atomics, only one std's file system; nothing prints, nothing ends the process; no file is too long to read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each layer and those that it may use, from the bottom up: a row names rows above it only. The block in
/// ARCHITECTURE.md is the same table.
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("report", &[]),
    ("fs", &["base"]),
    ("config", &["base", "report", "fs"]),
    ("memory", &["base", "report"]),
    ("naming", &["base", "report", "config"]),
    ("codec", &["config"]),
    ("file", &["base", "report", "fs", "config", "naming", "codec"]),
    ("accept", &["base", "report", "memory"]),
    ("housekeeping", &["base", "report", "fs", "config", "naming", "file"]),
    ("worker", &["base", "report", "fs", "config", "memory", "naming", "file", "housekeeping"]),
    (
        "recovery",
        &["base", "report", "fs", "config", "memory", "naming", "codec", "file", "housekeeping"],
    ),
    (
        "writer",
        &[
            "base",
            "report",
            "fs",
            "config",
            "memory",
            "naming",
            "codec",
            "file",
            "accept",
            "housekeeping",
            "worker",
            "recovery",
        ],
    ),
];

/// Names that only some files may use, and which: a file, or a folder with all that is in it.
const DOORS: &[(&str, &[&str])] = &[
    // The machine's own file system, and the file of crash-proof memory.
    ("std::fs", &["base/sys/", "fs/real.rs", "memory/crash_mapping.rs"]),
    ("rustix::", &["base/sys/"]),
    ("windows_sys::", &["base/sys/"]),
    ("std::os::", &["base/sys/"]),
    ("sync::atomic", &["base/sync.rs"]),
    // A cell per byte, in place of the mapping.
    ("loom::", &["base/sync.rs", "memory/arena.rs", "memory/byte_ptr.rs"]),
    // Threads that take no signals.
    ("thread::Builder", &["base/thread.rs"]),
    ("thread::spawn(", &[]),
    // The wall clock makes names and ends periods; all else is monotonic.
    (
        "SystemTime",
        &["naming/file_name.rs", "naming/stamp.rs", "report/instance.rs", "report/published.rs"],
    ),
    ("println!", &[]),
    ("print!", &[]),
    ("dbg!", &[]),
    ("log::", &[]),
    ("tracing::", &[]),
    ("process::exit", &[]),
    ("process::abort", &[]),
    ("kill_process", &[]),
    // It can end the process in many ways.
    ("libc::", &["base/sys/"]),
    ("abort(", &[]),
    ("exit(", &[]),
    // What stands in their braces would go unseen.
    ("std::{", &["base/sync.rs"]),
    ("super::super", &[]),
];

/// What is compiled for tests, the fuzzer or the documentation only.
const TEST_CFGS: [&str; 5] = [
    "#[cfg(test)]",
    "#[cfg(all(test, not(loom)))]",
    "#[cfg(all(test, target_os = \"linux\"))]",
    "#[cfg(any(test, fuzzing))]",
    "#[cfg(all(any(doc, doctest), not(loom)))]",
];

const LINES_MAX: usize = 500;

/// A file of product code.
struct Source {
    /// From `src/`.
    path: String,
    /// Without comments and without what is for tests only.
    code: Vec<String>,
}

impl Source {
    /// The layer's folder; of a file beside the folders, its own name.
    fn layer(&self) -> &str {
        self.path.split_once('/').map_or(&self.path, |(layer, _)| layer)
    }

    /// `a::b` for `a/b.rs`, `a` for `a/mod.rs`.
    fn module(&self) -> String {
        let path = self.path.strip_suffix(".rs").expect("Rust only");
        path.strip_suffix("/mod").unwrap_or(path).replace('/', "::")
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All of a crate's `src`, but for `src/tests`.
fn sources(src: &Path) -> Vec<Source> {
    let mut paths = Vec::new();
    files(src, &mut paths);
    let source = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(src).unwrap().to_str().unwrap().replace('\\', "/");
        Source { path, code: code(&text) }
    };
    paths.into_iter().map(source).filter(|source| source.layer() != "tests").collect()
}

/// The Rust files below a directory, without those that a build made.
fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.ends_with("target") {
            continue;
        }
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

fn begins_tests(line: &str) -> bool {
    matches!(line, "mod tests {" | "pub(crate) mod tests {")
}

/// The lines of a file without its comments, its `mod tests`, and items under `cfg(test)`.
fn code(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut for_tests, mut in_tests) = (false, false);
    for line in text.lines() {
        if in_tests {
            // rustfmt puts the end of the module there, and nothing else.
            in_tests = line != "}";
            continue;
        }
        let line = line.split("//").next().unwrap_or("").trim();
        if TEST_CFGS.contains(&line) {
            for_tests = true;
        } else if for_tests && begins_tests(line) {
            (for_tests, in_tests) = (false, true);
        } else if !line.is_empty() && !line.starts_with("#[") {
            // One line is enough: a test's import, or the head of a test's function.
            if !std::mem::take(&mut for_tests) {
                lines.push(line.to_owned());
            }
        }
    }
    lines
}

/// The paths after `crate::`, in a `use` or in the middle of an expression: `a::b` or, of a re-export, `a`.
fn named(code: &[String]) -> BTreeSet<String> {
    after("crate::", "", code)
}

/// The paths after `start`, which stands for the module `base`.
fn after(start: &str, base: &str, code: &[String]) -> BTreeSet<String> {
    let text = code.join(" ");
    let mut named = BTreeSet::new();
    for (at, start) in text.match_indices(start) {
        // `$crate::`, paths that go on, and names that end in it are other things.
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | ':')) {
            continue;
        }
        paths(&text[at + start.len()..], base, &mut named);
    }
    named
}

/// All that a file names of its own crate. What a folder only re-exports it does not use.
fn all_named(source: &Source) -> BTreeSet<String> {
    let module = source.module();
    let mut all = named(&source.code);
    let (parent, children_of) = match source.path.rsplit('/').next() {
        Some("lib.rs" | "main.rs") => ("", ""),
        Some("mod.rs") => (module.rsplit_once("::").map_or("", |(parent, _)| parent), &*module),
        _ => (module.rsplit_once("::").map_or("", |(parent, _)| parent), ""),
    };
    all.extend(after("super::", parent, &source.code));
    let declared = source.code.iter().filter_map(|line| {
        let line = line.strip_prefix("pub(crate) ").or(line.strip_prefix("pub ")).unwrap_or(line);
        line.strip_prefix("mod ")?.strip_suffix(';')
    });
    let uses: Vec<_> =
        source.code.iter().filter(|line| !line.starts_with("pub")).cloned().collect();
    for child in declared {
        let base = if children_of.is_empty() {
            child.to_owned()
        } else {
            format!("{children_of}::{child}")
        };
        all.extend(after(&format!("{child}::"), &base, &uses));
    }
    all
}

/// What a `use` tree names, as far as it are modules.
fn paths(tree: &str, prefix: &str, named: &mut BTreeSet<String>) {
    if let Some(group) = tree.strip_prefix('{') {
        let mut depth = 0;
        let mut from = 0;
        for (at, c) in group.char_indices() {
            let ends = depth == 0 && matches!(c, ',' | '}');
            if ends {
                paths(group[from..at].trim(), prefix, named);
                from = at + 1;
            }
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => return,
                '}' => depth -= 1,
                _ => {}
            }
        }
        return;
    }
    let end = tree.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(tree.len());
    let name = &tree[..end];
    let is_module = name.starts_with(char::is_lowercase) && name != "self";
    let joined = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}::{name}") };
    match tree[end..].strip_prefix("::") {
        Some(rest) if is_module => paths(rest, &joined, named),
        _ if is_module => drop(named.insert(joined)),
        _ if !prefix.is_empty() => drop(named.insert(prefix.to_owned())),
        _ if !name.is_empty() => drop(named.insert("lib".to_owned())),
        _ => {}
    }
}

fn layer_of(path: &str) -> &str {
    path.split("::").next().unwrap()
}

#[test]
fn imports_between_layers_are_those_of_the_table() {
    let table: BTreeMap<&str, BTreeSet<&str>> =
        LAYERS.iter().map(|(layer, uses)| (*layer, uses.iter().copied().collect())).collect();
    assert_eq!(table.len(), LAYERS.len(), "a layer is listed twice");
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    let sources = sources(&root().join("src"));
    for source in sources.iter().filter(|source| source.path != "lib.rs") {
        let Some(allowed) = table.get(source.layer()) else {
            wrong.push(format!("src/{} is in no layer", source.path));
            continue;
        };
        for name in named(&source.code) {
            let layer = layer_of(&name);
            if layer == source.layer() {
                continue;
            }
            if allowed.contains(layer) {
                used.insert((source.layer().to_owned(), layer.to_owned()));
            } else {
                wrong.push(format!("src/{} names crate::{name}", source.path));
            }
        }
    }
    for (layer, uses) in LAYERS {
        for name in *uses {
            if !used.contains(&((*layer).to_owned(), (*name).to_owned())) {
                wrong.push(format!("{layer} -> {name} is in the table, and in no file"));
            }
        }
        if !sources.iter().any(|source| source.layer() == *layer) {
            wrong.push(format!("{layer} is in the table, and has no folder"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_table_runs_one_way_and_is_that_of_the_document() {
    for (at, (layer, uses)) in LAYERS.iter().enumerate() {
        for name in *uses {
            let above = LAYERS[..at].iter().any(|(other, _)| other == name);
            assert!(above, "{layer} -> {name} runs upwards");
        }
    }
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut block = document.split("<!-- layers -->").nth(1).expect("a block of layers").lines();
    let mut told = Vec::new();
    for line in block.by_ref().filter(|line| line.starts_with("| `")) {
        let mut cells = line.split('|').skip(1).map(str::trim);
        let layer = cells.next().unwrap().trim_matches('`').to_owned();
        let uses = cells.next().unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        told.push((layer, uses.into_iter().filter(|name| name != "-").collect::<Vec<_>>()));
    }
    let table: Vec<_> = LAYERS
        .iter()
        .map(|(layer, uses)| {
            ((*layer).to_owned(), uses.iter().map(|&name| name.to_owned()).collect())
        })
        .collect();
    assert_eq!(told, table, "ARCHITECTURE.md says something else");
}

/// Within the layers too, and in the crates that only we use.
#[test]
fn no_import_comes_back() {
    for (src, why) in [
        ("src", "the library"),
        ("crates/cli/src", "the program"),
        ("crates/stress/src", "the stress tests"),
        ("crates/bench/src", "the benchmarks"),
        ("crates/metrics/src", "the metrics"),
        ("crates/mutants/src", "the mutants"),
        ("crates/testkit/src", "what tests share"),
    ] {
        let sources = sources(&root().join(src));
        let modules: BTreeSet<String> = sources.iter().map(Source::module).collect();
        let module_of = |path: &str| {
            let mut path = path.to_owned();
            while !modules.contains(&path) {
                path.truncate(path.rfind("::")?);
            }
            Some(path)
        };
        let mut left: BTreeMap<String, BTreeSet<String>> = sources
            .iter()
            .map(|source| {
                let me = source.module();
                let mut uses: BTreeSet<_> =
                    all_named(source).iter().filter_map(|path| module_of(path)).collect();
                uses.remove(&me);
                (me, uses)
            })
            .collect();
        // What names nothing that is left is in no circle, and neither is what nothing names.
        loop {
            let is_named = |module: &String| left.values().any(|uses| uses.contains(module));
            let ends: Vec<_> = left
                .iter()
                .filter(|(module, uses)| {
                    !uses.iter().any(|name| left.contains_key(name)) || !is_named(module)
                })
                .map(|(module, _)| module.clone())
                .collect();
            if ends.is_empty() {
                break;
            }
            ends.iter().for_each(|module| drop(left.remove(module)));
        }
        let circles: BTreeMap<_, Vec<_>> = left
            .iter()
            .map(|(module, uses)| {
                (module, uses.iter().filter(|name| left.contains_key(*name)).collect())
            })
            .collect();
        assert!(circles.is_empty(), "{why} has circles: {circles:#?}");
    }
}

#[test]
fn each_door_is_the_only_one() {
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for source in sources(&root().join("src")) {
        for line in &source.code {
            for (name, doors) in DOORS.iter().filter(|(name, _)| line.contains(name)) {
                let may = |door: &&&str| {
                    source.path == **door || door.ends_with('/') && source.path.starts_with(**door)
                };
                if let Some(door) = doors.iter().find(may) {
                    used.insert((*name, (*door).to_owned()));
                } else {
                    wrong.push(format!("src/{}: {line}", source.path));
                }
            }
        }
    }
    for (name, doors) in DOORS {
        for door in *doors {
            if !used.contains(&(*name, (*door).to_owned())) {
                wrong.push(format!("{name}: a door that nothing uses: {door}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Conditions that ask which system a build is for, or stand for another one.
const ASKS_FOR_SYSTEM: [&str; 6] =
    ["target_os", "target_family", "target_vendor", "unix", "windows", "bufferedwriter_portable"];

/// The folder that may ask.
const SYSTEMS: &str = "src/base/sys";

/// Whether a line is a condition that asks for the system.
fn asks_for_system(line: &str) -> bool {
    let is_condition = ["cfg(", "cfg_attr(", "cfg!("].iter().any(|cfg| line.contains(cfg));
    let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
    is_condition && words.any(|word| ASKS_FOR_SYSTEM.contains(&word))
}

/// Tests may ask: each says beside it what the system lacks.
#[test]
fn only_one_folder_asks_for_the_system() {
    let (mut wrong, mut asking) = (Vec::new(), 0);
    let mut paths = Vec::new();
    files(&root().join("src"), &mut paths);
    paths.retain(|path| !path.starts_with(root().join("src/tests")));
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let product = text.lines().take_while(|line| !begins_tests(line));
        let product = product.filter(|line| !TEST_CFGS.contains(line));
        let asks: Vec<_> = product.filter(|line| asks_for_system(line)).collect();
        if path.starts_with(root().join(SYSTEMS)) {
            asking += asks.len();
        } else {
            wrong.extend(asks.iter().map(|line| format!("{}: {line}", path.display())));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(asking > 10, "the check sees nothing: {asking}");
    assert!(asks_for_system("#[cfg(all(test, target_os = \"linux\"))]"));
    assert!(asks_for_system("if cfg!(windows) {") && !asks_for_system("#[cfg(not(loom))]"));
}

#[test]
fn files_can_be_read_and_say_what_they_are_for() {
    let mut wrong = Vec::new();
    for dir in ["src", "crates", "tests", "examples", "fuzz/targets"] {
        let mut paths = Vec::new();
        files(&root().join(dir), &mut paths);
        for path in &paths {
            let text = fs::read_to_string(path).unwrap();
            let lines = text.lines().count();
            if lines > LINES_MAX {
                wrong.push(format!("{}: {lines} lines", path.display()));
            }
            if !text.starts_with("//! ") {
                wrong.push(format!("{}: what is it for?", path.display()));
            }
            // A module with children is a folder, so that the listing shows folders.
            if path.file_name().is_some_and(|name| name != "main.rs" && name != "lib.rs")
                && path.with_extension("").is_dir()
            {
                wrong.push(format!("{}: a folder of this name stands beside it", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The checks above would pass if they saw nothing.
#[test]
fn the_checks_see_what_they_look_for() {
    let text = "use crate::a::B;\nuse crate::{c, d::{self, e, F}};\n// crate::no\nlet x = crate::g::h();\n\
                pub use crate::Root;\nlet y = $crate::no;\n#[cfg(test)]\nuse crate::no;\n\
                #[cfg(all(test, not(loom)))]\nmod tests {\nuse crate::no;\n}\n\
                #[cfg(not(any(test, loom)))]\nuse crate::seen;\nmod tests {\nuse crate::too;\n}\n\
                use crate::behind;\n";
    let expected = ["a", "behind", "c", "d", "d::e", "g::h", "lib", "seen", "too"];
    let found = named(&code(text));
    assert!(found.iter().eq(expected.iter()), "{found:?}");
    let sources = sources(&root().join("src"));
    assert!(sources.len() > 50 && sources.iter().all(|source| source.layer() != "tests"));
}
