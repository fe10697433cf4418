//! Promise: with `CrashProof`, whatever instruction a process dies at, each record whose write returned `Ok` is
//! in exactly one file after the next recovery, whole, and in the order of its thread; also if recoveries are
//! killed, one after the other.
//!
//! A program of its own, which runs itself as the processes that die: `kill -9` by a hook at the n-th step of the
//! protocol, for each n until a process survives, and at random moments. `BUFFEREDWRITER_KILLS=N` kills so
//! many at random (default 100).

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, exit};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bufferedwriter::testing::kill_at_step;
use bufferedwriter::{BufferedWriter, Config, CrashProof, Io, RecoverOptions, Sync, WriteError};

#[path = "record.rs"]
mod record;

use record::{Id, Seen};

const THREADS: u32 = 3;
/// Records of each thread of a process that is to come to each step.
const FEW: u32 = 25;
const BOUND: Duration = Duration::from_secs(60);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("--write") => write(&Case::parse(&args[1..])),
        Some("--recover") => recover(&Case::parse(&args[1..])),
        // What a test runner asks for: there is one test, and its name matters to nobody.
        Some("--list") => println!("crash: test"),
        _ => run(),
    }
}

fn run() {
    if let Err(why) = memory_dir() {
        println!("skipped: crash-proof memory: {why}");
        return;
    }
    let began = Instant::now();
    let mut tally = Tally::default();
    each_step(&mut tally);
    let kills = std::env::var("BUFFEREDWRITER_KILLS").ok().and_then(|text| text.parse().ok());
    random_moments(kills.unwrap_or(100), &mut tally);
    println!("test crash: {tally:?}, {:.1} s ... ok", began.elapsed().as_secs_f64());
}

/// What was tried.
#[derive(Debug, Default)]
struct Tally {
    steps: u64,
    random_kills: u64,
    killed_recoveries: u64,
    acknowledged: u64,
    in_flight: u64,
}

/// How a process is set up, as its arguments say.
#[derive(Clone, Debug)]
struct Case {
    root: PathBuf,
    memory: PathBuf,
    /// Tells its records from those of others.
    process: u32,
    /// The step at which it dies; zero = none.
    step: u64,
    /// Records of each thread; then it dies without a close.
    records: u32,
    workers: usize,
    sync: Sync,
    io: Io,
}

impl Case {
    fn args(&self) -> Vec<String> {
        let sync = u8::from(self.sync == Sync::File);
        let io = u8::from(self.io == Io::Direct);
        let numbers = [
            self.process.to_string(),
            self.step.to_string(),
            self.records.to_string(),
            self.workers.to_string(),
            sync.to_string(),
            io.to_string(),
        ];
        let paths = [&self.root, &self.memory].map(|path| path.to_str().unwrap().to_owned());
        paths.into_iter().chain(numbers).collect()
    }

    fn parse(args: &[String]) -> Self {
        let number = |at: usize| args[at].parse::<u64>().unwrap();
        Case {
            root: PathBuf::from(&args[0]),
            memory: PathBuf::from(&args[1]),
            process: number(2) as u32,
            step: number(3),
            records: number(4) as u32,
            workers: number(5) as usize,
            sync: if number(6) == 1 { Sync::File } else { Sync::None },
            io: if number(7) == 1 { Io::Direct } else { Io::Buffered },
        }
    }

    fn config(&self) -> Config {
        Config::default()
            .path(self.root.join("ready"))
            .temp(self.root.join("unfinished"))
            .size(256)
            .queue_size(30)
            .workers(self.workers)
            .file_size(1500)
            .file_age(Duration::from_millis(3))
            .sync(self.sync)
            .io(self.io)
            .crash_proof(CrashProof::Dir(self.memory.clone()))
    }

    /// Where the process notes how many records of each thread were accepted.
    fn page(&self) -> PathBuf {
        self.memory.join(format!("accepted-{}", self.process))
    }

