//! The options of `write`, each with its unit, range and default, and its way into a [`Config`].
//!
//! Guarantees: an option that is not given has the library's default, except `--forced`. Paths,
//! prefix and extension may be any bytes. The library alone checks the ranges.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bufferedwriter::text::{duration, mode, size};
use bufferedwriter::{Boundary, Compression, Config, CrashProof, Durability, Io};
use clap::ArgAction;
use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::commands::values::{Bytes, bytes, name_and_value};
use crate::commands::write::choices::{DurabilityHow, IoHow, WhenFull};
use crate::commands::write::hook::Hook;
use crate::inputs::STDIN;

/// Default directory of crash-proof memory.
const SHM: &str = "/dev/shm";

const AFTER_HELP: &str = "\
Sizes are bytes, or have a unit: 8192, 8KB (1000), 64KiB (1024), 1GiB. Durations have a unit: 100ms, 5s, \
1m30s; 0 needs none.

Lines: Each line is one record and lies whole in one file. CRLF is kept. A last line without a newline gets \
one, so every visible file holds whole lines. A line longer than the writer's memory, (queue-size + workers) \
x size, is reported with its number and refused; reading continues. Within a file, lines are in the order of \
the input. With --workers 1 this holds across files too, in the order of their names. A chunk is --size bytes \
of memory that one thread fills.

Disk limits: --min-free and --max-total are checked at the start and then about once a second, less often \
for large directories. While a limit is reached, lines wait or are dropped (--when-full). Lines that are \
already in memory are still written. What --retain-bytes, --retain-files and --retain-age delete is deleted \
before lines wait.

Signals: After SIGTERM or SIGINT the program reads on to the end of the input for --grace, and at least to the \
end of the line. A line whose end does not come within a second of silence is published as it is, with a \
newline, and reported. No byte of the next line is read, so another process can read on from the same pipe. \
Then all that was read is published within --deadline. A second signal, 0.1 s later or more, gives up at once. \
SIGHUP publishes all lines now, and reading continues. Signals that are ignored at the start, as by nohup, stay \
ignored; those that are blocked are unblocked.

Published files: --on-publish runs one command at a time, in the order in which the files of each worker were \
published. The environment has BUFFEREDWRITER_FILE, _ID, _RECORDS, _BYTES, _FIRST, _LAST and _REASON. An exit \
status other than 0 is tried again, with pauses of 0.1 s to 30 s; the lines go on meanwhile. At the end the \
program waits for the commands within --deadline. The next program with the same --path, --temp and --prefix \
goes on with the rest, also after a kill: so a command may run twice for a file.

Left-over files: If an earlier program with the same --path, --temp and --prefix was killed, its lines are \
published in the background and reported. See `bufferedwriter recover --help`.

Crashes: Without --crash-proof, a killed program loses the lines that are not yet in a file. With it, all \
memory is allocated at the start, in /dev/shm or in the given directory. A container has 64 MB in /dev/shm by \
default (docker run --shm-size). In both cases lines that still wait in the pipe are lost.

Output: Messages, progress (only on a terminal, without colours) and the summary go to standard error. If \
nobody reads it, reading and publishing go on. Messages beyond 64 KiB are then dropped, and their number is \
told. The end waits for a reader up to a second for each message, and up to 10 for all. With --json the summary \
goes to standard output, and the end waits for its reader within --deadline.

Exit codes:
  0  all lines that were read are in visible files, also after a signal
  1  an input, a file or a directory failed, or --json could not be written; all lines that were
     read are in visible files
  2  an option or its value is wrong; nothing was read
  3  lines were refused or lost (takes precedence over 1)";

