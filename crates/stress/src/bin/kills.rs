//! Kills writing processes at random moments and checks what the next process recovers.
//!
//! Guarantees, in each round: each visible file is not empty and holds whole records only, each of them once.
//! Each record that a flush covered before the kill is there. At the end of the round no directory holds a
//! left-over. The first broken promise ends the program with exit code 1, and the files stay for inspection.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, exit};
use std::time::{Duration, Instant};
use std::{env, thread};

use bufferedwriter::{BufferedWriter, Compression, Config, Durability, Io, Recovery};
use bufferedwriter_stress::failure::{self, expect};
use bufferedwriter_stress::visible::{self, list};
use bufferedwriter_testkit::dir::is_hidden;
use bufferedwriter_testkit::random::Random;
use bufferedwriter_testkit::record::{self, Id};
use bufferedwriter_testkit::record_set::RecordSet;
use bufferedwriter_testkit::wait::BOUND;

const USAGE: &str = "\
Usage: kills [--rounds N] [--processes P] [--workers W] [--dir DIR] [--seed S]
  --rounds N      rounds, each with processes that are killed (default 200)
  --processes P   processes that write into one directory at the same time (default 2)
  --workers W     workers of each (default 4)
  --dir DIR       where files are written; kept (default: a fresh one in the system's temp directory)
  --seed S        of the moments (default 1)";

/// Threads of a process.
const THREADS: u32 = 3;
/// The longest life of a process.
const LIFE_MAX: Duration = Duration::from_millis(60);

struct Args {
    rounds: u64,
    processes: u64,
    workers: usize,
    dir: Option<PathBuf>,
    seed: u64,
}

fn main() {
    let given: Vec<_> = env::args_os().skip(1).collect();
    if given.first().is_some_and(|first| first == "--child") {
        let text = |at: usize| given[at].to_str().unwrap_or_else(|| refuse());
        let number = |at: usize| text(at).parse().unwrap_or_else(|_| refuse());
        child(Path::new(&given[1]), number(2), number(3) as usize);
        return;
    }
    let args = parse(&given);
    let began = Instant::now();
    let root = args.dir.clone().unwrap_or_else(|| {
        env::temp_dir().join(format!("bufferedwriter-kills-{}", std::process::id()))
    });
    for dir in ["ready", "unfinished", "flushed"] {
        expect("create a directory", fs::create_dir_all(root.join(dir)));
    }
    let root = expect("find a directory", root.canonicalize());
    let mut sum = Sum::default();
    let mut random = Random::new(args.seed);
    for round in 0..args.rounds {
        run(&args, &root, round, &mut random, &mut sum);
    }
    if args.dir.is_none() {
        expect("remove a directory", fs::remove_dir_all(&root));
    }
    println!(
        "{} rounds, {} processes of {} threads and {} workers killed, {} of them before a first flush; \
         {} records in {} files, {} records were flushed before; recovered {} instances: {} files \
         published, {} bytes cut off; {:.1} s",
        args.rounds,
        args.rounds * args.processes,
        THREADS,
        args.workers,
        sum.idle,
        sum.records,
        sum.files,
        sum.flushed,
        sum.instances,
        sum.published,
        sum.cut_bytes,
        began.elapsed().as_secs_f64()
    );
}

/// Totals over all rounds so far.
#[derive(Default)]
struct Sum {
    idle: u64,
    records: u64,
    files: u64,
    flushed: u64,
    instances: u64,
    published: usize,
    cut_bytes: u64,
}

/// Kills some processes, one after the other while others still write; then one writer recovers.
fn run(args: &Args, root: &Path, round: u64, random: &mut Random, sum: &mut Sum) {
    let numbers = (0..args.processes).map(|process| round * args.processes + process);
    let children: Vec<(u64, Killed)> =
        numbers.map(|number| (number, spawn(root, number, args.workers))).collect();
    let mut seen = RecordSet::default();
    for (_, child) in &children {
        thread::sleep(Duration::from_nanos(random.next() % LIFE_MAX.as_nanos() as u64));
        // Visible files must be whole at any moment, also while others still write.
        read_all(root, &mut seen, sum, false);
        child.kill();
    }
    let flushed: Vec<_> = children.into_iter().map(|(number, _)| flushed(root, number)).collect();
    sum.idle += flushed.iter().filter(|flushed| flushed.is_empty()).count() as u64;

    let recovery = recover(root, args.workers);
    if !recovery.errors.is_empty() || !recovery.skipped.is_empty() {
        fail(root, &format!("{recovery:?}"));
    }
    if !recovery.set_aside.is_empty() || recovery.alive > 0 {
        fail(root, &format!("{recovery:?}"));
    }
    sum.instances += recovery.instances;
    sum.published += recovery.published.len();
    sum.cut_bytes += recovery.cut_bytes;
    for dir in ["ready", "unfinished"] {
        let left = list(&root.join(dir)).into_iter().find(|file| is_hidden(file));
        if let Some(left) = left {
            fail(root, &format!("round {round}: left over: {}", left.display()));
        }
    }
    read_all(root, &mut seen, sum, true);
    for id in flushed.into_iter().flatten() {
        sum.flushed += 1;
        if !seen.contains(id) {
            fail(root, &format!("{id:?} was flushed, and is not there"));
        }
    }
    sum.records += seen.records;
}

/// Starts the next writer and waits for its recovery.
fn recover(root: &Path, workers: usize) -> Recovery {
    let writer = expect("start a writer", BufferedWriter::new(config(root, workers)));
    expect("close a writer", writer.close(BOUND));
    writer.recovery().unwrap_or_else(|| fail(root, "the recovery is not over"))
}

/// Reads the visible files, and removes them if this is the round's `last` look. Replaces `seen` by what it found.
fn read_all(root: &Path, seen: &mut RecordSet, sum: &mut Sum, last: bool) {
    let mut found = RecordSet::default();
    for file in list(&root.join("ready")) {
        if is_hidden(&file) {
            continue;
        }
        let (bytes, enclosed) = visible::read(&file);
        match found.add(&bytes) {
            Err(wrong) => fail(root, &format!("{}: {wrong}", file.display())),
            Ok(writers) => {
                let expected = |&writer: &u32| is_enclosed(u64::from(writer / THREADS)) == enclosed;
                if !writers.iter().all(expected) {
                    fail(root, &format!("{}: header and footer: {enclosed}", file.display()));
                }
            }
        }
        if last {
            sum.files += 1;
            expect("remove a file", fs::remove_file(&file));
        }
    }
    // A record that was visible once must stay visible.
    if let Some(gone) = seen.ids().find(|&id| !found.contains(id)) {
        fail(root, &format!("{gone:?} was visible, and is gone"));
    }
    *seen = found;
}

fn config(root: &Path, workers: usize) -> Config {
    let config = Config::default().path(root.join("ready")).temp(root.join("unfinished"));
    config.size(512).queue_size(64).workers(workers).file_age(Duration::from_millis(20))
}

/// Whether compressed files can be read here.
fn has_tools() -> bool {
    let runs = |tool| Command::new(tool).arg("--version").stdout(Stdio::null()).status().is_ok();
    ["gzip", "zstd"].into_iter().all(runs)
}

/// Whether the files of a process have a header and a footer.
fn is_enclosed(number: u64) -> bool {
    number % 4 >= 2
}

/// What a process does until it is killed. The options depend on its number.
fn child(root: &Path, number: u64, workers: usize) {
    let file_size = [0, 2000, 20_000, 200_000, 64 << 20][number as usize % 5];
    let config = config(root, workers).file_size(file_size);
    let config =
        config.durability(if number % 3 == 0 { Durability::File } else { Durability::None });
    let config = config.io(if number % 2 == 0 { Io::Auto } else { Io::Direct });
    // A tool is started for each compressed file: not for many small ones.
    let config = config.compression(match number % 7 {
        _ if file_size < 20_000 => Compression::None,
        0 if has_tools() => Compression::Gzip(1),
        1 if has_tools() => Compression::Zstd(1),
        _ => Compression::None,
    });
    let config = if is_enclosed(number) {
        config.header(visible::HEADER).footer(visible::FOOTER)
    } else {
        config
    };
    let config = if number % 4 == 1 { config.partition("p={pid}/m=%H%M") } else { config };
    let writer = expect("start a writer", BufferedWriter::new(config));
    let tell = root.join("flushed").join(number.to_string());
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (writer, tell) = (&writer, &tell);
            scope.spawn(move || {
                let mut told = expect("open", File::options().create(true).append(true).open(tell));
                let mut buffer = Vec::new();
                for seq in 0.. {
                    make(&mut buffer, Id { producer: producer(number, thread), seq });
                    expect("write", writer.write_timeout(&buffer, BOUND));
                    if thread == 0 && seq % 500 == 499 {
                        expect("flush", writer.flush(BOUND));
                        // One write call: the number is there as a whole or not at all.
                        expect("tell", told.write_all(&seq.to_le_bytes()));
                    }
                }
            });
        }
    });
}

