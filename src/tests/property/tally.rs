//! How many cases met what: a test that tests nothing would show here.

use std::cell::Cell;
use std::fmt;

/// What a case met.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) fault: bool,
    pub(super) theft: bool,
    pub(super) amid: bool,
    pub(super) chain: bool,
    pub(super) nested: bool,
    pub(super) full: bool,
    pub(super) quota: bool,
    pub(super) revocation: bool,
    pub(super) dismissal: bool,
    pub(super) adoption: bool,
    pub(super) flush: bool,
    pub(super) boundary: bool,
    pub(super) partition: bool,
    pub(super) loss: bool,
    pub(super) given_up: bool,
    pub(super) drained: bool,
}

/// Sums over the cases.
#[derive(Default)]
pub(super) struct Tally {
    cases: Cell<u64>,
    met: [Cell<u64>; 15],
}

const NAMES: [&str; 16] = [
    "faults",
    "removed temp files",
    "calls amid calls",
    "large records",
    "nested records",
    "full memory",
    "refusals of the quota",
    "revocations",
    "adopted leases",
    "flushes",
    "boundaries",
    "partitions",
    "records given up",
    "dismissals",
    "given-up closes",
    "drained closes",
];

impl Tally {
    pub(super) fn add(&self, seen: &Seen) {
        let Seen {
            fault,
            theft,
            amid,
            chain,
            nested,
            full,
            quota,
            revocation,
            adoption,
            flush,
            ..
        } = *seen;
        let ends =
            [seen.boundary, seen.partition, seen.loss, seen.dismissal, seen.given_up, seen.drained];
        let met = [fault, theft, amid, chain, nested, full, quota, revocation, adoption, flush];
        self.cases.set(self.cases.get() + 1);
        for (sum, met) in self.met.iter().zip(met.into_iter().chain(ends)) {
            sum.set(sum.get() + u64::from(met));
        }
    }

    pub(super) fn cases(&self) -> u64 {
        self.cases.get()
    }

    /// What no case met.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        let all = NAMES.iter().zip(&self.met);
        all.filter(|(_, sum)| sum.get() == 0).map(|(name, _)| *name).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} random cases; with", self.cases.get())?;
        for (i, (name, sum)) in NAMES.iter().zip(&self.met).enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma} {name}: {}", sum.get())?;
        }
        Ok(())
    }
}
