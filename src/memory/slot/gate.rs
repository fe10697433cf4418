//! The states of a gate, in its low byte; above it a generation that each SHUT increments, so that a gate that was
//! reopened in between is never taken. CLOSED is zero, so that a page of slots that is wiped reads as closed.

/// No write ever again.
pub(crate) const CLOSED: u64 = 0;
/// The owner writes without asking.
pub(crate) const OPEN: u64 = 1;
/// The owner opens the gate itself and wakes its home worker.
pub(crate) const SHUT: u64 = 2;
/// The chunk is not the owner's any more: its home worker has revoked the lease.
pub(crate) const TAKEN: u64 = 3;
/// Closed after it was taken: what `current` says is not the owner's.
pub(crate) const CLOSED_TAKEN: u64 = 4;
/// As OPEN, where the kernel refuses membarrier: the owner passes a fence and asks once more.
pub(crate) const FENCED: u64 = 5;
pub(crate) const STATE: u64 = 0xff;
pub(crate) const GENERATION: u64 = 0x100;

/// Whether the lease that `current` tells of was revoked.
pub(crate) fn is_taken(gate: u64) -> bool {
    matches!(gate & STATE, TAKEN | CLOSED_TAKEN)
}
