//! The options of `merge`, each with its unit, range and default.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use bufferedwriter::text::{duration, mode, size};
use bufferedwriter::{Compression, Config, Durability};
use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::commands::merge::time::{self, Format};
use crate::commands::values::{Bytes, bytes};

const AFTER_HELP: &str = "\
Examples:
  All lines of a day, in order:
    bufferedwriter merge /var/log/app/dt=2026-11-30 | less
  Access logs of three hosts into files of an hour, compressed:
    bufferedwriter merge host-a host-b host-c --time clf --path day --temp day/.tmp --create-dirs --compress zstd

Times: auto chooses for each file what most of its first 100 lines have. A time stands at the beginning of a line, \
after `[` or the priority of syslog at most, but for clf, json and strptime.
  rfc3339          2026-11-30T12:34:56.789Z; also with a space, a comma, +0100, or without an offset
  epoch            seconds since 1970, or milli-, micro- or nanoseconds, by the number of digits;
                   epoch:s, epoch:ms, epoch:us, epoch:ns say which
  clf              [30/Nov/2026:12:34:56 +0100] anywhere in the line, as in access logs
  syslog           Nov 30 12:34:56; the year is the latest that is not after the file's time of change
  ctime            Mon Nov 30 12:34:56.789 2026, as in httpd's error log
  json:FIELD       the field of a line that is a JSON object: a text as in rfc3339, or a number as in
                   epoch. auto looks for timestamp, time, ts and @timestamp
  prefix:N         the first N bytes, 1 to 32, compared as bytes
  strptime:FORMAT  the codes of strptime at the beginning of the line, such as strptime:%y%m%d %H%M%S

Order: Lines of one time are in the order of the files, as given or by the names in a directory, and within a file as \
they are. A line without a time stays with the line before, such as one of a stack trace. A last line without a \
newline gets one.

Disorder: Each file is read twice: first, on all processors, to see whether its lines are in order. A file that is not \
is sorted in --temp. With --window files are read once.

Damage: A damaged gzip or zstd frame is told with the file's name and the offset, its last torn line is left out, and \
the next frame is read. The exit code is then 1.

Exit codes:
  0  all lines of all files are in the output, in order
  1  a file could not be read or is damaged, has no time, or is out of order by more than --window; or the
     output failed
  2  an option is wrong; nothing was read
  3  with --path: lines longer than --memory permits were left out (takes precedence over 1)";

/// Merge finished files, plain or compressed, into one stream in the order of time
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Merge {
    /// Files, and directories with all files below; hidden ones are left out
    #[arg(value_name = "FILE|DIR", required = true)]
    pub(crate) inputs: Vec<PathBuf>,

    /// Where a line has its time: see below
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    pub(crate) time: Format,

    /// Time zone of times without an offset: UTC, local, or an IANA name such as Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = time::zone)]
    pub(crate) time_zone: jiff::tz::TimeZone,

    /// How much earlier than a line before it in its file a line may be. Files are then read once. Lines that are even
    /// later are out of order, and counted [default: any disorder; such files are sorted]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) window: Option<Duration>,

    /// Memory of the whole program, at least 48MiB; the more, the fewer passes
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size)]
    pub(crate) memory: u64,

    /// Directory for what is sorted; with --path also for files that are not complete yet [default: the system's
    /// temp directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) temp: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) output: Output,
}

/// Where the lines go.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Output {
    /// Directory in which complete files appear, as with `write` [default: all goes to standard output]
    #[arg(long, value_name = "DIR")]
    pub(crate) path: Option<PathBuf>,

    /// First part of every file name
    #[arg(long, value_name = "TEXT", requires = "path")]
    prefix: Option<OsString>,

    /// Last part of every file name, after a dot
    #[arg(long, value_name = "TEXT", default_value = "log", requires = "path")]
    extension: OsString,

    /// Permissions of the files in octal
    #[arg(long, value_name = "OCTAL", default_value = "0600", value_parser = mode, requires = "path")]
    mode: u32,

    /// Create missing directories, accessible to the owner only (0700)
    #[arg(long, requires = "path")]
    create_dirs: bool,

    /// Size at which a file ends and the next one begins
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size, requires = "path")]
    file_size: u64,

    /// How files are compressed: none, gzip, gzip:LEVEL, zstd or zstd:LEVEL
    #[arg(long, value_name = "CODEC", default_value = "none", requires = "path")]
    compress: Compression,

    /// Whether files are synced to the disk before they count as written
    #[arg(long, value_name = "WHEN", default_value = "none", value_parser = ["none", "file"], requires = "path")]
    durability: String,

    /// First line of each file; after `@`, a file that holds the bytes
    #[arg(long, value_name = "TEXT|@FILE", requires = "path",
        value_parser = OsStringValueParser::new().try_map(bytes))]
    header: Option<Bytes>,

    /// Last line of each file, as with --header
    #[arg(long, value_name = "TEXT|@FILE", requires = "path",
        value_parser = OsStringValueParser::new().try_map(bytes))]
    footer: Option<Bytes>,

    /// File that gets one line of JSON for each published file
    #[arg(long, value_name = "FILE", requires = "path")]
    manifest: Option<PathBuf>,

    /// Print the summary as one JSON object on standard output
    #[arg(long, requires = "path")]
    pub(crate) json: bool,

    /// Print no summary
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// Chunks of the writer, and how many.
const CHUNK_BYTES: usize = 64 << 10;
const CHUNKS: usize = 64;

impl Merge {
    /// The options of the writer; `None` if the lines go to standard output.
    pub(crate) fn config(&self) -> Option<Config> {
        let output = &self.output;
        // One worker, so that the order holds across files; no file ends by time.
        let config = Config::default()
            .path(output.path.as_ref()?)
            .size(CHUNK_BYTES)
            .queue_size(CHUNKS)
            .workers(1)
            .forced(Duration::ZERO)
            .file_age(Duration::ZERO)
            .file_size(output.file_size)
            .prefix(output.prefix.clone().unwrap_or_default())
            .extension(&output.extension)
            .mode(output.mode)
            .create_dirs(output.create_dirs)
            .compression(output.compress)
            .durability(match output.durability.as_str() {
                "file" => Durability::File,
                _ => Durability::None,
            })
            .header(output.header.as_ref().map_or(&[][..], |bytes| &bytes.0))
            .footer(output.footer.as_ref().map_or(&[][..], |bytes| &bytes.0));
        let config = match &self.temp {
            Some(dir) => config.temp(dir),
            None => config,
        };
        Some(match &output.manifest {
            Some(file) => config.manifest(file),
            None => config,
        })
    }
}
