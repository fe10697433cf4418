//! Promise: the arrows between the modules run one way, as the table says; only `real_fs.rs` names
//! `std::fs`, only `sync.rs` the atomics and loom; nothing prints; no file is too long to read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Each module and those that it names, from the callers' side down to the disk. Modules under
/// `cfg(test)` are not part of it.
const ARROWS: &[(&str, &[&str])] = &[
    // What users see.
    (
        "lib",
        &[
            "config", "error", "fs", "health", "producer", "real_fs", "record", "recover",
            "recovery", "report", "stats", "vault", "writer",
        ],
    ),
    ("io", &["producer", "record", "writer"]),
    (
        "writer",
        &[
            "append", "config", "error", "handle", "health", "hold", "producer", "record",
            "recovery", "registry", "report", "stats", "submit",
        ],
    ),
    ("producer", &["append", "error", "hold", "record", "slot", "submit"]),
    ("registry", &["handle", "slot", "slots", "sync"]),
    ("hold", &["handle", "sync"]),
    // The life of a writer.
    (
        "handle",
        &[
            "background",
            "config",
            "control",
            "error",
            "ground",
            "guard",
            "health",
            "ledger",
            "name",
            "notes",
            "output",
            "publish",
            "recovery",
            "report",
            "shared",
            "slot",
            "staging",
            "state",
            "stats",
            "sync",
            "worker",
        ],
    ),
    (
        "ground",
        &[
            "arena", "census", "error", "fs", "guard", "name", "publish", "shared", "state",
            "sync", "vault",
        ],
    ),
    // Left-overs of instances that died.
    ("background", &["bury", "control", "error", "fs", "name", "recovery", "search", "sync"]),
    ("recover", &["bury", "error", "fs", "real_fs", "recovery", "search"]),
    (
        "bury",
        &["error", "fs", "judge", "name", "publish", "recovery", "remains", "rescue", "search"],
    ),
    ("search", &["error", "fs", "publish"]),
    (
        "rescue",
        &["error", "fs", "judge", "name", "publish", "recovery", "relics", "remains", "vault"],
    ),
    ("relics", &["checksum", "fs", "layout", "name", "remains", "stats", "vault"]),
    ("judge", &["fs", "name", "recovery", "remains"]),
    ("remains", &["checksum", "fs", "name", "state"]),
    ("recovery", &["error", "stats"]),
    // The memory: a record on its way to a worker.
    ("submit", &["append", "control", "error", "message", "record", "shared", "slot"]),
    ("append", &["arena", "chain", "error", "lease", "message", "shared", "slot"]),
    ("record", &["arena", "chain", "error", "lease", "shared", "slot"]),
    ("chain", &["arena", "error", "lease", "message", "shared", "slot", "stats", "sync"]),
    ("lease", &["arena", "error", "lane", "shared", "slot", "sync"]),
    ("shared", &["arena", "bell", "inbox", "pool", "prefault", "slots", "sync"]),
    ("slots", &["fork", "slot", "sync"]),
    ("slot", &["arena", "error", "stats", "sync"]),
    ("prefault", &["arena", "lane", "layout", "pool", "sync"]),
    ("pool", &["arena", "lane", "layout", "sync"]),
    ("inbox", &["arena", "lane", "sync"]),
    ("lane", &[]),
    ("bell", &["sync"]),
    ("arena", &["bytes", "layout", "message", "stats", "sync", "vault"]),
    ("bytes", &[]),
    ("vault", &["checksum", "error", "layout", "memory_file", "name", "stats", "sync"]),
    ("layout", &["message", "sync"]),
    ("memory_file", &["error", "fork"]),
    ("message", &["sync"]),
    // The workers: from memory to a file.
    (
        "worker",
        &[
            "control", "error", "health", "intake", "ledger", "message", "output", "shared",
            "stats", "sync", "trouble",
        ],
    ),
    ("trouble", &["control", "error"]),
    ("intake", &["arena", "shared", "slot", "stats", "sync"]),
    (
        "output",
        &[
            "arena", "config", "error", "file", "fs", "guard", "intake", "ledger", "name", "notes",
            "publish", "shared", "staging", "stats", "sync", "trouble",
        ],
    ),
    ("notes", &["file", "fs", "intake", "shared", "state", "stats", "sync", "vault"]),
    ("control", &["sync"]),
    ("guard", &["census", "error", "shared", "stats", "sync"]),
    ("census", &["error", "fs", "name"]),
    ("ledger", &["error", "health", "stats", "sync"]),
    // The files.
    ("file", &["direct", "error", "fs", "name", "staging", "stats"]),
    ("direct", &["fs", "staging"]),
    ("staging", &[]),
    ("publish", &["error", "fs", "name"]),
    ("state", &["checksum", "error", "fs", "name", "sync"]),
    ("name", &["error", "sync"]),
    ("real_fs", &["fork", "fs"]),
    ("fork", &["sync"]),
    ("fs", &[]),
    // What is known everywhere.
    (
        "config",
        &[
            "arena", "error", "fs", "health", "intake", "message", "name", "prefault", "real_fs",
            "staging", "vault",
        ],
    ),
    ("report", &["error", "stats"]),
    ("health", &["error", "stats"]),
    ("stats", &["error"]),
    ("error", &[]),
    ("checksum", &[]),
    ("sync", &[]),
];

