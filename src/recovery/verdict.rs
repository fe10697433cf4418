//! Decides what happens to one temp file of a dead instance. Touches nothing.
//!
//! Guarantees: publishes only bytes that are known to be part of a whole record. Removes a file
//! that has bytes only if it is known that they hold no whole record. Leaves files alone that do
//! not belong to this user or have more than one name.

use crate::file::state_file::format::WorkerEntry;
use crate::fs::Facts;
use crate::naming::Parsed;
use crate::report::recovery::SkipReason;
use crate::report::stats::Watermark;

/// The decision about a temp file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It holds at least one whole record up to here. Cut it there and publish it.
    Publish(Watermark),
    /// It holds no whole record.
    Remove,
    /// Its contents can't be trusted.
    SetAside,
    /// It has two names. If the other is its visible or its aside name, a rename in two steps was
    /// interrupted: remove this name. If not, skip the file.
    TwoNames,
    /// Leave it as it is, and report it.
    Skip(SkipReason),
}

/// What the state file says of a temp file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The file holds whole records up to here.
    Holds {
        /// In the page cache or on the disk.
        good: Watermark,
        /// On the disk.
        synced: Watermark,
    },
    /// Nothing: its worker's entry names another file, or none.
    Nothing,
    /// Unknown: its worker's entry, or the whole state file, is damaged.
    Damaged,
}

/// What an instance's state file says of one of its temp files.
pub(crate) fn claim(entries: &[Option<WorkerEntry>], file: &Parsed) -> Claim {
    match entries.get(file.worker) {
        None => Claim::Nothing,
        Some(None) => Claim::Damaged,
        Some(Some(WorkerEntry { temp, good, synced })) => {
            let named = temp.is_some_and(|id| id.stamp == file.stamp && id.seq == file.seq);
            if named { Claim::Holds { good: *good, synced: *synced } } else { Claim::Nothing }
        }
    }
}

/// Whether this is a regular file of this user.
pub(crate) fn is_ours(facts: &Facts, uid: u32) -> bool {
    facts.is_file && facts.uid == uid
}

/// The verdict on a temp file. `same_boot`: the machine has not been rebooted since the file was
/// written.
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
        // An empty file holds nothing to set aside. But if it should hold records, the loss must
        // show.
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

/// The part that can be trusted: after a reboot, the contents of the page cache are gone.
fn trusted(good: Watermark, synced: Watermark, same_boot: bool) -> Watermark {
    if same_boot { good } else { synced }
}
