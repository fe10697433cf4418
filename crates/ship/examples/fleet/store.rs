//! A store that serves so many requests a second for each prefix, fails now and then, and is away for a while.

use std::time::Duration;

use bufferedwriter_testkit::random::Random;

/// What S3 says it serves for each prefix: requests that write, a second.
pub const WRITES_PER_SECOND: f64 = 3500.0;
/// An answer that says no.
const REFUSAL: Duration = Duration::from_millis(20);
/// An answer that says that something went wrong.
const FAILURE: Duration = Duration::from_millis(200);
/// From a request to its answer, beside the time that its bytes take.
const LATENCY: Duration = Duration::from_millis(50);
/// Until a client no longer waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// One request of so many fails, and the answer of one of so many is lost.
const ONE_FAILS: u64 = 1000;
const ONE_IS_LOST: u64 = 10_000;

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Stored,
    /// It is stored, and the client does not know.
    Lost,
    Failed,
    /// "Slow down".
    Refused,
    /// No server answers.
    Away,
}

/// Requests that it saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// PUT and POST.
    pub writes: u64,
    pub heads: u64,
    pub refused: u64,
    pub away: u64,
}

pub struct Store {
    /// Requests that each prefix could serve at `at`.
    tokens: Vec<(f64, f64)>,
    away: std::ops::Range<f64>,
    random: Random,
    pub requests: Requests,
    /// Questions and uploads in each second.
    pub attempts: Vec<u32>,
}

impl Store {
    /// It is away in these seconds.
    pub fn new(prefixes: usize, away: std::ops::Range<f64>, seed: u64) -> Self {
        let tokens = vec![(WRITES_PER_SECOND, 0.0); prefixes];
        let (random, requests) = (Random::new(seed), Requests::default());
        Store { tokens, away, random, requests, attempts: Vec::new() }
    }

    /// An upload of `writes` requests whose bytes take `transfer`. Returns how it ends, and how long that takes.
    pub fn put(
        &mut self,
        now: f64,
        prefix: usize,
        writes: u64,
        transfer: Duration,
    ) -> (Answer, Duration) {
        self.count(now);
        self.requests.writes += 1;
        if self.away.contains(&now) {
            self.requests.away += 1;
            return (Answer::Away, REFUSAL);
        }
        let (tokens, at) = &mut self.tokens[prefix];
        *tokens = (*tokens + (now - *at) * WRITES_PER_SECOND).min(WRITES_PER_SECOND);
        *at = now;
        if *tokens < 1.0 {
            self.requests.refused += 1;
            return (Answer::Refused, REFUSAL);
        }
        *tokens -= writes as f64;
        self.requests.writes += writes - 1;
        match self.random.below(ONE_IS_LOST) {
            0 => (Answer::Lost, PATIENCE),
            fate if fate <= ONE_IS_LOST / ONE_FAILS => (Answer::Failed, FAILURE),
            _ => (Answer::Stored, LATENCY + transfer),
        }
    }

    /// Whether an object is there. Its limit is higher, so it is never refused.
    pub fn head(&mut self, now: f64) -> (bool, Duration) {
        self.count(now);
        self.requests.heads += 1;
        if self.away.contains(&now) {
            self.requests.away += 1;
        }
        (!self.away.contains(&now), REFUSAL)
    }

    fn count(&mut self, now: f64) {
        let second = now as usize;
        if self.attempts.len() <= second {
            self.attempts.resize(second + 1, 0);
        }
        self.attempts[second] += 1;
    }
}
