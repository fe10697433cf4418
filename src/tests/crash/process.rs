//! The processes that die: one that writes and one that recovers, each killed at the step that its case says.

use std::cell::RefCell;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, exit};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bufferedwriter_testkit::emulated;
use bufferedwriter_testkit::record::{self, Id};
use bufferedwriter_testkit::wait::BOUND;

use crate::config::Compression;
use crate::tests::codec::envelope;
use crate::tests::forks::forking;
use crate::{
    BufferedWriter, Config, CrashProof, DumpOptions, Durability, Io, Recorder, RecoverOptions,
    WriteError,
};

/// What tells a process what to do: its arguments, a line each.
const ARGS: &str = "BUFFEREDWRITER_CRASH_PROCESS";
pub(super) const THREADS: u32 = 3;
/// Bytes of a record: some are small, some fill a chunk, some are larger than one.
const LENGTHS: [usize; 8] = [23, 60, 110, 31, 270, 80, 720, 45];

/// Steps until the process is killed; zero = it is not.
static STEPS_LEFT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Looks at each step of its thread.
    static OBSERVER: RefCell<Option<Box<dyn FnMut()>>> = const { RefCell::new(None) };
}

/// Runs something, and `look` at each of its steps.
pub(super) fn observe_steps(look: impl FnMut() + 'static, run: impl FnOnce()) {
    OBSERVER.set(Some(Box::new(look)));
    run();
    OBSERVER.set(None);
}

/// A point of the protocol: the process dies here, as by `kill -9`, if it is its turn.
pub(crate) fn step() {
    let _ = OBSERVER.try_with(|observer| {
        if let Some(look) = &mut *observer.borrow_mut() {
            look();
        }
    });
    let left = &STEPS_LEFT;
    if left.load(Ordering::Relaxed) != 0 && left.fetch_sub(1, Ordering::AcqRel) == 1 {
        let me = rustix::process::getpid();
        rustix::process::kill_process(me, rustix::process::Signal::KILL).unwrap();
    }
}

#[test]
#[ignore = "a process of the tests of crashes, which start it themselves"]
fn process() {
    let args = std::env::var(ARGS).expect("started by a test");
    let args: Vec<String> = args.lines().map(str::to_owned).collect();
    let case = Case::parse(&args[1..]);
    STEPS_LEFT.store(case.step, Ordering::Release);
    match &*args[0] {
        "write" => write(&case),
        what => {
            assert_eq!(what, "recover");
            recover(&case);
        }
    }
}

/// How a process is set up, as its arguments say.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) root: PathBuf,
    pub(super) memory: PathBuf,
    /// Tells its records from those of others.
    pub(super) process: u32,
    /// The step at which it dies; zero = none.
    pub(super) step: u64,
    /// Records of each thread; then it dies without a close.
    pub(super) records: u32,
    pub(super) workers: usize,
    pub(super) durability: Durability,
    pub(super) io: Io,
    pub(super) codec: Compression,
    /// Files have a header and a footer.
    pub(super) enclosed: bool,
    pub(super) recording: Recording,
}

/// Whether the process is a flight recorder, and what becomes of the memory of its dumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recording {
    No,
    Releases,
    Keeps,
    /// There are no dumps.
    Never,
}

impl Case {
    fn args(&self) -> Vec<String> {
        let durability = u8::from(self.durability == Durability::File);
        let io = u8::from(self.io == Io::Direct);
        let codec = self.codec.id();
        let numbers = [
            self.process.to_string(),
            self.step.to_string(),
            self.records.to_string(),
            self.workers.to_string(),
            durability.to_string(),
            io.to_string(),
            codec.to_string(),
            u8::from(self.enclosed).to_string(),
            (self.recording as u8).to_string(),
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
            durability: if number(6) == 1 { Durability::File } else { Durability::None },
            io: if number(7) == 1 { Io::Direct } else { Io::Buffered },
            codec: Compression::from_id(number(8) as u32).unwrap(),
            enclosed: number(9) == 1,
            recording: match number(10) {
                0 => Recording::No,
                1 => Recording::Releases,
                2 => Recording::Keeps,
                _ => Recording::Never,
            },
        }
    }