/// Write lines from standard input or files into complete files in a directory
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Write {
    /// Files to read, one after another; `-` is standard input [default: -]
    #[arg(value_name = "FILE")]
    inputs: Vec<PathBuf>,

    /// Directory in which complete files appear
    #[arg(long, value_name = "DIR")]
    path: PathBuf,

    /// Directory in which files are written before they appear in --path. Best on the same file
    /// system [default: the system's temp directory]
    #[arg(long, value_name = "DIR")]
    temp: Option<PathBuf>,

    /// First part of every file name. No `/`; with the extension at most 160 bytes [default: none]
    #[arg(long, value_name = "TEXT")]
    prefix: Option<OsString>,

    /// Last part of every file name, after a dot. No `/`; with the prefix at most 160 bytes. Empty
    /// = no dot either
    #[arg(long, value_name = "TEXT", default_value = "log")]
    extension: OsString,

    /// Permissions of the files in octal, independent of the umask; 0 to 0777
    #[arg(long, value_name = "OCTAL", default_value = "0600", value_parser = mode)]
    mode: u32,

    /// Create missing directories, accessible to the owner only (0700)
    #[arg(long)]
    create_dirs: bool,

    /// Size of one chunk: bytes that a thread fills in memory before they go to a worker; 1 to 1GiB
    #[arg(long, value_name = "SIZE", default_value = "8192", value_parser = size)]
    size: u64,

    /// Number of chunks that may wait while all workers are busy; 0 to 1048576
    #[arg(long, value_name = "COUNT", default_value = "1024")]
    queue_size: usize,

    /// Number of workers, each with its own file; 1 to 256
    #[arg(long, value_name = "COUNT", default_value = "8")]
    workers: usize,

    /// Longest time until a line is in a visible file, while the disk answers; 0 = only --file-size
    /// and --file-age count
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    forced: Duration,

    /// Size at which a file is published; 0 = one file for every chunk
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    file_size: u64,

    /// Age of its oldest line at which a file is published; 0 = no limit
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    file_age: Duration,

    /// Boundary of the wall clock at which files are published, so that each holds the lines of one
    /// period: minute, hour, day, or a number that divides 60 or 24, such as 15m or 6h [default:
    /// never]
    #[arg(long, value_name = "BOUNDARY")]
    rotate_at: Option<Boundary>,

    /// Directory below --path in which a file appears, such as dt=%Y-%m-%d/hour=%H. Codes of
    /// strftime stand for the time, down to the minute, in --time-zone. {host} is the machine's name,
    /// {pid} the process's id, {NAME} a --partition-value. Files also end where the directory changes.
    /// --temp must be outside of --path [default: --path itself]
    #[arg(long, value_name = "TEMPLATE")]
    partition: Option<String>,

    /// What {NAME} in --partition stands for; may be given for several names
    #[arg(long, value_name = "NAME=VALUE", value_parser = name_and_value)]
    partition_value: Vec<(String, String)>,

    /// Time zone of --rotate-at and --partition: UTC, local, or an IANA name such as Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    time_zone: String,

    /// Whether files are synced to the disk before they count as written
    #[arg(long, value_name = "WHEN", default_value = "none")]
    durability: DurabilityHow,

    /// Whether files bypass the system's page cache
    #[arg(long, value_name = "HOW", default_value = "auto")]
    io: IoHow,

    /// How files are compressed: none, gzip or gzip:LEVEL (0 to 9, without it 6), zstd or zstd:LEVEL
    /// (-7 to 19, without it 3). File names end with .gz or .zst; sizes of files are those on the disk
    #[arg(long, value_name = "CODEC", default_value = "none")]
    compress: Compression,

    /// First line of each file, such as the names of columns. It gets a newline if it has none, and is not
    /// counted as a line. After `@`, a file that holds the bytes, which are taken as they are; at most 4096
    /// bytes [default: none]
    #[arg(long, value_name = "TEXT|@FILE", value_parser = OsStringValueParser::new().try_map(bytes))]
    header: Option<Bytes>,

    /// Last line of each file, as with --header [default: none]
    #[arg(long, value_name = "TEXT|@FILE", value_parser = OsStringValueParser::new().try_map(bytes))]
    footer: Option<Bytes>,

    /// File that gets one line of JSON for each published file: id, path, bytes, records, first and
    /// last time and more. Not in --path; its directory must exist. Writers may share it
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,

    /// Command to run for each published file, without a shell; `{}` stands for its path. See below
    #[arg(long, value_name = "COMMAND", value_parser = Hook::parse)]
    on_publish: Option<Hook>,

    /// Keep the lines in memory even if the program is killed. The memory is a file on a tmpfs: in
    /// DIR, or in /dev/shm if DIR is not given. The next program with the same --path, --temp and
    /// --prefix publishes the lines
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = SHM)]
    crash_proof: Option<PathBuf>,

    /// Make all memory resident at the start and lock it, so that no line waits for a page. Needs
    /// room in the limit of locked memory (ulimit -l)
    #[arg(long)]
    populate: bool,

    /// Take no more lines when the file system of --path or --temp has no more than this free; 0 =
    /// off
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = size)]
    min_free: u64,

    /// Take no more lines when all files with this prefix and extension take this much of the disk,
    /// temp files and files of other writers included. Nothing is deleted for that; 0 = off
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = size)]
    max_total: u64,

    /// Start although the disk is full, and take no lines until there is room
    #[arg(long)]
    start_on_full_disk: bool,

    /// Delete the oldest complete files when those with this prefix and extension take more of the
    /// disk than this, those of other writers of this user included. The newest stays; 0 = off
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = size)]
    retain_bytes: u64,

    /// Delete the oldest complete files when there are more than this; 0 = off
    #[arg(long, value_name = "COUNT", default_value = "0")]
    retain_files: u64,

    /// Delete complete files at this age, by the time in their names; 0 = off
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = duration)]
    retain_age: Duration,

    /// Whether files stay until --on-publish has succeeded for them, whatever the other --retain
    /// options say. With false, the command may be run for a file that is gone
    #[arg(long, value_name = "BOOL", default_value = "true", action = ArgAction::Set)]
    retain_unacknowledged: bool,

    /// Symbolic link that leads to the newest complete file. Best outside of --path. Nothing but a
    /// symbolic link is ever replaced [default: none]
    #[arg(long, value_name = "LINK")]
    latest: Option<PathBuf>,

    /// What to do with a line while memory is full, or while a limit of --min-free or --max-total
    /// is reached
    #[arg(long, value_name = "WHAT", default_value = "wait")]
    pub(crate) when_full: WhenFull,

    /// How long lines wait in memory while the disk fails. After that they count as lost (exit code
    /// 3), and reading continues; 0 = without limit
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = duration)]
    give_up_after: Duration,

    /// How long to read on after SIGTERM or SIGINT while the input is a pipe or a socket: until its
    /// end, so that the last words of the programs that write into it are not lost; 0 = only to the
    /// end of the line
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub(crate) grace: Duration,

    /// Ignore SIGINT (Ctrl-C), as `tee -i` does. The input then ends with the programs that write
    /// into it
    #[arg(long, short)]
    pub(crate) ignore_interrupts: bool,

    /// Time limit for publishing what was read, after the end of the input or, after a signal, the
    /// end of --grace; 0 = give up at once
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub(crate) deadline: Duration,

    /// Print the summary as one JSON object on standard output, and no progress
    #[arg(long)]
    pub(crate) json: bool,

    /// Print no progress and no summary on standard error. Errors are still reported
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

