//! What the writer's manifest says of files: their length and their records. Reads on where it stopped.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

const READ_BYTES: u64 = 1 << 20;

/// A line of a manifest, as far as a shipper needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) bytes: u64,
    pub(crate) records: u64,
}

/// The lines of files that were not shipped yet.
#[derive(Debug, Default)]
pub(crate) struct Manifest {
    path: PathBuf,
    id: Option<(u64, u64)>,
    at: u64,
    lines: HashMap<PathBuf, Line>,
}

impl Manifest {
    pub(crate) fn new(path: PathBuf) -> Self {
        Manifest { path, ..Manifest::default() }
    }

    /// What it says of a file. `None`: no line, or none yet.
    pub(crate) fn of(&self, file: &Path) -> Option<Line> {
        self.lines.get(file).copied()
    }

    /// A file that needs its line no longer.
    pub(crate) fn forget(&mut self, file: &Path) {
        self.lines.remove(file);
    }

    /// Reads new lines, of files that are wanted. One that was moved away, as by `logrotate`, is read from the start.
    pub(crate) fn refresh(&mut self, is_wanted: impl Fn(&Path) -> bool) -> io::Result<()> {
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        let facts = file.metadata()?;
        let id = Some((facts.dev(), facts.ino()));
        if id != self.id || facts.len() < self.at {
            (self.id, self.at) = (id, 0);
        }
        file.seek(SeekFrom::Start(self.at))?;
        let mut kept = Vec::new();
        loop {
            let read = file.by_ref().take(READ_BYTES).read_to_end(&mut kept)?;
            let whole = kept.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            for (path, line) in kept[..whole].split(|&byte| byte == b'\n').filter_map(parse) {
                if is_wanted(&path) {
                    self.lines.insert(path, line);
                }
            }
            self.at += whole as u64;
            kept.drain(..whole);
            if read == 0 {
                return Ok(());
            }
        }
    }
}

fn parse(line: &[u8]) -> Option<(PathBuf, Line)> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let number = |key| line.get(key).and_then(Value::as_u64);
    let path = line.get("path")?.as_str()?.into();
    Some((path, Line { bytes: number("bytes")?, records: number("records")? }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bufferedwriter_testkit::dir::TestDir;
    use std::fs;

    #[test]
    fn lines_are_read_once_they_are_whole_and_again_after_a_move() {
        let dir = TestDir::new();
        let path = dir.join("m.ndjson");
        let mut manifest = Manifest::new(path.clone());
        manifest.refresh(|_| true).unwrap();
        let line = |n: u64| format!("{{\"path\":\"f{n}\",\"bytes\":{n},\"records\":1}}\n");
        fs::write(&path, [line(1), line(2)[..9].to_owned()].concat()).unwrap();
        manifest.refresh(|_| true).unwrap();
        assert_eq!(manifest.of("f1".as_ref()), Some(Line { bytes: 1, records: 1 }));
        assert_eq!(manifest.of("f2".as_ref()), None);
        fs::write(&path, [line(1), "no json\n".to_owned(), line(2)].concat()).unwrap();
        manifest.refresh(|path| path != Path::new("f1")).unwrap();
        assert_eq!(manifest.of("f2".as_ref()).unwrap().bytes, 2);
        fs::rename(&path, dir.join("old")).unwrap();
        fs::write(&path, line(3)).unwrap();
        manifest.refresh(|_| true).unwrap();
        assert_eq!(manifest.of("f3".as_ref()).unwrap().bytes, 3);
        manifest.forget("f3".as_ref());
        assert_eq!(manifest.of("f3".as_ref()), None);
    }
}
