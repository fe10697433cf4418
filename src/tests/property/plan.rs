//! What a random case consists of: options, steps, an end; and how likely each is.

use std::fmt;
use std::time::Duration;

use crate::base::sys::Errno;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::config::{Boundary, Compression, Durability, Io};
use crate::tests::codec::CODECS;
use crate::tests::fs::hooked::Op;
use crate::tests::fs::memory::{DiskFault, FaultPlan};

/// Threads that write, each with a slot of its own as long as it lives.
pub(super) const THREADS: usize = 5;

#[derive(Clone)]
pub(super) struct Plan {
    pub(super) setup: Setup,
    pub(super) steps: Vec<Step>,
    pub(super) end: End,
}

/// A step on a line, however it is asked for.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.setup)?;
        self.steps.iter().try_for_each(|step| writeln!(f, "{step:?}"))?;
        write!(f, "{:?}", self.end)
    }
}

/// The options, as far as a case depends on them.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) size: usize,
    pub(super) queue_size: usize,
    pub(super) workers: usize,
    pub(super) file_size: u64,
    pub(super) forced: Duration,
    pub(super) file_age: Duration,
    pub(super) rotate_at: Boundary,
    pub(super) durability: Durability,
    pub(super) io: Io,
    pub(super) codec: Compression,
    /// Files have a header and a footer.
    pub(super) enclosed: bool,
    /// Zero = never.
    pub(super) give_up_after: Duration,
    /// `temp` is on another file system than `path`.
    pub(super) crossing: bool,
    pub(super) quota: Limit,
    /// Empty = none.
    pub(super) partition: &'static str,
}

/// What the quota is told to keep to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Limit {
    None,
    /// Some space must stay free.
    Free,
    /// The files take at most this number of bytes.
    Total(u64),
}

/// One step of a case.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Call(Call),
    /// Callers do this in the middle of the next call to the file system: before or after it has
    /// its effect.
    Amid(bool, Vec<Call>),
    /// Time passes, and each worker runs when it asked to, or is woken.
    Tick(Duration),
    /// Time passes, and no worker gets the processor.
    Stall(Duration),
    /// Somebody sets the wall clock forth or back by this number of milliseconds.
    SetClock(i64),
    /// A worker runs, whether it asked for that or not: a park may return for no reason.
    Round(usize),
    /// Calls to the file system fail from here on.
    Faults(FaultPlan),
    Heal,
    /// From here on there is no free space, or much. Then `time` passes.
    Space {
        short: bool,
        time: Duration,
    },
    /// Somebody removes a worker's temp file.
    Steal(usize),
}

/// What a caller does.
#[derive(Clone, Debug)]
pub(super) enum Call {
    /// Hands over a record of `len` bytes.
    Write {
        thread: usize,
        way: Way,
        len: usize,
    },
    /// The thread ends; another one may get its slot.
    Exit {
        thread: usize,
    },
    /// Somebody found fewer chunks than this.
    Starve(u32),
    Flush,
    Snapshot,
}

/// A way to hand over a record: a new one is a variant here, a line in `way` and one in
/// `Callers::hand_over`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    Write,
    /// A quarter is the smallest that is handed over: four fill a chunk.
    Send {
        quarter: bool,
    },
    /// Formatted in parts of `part` bytes. A nested one writes a record of `NESTED_BYTES` through the same slot, in
    /// the middle of it.
    Record {
        part: usize,
        nested: bool,
        end: Format,
    },
}

/// How a formatter ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Whole,
    Error,
    Panic,
}

/// A record by a formatter.
pub(super) const NESTED_BYTES: usize = 3;

/// How a case ends.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// With `flush`, the disk is healed and a flush is answered. With `patient`, a caller that waits gets a record
    /// of that length in. Then close waits for `ill` with the disk as it is. At last the disk is healed, and close
    /// waits for everything.
    Drain { flush: bool, patient: Option<usize>, ill: Duration },
    /// Close gives up after this time, or before any worker has heard of it. It does so at rest, or in the middle
    /// of a call to the file system, before or after its effect.
    GiveUp { after: Option<Duration>, amid: Option<bool> },
}

