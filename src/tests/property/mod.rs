//! The property test: random cases against a naive model, over the shipped types, in one thread.
//!
//! Each case is a writer with random options on a file system in memory, and random steps. Steps are records of all
//! sizes, threads that end, ticks of a clock, rounds of workers, faults of the disk, and calls within other calls.
//! At its end there is a close that drains or one that gives up. The real workers run, stepped by hand, and sleep
//! as long as they ask to. Promises, checked at each step: what is visible are whole records, each once, in the
//! order of their slot. The accounts are the model's. A flush that succeeds covers what came before. Nothing is
//! older than it may be. Memory comes back.
//!
//! Interleavings within an operation of the memory are loom's (`tests/loom`). The cases are the same in
//! each run; `PROPTEST_RNG_SEED` makes others, `PROPTEST_CASES` more.

mod callers;
mod model;
mod plan;
mod recorder;
mod run;
mod tally;

use std::cell::Cell;

use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestCaseError, TestRunner};

use recorder::Met;
use tally::Tally;

const CASES: u32 = 10_000;

/// The same cases in each run, unless the environment says otherwise.
fn config() -> Config {
    let mut config = Config {
        failure_persistence: None,
        // Then the case is printed as small as it is by then.
        max_shrink_time: 20_000,
        // The usual one takes most of the time of an unoptimised test.
        rng_algorithm: RngAlgorithm::XorShift,
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(0);
    }
    config
}

#[test]
fn random_cases_are_as_the_model_says() {
    let config = config();
    let tally = Tally::default();
    let result = TestRunner::new(config.clone()).run(&plan::plans(), |plan| {
        tally.add(&run::run(&plan).map_err(TestCaseError::fail)?);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}\nof the cases of seed {:?}", config.rng_seed);
    }
    println!("{tally}");
    assert_eq!(tally.cases(), u64::from(config.cases));
    assert!(tally.missing().is_empty(), "no case met: {:?}", tally.missing());
}

#[test]
fn random_cases_of_a_recorder_are_as_the_model_says() {
    let config = config();
    let sum = Cell::new(Met::default());
    let result = TestRunner::new(config.clone()).run(&recorder::plans(), |plan| {
        sum.set(sum.get().and(recorder::run(&plan).map_err(TestCaseError::fail)?));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}\nof the cases of seed {:?}", config.rng_seed);
    }
    println!("{:?}", sum.get());
    assert!(sum.get().is_complete(), "{:?}", sum.get());
}
