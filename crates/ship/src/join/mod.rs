//! Small files of one partition in one object. Knows names, bytes and lists of files; knows no store and no shipper.
//!
//! Guarantees: a joined object holds its files' records in the order of their names, with one header and one footer.
//! Refuses: a file that is damaged, or whose header is another one. It goes alone, as it is.
//!
//! `pen` decides which files, `assemble` makes the bytes, `plan` is the list that a store keeps beside the object.

pub(crate) mod assemble;
pub(crate) mod codec;
pub(crate) mod pen;
pub(crate) mod plan;

pub(crate) use plan::{Member, Plan};

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use bufferedwriter::FileName;

/// Stands before the extension in the name of a joined object.
const MARK: &str = "joined";

/// Which files may share an object: those of one directory, prefix and extension.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sort {
    dir: PathBuf,
    prefix: OsString,
    extension: OsString,
}

impl Sort {
    /// `None` for files that are joined never: names that are no text, and objects that were joined.
    pub(crate) fn of(path: &Path) -> Option<Sort> {
        path.to_str()?;
        let name = FileName::parse(path.file_name()?)?;
        let is_joined = name.extension.to_str()?.split('.').next() == Some(MARK);
        let dir = path.parent().unwrap_or(Path::new("")).to_owned();
        (!is_joined).then_some(Sort { dir, prefix: name.prefix, extension: name.extension })
    }
}

/// The object of a group whose first file this is. No other group has it, since a file is the first of one group only.
pub(crate) fn object_of(first: &Path) -> Option<PathBuf> {
    let mut name = FileName::parse(first.file_name()?)?;
    let extension = name.extension.to_str()?;
    let dot = if extension.is_empty() { "" } else { "." };
    name.extension = format!("{MARK}{dot}{extension}").into();
    Some(first.with_file_name(name.to_os_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "a_20261122T194030.123456789Z-000000000000feed-1-w3-42";

    #[test]
    fn an_object_has_the_name_of_its_first_file_with_a_mark() {
        for (end, expected) in [(".log.zst", ".joined.log.zst"), ("", ".joined")] {
            let object = object_of(format!("dt=1/{NAME}{end}").as_ref()).unwrap();
            assert_eq!(object.to_str().unwrap(), format!("dt=1/{NAME}{expected}"));
            let parsed = FileName::parse(object.file_name().unwrap()).unwrap();
            assert_eq!((parsed.sequence, parsed.worker), (42, 3));
            assert_eq!(Sort::of(&object), None, "not joined again");
        }
    }

    #[test]
    fn files_of_other_partitions_prefixes_and_extensions_are_of_another_sort() {
        let sort = |path: &str| Sort::of(path.as_ref()).unwrap();
        let one = sort(&format!("dt=1/{NAME}.log"));
        assert_eq!(one, sort(&format!("dt=1/{}.log", NAME.replace("w3-42", "w4-1"))));
        for other in
            [format!("dt=2/{NAME}.log"), format!("dt=1/b{NAME}.log"), format!("dt=1/{NAME}.gz")]
        {
            assert_ne!(one, sort(&other));
        }
    }
}