/// Lines that name what only one module may name, with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    // Stamps are unique in the process, and no part of what loom explores.
    // The light side of the barrier: loom knows no compiler fences.
    // A cell per byte, in place of the mapping.
    ("arena", "loom::cell::UnsafeCell"),
    ("bytes", "loom::cell::UnsafeCell"),
    // Memory with a name: what is mapped is no matter of the boxed trait.
    ("memory_file", "std::fs"),
    ("memory_file", "rustix::fs"),
];

const LINES_MAX: usize = 500;

struct Source {
    module: String,
    lines: usize,
    /// Without comments and tests.
    code: Vec<String>,
}

/// All of `src`, but for what only tests use.
fn sources() -> Vec<Source> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |name: &str| fs::read_to_string(src.join(name)).unwrap();
    let tests = modules_under_cfg_test(&code(&read("lib.rs")));
    let mut names: Vec<_> = fs::read_dir(&src)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        // The folder of a module that is for tests only.
        .filter(|name| !tests.contains(name))
        .collect();
    names.sort();
    let module = |name: &String| {
        let module = name.strip_suffix(".rs").expect("src is flat, and Rust only").to_owned();
        let text = read(name);
        Source { module, lines: text.lines().count(), code: code(&text) }
    };
    names.iter().map(module).filter(|source| !tests.contains(&source.module)).collect()
}

/// The lines of a file without its comments and its `mod tests`, which stands at the end.
fn code(text: &str) -> Vec<String> {
    let tests = text.find("\nmod tests {").unwrap_or(text.len());
    let end = text[..tests].rfind("\n#[cfg(").filter(|_| tests < text.len()).unwrap_or(tests);
    let lines = text[..end].lines().map(|line| line.split("//").next().unwrap_or("").trim());
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Modules of `lib.rs` behind a `cfg` that names `test`.
fn modules_under_cfg_test(lib: &[String]) -> BTreeSet<String> {
    let pairs = lib.windows(2).filter(|pair| {
        pair[0].starts_with("#[cfg(") && pair[0].contains("test") && !pair[0].contains("not(test")
    });
    let module = |line: &str| {
        let line = line.strip_prefix("pub ").unwrap_or(line);
        line.strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned)
    };
    pairs.filter_map(|pair| module(&pair[1])).collect()
}

