//! The messages of a program: how many were made, how many were dropped.

use bufferedwriter_testkit::message::Drops;

use crate::failure::fail;

/// Counts them.
pub static DROPS: Drops = Drops::zero();

/// To be called once all writers are gone. Fails unless each message was dropped once; returns their number.
pub fn expect_all_dropped() -> u64 {
    let (made, dropped) = (DROPS.made(), DROPS.dropped());
    if made != dropped {
        fail(&format!("{made} messages were made, {dropped} dropped"));
    }
    made
}

/// The number of messages that were made and not dropped yet.
pub fn alive() -> u64 {
    // Each dropped message was made earlier, so reading in this order can't count below zero.
    let dropped = DROPS.dropped();
    DROPS.made().saturating_sub(dropped)
}