impl Write {
    /// The inputs, in order.
    pub(crate) fn inputs(&self) -> Vec<PathBuf> {
        if self.inputs.is_empty() {
            return vec![STDIN.into()];
        }
        self.inputs.clone()
    }

    pub(crate) fn has_hook(&self) -> bool {
        self.on_publish.is_some()
    }

    pub(crate) fn compresses(&self) -> bool {
        self.compress != Compression::None
    }

    /// Length of the longest line that the writer's memory can hold, newline included.
    pub(crate) fn line_bytes_max(&self) -> usize {
        let chunks = self.queue_size.saturating_add(self.workers);
        chunks.saturating_mul(bytes_in_memory(self.size))
    }

    /// The writer's options. `drop_timeout` is not one of them: the program closes its writer
    /// within `deadline`.
    pub(crate) fn config(&self) -> Config {
        let config = Config::default()
            .path(&self.path)
            .size(bytes_in_memory(self.size))
            .queue_size(self.queue_size)
            .workers(self.workers)
            .prefix(self.prefix.clone().unwrap_or_default())
            .extension(&self.extension)
            .forced(self.forced)
            .file_size(self.file_size)
            .file_age(self.file_age)
            .rotate_at(self.rotate_at.unwrap_or_default())
            .time_zone(&self.time_zone)
            .partition(self.partition.as_deref().unwrap_or_default())
            .mode(self.mode)
            .create_dirs(self.create_dirs)
            .give_up_after(self.give_up_after)
            .min_free(self.min_free)
            .max_total(self.max_total)
            .start_on_full_disk(self.start_on_full_disk)
            .retain_bytes(self.retain_bytes)
            .retain_files(self.retain_files)
            .retain_age(self.retain_age)
            .retain_unacknowledged(self.retain_unacknowledged)
            .populate(self.populate)
            .crash_proof(match &self.crash_proof {
                None => CrashProof::Off,
                Some(dir) if dir == Path::new(SHM) => CrashProof::Auto,
                Some(dir) => CrashProof::Dir(dir.clone()),
            })
            .durability(match self.durability {
                DurabilityHow::None => Durability::None,
                DurabilityHow::File => Durability::File,
            })
            .compression(self.compress)
            .header(in_each_file(&self.header))
            .footer(in_each_file(&self.footer))
            .io(match self.io {
                IoHow::Auto => Io::Auto,
                IoHow::Direct => Io::Direct,
                IoHow::Buffered => Io::Buffered,
            });
        let config = match &self.latest {
            Some(link) => config.latest(link),
            None => config,
        };
        let config = self
            .partition_value
            .iter()
            .fold(config, |config, (name, value)| config.partition_value(name, value));
        let config = match &self.temp {
            Some(dir) => config.temp(dir),
            None => config,
        };
        let config = match &self.manifest {
            Some(file) => config.manifest(file),
            None => config,
        };
        match self.on_publish.clone() {
            Some(hook) => config.on_publish(move |file| hook.run(file)),
            None => config,
        }
    }
}