pub(super) fn plans() -> impl Strategy<Value = Plan> {
    (setups(), vec(step().boxed(), 0..50), end()).prop_map(|(setup, steps, end)| Plan {
        setup,
        steps,
        end,
    })
}

fn setups() -> impl Strategy<Value = Setup> {
    let size = prop_oneof![Just(1_usize), 2..16_usize, 16..=64_usize];
    let file_size = prop_oneof![2 => Just(0_u64), 4 => 1..200_u64, 2 => Just(64 << 20)];
    let durability = prop_oneof![Just(Durability::None), Just(Durability::File)];
    let io = prop_oneof![Just(Io::Direct), Just(Io::Buffered)];
    let quota = prop_oneof![
        6 => Just(Limit::None),
        2 => Just(Limit::Free),
        1 => (1..600_u64).prop_map(Limit::Total),
    ];
    let codec = prop_oneof![3 => Just(Compression::None), 2 => select(&CODECS[..])];
    let boundary = prop_oneof![
        2 => Just(Boundary::Never),
        1 => Just(Boundary::Minutes(1)),
        1 => Just(Boundary::Hours(1)),
    ];
    let partition = prop_oneof![
        3 => Just(""),
        1 => Just("fixed"),
        1 => Just("dt=%F/h=%H"),
        1 => Just("m=%H%M"),
    ];
    let format = (codec, prop::bool::weighted(0.3), partition);
    let policies = (prop::bool::weighted(0.1), patience(), quota, format, boundary);
    let rest = (0..=6_usize, 1..=3_usize, io, policies);
    (size, rest, file_size, age(), age(), durability).prop_map(
        |(size, (queue_size, workers, io, policies), file_size, forced, file_age, durability)| {
            let (crossing, give_up_after, quota, format, rotate_at) = policies;
            let (codec, enclosed, partition) = format;
            Setup {
                size,
                queue_size,
                workers,
                file_size,
                forced,
                file_age,
                rotate_at,
                durability,
                io,
                codec,
                enclosed,
                give_up_after,
                crossing,
                quota,
                // `new` refuses both together.
                partition: if crossing { "" } else { partition },
            }
        },
    )
}

fn age() -> impl Strategy<Value = Duration> {
    prop_oneof![2 => Just(0_u64), 2 => 1..20_u64, 2 => 20..300_u64].prop_map(Duration::from_millis)
}

fn patience() -> impl Strategy<Value = Duration> {
    prop_oneof![3 => Just(0_u64), 3 => 1..20_u64, 2 => 20..3000_u64].prop_map(Duration::from_millis)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => call().boxed().prop_map(Step::Call),
        7 => (any::<bool>(), vec(call().boxed(), 1..4)).prop_map(|(after, calls)| Step::Amid(after, calls)),
        16 => short().prop_map(Step::Tick),
        2 => (0..400_u64).prop_map(|ms| Step::Tick(Duration::from_millis(ms))),
        1 => (0..10_000_u64).prop_map(|ms| Step::Tick(Duration::from_millis(ms))),
        1 => short().prop_map(Step::Stall),
        2 => clock_step().prop_map(Step::SetClock),
        8 => (0..3_usize).prop_map(Step::Round),
        7 => fault_plan().boxed().prop_map(Step::Faults),
        3 => Just(Step::Heal),
        2 => (any::<bool>(), 0..1500_u64).prop_map(|(short, ms)| {
            Step::Space { short, time: Duration::from_millis(ms) }
        }),
        1 => (0..3_usize).prop_map(Step::Steal),
    ]
}

/// To just before a minute's end, to another minute, hour or day, or hardly at all.
fn clock_step() -> impl Strategy<Value = i64> {
    let far = prop_oneof![Just(60_000_i64), Just(3_600_000), Just(86_400_000)];
    let far = (far, any::<bool>()).prop_map(|(ms, back)| if back { -ms } else { ms });
    prop_oneof![Just(59_900_i64), far, -50..50_i64]
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        20 => (thread(), way(), len()).prop_map(|(thread, way, len)| Call::Write { thread, way, len }),
        2 => (0..THREADS).prop_map(|thread| Call::Exit { thread }),
        1 => (1..6_u32).prop_map(Call::Starve),
        1 => Just(Call::Flush),
        1 => Just(Call::Snapshot),
    ]
}

