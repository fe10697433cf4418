//! The options of `write`, each with its unit, range and default, and its way into a [`Config`].
//!
//! Guarantees: an option that is not given has the library's default, except `--workers` and `--file-age`. Paths,
//! prefix and extension may be any bytes. The library alone checks the ranges. The name of an option in a file is
//! that of its field.

mod content;
mod disk;
mod end;
mod ending;
mod help;
mod memory;
mod place;
mod published;

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bufferedwriter::Config;
use clap::{Arg, ArgAction, value_parser};

pub(crate) use disk::WhenFull;
pub(crate) use ending::When;

use crate::inputs::STDIN;

/// Write lines from standard input or files into complete files in a directory
#[derive(Clone, Debug, clap::Args)]
#[command(mut_args(switch), args_override_self = true, after_help = help::SHORT, after_long_help = help::LONG)]
pub(crate) struct Write {
    /// Files to read, one after another [default: -]
    ///
    /// `-` is standard input.
    #[arg(value_name = "FILE")]
    inputs: Vec<PathBuf>,

    /// File with options, in TOML
    ///
    /// Flags and the environment come before it [default: none]
    // It is read before the options are: see `settings`.
    #[arg(long, value_name = "FILE", help_heading = "Where files are")]
    config: Option<PathBuf>,

    #[command(flatten)]
    place: place::Place,
    #[command(flatten)]
    end: end::End,
    #[command(flatten)]
    content: content::Content,
    #[command(flatten)]
    published: published::Published,
    #[command(flatten)]
    memory: memory::Memory,
    #[command(flatten)]
    disk: disk::Disk,
    #[command(flatten)]
    ending: ending::Ending,
}

/// What is on or off also takes a value, so that `--create-dirs=false` takes back what a file or a variable says.
fn switch(arg: Arg) -> Arg {
    if !matches!(arg.get_action(), ArgAction::SetTrue) {
        return arg;
    }
    arg.action(ArgAction::Set)
        .value_name("BOOL")
        .value_parser(value_parser!(bool))
        .num_args(0..=1)
        .require_equals(true)
        .default_value("false")
        .default_missing_value("true")
        .hide_default_value(true)
        .hide_possible_values(true)
}

impl Write {
    /// The inputs, in order.
    pub(crate) fn inputs(&self) -> Vec<PathBuf> {
        if self.inputs.is_empty() {
            return vec![STDIN.into()];
        }
        self.inputs.clone()
    }

    /// Where files appear, as the user wrote it.
    pub(crate) fn path(&self) -> &Path {
        &self.place.path
    }

    pub(crate) fn creates_dirs(&self) -> bool {
        self.place.create_dirs
    }

    pub(crate) fn prefix(&self) -> &OsStr {
        self.place.prefix()
    }

    /// Where metrics are served.
    pub(crate) fn metrics(&self) -> Option<SocketAddr> {
        self.ending.metrics
    }

    /// Whether the writer is a flight recorder.
    pub(crate) fn records(&self) -> bool {
        self.memory.records()
    }

    pub(crate) fn has_hook(&self) -> bool {
        self.published.on_publish.is_some()
    }

    /// Keeps the hook of other options, or goes without as they do.
    pub(crate) fn take_hook_of(&mut self, other: &Write) {
        self.published.on_publish.clone_from(&other.published.on_publish);
    }

    pub(crate) fn compresses(&self) -> bool {
        self.content.compresses()
    }

    pub(crate) fn drops_when_full(&self) -> bool {
        self.disk.when_full == WhenFull::Drop
    }

    /// How long to read on after a signal.
    pub(crate) fn grace(&self) -> Duration {
        if self.ending.until_eof { Duration::MAX } else { self.ending.grace }
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.ending.deadline
    }

    pub(crate) fn ignores_interrupts(&self) -> bool {
        self.ending.ignore_interrupts
    }

    pub(crate) fn keeps_open(&self) -> bool {
        self.ending.keep_open
    }

    pub(crate) fn is_json(&self) -> bool {
        self.ending.json
    }

    pub(crate) fn progress(&self) -> When {
        self.ending.progress
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.ending.verbose
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.ending.quiet
    }

    /// Length of the longest line that the writer's memory can hold, newline included.
    pub(crate) fn line_bytes_max(&self) -> usize {
        self.memory.line_bytes_max()
    }

