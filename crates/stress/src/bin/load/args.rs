//! The options of `load`. Unknown options end the program with exit code 2.

use std::path::PathBuf;
use std::process::exit;
use std::time::Duration;

use bufferedwriter::{Compression, Config, Durability, Io};
use bufferedwriter_stress::visible::{FOOTER, HEADER};

const USAGE: &str = "\
Usage: load --dir DIR [OPTION VALUE]...
  --dir DIR          files appear in DIR/ready and are written in DIR/unfinished
  --ms N             how long it writes (default 1000)
  --until FILE       no longer than until this file exists
  --threads N        that write, each through a producer; 1 to 64 (default 2)
  --pause-us N       of a thread between two writes (default 200)
  --flush-ms N       flush after random pauses of less than this; 0 = never (default)
  --close-ms N       deadline of the close (default 30000)
  --slowest-ms N     what a call may take at most (default: anything)
  --durability none|file   (default none)
  --io auto|direct|buffered (default auto)
  --compress none|gzip|zstd (default none)
  --enclosed yes|no  files have a header and a footer (default no)
  --workers N        (default 2)
  --file-size N      in bytes (default 100000)
  --forced-ms N      (default 50)
  --seed N           of the pauses (default 1)";

pub(crate) struct Args {
    dir: PathBuf,
    pub(crate) time: Duration,
    until: Option<PathBuf>,
    pub(crate) threads: usize,
    pub(crate) pause: Duration,
    pub(crate) flush_ms: usize,
    pub(crate) close_within: Duration,
    pub(crate) slowest: Duration,
    durability: Durability,
    io: Io,
    compression: Compression,
    enclosed: bool,
    workers: usize,
    file_size: u64,
    forced: Duration,
    pub(crate) seed: u64,
}

impl Args {
    pub(crate) fn parse() -> Args {
        let mut args = Args {
            dir: PathBuf::new(),
            time: Duration::from_secs(1),
            until: None,
            threads: 2,
            pause: Duration::from_micros(200),
            flush_ms: 0,
            close_within: Duration::from_secs(30),
            slowest: Duration::from_secs(3600),
            durability: Durability::None,
            io: Io::Auto,
            compression: Compression::None,
            enclosed: false,
            workers: 2,
            file_size: 100_000,
            forced: Duration::from_millis(50),
            seed: 1,
        };
        let mut given = std::env::args().skip(1);
        while let Some(option) = given.next() {
            let Some(value) = given.next() else { refuse() };
            args.set(&option, &value);
        }
        if args.dir.as_os_str().is_empty() || !(1..=64).contains(&args.threads) {
            refuse();
        }
        args
    }

    fn set(&mut self, option: &str, value: &str) {
        let number = || value.parse::<u64>().unwrap_or_else(|_| refuse());
        let ms = || Duration::from_millis(number());
        match (option, value) {
            ("--dir", dir) => self.dir = dir.into(),
            ("--ms", _) => self.time = ms(),
            ("--until", file) => self.until = Some(file.into()),
            ("--threads", _) => self.threads = number() as usize,
            ("--pause-us", _) => self.pause = Duration::from_micros(number()),
            ("--flush-ms", _) => self.flush_ms = number() as usize,
            ("--close-ms", _) => self.close_within = ms(),
            ("--slowest-ms", _) => self.slowest = ms(),
            ("--durability", "none") => self.durability = Durability::None,
            ("--durability", "file") => self.durability = Durability::File,
            ("--io", "auto") => self.io = Io::Auto,
            ("--io", "direct") => self.io = Io::Direct,
            ("--io", "buffered") => self.io = Io::Buffered,
            ("--compress", "none") => self.compression = Compression::None,
            ("--compress", "gzip") => self.compression = Compression::Gzip(1),
            ("--compress", "zstd") => self.compression = Compression::Zstd(1),
            ("--enclosed", "yes") => self.enclosed = true,
            ("--enclosed", "no") => self.enclosed = false,
            ("--workers", _) => self.workers = number() as usize,
            ("--file-size", _) => self.file_size = number(),
            ("--forced-ms", _) => self.forced = ms(),
            ("--seed", _) => self.seed = number(),
            _ => refuse(),
        }
    }

    pub(crate) fn told_to_stop(&self) -> bool {
        self.until.as_ref().is_some_and(|file| file.exists())
    }

    pub(crate) fn config(&self) -> Config {
        let (header, footer) = if self.enclosed { (HEADER, FOOTER) } else { ("", "") };
        Config::default()
            .header(header)
            .footer(footer)
            .path(self.dir.join("ready"))
            .temp(self.dir.join("unfinished"))
            .create_dirs(true)
            .workers(self.workers)
            .file_size(self.file_size)
            .forced(self.forced)
            .durability(self.durability)
            .io(self.io)
            .compression(self.compression)
    }
}

fn refuse() -> ! {
    eprintln!("{USAGE}");
    exit(2)
}