/// One of them does most of the work.
pub(super) fn thread() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), 0..THREADS]
}

fn way() -> impl Strategy<Value = Way> {
    let format =
        prop_oneof![6 => Just(Format::Whole), 1 => Just(Format::Error), 1 => Just(Format::Panic)];
    prop_oneof![
        4 => Just(Way::Write),
        4 => any::<bool>().prop_map(|quarter| Way::Send { quarter }),
        3 => (1..40_usize, prop::bool::weighted(0.2), format)
            .prop_map(|(part, nested, end)| Way::Record { part, nested, end }),
    ]
}

/// None, some, about a chunk, more than all chunks.
pub(super) fn len() -> impl Strategy<Value = usize> {
    prop_oneof![1 => Just(0_usize), 20 => 1..8_usize, 20 => 1..70_usize, 4 => 1..600_usize]
}

/// From no time at all to some naps.
pub(super) fn short() -> impl Strategy<Value = Duration> {
    prop_oneof![0..100_u64, 0..1_500_u64, 0..30_000_u64].prop_map(Duration::from_micros)
}

fn fault_plan() -> impl Strategy<Value = FaultPlan> {
    let errno = prop_oneof![
        Just(Errno::NOSPC),
        Just(Errno::IO),
        Just(Errno::DQUOT),
        Just(Errno::FBIG),
        Just(Errno::ROFS)
    ];
    let full = (errno.clone(), 0..100_usize).prop_map(|(errno, room)| DiskFault::Full(errno, room));
    let error = (errno, 0..100_usize).prop_map(|(errno, torn)| DiskFault::Error(errno, torn));
    let op = prop_oneof![
        4 => Just(Op::Write),
        4 => Just(Op::Sync),
        2 => Just(Op::Rename),
        1 => Just(Op::Create),
        1 => Just(Op::SetLen),
        1 => Just(Op::SyncDir),
        1 => Just(Op::Remove),
    ];
    let slow = (0..2_000_u64).prop_map(|ms| DiskFault::Slow(Duration::from_millis(ms)));
    let kind = prop_oneof![
        8 => (op.prop_map(Some), error.clone()),
        2 => (Just(None), error),
        4 => (Just(Some(Op::Write)), full),
        2 => (Just(Some(Op::Write)), (0..40_usize).prop_map(DiskFault::Short)),
        1 => (Just(Some(Op::Rename)), Just(DiskFault::Error(Errno::NOENT, 0))),
        1 => (Just(Some(Op::Rename)), Just(DiskFault::Error(Errno::EXIST, 0))),
        1 => (Just(Some(Op::Rename)), Just(DiskFault::DoneBut(Errno::NOENT))),
        1 => (Just(Some(Op::Exists)), Just(DiskFault::Error(Errno::IO, 0))),
        1 => (Just(None), slow),
    ];
    let interrupted = (0..40_usize, 1..5_u32).prop_map(|(torn, times)| {
        // Such calls are made again at once, so there must be an end of it.
        (Some(Op::Write), DiskFault::Error(Errno::INTR, torn), Some(times))
    });
    let kinds = (kind, option::of(1..5_u32)).prop_map(|((op, fault), times)| (op, fault, times));
    (prop_oneof![12 => kinds, 1 => interrupted], 0..4_u32)
        .prop_map(|((op, fault, times), after)| FaultPlan { op, fault, after, times })
}

fn end() -> impl Strategy<Value = End> {
    let time = || prop_oneof![Just(Duration::ZERO), short()];
    prop_oneof![
        3 => (any::<bool>(), option::of(len()), time())
            .prop_map(|(flush, patient, ill)| End::Drain { flush, patient, ill }),
        1 => (option::of(time()), option::of(any::<bool>()))
            .prop_map(|(after, amid)| End::GiveUp { after, amid }),
    ]
}
