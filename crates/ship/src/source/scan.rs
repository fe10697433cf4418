//! Lists a directory and those below it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::report::Error;
use crate::source::Candidate;

/// Directories inside of each other. A partition has few.
const DEPTH_MAX: usize = 32;

/// Calls for each finished file, and before its files for each directory. Hidden directories are left out, and links.
/// What vanishes meanwhile is no error.
pub(crate) fn walk(
    from: &Path,
    below: &Path,
    on_dir: &mut dyn FnMut(&Path),
    on_file: &mut dyn FnMut(Candidate),
) -> Result<(), Error> {
    let mut dirs = vec![below.to_owned()];
    while let Some(dir) = dirs.pop() {
        on_dir(&dir);
        let path = from.join(&dir);
        let failed = |error| Error::new("list", path.display().to_string(), error);
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_top(&dir) => continue,
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Ok(kind) = entry.file_type() else { continue };
            if name.as_encoded_bytes().starts_with(b".") && kind.is_dir() {
                continue;
            }
            let inner: PathBuf = dir.join(name);
            if kind.is_dir() && inner.components().count() <= DEPTH_MAX {
                dirs.push(inner);
            } else if kind.is_file() {
                if let Some(candidate) = Candidate::look(from, inner) {
                    on_file(candidate);
                }
            }
        }
    }
    Ok(())
}

fn is_top(dir: &Path) -> bool {
    dir.as_os_str().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bufferedwriter_testkit::dir::TestDir;

    #[test]
    fn only_finished_files_are_found_in_any_partition() {
        let dir = TestDir::new();
        let name = "20261122T194030.123456789Z-000000000000feed-1-w3-42.log";
        for inner in ["", "dt=2026-11-22", "dt=2026-11-22/hour=19", ".hidden"] {
            fs::create_dir_all(dir.join(inner)).unwrap();
            fs::write(dir.join(inner).join(name), "x\n").unwrap();
        }
        for other in ["note.txt", &format!(".{name}.tmp"), ".000000000000feed-1.state", "42.log"] {
            fs::write(dir.join(other), "x\n").unwrap();
        }
        std::os::unix::fs::symlink(dir.join("note.txt"), dir.join(name.replace("42", "43")))
            .unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.join("link")).unwrap();
        let (mut dirs, mut files) = (0, Vec::new());
        walk(dir.path(), Path::new(""), &mut |_| dirs += 1, &mut |file| files.push(file.path))
            .unwrap();
        files.sort();
        let expected = [
            name.to_owned(),
            format!("dt=2026-11-22/{name}"),
            format!("dt=2026-11-22/hour=19/{name}"),
        ];
        assert_eq!((dirs, files), (3, expected.map(PathBuf::from).to_vec()));
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error_with_its_name() {
        let dir = TestDir::new();
        let error = walk(&dir.join("none"), Path::new(""), &mut |_| (), &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains("/none"), "{error}");
    }
}