    fn spawn(&self, what: &str) -> Child {
        let program = std::env::current_exe().unwrap();
        Command::new(program).arg(what).args(self.args()).spawn().unwrap()
    }
}

/// A process that writes until it dies.
fn write(case: &Case) {
    let page = Page::map(&case.page());
    kill_at_step(case.step);
    let writer = BufferedWriter::new(case.config()).unwrap();
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (writer, page) = (&writer, &page);
            scope.spawn(move || {
                let mut producer = writer.producer();
                for seq in 0..case.records {
                    let id = Id { process: case.process, thread: number, seq };
                    let record = record::make(id);
                    let hand_over = || match (seq + number) % 5 {
                        0 => writer.write(&record),
                        1 => writer.send(record.clone()).map_err(|refused| refused.kind()),
                        2 => writer.record(|r| r.write_bytes(&record)),
                        _ => Err(WriteError::Format),
                    };
                    // Thread-local and own producers are two orders: each thread keeps to one of them.
                    let mut attempt =
                        || if number == 0 { producer.write(&record) } else { hand_over() };
                    let mut accepted = attempt();
                    while accepted == Err(WriteError::Full) {
                        thread::yield_now();
                        accepted = attempt();
                    }
                    if accepted == Err(WriteError::Format) {
                        accepted = writer.write_timeout(&record, BOUND);
                    }
                    accepted.unwrap();
                    page.accepted(number, seq + 1);
                }
            });
        }
    });
    let _ = writer.flush(BOUND);
    // Without a close.
    // SAFETY: a plain call.
    unsafe { _exit(0) }
}

unsafe extern "C" {
    fn _exit(status: i32) -> !;
}

/// A process that recovers until it dies, or is done.
fn recover(case: &Case) {
    kill_at_step(case.step);
    let options = RecoverOptions::new(case.root.join("ready"), case.root.join("unfinished"));
    let recovery = bufferedwriter::recover(&options.memory(&case.memory)).unwrap();
    exit(i32::from(!recovery.errors.is_empty()));
}

/// Numbers that outlive the process that stores them.
struct Page(*const AtomicU64);

// SAFETY: it is only seen as atomics.
unsafe impl std::marker::Sync for Page {}

impl Page {
    fn map(path: &Path) -> Self {
        use rustix::mm::{MapFlags, ProtFlags, mmap};
        let mut options = fs::File::options();
        let file = options.read(true).write(true).create(true).truncate(false).open(path).unwrap();
        file.set_len(4096).unwrap();
        let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping, of a file that is as long.
        let map = unsafe { mmap(std::ptr::null_mut(), 4096, prot, flags, &file, 0) };
        Page(map.unwrap().cast())
    }

    fn accepted(&self, thread: u32, count: u32) {
        // SAFETY: within the page.
        unsafe { &*self.0.add(thread as usize) }.store(count.into(), Ordering::Release);
    }

    fn read(path: &Path) -> Vec<u32> {
        let bytes = fs::read(path).unwrap_or_default();
        let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap()) as u32;
        bytes.chunks_exact(8).take(THREADS as usize).map(number).collect()
    }
}

/// One worker, and a process for each step that it comes to.
fn each_step(tally: &mut Tally) {
    for (sync, io) in [(Sync::None, Io::Buffered), (Sync::File, Io::Direct)] {
        let dirs = Dirs::new();
        let mut random = Random(7);
        for step in 1.. {
            let case = dirs.case(step as u32, step, FEW, 1, sync, io);
            let status = wait(case.spawn("--write"));
            let killed = status.signal() == Some(9);
            assert!(killed || status.code() == Some(0), "{status}");
            recover_and_check(&dirs, &case, &mut random, tally);
            if !killed {
                assert!(step > 200, "only {step} steps: were they counted?");
                break;
            }
            tally.steps += 1;
        }
    }
}