    fn config(&self) -> Config {
        let recorder = match self.recording {
            Recording::No => Recorder::Off,
            _ => Recorder::Last(12 * 256),
        };
        Config::default()
            .recorder(recorder)
            .path(self.root.join("ready"))
            .temp(self.root.join("unfinished"))
            .size(256)
            .queue_size(30)
            .workers(self.workers)
            .file_size(1500)
            .file_age(Duration::from_millis(3))
            .durability(self.durability)
            .io(self.io)
            .compression(self.codec)
            .header(&*envelope(self.enclosed).header)
            .footer(&*envelope(self.enclosed).footer)
            .crash_proof(CrashProof::Dir(self.memory.clone()))
    }

    /// One of its threads, as its records name it.
    pub(super) fn producer(&self, thread: u32) -> u32 {
        self.process * THREADS + thread
    }

    /// Where the process notes how many records of each thread were accepted.
    pub(super) fn page(&self) -> PathBuf {
        self.memory.join(format!("accepted-{}", self.process))
    }

    /// This program again, as the one "test" that [`process`] is.
    pub(super) fn spawn(&self, what: &str) -> Child {
        let args: Vec<String> = [what.to_owned()].into_iter().chain(self.args()).collect();
        // It returns once the child has become another program.
        let _no_recoveries = forking();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "tests::crash::process::process", "--ignored", "--nocapture"])
            .env(ARGS, args.join("\n"))
            .stdout(Stdio::null());
        if emulated::is_on() {
            // qemu-user takes vfork(2) for fork(2), so that posix_spawn(3) returns sooner. std waits for a fork.
            // SAFETY: it does nothing, so nothing that is not safe after fork(2).
            unsafe { command.pre_exec(|| Ok(())) };
        }
        command.spawn().unwrap()
    }
}

/// A process that writes until it dies.
fn write(case: &Case) {
    let page = Page::map(&case.page());
    let writer = BufferedWriter::new(case.config()).unwrap();
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (writer, page) = (&writer, &page);
            scope.spawn(move || {
                let mut producer = writer.producer();
                let mut record = Vec::new();
                for seq in 0..case.records {
                    let id = Id { producer: case.producer(number), seq: seq.into() };
                    let len = LENGTHS[(seq as usize * 3 + number as usize) % LENGTHS.len()];
                    record::make(&mut record, id, len);
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
                    let dumps = [Recording::Releases, Recording::Keeps].contains(&case.recording);
                    if dumps && seq % 9 == 8 {
                        let keeps = case.recording == Recording::Keeps;
                        writer.dump(DumpOptions::default().keep(keeps).timeout(BOUND)).unwrap();
                    }
                }
            });
        }
    });
    if case.recording == Recording::No {
        let _ = writer.flush(BOUND);
    }
    // Without a close.
    // SAFETY: a plain call.
    unsafe { _exit(0) }
}

unsafe extern "C" {
    fn _exit(status: i32) -> !;
}

/// A process that recovers until it dies, or is done.
fn recover(case: &Case) {
    let options = RecoverOptions::new(case.root.join("ready"), case.root.join("unfinished"));
    let recovery = crate::recover(&options.memory(&case.memory)).unwrap();
    Page::map(&case.page()).accepted(THREADS, recovery.overwritten.records as u32);
    exit(i32::from(!recovery.errors.is_empty()));
}

/// Numbers that outlive the process that stores them.
pub(super) struct Page(*const AtomicU64);

// SAFETY: it is only seen as atomics.
unsafe impl Sync for Page {}

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

    pub(super) fn read(path: &Path) -> Vec<u64> {
        let bytes = fs::read(path).unwrap_or_default();
        let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap());
        bytes.chunks_exact(8).take(THREADS as usize).map(number).collect()
    }

    /// What the last recovery found to be overwritten.
    pub(super) fn overwritten(path: &Path) -> u64 {
        let bytes = fs::read(path).unwrap();
        let at = THREADS as usize * 8;
        u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
    }
}
