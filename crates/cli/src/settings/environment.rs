//! Options in variables of the environment.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Command;

use crate::settings::keys::{PARTITION_VALUE, Setting, Source, known};

const PREFIX: &str = "BUFFEREDWRITER_";

/// The variable that names the file of options.
pub(super) const CONFIG: &str = "BUFFEREDWRITER_CONFIG";

/// What `--on-publish` tells its command, which may be this program.
const OF_HOOKS: [&str; 7] = ["FILE", "ID", "RECORDS", "BYTES", "FIRST", "LAST", "REASON"];

/// One of them: the rest of the name is that of the value.
const OF_PARTITION: &str = "PARTITION_VALUE_";

/// The file of `BUFFEREDWRITER_CONFIG`, and all other options, by name. The error is a complete message.
pub(super) fn read(
    variables: impl Iterator<Item = (OsString, OsString)>,
    command: &Command,
) -> Result<(Option<PathBuf>, Vec<Setting>), String> {
    let (mut file, mut settings) = (None, Vec::new());
    for (name, value) in variables {
        // The options' own names are Unicode.
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        if OF_HOOKS.contains(&rest) {
            continue;
        }
        if rest == "CONFIG" {
            file = Some(value.into());
            continue;
        }
        let source = Source::Variable(format!("{PREFIX}{rest}"));
        let (key, value) = match rest.strip_prefix(OF_PARTITION) {
            Some(part) => {
                let mut pair = OsString::from(format!("{part}="));
                pair.push(value);
                (PARTITION_VALUE.to_owned(), pair)
            }
            None => (rest.to_ascii_lowercase(), value),
        };
        known(command, &key, &source.to_string())?;
        settings.push(Setting { key, value, source });
    }
    settings.sort_by(|a, b| (&a.key, &a.value).cmp(&(&b.key, &b.value)));
    Ok((file, settings))
}