/// Several workers, at any instruction.
fn random_moments(kills: u64, tally: &mut Tally) {
    let dirs = Dirs::new();
    let mut random = Random(8);
    for kill in 0..kills {
        let sync = if random.below(2) == 0 { Sync::None } else { Sync::File };
        let io = if random.below(2) == 0 { Io::Buffered } else { Io::Direct };
        let workers = 1 + random.below(4) as usize;
        let case = dirs.case(kill as u32, 0, u32::MAX, workers, sync, io);
        let mut child = case.spawn("--write");
        thread::sleep(Duration::from_micros(random.below(60_000)));
        child.kill().unwrap();
        assert_eq!(wait(child).signal(), Some(9));
        recover_and_check(&dirs, &case, &mut random, tally);
        tally.random_kills += 1;
    }
}

/// Recoveries that are killed, then one that is not, then a look at everything.
fn recover_and_check(dirs: &Dirs, case: &Case, random: &mut Random, tally: &mut Tally) {
    let most = if random.below(20) == 0 { 10 } else { 2 };
    for _ in 0..random.below(most) {
        let step = 1 + random.below(8);
        let status = wait(Case { step, ..case.clone() }.spawn("--recover"));
        tally.killed_recoveries += u64::from(status.signal() == Some(9));
    }
    let status = wait(Case { step: 0, ..case.clone() }.spawn("--recover"));
    assert_eq!(status.code(), Some(0), "{case:?}");

    let mut seen = Seen::default();
    for file in dirs.visible() {
        seen.read(&fs::read(&file).unwrap(), &file);
        fs::remove_file(&file).unwrap();
    }
    let accepted = Page::read(&case.page());
    for (thread, accepted) in accepted.into_iter().enumerate() {
        let found = seen.count(case.process, thread as u32);
        // One more may have been accepted, of which nobody was told.
        let right = found == accepted || found == accepted + 1;
        assert!(right, "thread {thread}: {accepted} accepted, {found} found; {case:?}");
        tally.acknowledged += u64::from(accepted);
        tally.in_flight += u64::from(found - accepted);
    }
    seen.assert_nothing_else(case.process);
    let _ = fs::remove_file(case.page());
    dirs.assert_clean();
}

fn wait(mut child: Child) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(began.elapsed() < BOUND, "a process does not end");
        thread::yield_now();
    }
}

/// A directory in memory, if there is one.
fn memory_dir() -> Result<PathBuf, String> {
    let dir = Path::new("/dev/shm").join(format!("bufferedwriter-crash-{}", std::process::id()));
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    Ok(dir)
}

/// Directories of some processes, that are removed at the end.
struct Dirs {
    root: PathBuf,
    memory: PathBuf,
}

impl Dirs {
    fn new() -> Self {
        let name = format!("bufferedwriter-crash-{}", std::process::id());
        let root = std::env::temp_dir().canonicalize().unwrap().join(name);
        for dir in ["ready", "unfinished"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        Dirs { root, memory: memory_dir().unwrap() }
    }

    fn case(
        &self,
        process: u32,
        step: u64,
        records: u32,
        workers: usize,
        sync: Sync,
        io: Io,
    ) -> Case {
        let (root, memory) = (self.root.clone(), self.memory.clone());
        Case { root, memory, process, step, records, workers, sync, io }
    }

    fn visible(&self) -> Vec<PathBuf> {
        let mut files = list(&self.root.join("ready"));
        files.retain(|file| !file.file_name().unwrap().as_encoded_bytes().starts_with(b"."));
        files.sort();
        files
    }

    fn assert_clean(&self) {
        let dirs = [self.root.join("ready"), self.root.join("unfinished"), self.memory.clone()];
        let left: Vec<_> = dirs.iter().flat_map(|dir| list(dir)).collect();
        assert!(left.is_empty(), "left over: {left:?}");
    }
}

impl Drop for Dirs {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.root);
            let _ = fs::remove_dir_all(&self.memory);
        }
    }
}

fn list(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