fn in_each_file(bytes: &Option<Bytes>) -> &[u8] {
    bytes.as_ref().map_or(&[], |bytes| &bytes.0)
}

/// A size beyond the address space is out of range too, and the library reports it.
fn bytes_in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use clap::Parser;

    use super::*;
    use crate::commands::{Cli, Command};

    fn parse(args: &[&str]) -> Result<Write, clap::Error> {
        let fixed = ["bufferedwriter", "write", "--path", "/p"];
        match Cli::try_parse_from(fixed.iter().chain(args))?.command {
            Command::Write(write) => Ok(write),
            Command::Recover(_) => unreachable!("it says write"),
        }
    }

    /// The library's debug output of the options.
    fn shown(config: &Config) -> String {
        format!("{config:?}")
    }

    #[test]
    fn defaults_are_the_librarys_but_for_forced() {
        let expected = Config::default().path("/p").forced(Duration::from_secs(1));
        let write = parse(&[]).unwrap();
        assert_eq!(shown(&write.config()), shown(&expected));
        assert_eq!(write.line_bytes_max(), (1024 + 8) * 8192);
        assert_eq!(write.inputs(), [PathBuf::from("-")]);
        assert_eq!(write.deadline, Duration::from_secs(30));
        assert_eq!((write.grace, write.ignore_interrupts), (Duration::from_secs(2), false));
        assert_eq!(write.when_full, WhenFull::Wait);
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
        let there = parse(&["--crash-proof=/mem"]).unwrap();
        let expected = Config::default().path("/p").forced(Duration::from_secs(1));
        let expected = expected.crash_proof(CrashProof::Dir("/mem".into()));
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
        let expected = Config::default().path(&odd).temp(&odd).prefix(&odd).extension(&odd);
        assert_eq!(shown(&write.config()), shown(&expected.forced(Duration::from_secs(1))));
    }
}
