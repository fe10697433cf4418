//! The names of the tests, as the source has them, so that filters can be checked without a build.

use std::fs;
use std::path::Path;

/// The names of the tests in the `.rs` files below `dir`, as `cargo test` prints them. Modules are found by
/// files and folders, and within files by their braces.
///
/// # Errors
/// A file can't be read.
pub fn test_names(dir: &Path) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    collect(dir, "", &mut names)?;
    Ok(names)
}

fn collect(dir: &Path, prefix: &str, names: &mut Vec<String>) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{}: {error}", dir.display());
    for entry in fs::read_dir(dir).map_err(told)? {
        let path = entry.map_err(told)?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let module = match &*stem {
            "mod" | "lib" | "main" => prefix.to_string(),
            stem => format!("{prefix}{stem}::"),
        };
        if path.is_dir() {
            collect(&path, &module, names)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            of_text(&module, &fs::read_to_string(&path).map_err(told)?, names);
        }
    }
    Ok(())
}

/// A test is a function behind `#[test]`. The source is formatted: a module ends where its brace has the
/// indentation that it began with.
fn of_text(module: &str, text: &str, names: &mut Vec<String>) {
    let mut inner: Vec<(usize, &str)> = Vec::new();
    let mut is_test = false;
    for line in text.lines() {
        let code = line.trim_start();
        let depth = line.len() - code.len();
        if inner.last().is_some_and(|&(at, _)| at == depth && code == "}") {
            inner.pop();
        }
        let item = code.strip_prefix("pub(crate) ").or(code.strip_prefix("pub ")).unwrap_or(code);
        if let Some(name) = item.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(" {")) {
            inner.push((depth, name));
        } else if code == "#[test]" {
            is_test = true;
        } else if let Some(rest) = item.strip_prefix("fn ")
            && std::mem::take(&mut is_test)
        {
            let path: String = inner.iter().map(|(_, name)| format!("{name}::")).collect();
            let name = rest.split('(').next().unwrap_or(rest);
            names.push(format!("{module}{path}{name}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_behind_the_attribute_by_their_modules() {
        let text = "\
fn helper() {}

#[test]
fn one() {
}

mod inner {
    #[test]
    #[ignore]
    fn two() {
    }
}

pub(crate) mod other {
    #[test]
    fn three() {
    }
}
";
        let mut names = Vec::new();
        of_text("a::", text, &mut names);
        assert_eq!(names, ["a::one", "a::inner::two", "a::other::three"]);
    }
}
