//! The states of a gate, in its low byte. Above it stands a generation that each SHUT increments,
//! so that a worker cannot take a gate that was reopened in between. CLOSED is zero, so that a
//! wiped page of slots reads as closed.

/// Closed for ever: no write is accepted.
pub(crate) const CLOSED: u64 = 0;
/// The owner writes without asking.
pub(crate) const OPEN: u64 = 1;
/// The owner must open the gate itself and wake its home worker.
pub(crate) const SHUT: u64 = 2;
/// The home worker has revoked the lease; the owner has lost the chunk.
pub(crate) const TAKEN: u64 = 3;
/// Closed after it was taken: the owner does not have the lease that `current` shows.
pub(crate) const CLOSED_TAKEN: u64 = 4;
/// Like OPEN, where the kernel refuses membarrier: the owner passes a fence and checks again.
pub(crate) const FENCED: u64 = 5;
/// Like TAKEN, and the worker had little to do: the owner goes to a worker before it.
pub(crate) const DISMISSED: u64 = 6;
pub(crate) const STATE: u64 = 0xff;
pub(crate) const GENERATION: u64 = 0x100;

/// Whether the lease that `current` shows was revoked.
pub(crate) fn is_taken(gate: u64) -> bool {
    matches!(gate & STATE, TAKEN | CLOSED_TAKEN | DISMISSED)
}
