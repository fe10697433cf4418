//! Records that tell who wrote them and whether they are whole.

use std::collections::BTreeSet;

use super::random::Random;

/// Which record: the life that it was written in, and its number there.
pub(super) type Id = (u16, u32);

const MARK: u8 = 0xa5;
/// Mark, life, number, length, checksum.
const HEAD: usize = 1 + 2 + 4 + 2 + 4;

/// A record of at least [`HEAD`] bytes.
pub(super) fn make(id: Id, extra: usize) -> Vec<u8> {
    let mut record = vec![MARK];
    record.extend(id.0.to_le_bytes());
    record.extend(id.1.to_le_bytes());
    record.extend((extra as u16).to_le_bytes());
    record.extend([0; 4]);
    let mut random = Random(u64::from(id.0) << 32 | u64::from(id.1));
    record.extend((0..extra).map(|_| random.next() as u8));
    let sum = checksum(&record);
    record[HEAD - 4..HEAD].copy_from_slice(&sum.to_le_bytes());
    record
}

/// With zeros where the sum stands. Fowler, Noll, Vo: 32 bits, variant 1a.
fn checksum(record: &[u8]) -> u32 {
    let sum = HEAD - 4..HEAD;
    let bytes =
        record.iter().enumerate().map(|(at, byte)| if sum.contains(&at) { 0 } else { *byte });
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Adds the records of a file; what is wrong with it, if anything.
pub(super) fn read(mut bytes: &[u8], seen: &mut BTreeSet<Id>) -> Result<(), String> {
    if bytes.is_empty() {
        return Err("it is empty".into());
    }
    while !bytes.is_empty() {
        let number = |at: usize, len: usize| {
            let field = bytes.get(at..at + len)?;
            Some(field.iter().rev().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte)))
        };
        let head =
            || Some((number(1, 2)? as u16, number(3, 4)?, number(7, 2)? as usize, number(9, 4)?));
        let Some((life, nth, extra, sum)) = head() else { return Err("torn head".into()) };
        let Some(record) = bytes.get(..HEAD + extra) else { return Err("torn record".into()) };
        if record[0] != MARK || checksum(record) != sum {
            return Err(format!("not a record: {:?}", &record[..HEAD]));
        }
        if !seen.insert((life, nth)) {
            return Err(format!("record {nth} of life {life} is there twice"));
        }
        bytes = &bytes[HEAD + extra..];
    }
    Ok(())
}
