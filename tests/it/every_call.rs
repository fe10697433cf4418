//! Promise: any call of the file system may fail, once or until the disk is well again, with whatever error.
//! Everything that was accepted lands exactly once, the accounts balance, and a failed fsync is final for its file.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bufferedwriter::testing::Errno;
use bufferedwriter::{BufferedWriter, Durability, Io};
use bufferedwriter_testkit::emulated;

use crate::support::{
    Answer, BOUND, Gate, Op, Random, SetAtEnd, Tally, TestFs, WriterDir, close, record, stats,
    until,
};

/// What a call may meet, by name: an error, a short write (zero = no error), or a call that hangs.
const FAULTS: [(&str, Fault); 9] = [
    ("ENOSPC", Fault::Error(Errno::NOSPC)),
    ("EIO", Fault::Error(Errno::IO)),
    ("EROFS", Fault::Error(Errno::ROFS)),
    ("EACCES", Fault::Error(Errno::ACCESS)),
    ("EMFILE", Fault::Error(Errno::MFILE)),
    ("EINTR", Fault::Error(Errno::INTR)),
    ("EDQUOT", Fault::Error(Errno::DQUOT)),
    ("a short write", Fault::Short),
    ("a call that hangs", Fault::Hang),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Error(Errno),
    Short,
    Hang,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    durability: Durability,
    io: Io,
    fault: Fault,
    /// The call that meets it.
    k: u64,
    /// Each later call of that operation meets it too, until the disk is healed.
    sticky: bool,
}

/// A small life: several producers, large records and messages, files by size, flushes, a close.
/// Returns the calls of all of it and of the start, and how many met the fault.
fn live(case: Case) -> (u64, u64, u64) {
    let dir = WriterDir::new();
    let (gate, pass) = Gate::open();
    // Healed; the operation that is stuck; the operations that met the fault.
    let state = Arc::new(Mutex::new((false, None, Vec::new())));
    let seen = state.clone();
    let fs = TestFs::new(move |call| {
        let mut seen = seen.lock().unwrap();
        let stuck = case.sticky && seen.1 == Some(call.op);
        if seen.0 || !(call.nth == case.k || stuck) {
            return Answer::Go;
        }
        seen.1 = Some(call.op);
        seen.2.push(call.op);
        drop(seen);
        match case.fault {
            Fault::Error(errno) => Answer::Error(errno),
            Fault::Short => Answer::Short(7),
            Fault::Hang => {
                pass.through();
                Answer::Go
            }
        }
    });
    let config = dir.config().size(64).queue_size(12).workers(2).file_size(300);
    let config = config.durability(case.durability).io(case.io);
    let start = match BufferedWriter::new(config.fs(fs.clone())) {
        Ok(writer) => {
            let start = fs.calls_made();
            gate.set_shut(case.fault == Fault::Hang);
            let accepted = traffic(&writer, case);
            // What happens once may happen later as well.
            state.lock().unwrap().0 = case.sticky;
            let report = opened(&gate, || {
                writer.flush(BOUND).unwrap();
                assert!(stats(&writer).pending.is_zero());
                close(&writer)
            });
            let records: usize = accepted.iter().map(|(_, seqs)| seqs.len()).sum();
            assert_eq!(report.accepted.records, records as u64);
            Tally::of(&dir).assert_all(accepted);
            start
        }
        Err(error) => {
            assert!(!state.lock().unwrap().2.is_empty(), "refused on a healthy disk: {error}");
            0
        }
    };
    fs.assert_sound();
    let met = &state.lock().unwrap().2;
    // What could not be removed may stay, once for each refusal; nothing else does.
    if !met.contains(&Op::Remove) {
        dir.assert_clean();
    }
    (start, fs.calls_made(), met.len() as u64)
}

/// Does this, and opens the gate as soon as a call hangs there.
fn opened<T>(gate: &Gate, act: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let end = SetAtEnd(&done);
        scope.spawn(|| {
            until("a call hangs or all is done", || {
                gate.waiting() > 0 || done.load(Ordering::Relaxed)
            });
            gate.set_shut(false);
        });
        let result = act();
        drop(end);
        result
    })
}

