//! Records that tell who wrote them and whether they are whole.
//!
//! A record is a line: `{producer:x}.{seq:x}.{len:x}.{filler}\n`. The filler follows from the head, so each byte that is
//! missing, torn, doubled or out of place is noticed.

use std::io::Write;

use crate::random::{Random, mix};

/// Which record it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Who wrote it.
    pub producer: u32,
    /// Its number among those of its producer.
    pub seq: u64,
}

/// Makes a record of `len` bytes in `buffer`, in place of what is there. It is longer if its head needs more.
pub fn make(buffer: &mut Vec<u8>, id: Id, mut len: usize) {
    loop {
        buffer.clear();
        let _ = write!(buffer, "{:x}.{:x}.{len:x}.", id.producer, id.seq);
        if buffer.len() < len {
            break;
        }
        // The length is a part of the head, whose length it includes.
        len = buffer.len() + 1;
    }
    fill(buffer, Random::new(mix(id.seq) ^ u64::from(id.producer) << 32 ^ len as u64), len - 1);
    buffer.push(b'\n');
}

/// Letters, so that the end of the head and that of the record stand out.
static PATTERN: [u8; 1 << 13] = pattern();

const fn pattern() -> [u8; 1 << 13] {
    let mut pattern = [0; 1 << 13];
    let mut at = 0;
    while at < pattern.len() {
        pattern[at] = b'A' + (mix(at as u64) % 26) as u8;
        at += 1;
    }
    pattern
}

/// Appends runs of the pattern, up to this length.
fn fill(buffer: &mut Vec<u8>, mut random: Random, len: usize) {
    while buffer.len() < len {
        let run = &PATTERN[random.below(PATTERN.len())..];
        buffer.extend_from_slice(&run[..run.len().min(len - buffer.len())]);
    }
}

/// The records of a file with their lengths. What is no whole record is an error, and the last item.
pub fn records(file: &[u8]) -> impl Iterator<Item = Result<(Id, usize), String>> {
    let (mut rest, mut expected) = (file, Vec::new());
    std::iter::from_fn(move || {
        let taken = (!rest.is_empty()).then(|| take(rest, &mut expected))?;
        rest = match &taken {
            Ok((_, len)) => &rest[*len..],
            Err(_) => &[],
        };
        Some(taken)
    })
}

/// The first record; an explanation if it is none. `expected` is for its bytes as they should be.
fn take(bytes: &[u8], expected: &mut Vec<u8>) -> Result<(Id, usize), String> {
    let shown = || String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
    let (id, len) = head(bytes).ok_or_else(|| format!("no head at {:?}", shown()))?;
    if bytes.len() < len {
        return Err(format!("{} of {len} bytes at {:?}", bytes.len(), shown()));
    }
    make(expected, id, len);
    if bytes[..len] != **expected {
        return Err(format!("a damaged record at {:?}", shown()));
    }
    Ok((id, len))
}

fn head(bytes: &[u8]) -> Option<(Id, usize)> {
    let mut rest = bytes;
    let mut number = || {
        let end = rest.iter().take(17).position(|&byte| byte == b'.')?;
        let digits = std::str::from_utf8(&rest[..end]).ok()?;
        rest = &rest[end + 1..];
        u64::from_str_radix(digits, 16).ok()
    };
    let id = Id { producer: number()?.try_into().ok()?, seq: number()? };
    Some((id, number()?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(producer: u32, seq: u64, len: usize) -> Vec<u8> {
        let mut buffer = b"what was there".to_vec();
        make(&mut buffer, Id { producer, seq }, len);
        buffer
    }

    #[test]
    fn a_record_has_its_length_or_that_of_its_head() {
        for len in [8, 9, 30, 200_000] {
            assert_eq!(record(1, 2, len).len(), len);
        }
        assert_eq!(record(1, 2, 0), b"1.2.7.\n");
        // Two digits for the length make it longer by one.
        assert_eq!(record(u32::MAX, u64::MAX, 0).len(), 8 + 1 + 16 + 1 + 2 + 1 + 1);
    }

    #[test]
    fn the_records_of_a_file_are_read_up_to_what_is_none() {
        let mut file = [record(0, 0, 0), record(7, 1, 300), record(7, u64::MAX, 50)].concat();
        let ids: Result<Vec<_>, _> = records(&file).collect();
        let id = |producer, seq| Id { producer, seq };
        assert_eq!(ids.unwrap(), [(id(0, 0), 7), (id(7, 1), 300), (id(7, u64::MAX), 50)]);
        file.extend(b"1.2.");
        let last = records(&file).last().unwrap();
        assert_eq!(last.unwrap_err(), "no head at \"1.2.\"");
    }

    #[test]
    fn each_byte_of_a_record_counts() {
        let good = record(3, 0x4f, 60);
        for at in 0..good.len() {
            for byte in [0, b'0', b'A', b'.', b'\n', good[at] ^ 1] {
                let mut bad = good.clone();
                bad[at] = byte;
                assert_eq!(
                    records(&bad).any(|record| record.is_err()),
                    bad != good,
                    "{at}: {byte}"
                );
            }
            let cut = records(&good[..at]).last();
            assert!(cut.is_none_or(|cut| cut.is_err()), "{at}");
        }
    }
}
