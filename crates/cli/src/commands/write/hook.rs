//! The command of `--on-publish`, run for each published file.
//!
//! Guarantees: no shell is in between, so a name is one argument whatever it contains. Standard
//! input is empty, and standard output is the program's standard error. Refuses a text without a
//! command.

use std::ffi::{OsStr, OsString};
use std::io::stderr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use bufferedwriter::{BoxError, PublishedFile};
use jiff::Timestamp;

use crate::console;
use crate::sys;

/// Stands for the path in the words of a command.
const PLACE: &str = "{}";

/// A command and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hook {
    words: Vec<String>,
}

impl Hook {
    /// Splits a command into words as a shell would, with its quotes, but without anything else.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let words = shlex::split(text).ok_or("a quote is not closed")?;
        if words.first().is_none_or(String::is_empty) {
            return Err("a command is missing".to_owned());
        }
        Ok(Hook { words })
    }

    /// Runs the command for a file, and waits for its end.
    pub(crate) fn run(&self, file: &PublishedFile) -> Result<(), BoxError> {
        let mut words = self.words.iter().map(|word| filled(word, file.path.as_os_str()));
        let program = words.next().unwrap_or_default();
        let mut command = Command::new(&program);
        sys::fork_first(&mut command);
        let status = command
            .args(words)
            .env("BUFFEREDWRITER_FILE", &file.path)
            .env("BUFFEREDWRITER_ID", &file.id)
            .env("BUFFEREDWRITER_RECORDS", file.records.records.to_string())
            .env("BUFFEREDWRITER_BYTES", file.bytes.to_string())
            .env("BUFFEREDWRITER_FIRST", rfc3339(file.first))
            .env("BUFFEREDWRITER_LAST", rfc3339(file.last))
            .env("BUFFEREDWRITER_REASON", file.reason.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::from(stderr()))
            .status()
            .map_err(|error| format!("{}: {error}", Path::new(&program).display()))?;
        console::detail(format_args!(
            "--on-publish: {}: {status}, {} records, {} bytes, {}",
            file.path.display(),
            file.records.records,
            file.bytes,
            file.reason
        ));
        if status.success() {
            return Ok(());
        }
        // Whoever took the file has stopped the hook: the operator must see that.
        let gone = if file.path.exists() { "" } else { ", and the file no longer exists" };
        Err(format!("{}: {status}{gone}", Path::new(&program).display()).into())
    }
}

/// The word with the path in each place for it.
fn filled(word: &str, path: &OsStr) -> OsString {
    let mut parts = word.split(PLACE);
    let mut filled = OsString::from(parts.next().unwrap_or_default());
    for part in parts {
        filled.push(path);
        filled.push(part);
    }
    filled
}

fn rfc3339(time: SystemTime) -> String {
    // What no calendar has, a clock that is set wrong may say.
    Timestamp::try_from(time).map_or_else(|error| error.to_string(), |time| format!("{time:.9}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn words_are_split_and_filled() {
        let hook = Hook::parse("mv -- '{}' \"/a b/{}.done\" {}{}").unwrap();
        let path = OsStr::from_bytes(b"/x y/\xff'");
        let words: Vec<_> = hook.words.iter().map(|word| filled(word, path)).collect();
        let expected: [&[u8]; 5] =
            [b"mv", b"--", b"/x y/\xff'", b"/a b//x y/\xff'.done", b"/x y/\xff'/x y/\xff'"];
        assert_eq!(words, expected.map(OsStr::from_bytes));
        for (text, why) in
            [("", "missing"), ("  ", "missing"), ("''", "missing"), ("a 'b", "quote")]
        {
            assert!(Hook::parse(text).unwrap_err().contains(why), "{text}");
        }
    }
}