/// What was accepted, by producer.
fn traffic(writer: &BufferedWriter, case: Case) -> Vec<(u32, Vec<u32>)> {
    // If it may last, nobody waits for its end.
    let lasts = case.sticky || case.fault == Fault::Hang;
    let wait = if lasts { Duration::from_millis(20) } else { BOUND };
    let mut accepted = vec![(0, Vec::new()), (1, Vec::new()), (2, Vec::new())];
    let (mut own, mut other) = (writer.producer(), writer.producer());
    let mut buffer = Vec::new();
    for seq in 0..36 {
        let producer = seq % 3;
        record(&mut buffer, producer, seq, [30, 50, 40, 200][seq as usize % 4]);
        let said = match producer {
            0 => own.write_timeout(&buffer, wait).is_ok(),
            1 => other.write_timeout(&buffer, wait).is_ok(),
            _ => writer.send(buffer.clone()).is_ok(),
        };
        if said {
            accepted[producer as usize].1.push(seq);
        } else if producer != 2 {
            assert!(lasts, "refused: {seq}");
            break;
        }
        if seq % 16 == 15 && lasts {
            let _ = writer.flush(wait);
        } else if seq % 16 == 15 {
            writer.flush(BOUND).unwrap();
            let now = stats(writer);
            assert!(now.pending.is_zero(), "{now:?}");
        }
    }
    accepted
}

/// `BUFFEREDWRITER_FAULT_PAIRS` tries each fault at each call; without, each call meets two of them
/// (in memory, `src/faults.rs`, each meets all).
fn each_call_fails(durability: Durability, io: Io) {
    let is_long = std::env::var_os("BUFFEREDWRITER_FAULT_PAIRS").is_some();
    // Each fault has its turn: the step has no factor in common with their number.
    let step = if emulated::is_on() { 4 } else { 1 };
    let well = Case { durability, io, fault: Fault::Short, k: 0, sticky: false };
    let (start, all, _) = live(well);
    let mut tally = [(0, 0); FAULTS.len()];
    // The number of calls varies with the timing; a few beyond the end may happen or not.
    for k in 1..=all + 4 {
        for (i, &(_, fault)) in FAULTS.iter().enumerate() {
            for sticky in [false, true] {
                let turn = (k as usize + if sticky { 4 } else { 0 }) % FAULTS.len();
                // A start that hangs keeps its caller waiting: nothing else is promised.
                let is_left_out = !is_long && (turn != i || !k.is_multiple_of(step));
                if is_left_out || (fault == Fault::Hang && (k <= start || sticky)) {
                    continue;
                }
                let (_, _, met) = live(Case { fault, k, sticky, ..well });
                tally[i] = (tally[i].0 + 1, tally[i].1 + met);
            }
        }
    }
    for ((name, _), (cases, met)) in FAULTS.iter().zip(tally) {
        println!("{durability:?}, {io:?}, {name}: {cases} cases, met {met} times");
        assert!(met > 0, "{name} was never met");
    }
}

#[test]
fn without_sync() {
    each_call_fails(Durability::None, Io::Buffered);
}

#[test]
fn without_sync_past_the_page_cache() {
    each_call_fails(Durability::None, Io::Direct);
}

#[test]
fn with_sync() {
    each_call_fails(Durability::File, Io::Buffered);
}

#[test]
fn with_sync_past_the_page_cache() {
    each_call_fails(Durability::File, Io::Direct);
}

/// Many calls fail, in any combination, as long as traffic lasts; then the disk is well again.
fn many_calls_fail(durability: Durability) {
    for seed in 0..5 {
        let dir = WriterDir::new();
        let (random, sick) = (Mutex::new(Random::new(seed)), Arc::new(AtomicBool::new(true)));
        let is_sick = sick.clone();
        let fs = TestFs::new(move |call| {
            // What can't be removed may stay: not the question here.
            if !call.is_temp() || call.op == Op::Remove || !is_sick.load(Ordering::SeqCst) {
                return Answer::Go;
            }
            let mut random = random.lock().unwrap();
            match random.within(0, 14) {
                0 => Answer::Error(Errno::IO),
                1 => Answer::Error(Errno::NOSPC),
                2 => Answer::Short(random.within(0, 300)),
                _ => Answer::Go,
            }
        });
        let config =
            dir.config().size(64).queue_size(30).workers(2).file_size(500).durability(durability);
        let writer = BufferedWriter::new(config.fs(fs.clone())).unwrap();
        thread::scope(|scope| {
            for producer in 0..3_u32 {
                let writer = &writer;
                scope.spawn(move || {
                    let (mut random, mut buffer) = (Random::new(u64::from(producer)), Vec::new());
                    for seq in 0..80 {
                        record(&mut buffer, producer, seq, random.within(12, 250));
                        writer.write_timeout(&buffer, BOUND).unwrap();
                        stats(writer);
                    }
                });
            }
        });
        // Whatever is visible is whole, and nothing is there twice.
        drop(Tally::of(&dir));
        sick.store(false, Ordering::SeqCst);
        writer.flush(BOUND).unwrap();
        assert!(stats(&writer).pending.is_zero());
        close(&writer);
        Tally::of(&dir).assert_ranges(&[(0, 80), (1, 80), (2, 80)]);
        fs.assert_sound();
        dir.assert_clean();
    }
}

#[test]
fn many_without_sync() {
    many_calls_fail(Durability::None);
}

#[test]
fn many_with_sync() {
    many_calls_fail(Durability::File);
}
