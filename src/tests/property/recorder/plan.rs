//! What a random case of a flight recorder consists of, and how likely each is.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::base::sys::Errno;
use crate::config::{Compression, Durability};
use crate::tests::codec::CODECS;
use crate::tests::fs::hooked::Op;
use crate::tests::fs::memory::{DiskFault, FaultPlan};
use crate::tests::property::plan::{Call, Format, THREADS, Way, len, short, thread};

#[derive(Clone, Debug)]
pub(in crate::tests::property) struct Plan {
    pub(super) setup: Setup,
    pub(super) steps: Vec<Step>,
    /// Records just before the close: threads and lengths.
    pub(super) last: Vec<(usize, usize)>,
    /// The close gives up at once.
    pub(super) gives_up: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) size: usize,
    /// Chunks that are kept, and those on top of them.
    pub(super) kept: usize,
    pub(super) reserve: usize,
    pub(super) file_size: u64,
    pub(super) forced: Duration,
    pub(super) durability: Durability,
    pub(super) codec: Compression,
    /// Files have a header and a footer.
    pub(super) enclosed: bool,
    pub(super) dump_on_close: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Call(Call),
    /// Callers do this in the middle of the next call to the file system: before or after it has its effect.
    Amid(bool, Vec<Call>),
    Dump {
        keep: bool,
        timeout: Option<Duration>,
    },
    /// Time passes, and the worker runs when it asked to, or is woken.
    Tick(Duration),
    /// The worker runs, whether it asked for that or not.
    Round,
    Faults(FaultPlan),
    Heal,
}

pub(in crate::tests::property) fn plans() -> impl Strategy<Value = Plan> {
    let last = vec((0..THREADS, 1..40_usize), 0..4);
    (setups(), vec(step().boxed(), 0..60), last, prop::bool::weighted(0.1))
        .prop_map(|(setup, steps, last, gives_up)| Plan { setup, steps, last, gives_up })
}

fn setups() -> impl Strategy<Value = Setup> {
    let size = prop_oneof![Just(1_usize), 2..16_usize, 16..=64_usize];
    let file_size = prop_oneof![2 => Just(0_u64), 3 => 1..200_u64, 3 => Just(64 << 20)];
    let forced = prop_oneof![3 => Just(0_u64), 1 => 1..20_u64].prop_map(Duration::from_millis);
    let durability = prop_oneof![Just(Durability::None), Just(Durability::File)];
    let codec = prop_oneof![3 => Just(Compression::None), 2 => select(&CODECS[..])];
    let flags = (prop::bool::weighted(0.3), any::<bool>());
    (size, 1..10_usize, 0..=8_usize, file_size, forced, durability, codec, flags).prop_map(
        |(size, kept, reserve, file_size, forced, durability, codec, (enclosed, dump_on_close))| {
            Setup {
                size,
                kept,
                reserve,
                file_size,
                forced,
                durability,
                codec,
                enclosed,
                dump_on_close,
            }
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => call().boxed().prop_map(Step::Call),
        7 => (any::<bool>(), vec(call().boxed(), 1..6)).prop_map(|(after, calls)| Step::Amid(after, calls)),
        5 => (any::<bool>(), option::of(time())).prop_map(|(keep, timeout)| Step::Dump { keep, timeout }),
        12 => short().prop_map(Step::Tick),
        3 => time().prop_map(Step::Tick),
        6 => Just(Step::Round),
        4 => faults().boxed().prop_map(Step::Faults),
        4 => Just(Step::Heal),
    ]
}

fn time() -> impl Strategy<Value = Duration> {
    (1..400_u64).prop_map(Duration::from_millis)
}

fn call() -> impl Strategy<Value = Call> {
    let end = prop_oneof![6 => Just(Format::Whole), 1 => Just(Format::Error)];
    let way = prop_oneof![
        4 => Just(Way::Write),
        2 => Just(Way::Send { quarter: false }),
        3 => (1..40_usize, end).prop_map(|(part, end)| Way::Record { part, nested: false, end }),
    ];
    prop_oneof![
        20 => (thread(), way, len()).prop_map(|(thread, way, len)| Call::Write { thread, way, len }),
        1 => (0..THREADS).prop_map(|thread| Call::Exit { thread }),
    ]
}

/// None of them makes a file seem to be gone: that is a loss, which dumps have in common with other files.
fn faults() -> impl Strategy<Value = FaultPlan> {
    let op = select(vec![
        Op::Write,
        Op::Write,
        Op::Sync,
        Op::Rename,
        Op::Create,
        Op::SetLen,
        Op::SyncDir,
        Op::Remove,
    ]);
    let errno = || select(vec![Errno::NOSPC, Errno::IO, Errno::ROFS, Errno::DQUOT]);
    let error = (errno(), 0..100_usize).prop_map(|(errno, torn)| DiskFault::Error(errno, torn));
    let full = (errno(), 0..100_usize).prop_map(|(errno, room)| DiskFault::Full(errno, room));
    let slow = (0..500_u64).prop_map(|ms| DiskFault::Slow(Duration::from_millis(ms)));
    let kind = prop_oneof![
        8 => (op.prop_map(Some), error),
        3 => (Just(Some(Op::Write)), full),
        2 => (Just(Some(Op::Write)), (0..40_usize).prop_map(DiskFault::Short)),
        1 => (Just(None), slow),
    ];
    (kind, 0..4_u32, option::of(1..5_u32)).prop_map(|((op, fault), after, times)| FaultPlan {
        op,
        fault,
        after,
        times,
    })
}