/// The records of a process that a flush covered before the kill.
fn flushed(root: &Path, process: u64) -> Vec<Id> {
    let path = root.join("flushed").join(process.to_string());
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(&path) {
        expect("read", file.read_to_end(&mut bytes));
        expect("remove", fs::remove_file(&path));
    }
    let last = bytes.chunks_exact(8).last().and_then(|last| last.try_into().ok());
    let last = last.map(u64::from_le_bytes);
    last.map_or_else(Vec::new, |last| {
        (0..=last).map(|seq| Id { producer: producer(process, 0), seq }).collect()
    })
}

/// A thread of a process, as its records name it.
fn producer(process: u64, thread: u32) -> u32 {
    process as u32 * THREADS + thread
}

/// Makes a record. One in a hundred is larger than a chunk.
fn make(buffer: &mut Vec<u8>, id: Id) {
    let mut random = Random::new(u64::from(id.producer) << 32 ^ id.seq);
    let most = if id.seq % 100 == 0 { 1500 } else { 120 };
    record::make(buffer, id, 40 + random.below(most));
}

/// A process that is killed, at the latest when this goes.
struct Killed(std::sync::Mutex<Child>);

fn spawn(root: &Path, number: u64, workers: usize) -> Killed {
    // By this name also if somebody builds it anew meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.arg("--child").arg(root).args([number.to_string(), workers.to_string()]);
    Killed(expect("start a process", command.stdin(Stdio::null()).spawn()).into())
}

impl Killed {
    fn kill(&self) {
        let mut child = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = child.kill();
        // A process that ends by itself has found something wrong.
        let status = expect("wait for a process", child.wait());
        if status.code().is_some() {
            failure::fail(&format!("a process ended by itself: {status}"));
        }
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        self.kill();
    }
}

fn parse(given: &[std::ffi::OsString]) -> Args {
    let mut args = Args { rounds: 200, processes: 2, workers: 4, dir: None, seed: 1 };
    for pair in given.chunks(2) {
        let [option, value] = pair else { refuse() };
        let number = || value.to_str().and_then(|n| n.parse().ok()).unwrap_or_else(|| refuse());
        match option.to_str() {
            Some("--rounds") => args.rounds = number(),
            Some("--processes") => args.processes = number(),
            Some("--workers") => args.workers = number() as usize,
            Some("--seed") => args.seed = number(),
            Some("--dir") => args.dir = Some(value.into()),
            _ => refuse(),
        }
    }
    args
}

fn refuse() -> ! {
    eprintln!("{USAGE}");
    exit(2)
}

fn fail(root: &Path, what: &str) -> ! {
    failure::fail(&format!("{what}; the files are in {}", root.display()))
}
