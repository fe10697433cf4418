//! Proves that a dead writer's file holds what it wrote, up to where it is cut.
//!
//! Guarantees: decodes every byte up to the cut and then the trailer, as any reader of the file
//! will. Memory is bounded whatever the file holds.

use std::cell::Cell;
use std::io;

use crate::codec::{Contents, decoder, trailer};
use crate::config::Compression;

/// Bytes that are read at once.
const READ_BYTES: usize = 256 << 10;
/// Bytes that are decoded at once. A hostile block of four bytes may stand for 128 KiB.
const STEP: usize = 4096;

/// Whether the first `len` bytes of a file, which `read` reads at an offset into a buffer, decode to
/// these contents, and the trailer ends them. An error is one of `read`.
pub(crate) fn prove(
    compression: Compression,
    len: u64,
    contents: &Contents<'_>,
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<bool> {
    let Some(mut decoder) = decoder(compression)? else { return Ok(true) };
    let mut buffer = vec![0; READ_BYTES.min(len as usize)];
    let (mut at, seen) = (0, Cell::new(0));
    let mut count = |bytes: &[u8]| seen.set(seen.get() + bytes.len() as u64);
    while at < len {
        let part = &mut buffer[..(len - at).min(READ_BYTES as u64) as usize];
        if read(part, at)? < part.len() {
            return Ok(false);
        }
        for step in part.chunks(STEP) {
            // A stream that ends before the cut is not one of ours.
            if !matches!(decoder.decode(step, &mut count), Ok(false)) || seen.get() > contents.len {
                return Ok(false);
            }
        }
        at += part.len() as u64;
    }
    if seen.get() != contents.len {
        return Ok(false);
    }
    let end = trailer(compression, contents).to_vec();
    let ends = matches!(decoder.decode(&end, &mut count), Ok(true));
    Ok(ends && decoder.checksum() == contents.checksum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encoder;
    use crate::tests::codec::decode;
    use bufferedwriter_testkit::random::Random;
    use std::io::IoSlice;

    const ALL: [Compression; 8] = [
        Compression::Doubled,
        Compression::Gzip(0),
        Compression::Gzip(1),
        Compression::Gzip(9),
        Compression::Zstd(-7),
        Compression::Zstd(1),
        Compression::Zstd(3),
        Compression::Zstd(19),
    ];

    const FOOTER: &[u8] = b"# the end\n";

    /// Some text that compresses, and some that does not.
    fn records(random: &mut Random, len: usize) -> Vec<u8> {
        let is_random = random.one_in(2);
        let word = |at: usize| b"GET /index.html 200 "[at % 20];
        (0..len).map(|at| if is_random { random.next() as u8 } else { word(at) }).collect()
    }

    fn is_proven(compression: Compression, file: &[u8], records: &[u8], checksum: u32) -> bool {
        let read = |into: &mut [u8], at| {
            let from = &file[at as usize..];
            let len = from.len().min(into.len());
            into[..len].copy_from_slice(&from[..len]);
            Ok(len)
        };
        let contents = Contents { len: records.len() as u64, checksum, footer: FOOTER };
        prove(compression, file.len() as u64, &contents, read).unwrap()
    }

    /// The file with its trailer.
    fn ended(
        compression: Compression,
        mut file: Vec<u8>,
        records: &[u8],
        checksum: u32,
    ) -> Vec<u8> {
        let contents = Contents { len: records.len() as u64, checksum, footer: FOOTER };
        file.extend(trailer(compression, &contents).to_vec());
        file
    }

    /// After a call of the encoder: where the stream ends, where the records end, their checksum.
    type End = (usize, usize, u32);

    /// A stream, its records, and the ends of all calls.
    fn stream(compression: Compression, lens: &[&[usize]]) -> (Vec<u8>, Vec<u8>, Vec<End>) {
        let mut random = Random::new(7);
        let mut encoder = encoder(compression).unwrap().unwrap();
        let (mut file, mut all, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for lens in lens {
            let parts: Vec<_> = lens.iter().map(|&len| records(&mut random, len)).collect();
            let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
            encoder.encode(&slices, &mut file).unwrap();
            all.extend(parts.concat());
            ends.push((file.len(), all.len(), encoder.checksum(FOOTER)));
        }
        (file, all, ends)
    }

    #[test]
    fn a_stream_that_is_cut_at_a_flush_is_proven_and_ends() {
        for compression in ALL {
            let (file, all, ends) =
                stream(compression, &[&[1], &[10, 0, 300_000], &[7], &[2_000_000], &[100, 3]]);
            for (len, bytes, checksum) in ends {
                let (cut, records) = (file[..len].to_vec(), &all[..bytes]);
                assert!(is_proven(compression, &cut, records, checksum), "{compression:?}");
                assert!(!is_proven(compression, &cut, records, checksum ^ 1));
                assert!(!is_proven(compression, &cut, &records[1..], checksum));
                let whole = ended(compression, cut.clone(), records, checksum);
                assert!(decode(compression, whole.clone()) == [records, FOOTER].concat());
                // What has ended does not end again.
                assert!(!is_proven(compression, &whole, records, checksum));
            }
        }
    }

    #[test]
    fn nothing_else_is_proven() {
        for compression in ALL {
            let (file, all, ends) = stream(compression, &[&[300], &[1000]]);
            let (checksum, expected) = (ends[1].2, [&all, FOOTER].concat());
            let mut random = Random::new(9);
            // The last bytes of a flush may be missing, if they stand for nothing.
            for len in 0..file.len() {
                let cut = file[..len].to_vec();
                if is_proven(compression, &cut, &all, checksum) {
                    let whole = ended(compression, cut, &all, checksum);
                    assert!(
                        decode(compression, whole) == expected && file.len() - len < 8,
                        "{compression:?}"
                    );
                }
            }
            for at in 0..file.len() {
                let mut damaged = file.clone();
                damaged[at] ^= 1 << random.below(8_u32);
                if is_proven(compression, &damaged, &all, checksum) {
                    // Some bits mean nothing.
                    let whole = ended(compression, damaged, &all, checksum);
                    assert!(decode(compression, whole) == expected, "{compression:?} at {at}");
                }
            }
        }
    }
}
