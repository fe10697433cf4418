//! What SIGHUP reads anew: limits, retention and the hook, from the file of options.
//!
//! Guarantees: flags and variables come before the file, as at the start. What is refused changes nothing, and the
//! operator hears of it, as of options that can't change before the next start.

use bufferedwriter::BufferedWriter;
use clap::{ArgMatches, Args, Command};

use crate::commands::write::args::Write;
use crate::console;

/// The options that may change, and the one of them that must stay set or unset.
const CHANGING: [&str; 7] = [
    "min_free",
    "max_total",
    "retain_bytes",
    "retain_files",
    "retain_age",
    "retain_unacknowledged",
    ON_PUBLISH,
];
const ON_PUBLISH: &str = "on_publish";

/// Reads all options again. The error is a complete message.
pub(crate) type Reread = Box<dyn Fn() -> Result<(ArgMatches, Write), String> + Send>;

/// The options as they hold.
pub(crate) struct Reload {
    reread: Reread,
    started: ArgMatches,
    applied: ArgMatches,
    current: Write,
}

impl Reload {
    /// For a run that was started with these options.
    pub(crate) fn new(started: ArgMatches, current: Write, reread: Reread) -> Self {
        Reload { reread, applied: started.clone(), started, current }
    }

    /// Reads the options, and has the writer take them.
    pub(super) fn run(&mut self, writer: &BufferedWriter) {
        match self.take(writer) {
            Ok((changed, fixed)) => {
                let changed =
                    if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") };
                console::report(format_args!("SIGHUP: options are read again; changed: {changed}"));
                if !fixed.is_empty() {
                    let fixed = fixed.join(", ");
                    console::report(format_args!(
                        "SIGHUP: these change only with the next start: {fixed}"
                    ));
                }
            }
            Err(message) => {
                console::report(format_args!("SIGHUP: {message}; all options stay as they were"));
            }
        }
    }

    /// Returns the options that have changed, and those that can't.
    fn take(&mut self, writer: &BufferedWriter) -> Result<(Vec<String>, Vec<String>), String> {
        let (matches, mut next) = (self.reread)()?;
        let command = Write::augment_args(Command::new("write"));
        let keys = command.get_arguments().map(|arg| arg.get_id().as_str());
        let differs = |key: &str, from: &ArgMatches| {
            let values = |of: &ArgMatches| -> Option<Vec<_>> {
                of.get_raw(key).map(|values| values.map(ToOwned::to_owned).collect())
            };
            values(from) != values(&matches)
        };
        let is_toggled = next.has_hook() != self.current.has_hook();
        let (mut changed, mut fixed) = (Vec::new(), Vec::new());
        for key in keys {
            if !CHANGING.contains(&key) || (key == ON_PUBLISH && is_toggled) {
                fixed.extend(differs(key, &self.started).then(|| key.to_owned()));
            } else {
                changed.extend(differs(key, &self.applied).then(|| key.to_owned()));
            }
        }
        if is_toggled {
            next.take_hook_of(&self.current);
        }
        writer.reconfigure(next.config()).map_err(|error| error.to_string())?;
        (self.applied, self.current) = (matches, next);
        Ok((changed, fixed))
    }
}
