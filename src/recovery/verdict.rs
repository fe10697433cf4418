//! What becomes of one temp file of a dead instance. Decides only, and touches nothing.
//!
//! Guarantees: no byte is published that is not known to be part of a whole record; nothing that holds
//! bytes is removed, unless it is known that none of them is a whole record; files that are not this user's
//! own, with one name, are left alone.

use crate::file::state_file::format::Record;
use crate::fs::Facts;
use crate::naming::Parsed;
use crate::report::recovery::SkipReason;
use crate::report::stats::Watermark;

/// What is to be done with a temp file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Up to here it holds whole records, at least one: cut it there, make it visible.
    Publish(Watermark),
    /// Nothing whole is in it.
    Remove,
    /// What is in it nobody knows.
    SetAside,
    /// It has two names. If the other one is its visible or its aside name, this one is to be removed: it
    /// was being renamed in two steps. If not, it is to be left alone.
    TwoNames,
    /// It is not to be touched.
    Skip(SkipReason),
}

/// What the state file says of a temp file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// How far it holds whole records.
    Holds {
        /// In the page cache or on the disk.
        good: Watermark,
        /// On the disk.
        synced: Watermark,
    },
    /// Nothing: its worker's record names another file, or none.
    Nothing,
    /// Its worker's record, or all of the state file, is damaged.
    Damaged,
}

/// What the records of an instance say of one of its temp files.
pub(crate) fn claim(records: &[Option<Record>], file: &Parsed) -> Claim {
    match records.get(file.worker) {
        None => Claim::Nothing,
        Some(None) => Claim::Damaged,
        Some(Some(Record { temp, good, synced })) => {
            let named = temp.is_some_and(|id| id.stamp == file.stamp && id.seq == file.seq);
            if named { Claim::Holds { good: *good, synced: *synced } } else { Claim::Nothing }
        }
    }
}

/// Whether this user, of this number, made the file.
pub(crate) fn is_ours(facts: &Facts, uid: u32) -> bool {
    facts.is_file && facts.uid == uid
}

/// The verdict on a temp file. `same_boot`: the machine was not started anew since it was written.
pub(crate) fn verdict(facts: &Facts, uid: u32, claim: Claim, same_boot: bool) -> Verdict {
    if !is_ours(facts, uid) {
        return Verdict::Skip(SkipReason::NotOurs);
    }
    match facts.links {
        1 => {}
        2 => return Verdict::TwoNames,
        _ => return Verdict::Skip(SkipReason::OtherName),
    }
    if facts.len == 0 {
        // Also if it should be longer: nothing is left to set aside... but the loss must show.
        return match claim {
            Claim::Holds { good, synced } if trusted(good, synced, same_boot).len > 0 => {
                Verdict::SetAside
            }
            _ => Verdict::Remove,
        };
    }
    match claim {
        Claim::Nothing | Claim::Damaged => Verdict::SetAside,
        Claim::Holds { good, synced } => match trusted(good, synced, same_boot) {
            Watermark { len: 0, .. } if same_boot => Verdict::Remove,
            Watermark { len: 0, .. } => Verdict::SetAside,
            trusted if trusted.len > facts.len => Verdict::SetAside,
            trusted => Verdict::Publish(trusted),
        },
    }
}

/// What the page cache held is gone after a reboot.
fn trusted(good: Watermark, synced: Watermark, same_boot: bool) -> Watermark {
    if same_boot { good } else { synced }
}
