//! The machine, and the user whose process this is.

use std::io;

use windows_sys::Win32::Security::Cryptography::{
    BCRYPT_USE_SYSTEM_PREFERRED_RNG, BCryptGenRandom,
};
use windows_sys::Win32::System::SystemInformation::{
    ComputerNamePhysicalDnsHostname, GetComputerNameExW,
};

/// The number of the current boot. 0, and so none, where the system does not count boots, as under Wine.
pub(crate) fn boot_id() -> Option<[u8; 16]> {
    /// `BootId` of KUSER_SHARED_DATA, which the system maps at this address in each process (ntddk.h).
    const BOOT_ID: *const u32 = std::ptr::without_provenance(0x7ffe_02c4);
    // SAFETY: the page is always mapped, for reading; only the kernel writes there.
    let number = unsafe { BOOT_ID.read_volatile() };
    // The tests of recoveries need one everywhere.
    let number = if cfg!(test) { number.max(1) } else { number };
    (number != 0).then_some(u128::from(number).to_be_bytes())
}

/// Random bytes.
pub(crate) fn random() -> io::Result<[u8; 8]> {
    let mut random = [0; 8];
    let (at, len) = (random.as_mut_ptr(), random.len() as u32);
    // SAFETY: the call fills exactly these bytes.
    let status =
        unsafe { BCryptGenRandom(std::ptr::null_mut(), at, len, BCRYPT_USE_SYSTEM_PREFERRED_RNG) };
    if status == 0 { Ok(random) } else { Err(io::Error::other(format!("status {status:#x}"))) }
}

/// The same for everybody: owners are not numbers here.
pub(crate) fn user() -> u32 {
    0
}

/// The machine's name, if it is text.
pub(crate) fn name() -> Option<String> {
    let mut name = [0; 256];
    let mut len = name.len() as u32;
    let kind = ComputerNamePhysicalDnsHostname;
    // SAFETY: the buffer has `len` units, and the call stores how many it used.
    let is_told = unsafe { GetComputerNameExW(kind, name.as_mut_ptr(), &mut len) } != 0;
    is_told.then(|| String::from_utf16(&name[..len as usize]).ok())?
}