    /// The writer's options. `drop_timeout` is not one of them: the program closes its writer
    /// within `deadline`.
    pub(crate) fn config(&self) -> Config {
        let config = self.place.apply(Config::default());
        let config = self.end.apply(config);
        let config = self.content.apply(config);
        let config = self.published.apply(config);
        let config = self.memory.apply(config);
        self.disk.apply(config)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use bufferedwriter::{Boundary, Compression, CrashProof, Durability, Io};
    use clap::Parser;

    use super::*;
    use crate::commands::{Cli, Command};

    fn parse(args: &[&str]) -> Result<Write, clap::Error> {
        let fixed = ["bufferedwriter", "write", "--path", "/p"];
        match Cli::try_parse_from(fixed.iter().chain(args))?.command {
            Command::Write(write) => Ok(write),
            _ => unreachable!("it says write"),
        }
    }

    fn defaults() -> Config {
        Config::default().path("/p").workers(1).file_age(Duration::from_secs(300))
    }

    /// The library's debug output of the options.
    fn shown(config: &Config) -> String {
        format!("{config:?}")
    }

    #[test]
    fn defaults_are_the_librarys_but_for_one_worker_and_an_age() {
        let expected = defaults();
        let write = parse(&[]).unwrap();
        assert_eq!(shown(&write.config()), shown(&expected));
        assert_eq!(write.line_bytes_max(), (1024 + 1) * 8192);
        assert_eq!(write.inputs(), [PathBuf::from("-")]);
        assert_eq!(write.deadline(), Duration::from_secs(30));
        assert_eq!((write.grace(), write.ignores_interrupts()), (Duration::from_secs(2), false));
        assert_eq!(parse(&["--until-eof"]).unwrap().grace(), Duration::MAX);
        assert!(
            !write.drops_when_full() && parse(&["--when-full=drop"]).unwrap().drops_when_full()
        );
    }

    #[test]
    fn every_option_arrives() {
        let write = parse(&[
            "--temp=/t",
            "--size=64KiB",
            "--queue-size=7",
            "--workers=3",
            "--prefix=a_",
            "--forced=0",
            "--file-size=8KB",
            "--file-age=1m 30s",
            "--rotate-at=15m",
            "--time-zone=Asia/Kathmandu",
            "--partition=app={app}/dt=%F",
            "--partition-value=app=a=b",
            "--partition-value=tier=",
            "--durability=file",
            "--io=buffered",
            "--compress=zstd:5",
            "--header=time,line",
            "--footer=end\n",
            "--manifest=/m.ndjson",
            "--on-publish=true {}",
            "--mode=0640",
            "--extension=txt",
            "--create-dirs",
            "--give-up-after=2m",
            "--min-free=1GiB",
            "--max-total=10GB",
            "--start-on-full-disk",
            "--retain-bytes=5GB",
            "--retain-files=20",
            "--retain-age=30days",
            "--retain-unacknowledged=false",
            "--latest=/l/current",
            "--populate",
            "--crash-proof",
            "one",
            "-",
        ]);
        let write = write.unwrap();
        let expected = Config::default()
            .path("/p")
            .temp("/t")
            .size(65_536)
            .queue_size(7)
            .workers(3)
            .prefix("a_")
            .file_size(8000)
            .file_age(Duration::from_secs(90))
            .rotate_at(Boundary::Minutes(15))
            .time_zone("Asia/Kathmandu")
            .partition("app={app}/dt=%F")
            .partition_value("app", "a=b")
            .partition_value("tier", "")
            .durability(Durability::File)
            .io(Io::Buffered)
            .compression(Compression::Zstd(5))
            .header("time,line\n")
            .footer("end\n")
            .manifest("/m.ndjson")
            .on_publish(|_| Ok(()))
            .mode(0o640)
            .extension("txt")
            .create_dirs(true)
            .give_up_after(Duration::from_secs(120))
            .min_free(1 << 30)
            .max_total(10_000_000_000)
            .start_on_full_disk(true)
            .retain_bytes(5_000_000_000)
            .retain_files(20)
            .retain_age(Duration::from_secs(30 * 86_400))
            .retain_unacknowledged(false)
            .latest("/l/current")
            .populate(true)
            .crash_proof(CrashProof::Auto);
        assert_eq!(shown(&write.config()), shown(&expected));
        let taken_back =
            parse(&["--create-dirs", "--create-dirs=false", "--workers=8", "--workers=1"]);
        assert_eq!(shown(&taken_back.unwrap().config()), shown(&defaults()));
        let there = parse(&["--crash-proof=/mem"]).unwrap();
        let expected = defaults().crash_proof(CrashProof::Dir("/mem".into()));
        assert_eq!(shown(&there.config()), shown(&expected));
        assert_eq!(write.inputs(), [PathBuf::from("one"), PathBuf::from("-")]);
    }

    #[test]
    fn names_may_be_any_bytes() {
        let odd = OsString::from_vec(vec![b'a', 0xff]);
        let mut args: Vec<OsString> = ["bufferedwriter", "write"].map(Into::into).to_vec();
        for option in ["--path", "--temp", "--prefix", "--extension"] {
            args.extend([option.into(), odd.clone()]);
        }
        args.push(odd.clone());
        let Command::Write(write) = Cli::try_parse_from(args).unwrap().command else {
            unreachable!("it says write")
        };
        assert_eq!(write.inputs(), [PathBuf::from(&odd)]);
        let expected = defaults().path(&odd).temp(&odd).prefix(&odd).extension(&odd);
        assert_eq!(shown(&write.config()), shown(&expected));
    }
}
