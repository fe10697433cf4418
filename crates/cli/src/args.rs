//! The command line: every option with its unit, range and default, and its way into a [`Config`].
//!
//! Guarantees: what is not said is the library's default, but for `--forced`. Paths, prefix and
//! extension may be any bytes. Ranges are checked in one place only, by the library.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bufferedwriter::{Config, CrashProof, Durability, Io};
use bytesize::ByteSize;
use clap::{Parser, Subcommand, ValueEnum};

/// Where memory is that outlives the program, if nothing else is said.
const SHM: &str = "/dev/shm";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "bufferedwriter", version, about, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Write(Write),
    Recover(crate::recover::Recover),
}

const WRITE_AFTER: &str = "\
Sizes: bytes, or with a unit: 8192, 8KB (1000), 64KiB (1024), 1GiB. Durations: 0, 100ms, 5s, 1m30s.

Lines: each is one record and lies whole in one file; CRLF is kept. A last line without a newline \
gets one, so that every visible file holds whole lines. A line longer than the writer's memory, \
(queue-size + workers) x size, is reported with its number and refused; the rest goes on. \
Within a file lines are in the order of the input; with --workers 1 also from file to file, in the \
order of their names.

Limits of the disk: --min-free and --max-total are looked up at the start and then about once a second, \
seldomer where directories are large. Beyond them lines wait, or are dropped (--when-full), until there is \
room again; what was taken into memory before is written all the same.

Signals: SIGTERM and SIGINT end the reading; what was read, and what a pipe held by then, is \
published within --deadline, also a last line that had no newline yet. A second one gives up at \
once. SIGHUP publishes everything now and goes on.

Left-overs: what a program with the same --path, --temp and --prefix left when it was killed is published \
meanwhile, and told; `bufferedwriter recover --help` says how.

Crashes: without --crash-proof a program that is killed loses the lines that it has read and not yet written to a \
file. With it, all that it needs in memory is allocated at once, in /dev/shm or where you say; a container has 64 MB \
there by default (docker run --shm-size). Lines that wait in the pipe are not read yet, and lost with it.

Output: diagnostics, progress (on a terminal only, without colours) and the summary on standard \
error; with --json the summary on standard output.

Exit codes:
  0  everything that was read is in visible files, also after a signal
  1  an input, a file or a directory failed, or standard output took no --json summary; what was
     read is in visible files
  2  a wrong option or value; nothing was read
  3  records were refused or lost (stands above 1)";

/// Writes lines, of standard input or of files, into complete files in a directory.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = WRITE_AFTER)]
pub(crate) struct Write {
    /// Files to read, one after the other; `-` is standard input [default: -]
    #[arg(value_name = "FILE")]
    inputs: Vec<PathBuf>,

    /// Directory in which complete files appear
    #[arg(long, value_name = "DIR")]
    path: PathBuf,

    /// Directory in which files are written before they appear in --path; best on the same file
    /// system [default: the system's temp directory]
    #[arg(long, value_name = "DIR")]
    temp: Option<PathBuf>,

    /// First part of every file name; with the extension at most 160 bytes, no `/` [default: none]
    #[arg(long, value_name = "TEXT")]
    prefix: Option<OsString>,

    /// Last part of every file name, after a dot; with the extension at most 160 bytes, no `/`; empty = no dot either
    #[arg(long, value_name = "TEXT", default_value = "log")]
    extension: OsString,

    /// Permissions of the files in octal, whatever the umask; 0 to 0777
    #[arg(long, value_name = "OCTAL", default_value = "0600", value_parser = octal)]
    mode: u32,

    /// Create missing directories, for the owner alone (0700)
    #[arg(long)]
    create_dirs: bool,

    /// Bytes held in memory per buffer before they go to a worker; 1 to 1GiB
    #[arg(long, value_name = "SIZE", default_value = "8192", value_parser = size)]
    size: u64,

    /// Buffers that may wait when all workers are busy; 0 to 1048576
    #[arg(long, value_name = "COUNT", default_value = "1024")]
    queue_size: usize,

    /// Workers, each with a file of its own; 1 to 256
    #[arg(long, value_name = "COUNT", default_value = "8")]
    workers: usize,

    /// A line is in a visible file after this time at most, while the disk answers; 0 = only when
    /// its file is full or old
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    forced: Duration,

    /// A file is published at this size; 0 = one for every buffer
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    file_size: u64,

    /// A file is published when its oldest line has this age; 0 = its age does not count
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    file_age: Duration,

    /// When data is forced to the disk
    #[arg(long, value_name = "WHEN", default_value = "none")]
    durability: DurabilityHow,

    /// Whether files are written past the system's page cache
    #[arg(long, value_name = "HOW", default_value = "auto")]
    io: IoHow,

    /// Keep lines that are in memory if the program is killed, in a file of memory (tmpfs) in DIR or, without
    /// it, in /dev/shm; the next program with the same --path, --temp and --prefix publishes them
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = SHM)]
    crash_proof: Option<PathBuf>,

    /// Take no more lines when the file system of --path has no more than this free; 0 = does not matter
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = size)]
    min_free: u64,

    /// Take no more lines when the files of this prefix and extension, unfinished ones included, take this
    /// much of the disk, whoever wrote them; nothing is deleted; 0 = does not matter
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = size)]
    max_total: u64,

    /// What becomes of a line when memory is full, or while --min-free or --max-total forbid it
    #[arg(long, value_name = "WHAT", default_value = "wait")]
    pub(crate) when_full: WhenFull,

    /// How long lines wait in memory for a disk that fails; then they are counted as lost (exit code 3), and
    /// the reading goes on; 0 = as long as it takes
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = duration)]
    give_up_after: Duration,

    /// How long the end of the input, or a signal, may take to publish what was read; 0 = no time
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub(crate) deadline: Duration,

    /// Print the summary as one JSON object on standard output; no progress
    #[arg(long)]
    pub(crate) json: bool,

    /// No progress and no summary on standard error; errors are reported all the same
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// [`Durability`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum DurabilityHow {
    /// Never: the system writes back when it likes
    None,
    /// A file and its name are on the disk before they count as written
    File,
}