/// The modules after `crate::`, in a `use` or in the middle of an expression.
fn named(code: &[String]) -> BTreeSet<String> {
    let text = code.join("\n");
    let mut named = BTreeSet::new();
    for (at, path) in text.match_indices("crate::") {
        // `$crate::` and names that end in crate are other things.
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &text[at + path.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            // `use crate::{a, b::{c, d}}`: the names at the first level.
            let mut depth = 1;
            let mut item = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                if depth == 0 || depth == 1 && c == ',' {
                    named.extend(identifier(item.trim()));
                    item.clear();
                } else {
                    item.push(c);
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            named.extend(identifier(rest));
        }
    }
    named
}

fn identifier(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    // What is not a module is a re-export: the root names it.
    let name = &text[..end];
    (!name.is_empty()).then(|| {
        if name.starts_with(char::is_uppercase) { "lib".to_owned() } else { name.to_owned() }
    })
}

#[test]
fn each_arrow_is_in_the_table() {
    let table: BTreeMap<&str, BTreeSet<String>> = ARROWS
        .iter()
        .map(|(module, named)| (*module, named.iter().map(|&name| name.to_owned()).collect()))
        .collect();
    assert_eq!(table.len(), ARROWS.len(), "a module is listed twice");
    let mut wrong = Vec::new();
    let sources = sources();
    for source in &sources {
        let Some(allowed) = table.get(&*source.module) else {
            wrong.push(format!("{} is not in the table", source.module));
            continue;
        };
        let mut found = named(&source.code);
        if source.module == "lib" {
            // The root names its modules without `crate::`.
            let uses = source.code.iter().filter_map(|line| line.strip_prefix("pub use "));
            found.extend(uses.filter_map(identifier).filter(|name| name != "crate"));
        }
        found.remove(&source.module);
        for name in found.difference(allowed) {
            wrong.push(format!("{} -> {name} is not in the table", source.module));
        }
        for name in allowed.difference(&found) {
            wrong.push(format!("{} -> {name} is in the table, not in src", source.module));
        }
    }
    for module in table.keys() {
        if !sources.iter().any(|source| source.module == **module) {
            wrong.push(format!("{module} is in the table, not in src"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_arrows_run_one_way() {
    let mut left: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    // Kahn's topological sort, from the leaves up.
    loop {
        let leaves: Vec<&str> = left
            .iter()
            .filter(|(_, named)| !named.iter().any(|name| left.contains_key(name)))
            .map(|(module, _)| *module)
            .collect();
        if leaves.is_empty() {
            break;
        }
        left.retain(|module, _| !leaves.contains(module));
    }
    assert!(left.is_empty(), "in a circle, or above one: {:?}", left.keys());
}

#[test]
fn each_door_is_the_only_one() {
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for source in sources() {
        for line in &source.code {
            let mut exception = EXCEPTIONS.iter().enumerate();
            let exception =
                exception.find(|(_, (m, part))| *m == source.module && line.contains(part));
            for (name, door) in [
                ("std::fs", "real_fs"),
                ("rustix::fs", "real_fs"),
                ("sync::atomic", "sync"),
                ("loom::", "sync"),
                // The wall clock makes names; deadlines are monotonic.
                ("SystemTime", "name"),
            ] {
                if !line.contains(name) || source.module == door {
                    continue;
                }
                match exception {
                    Some((i, _)) => used.extend([i]),
                    None => wrong.push(format!("{}: {line}", source.module)),
                }
            }
            for print in
                ["println!", "eprintln!", "print!", "eprint!", "dbg!", "log::", "tracing::"]
            {
                if line.contains(print) {
                    wrong.push(format!("{}: {line}", source.module));
                }
            }
        }
    }
    for (i, exception) in EXCEPTIONS.iter().enumerate() {
        if !used.contains(&i) {
            wrong.push(format!("an exception that nobody needs: {exception:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_can_be_read() {
    for source in sources() {
        let Source { module, lines, .. } = source;
        assert!(lines <= LINES_MAX, "{module}.rs has {lines} lines");
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let folders = [src.clone(), src.join("models"), src.join("cases"), src.join("sim")];
    for entry in folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()) {
        let path = entry.unwrap().path();
        if folders.contains(&path) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        // The crate as a whole: the README tells.
        let told = ["//! ", "#![doc = include_str!"].iter().any(|start| text.starts_with(start));
        assert!(told, "{}: what is it for?", path.display());
    }
}

/// The checks above would pass if they saw nothing.
#[test]
fn the_checks_see_what_they_look_for() {
    let text = "use crate::a::B;\nuse crate::{c, d::{e, f}};\n// crate::no\nlet x = crate::g::h();\n\
                pub use crate::Root;\nlet y = $crate::no;\n#[cfg(all(test, not(loom)))]\nmod tests {\nuse crate::no;\n}\n";
    let expected = ["a", "c", "d", "g", "lib"];
    assert!(named(&code(text)).iter().eq(expected.iter()));
    let lib = ["#[cfg(all(test, not(loom)))]", "mod a;", "#[cfg(not(loom))]", "mod b;"];
    let public = ["#[cfg(any(test, fuzzing))]", "pub mod c;"];
    let lib: Vec<_> = lib.into_iter().chain(public).map(str::to_owned).collect();
    assert!(modules_under_cfg_test(&lib).iter().eq(["a", "c"].iter()));
    assert!(sources().len() >= ARROWS.len() && !sources().iter().any(|s| s.module == "faulty"));
}
