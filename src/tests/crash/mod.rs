//! Promise: with `CrashProof`, whatever instruction a process dies at, each record whose write returned `Ok` is
//! in exactly one file after the next recovery, whole, and in the order of its thread; also if recoveries are
//! killed, one after the other.
//!
//! The test program runs itself as the processes that die: `kill -9` at the n-th step of the protocol, for each n
//! until a process survives, and at random moments. `BUFFEREDWRITER_KILLS=N` kills N times at random (default
//! 100).

mod process;
mod record;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::Codec;
use crate::tests::codec::decode;
use crate::{Durability, Io};
pub(crate) use process::step;
use process::{Case, Page};
use record::Seen;

/// Records of each thread of a process that is to come to each step.
const FEW: u32 = 25;
const BOUND: Duration = Duration::from_secs(60);

/// One worker, and a process for each step that it comes to.
#[test]
fn killed_at_each_step_of_the_protocol() {
    for (durability, io, codec) in [
        (Durability::None, Io::Buffered, Codec::None),
        (Durability::File, Io::Direct, Codec::None),
        (Durability::None, Io::Direct, Codec::Doubled),
    ] {
        let Some(dirs) = Dirs::new("steps") else { return };
        let mut tally = Tally::default();
        let mut random = Random(7);
        for step in 1.. {
            let case = dirs.case(step as u32, step, FEW, 1, (durability, io, codec));
            let status = wait(case.spawn("write"));
            let killed = status.signal() == Some(9);
            assert!(killed || status.code() == Some(0), "{status}");
            recover_and_check(&dirs, &case, &mut random, &mut tally);
            if !killed {
                assert!(step > 200, "only {step} steps: were they counted?");
                break;
            }
            tally.kills += 1;
        }
        println!("each step, {durability:?}, {io:?}, {codec:?}: {tally:?}");
    }
}

/// Several workers, at any instruction.
#[test]
fn killed_at_random_moments() {
    let kills = std::env::var("BUFFEREDWRITER_KILLS").ok().and_then(|text| text.parse().ok());
    let Some(dirs) = Dirs::new("moments") else { return };
    let mut tally = Tally::default();
    let mut random = Random(8);
    for kill in 0..kills.unwrap_or(100) {
        let durability = if random.below(2) == 0 { Durability::None } else { Durability::File };
        let io = if random.below(2) == 0 { Io::Buffered } else { Io::Direct };
        let codec = if random.below(2) == 0 { Codec::None } else { Codec::Doubled };
        let workers = 1 + random.below(4) as usize;
        let case = dirs.case(kill, 0, u32::MAX, workers, (durability, io, codec));
        let mut child = case.spawn("write");
        thread::sleep(Duration::from_micros(random.below(60_000)));
        child.kill().unwrap();
        assert_eq!(wait(child).signal(), Some(9));
        recover_and_check(&dirs, &case, &mut random, &mut tally);
        tally.kills += 1;
    }
    println!("random moments: {tally:?}");
}

/// What was tried.
#[derive(Debug, Default)]
struct Tally {
    kills: u64,
    killed_recoveries: u64,
    acknowledged: u64,
    in_flight: u64,
}

/// Recoveries that are killed, then one that is not, then a look at everything.
fn recover_and_check(dirs: &Dirs, case: &Case, random: &mut Random, tally: &mut Tally) {
    let most = if random.below(20) == 0 { 10 } else { 2 };
    for _ in 0..random.below(most) {
        let step = 1 + random.below(8);
        let status = wait(Case { step, ..case.clone() }.spawn("recover"));
        tally.killed_recoveries += u64::from(status.signal() == Some(9));
    }
    let status = wait(Case { step: 0, ..case.clone() }.spawn("recover"));
    assert_eq!(status.code(), Some(0), "{case:?}");

    let mut seen = Seen::default();
    for file in dirs.visible() {
        seen.read(&decode(case.codec, fs::read(&file).unwrap()), &file);
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

/// Directories of some processes, that are removed at the end.
struct Dirs {
    root: PathBuf,
    memory: PathBuf,
}

impl Dirs {
    /// None, and a word, where there is no memory to be had.
    fn new(test: &str) -> Option<Self> {
        let name = format!("bufferedwriter-crash-{test}-{}", std::process::id());
        let memory = Path::new("/dev/shm").join(&name);
        if let Err(error) = fs::create_dir_all(&memory) {
            println!("skipped: crash-proof memory: {}: {error}", memory.display());
            return None;
        }
        let root = std::env::temp_dir().canonicalize().unwrap().join(name);
        for dir in ["ready", "unfinished"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        Some(Dirs { root, memory })
    }

    fn case(
        &self,
        process: u32,
        step: u64,
        records: u32,
        workers: usize,
        (durability, io, codec): (Durability, Io, Codec),
    ) -> Case {
        let (root, memory) = (self.root.clone(), self.memory.clone());
        Case { root, memory, process, step, records, workers, durability, io, codec }
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
