//! Options from the file of `--config` and from the environment, as flags before those of the command line.
//!
//! Guarantees: flags come before variables, and those before the file: clap takes the last of several. A key or a
//! value that is none is refused with the place where it stands, and with the key that was probably meant.

mod environment;
mod file;
mod keys;

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Args, Command};

pub(crate) use keys::{Kind, PARTITION_VALUE, Setting};

use crate::commands::write::args::Write;

/// The settings for these arguments of `write`, in the order of the precedence. The error is a complete message.
pub(crate) fn gather(
    args: &[OsString],
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<Setting>, String> {
    let command = Write::augment_args(Command::new("write"));
    let (file, of_environment) = environment::read(variables, &command)?;
    let mut settings = match flag_config(args).or(file) {
        Some(path) => file::read(&path, &command)?,
        None => Vec::new(),
    };
    settings.extend(of_environment);
    settings.iter().try_for_each(check)?;
    Ok(settings)
}

/// The same settings as they are by now. What is no regular file is refused: a pipe is empty by now, or waits for a
/// writer.
pub(crate) fn gather_again(args: &[OsString]) -> Result<Vec<Setting>, String> {
    let is_other = |path: &PathBuf| path.metadata().is_ok_and(|metadata| !metadata.is_file());
    match config_file(args, std::env::vars_os()).filter(is_other) {
        Some(path) => Err(format!("{} is not a regular file", path.display())),
        None => gather(args, std::env::vars_os()),
    }
}

/// The file of options, if there is one.
pub(crate) fn config_file(
    args: &[OsString],
    mut variables: impl Iterator<Item = (OsString, OsString)>,
) -> Option<PathBuf> {
    let mut of_environment = || variables.find(|(name, _)| name == environment::CONFIG);
    flag_config(args).or_else(|| of_environment().map(|(_, value)| value.into()))
}

/// The whole command line, with the settings as flags behind its first `words`.
pub(crate) fn inserted(args: &[OsString], words: usize, settings: &[Setting]) -> Vec<OsString> {
    let (before, after) = args.split_at(words.min(args.len()));
    before
        .iter()
        .cloned()
        .chain(settings.iter().map(Setting::flag))
        .chain(after.iter().cloned())
        .collect()
}

/// The file of the last `--config`.
fn flag_config(args: &[OsString]) -> Option<PathBuf> {
    let flags = args.iter().take_while(|arg| *arg != "--").enumerate();
    let value = |(at, arg): (usize, &OsString)| match arg.as_encoded_bytes() {
        b"--config" => args.get(at + 1).cloned(),
        bytes => {
            let path = bytes.strip_prefix(b"--config=")?;
            // SAFETY: what follows an ASCII character in such bytes is such bytes again.
            Some(unsafe { OsString::from_encoded_bytes_unchecked(path.to_vec()) })
        }
    };
    flags.filter_map(value).last().map(PathBuf::from)
}

/// The command without options that must be given.
pub(crate) fn optional(command: Command) -> Command {
    command.mut_args(|arg: Arg| arg.required(false))
}

/// Whether clap takes the value, so that an error names the place.
fn check(setting: &Setting) -> Result<(), String> {
    let Setting { key, value, source } = setting;
    let command = optional(Write::augment_args(Command::new("write")));
    let Err(error) = command.try_get_matches_from(["write".into(), setting.flag()]) else {
        return Ok(());
    };
    let why = match (error.source(), error.get(ContextKind::ValidValue)) {
        (Some(why), _) => why.to_string(),
        (None, Some(ContextValue::Strings(words))) => format!("not one of {}", words.join(", ")),
        _ => "not a value of this option".to_owned(),
    };
    Err(format!("{source}: {key} = {value:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bufferedwriter_testkit::dir::TestDir;

    fn args(words: &[&str]) -> Vec<OsString> {
        ["bufferedwriter", "write"].iter().chain(words).map(Into::into).collect()
    }

    fn variables(pairs: &[(&str, &str)]) -> impl Iterator<Item = (OsString, OsString)> {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.into(), value.into())).collect();
        pairs.into_iter()
    }

    fn flags(words: &[&str], pairs: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let args = args(words);
        let settings = gather(&args, variables(pairs))?;
        let all = inserted(&args, 2, &settings).into_iter().skip(2);
        Ok(all.map(|arg| arg.into_string().unwrap()).collect())
    }

    #[test]
    fn the_file_comes_first_then_the_environment_then_the_flags() {
        let dir = TestDir::new();
        let path = dir.join("write.toml");
        let text = "file_size = \"1GiB\"\nworkers = 2\ncreate_dirs = true\ncompression = \"zstd\"\n\
                    on_publish = \"true {}\"\n[partition_value]\napp = \"shop\"\n";
        std::fs::write(&path, text).unwrap();
        let file = path.to_str().unwrap();
        let pairs = [
            ("BUFFEREDWRITER_WORKERS", "3"),
            ("BUFFEREDWRITER_PARTITION_VALUE_app", "books"),
            ("BUFFEREDWRITER_FILE", "/a/file/of/a/hook"),
            ("HOME", "/root"),
        ];
        let expected = [
            "--file-size=1GiB",
            "--workers=2",
            "--create-dirs=true",
            "--compression=zstd",
            "--on-publish=true {}",
            "--partition-value=app=shop",
            "--partition-value=app=books",
            "--workers=3",
        ];
        let named = flags(&["--config", file, "--workers=4"], &pairs).unwrap();
        assert_eq!(named[..8], expected);
        assert_eq!(named[8..], ["--config", file, "--workers=4"]);
        let told = [("BUFFEREDWRITER_CONFIG", file), pairs[0], pairs[1]];
        assert_eq!(flags(&[], &told).unwrap(), expected);
        // What follows `--` is no option.
        assert_eq!(flags(&["--", "--config"], &[]).unwrap(), ["--", "--config"]);
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_place_and_a_hint() {
        let dir = TestDir::new();
        let path = dir.join("write.toml");
        let file = path.to_str().unwrap();
        for (text, error) in [
            ("wokers = 2", "unknown key `wokers`, did you mean `workers`?"),
            ("file-size = 2", "unknown key `file-size`, did you mean `file_size`?"),
            ("colour = 2", "unknown key `colour`"),
            ("inputs = \"x\"", "unknown key `inputs`"),
            ("workers = \"x\"", "workers = \"x\": invalid digit found in string"),
            (
                "workers = 1.5",
                "workers: must be a whole number, or text with a number and its unit",
            ),
            ("path = [1]", "path: must be text in quotes"),
            ("file_size = \"1 lightyear\"", "file_size = \"1 lightyear\": "),
            ("when_full = \"panic\"", "when_full = \"panic\": not one of wait, drop"),
            ("partition_value = \"a=b\"", "partition_value: must be a table of names and values"),
            ("[workers]\na = 1", "workers: must be a whole number, or"),
            ("mode = 640", "mode: must be text in quotes"),
            ("path = true", "path: must be text in quotes"),
            ("populate = \"true\"", "populate: must be true or false"),
            ("crash_proof = 1", "crash_proof: must be text in quotes, true or false"),
            (
                "[partition_value]\na = 1.5",
                "partition_value: must be text, a whole number, true or false",
            ),
            ("workers = ", "TOML parse error at line 1"),
            ("workers = 1\nworkers = 2", "TOML parse error at line 2"),
        ] {
            std::fs::write(&path, text).unwrap();
            let said = flags(&["--config", file], &[]).unwrap_err();
            assert!(said.starts_with(file) && said.contains(error), "{text}: {said}");
        }
        let said = flags(&["--config=/no/such/file"], &[]).unwrap_err();
        assert!(said.starts_with("read /no/such/file: "), "{said}");
        for (name, value, error) in [
            ("BUFFEREDWRITER_WORKER", "1", "unknown key `worker`, did you mean `workers`?"),
            ("BUFFEREDWRITER_WORKERS", "-", "workers = \"-\": "),
            ("BUFFEREDWRITER_CREATE_DIRS", "yes", "create_dirs = \"yes\": "),
        ] {
            let said = flags(&[], &[(name, value)]).unwrap_err();
            assert!(said.starts_with(name) && said.contains(error), "{name}: {said}");
        }
    }
}
