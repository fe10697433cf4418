//! A copy of the repository, whose library has all mutants.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, about};
use crate::find::{find, is_built};
use crate::mutant::{Found, Mutant};
use crate::rewrite::rewrite;

/// What is not changed besides code for tests: the door to atomics, which loom's models test; lists of options; the
/// door to the disk, which disks test; plain values; a trait that hands on.
const LEFT_ALONE: &[&str] = &[
    "src/base/sync.rs",
    "src/config/",
    "src/fs/real.rs",
    "src/report/error.rs",
    "src/report/stats.rs",
    "src/tests/",
    "src/writer/io_write.rs",
];

/// What the copy does not need.
const NOT_COPIED: &[&str] = &[".git", "target", "out", "artifacts"];

/// A file of the library.
struct Source {
    path: String,
    text: String,
    found: Found,
    /// The number of its first mutant.
    first: usize,
}

/// Where the copy has the mutants of a place.
pub struct Place {
    /// Its file, from the root.
    pub path: String,
    /// Its bytes.
    pub range: Range<usize>,
    /// The numbers of its mutants.
    pub mutants: Vec<usize>,
}

/// The library's mutants, and where they are written.
pub struct Tree {
    root: PathBuf,
    copy: PathBuf,
    sources: Vec<Source>,
}

impl Tree {
    /// Reads the library below `root`; its copy will be below `copy`.
    pub fn read(root: &Path, copy: &Path) -> Result<Self, Failure> {
        let mut paths = BTreeSet::new();
        modules(root, "src/lib.rs", &mut paths)?;
        let mut sources = Vec::new();
        let mut first = 0;
        for path in paths {
            if !LEFT_ALONE.iter().any(|start| path.starts_with(start)) {
                let text = read(&root.join(&path))?;
                let found = find(&path, &text).map_err(|error| format!("{path}: {error}"))?;
                let count = found.mutants.len();
                sources.push(Source { path, text, found, first });
                first += count;
            }
        }
        Ok(Self { root: root.to_owned(), copy: copy.to_owned(), sources })
    }

    /// All mutants. The index of each is its number.
    pub fn mutants(&self) -> Vec<&Mutant> {
        self.sources.iter().flat_map(|source| &source.found.mutants).collect()
    }

    /// Makes the copy, with all mutants but those that `is_kept` refuses. Where each mutant's code is comes first, then
    /// the places with the source's code in them.
    pub fn write(&self, is_kept: impl Fn(usize) -> bool) -> Result<[Vec<Place>; 2], Failure> {
        let mut written = BTreeSet::new();
        let [mut spans, mut sites] = [vec![], vec![]];
        for Source { path, text, found, first } in &self.sources {
            let out = rewrite(text, &found.sites, *first, |index| is_kept(first + index));
            let place = |range, mutants: Vec<usize>| {
                let mutants = mutants.iter().map(|index| first + index).collect();
                Place { path: path.clone(), range, mutants }
            };
            spans.extend(out.spans.into_iter().map(|(range, index)| place(range, vec![index])));
            sites.extend(out.sites.into_iter().map(|(range, indexes)| place(range, indexes)));
            let end =
                if path == "src/lib.rs" { "\n#[doc(hidden)]\npub mod mutants;\n" } else { "" };
            update(&self.copy.join(path), (out.text + end).as_bytes())?;
            written.insert(PathBuf::from(path));
        }
        update(&self.copy.join("src/mutants.rs"), include_bytes!("active.rs.txt"))?;
        written.insert("src/mutants.rs".into());
        self.copy_rest(Path::new(""), &mut written)?;
        remove_others(&self.copy, Path::new(""), &written)?;
        Ok([spans, sites])
    }

    /// Copies what is not written yet.
    fn copy_rest(&self, below: &Path, written: &mut BTreeSet<PathBuf>) -> Result<(), Failure> {
        for (path, is_dir) in entries(&self.root, below)? {
            if is_dir {
                self.copy_rest(&path, written)?;
            } else if !written.contains(&path) {
                let from = self.root.join(&path);
                let bytes = fs::read(&from).map_err(about(&from))?;
                update(&self.copy.join(&path), &bytes)?;
                if let Ok(metadata) = fs::metadata(&from) {
                    let _ = fs::set_permissions(self.copy.join(&path), metadata.permissions());
                }
                written.insert(path);
            }
        }
        Ok(())
    }
}

/// The files of a module and of those below it, from the root.
fn modules(root: &Path, path: &str, found: &mut BTreeSet<String>) -> Result<(), Failure> {
    let file =
        syn::parse_file(&read(&root.join(path))?).map_err(|error| format!("{path}: {error}"))?;
    let own = path.trim_end_matches(".rs");
    let dir = own.strip_suffix("/mod").or(own.strip_suffix("/lib")).unwrap_or(own).to_owned();
    found.insert(path.to_owned());
    for item in file.items {
        let syn::Item::Mod(module) = item else { continue };
        if module.content.is_none() && is_built(&module.attrs) {
            let below = format!("{dir}/{}", module.ident);
            let flat = format!("{below}.rs");
            let is_flat = root.join(&flat).exists();
            modules(root, &if is_flat { flat } else { below + "/mod.rs" }, found)?;
        }
    }
    Ok(())
}

/// What a directory has, by paths from the root, and whether each is a directory.
fn entries(root: &Path, below: &Path) -> Result<Vec<(PathBuf, bool)>, Failure> {
    let dir = root.join(below);
    let told = about::<std::io::Error>(&dir);
    let mut found = Vec::new();
    for entry in fs::read_dir(&dir).map_err(&told)? {
        let entry = entry.map_err(&told)?;
        if !NOT_COPIED.contains(&&*entry.file_name().to_string_lossy()) {
            found.push((below.join(entry.file_name()), entry.path().is_dir()));
        }
    }
    Ok(found)
}

/// Removes files of an earlier copy.
fn remove_others(copy: &Path, below: &Path, written: &BTreeSet<PathBuf>) -> Result<(), Failure> {
    for (path, is_dir) in entries(copy, below)? {
        if is_dir {
            remove_others(copy, &path, written)?;
        } else if !written.contains(&path) {
            fs::remove_file(copy.join(&path)).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(about(path))
}

/// Writes a file, unless it is like that: cargo builds what is newer than its output.
fn update(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let told = about::<std::io::Error>(path);
    fs::create_dir_all(path.parent().unwrap_or(path)).map_err(&told)?;
    fs::write(path, bytes).map_err(&told)
}
