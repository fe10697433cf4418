//! Cuts a mounted ext4 or xfs off its disk, as a loss of power does. All that the file system has not yet sent
//! to the device is lost, the journal included. Usage: cut MOUNTPOINT (root)
//!
//! Not modelled: a device that loses its own write cache. The program `disk` does that.

use std::fs::File;

use bufferedwriter_stress::failure::{expect, fail};
use rustix::ioctl::{Setter, ioctl, opcode};

/// The ioctl `EXT4_IOC_SHUTDOWN`, which xfs calls `XFS_IOC_GOINGDOWN`.
const SHUTDOWN: rustix::ioctl::Opcode = opcode::read::<u32>(b'X', 125);
/// Shut down without a last flush of the journal.
const NO_LOG_FLUSH: u32 = 2;

fn main() {
    let Some(mount) = std::env::args_os().nth(1) else { fail("usage: cut MOUNTPOINT") };
    let root = expect("open the mount point", File::open(mount));
    // SAFETY: the call takes a pointer to a u32, which it reads.
    let cut = unsafe { ioctl(&root, Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH)) };
    expect("cut the file system off", cut);
}
