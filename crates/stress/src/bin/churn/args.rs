//! The options of `churn`. Unknown options end the program with exit code 2.

use std::path::PathBuf;
use std::process::exit;
use std::str::FromStr;

const USAGE: &str = "\
Usage: churn [--writers N] [--threads T] [--dir DIR]
  --writers N   writers, one after the other (default 10000)
  --threads T   threads that write at the same time, 1 to 64 (default 4)
  --dir DIR     directory for the files; it is kept, the files are not
                (default: a fresh directory in the system's temp directory)";

pub(crate) struct Args {
    pub(crate) writers: usize,
    pub(crate) threads: usize,
    pub(crate) dir: Option<PathBuf>,
}

impl Args {
    pub(crate) fn parse() -> Args {
        let mut args = Args { writers: 10_000, threads: 4, dir: None };
        let mut given = std::env::args_os().skip(1);
        while let Some(option) = given.next() {
            if option == "--help" {
                println!("{USAGE}");
                exit(0);
            }
            let Some(value) = given.next() else { refuse() };
            match option.to_str() {
                Some("--writers") => args.writers = number(value.to_str()),
                Some("--threads") => args.threads = number(value.to_str()),
                Some("--dir") => args.dir = Some(value.into()),
                _ => refuse(),
            }
        }
        if args.writers == 0 || !(1..=64).contains(&args.threads) {
            refuse();
        }
        args
    }
}

fn number<T: FromStr>(value: Option<&str>) -> T {
    value.and_then(|text| text.parse().ok()).unwrap_or_else(|| refuse())
}

fn refuse() -> ! {
    eprintln!("{USAGE}");
    exit(2)
}