/// [`Io`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum IoHow {
    /// Past it where that pays: with files of 1 MiB or more, and enough memory for large writes
    Auto,
    /// Past it, where the file system can
    Direct,
    /// Through it
    Buffered,
}

/// What happens to a line when memory is full, or the disk guard refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WhenFull {
    /// It waits, and so does whoever writes into the pipe
    Wait,
    /// It is dropped and counted as refused (exit code 3)
    Drop,
}

impl Write {
    /// What to read, in order.
    pub(crate) fn inputs(&self) -> Vec<PathBuf> {
        if self.inputs.is_empty() {
            return vec![crate::input::STDIN.into()];
        }
        self.inputs.clone()
    }

    /// The longest line that the writer's memory can hold, newline included.
    pub(crate) fn line_bytes_max(&self) -> usize {
        let chunks = self.queue_size.saturating_add(self.workers);
        chunks.saturating_mul(bytes_in_memory(self.size))
    }

    /// The writer's options. `drop_timeout` is not among them: the program closes its writer itself,
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
            .mode(self.mode)
            .create_dirs(self.create_dirs)
            .give_up_after(self.give_up_after)
            .min_free(self.min_free)
            .max_total(self.max_total)
            .crash_proof(match &self.crash_proof {
                None => CrashProof::Off,
                Some(dir) if dir == Path::new(SHM) => CrashProof::Auto,
                Some(dir) => CrashProof::Dir(dir.clone()),
            })
            .durability(match self.durability {
                DurabilityHow::None => Durability::None,
                DurabilityHow::File => Durability::File,
            })
            .io(match self.io {
                IoHow::Auto => Io::Auto,
                IoHow::Direct => Io::Direct,
                IoHow::Buffered => Io::Buffered,
            });
        match &self.temp {
            Some(dir) => config.temp(dir),
            None => config,
        }
    }
}

/// What exceeds the address space is out of range as well, and reported as such by the library.
fn bytes_in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Whole bytes. Fractions are refused, since they may round to 0, which often has a meaning of its
/// own; and what exceeds 64 bits, since it would be cut.
fn size(text: &str) -> Result<u64, String> {
    if text.contains('.') {
        return Err("only whole numbers, such as 1536 or 64KiB".to_owned());
    }
    match text.parse::<ByteSize>() {
        Ok(ByteSize(u64::MAX)) => Err("more than 64 bits can count".to_owned()),
        Ok(bytes) => Ok(bytes.as_u64()),
        Err(_) => Err("not a number of bytes, such as 8192, 8KB or 64KiB".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, humantime::DurationError> {
    // Zero needs no unit.
    if text == "0" { Ok(Duration::ZERO) } else { humantime::parse_duration(text) }
}

fn octal(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    // The parser would take a sign.
    if !digits.starts_with(|c: char| c.is_digit(8)) {
        return Err("not an octal number, such as 0640".to_owned());
    }
    u32::from_str_radix(digits, 8).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use clap::CommandFactory;

    use super::*;

    fn parse(args: &[&str]) -> Result<Write, clap::Error> {
        let fixed = ["bufferedwriter", "write", "--path", "/p"];
        match Cli::try_parse_from(fixed.iter().chain(args))?.command {
            Command::Write(write) => Ok(write),
            Command::Recover(_) => unreachable!("it says write"),
        }
    }

    /// The options as the library shows them.
    fn shown(config: &Config) -> String {
        format!("{config:?}")
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_are_the_librarys_but_for_forced() {
        let expected = Config::default().path("/p").forced(Duration::from_secs(1));
        let write = parse(&[]).unwrap();
        assert_eq!(shown(&write.config()), shown(&expected));
        assert_eq!(write.line_bytes_max(), (1024 + 8) * 8192);
        assert_eq!(write.inputs(), [PathBuf::from("-")]);
        assert_eq!(write.deadline, Duration::from_secs(30));
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
            "--durability=file",
            "--io=buffered",
            "--mode=0640",
            "--extension=txt",
            "--create-dirs",
            "--give-up-after=2m",
            "--min-free=1GiB",
            "--max-total=10GB",
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
            .durability(Durability::File)
            .io(Io::Buffered)
            .mode(0o640)
            .extension("txt")
            .create_dirs(true)
            .give_up_after(Duration::from_secs(120))
            .min_free(1 << 30)
            .max_total(10_000_000_000)
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

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("8192", 8192),
            ("8KB", 8000),
            ("8kB", 8000),
            ("64KiB", 65_536),
            ("64 KiB", 65_536),
            ("64k", 64_000),
            ("1GiB", 1 << 30),
            ("12B", 12),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in
            ["", "-1", "+1KiB", "1.5KiB", "0.5", "KiB", "8 apples", "99999999999EiB", "1e3", "0x10"]
        {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, millis) in [("0", 0), ("0s", 0), ("100ms", 100), ("5s", 5000), ("1m30s", 90_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "-5s", "s", "1.5.5s", "5 apples"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn modes() {
        for (text, mode) in [("0640", 0o640), ("640", 0o640), ("0o640", 0o640), ("0", 0)] {
            assert_eq!(octal(text), Ok(mode), "{text}");
        }
        for text in ["", "8", "+640", "-640", "0x1ff", "77777777777777", "rw-r--r--"] {
            assert!(octal(text).is_err(), "{text}");
        }
    }
}
