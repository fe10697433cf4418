//! Proves that the bytes of a dead writer's file are a stream that can be ended where it is cut.
//!
//! Guarantees: decodes every byte up to the cut and then the trailer, as any reader of the file
//! will. Memory is bounded whatever the file holds.

use std::cell::Cell;
use std::io;

use crate::codec::{Trailer, decoder};
use crate::config::Compression;

/// Bytes that are read at once.
const READ_BYTES: usize = 256 << 10;

/// Decodes the first `len` bytes of a file, which `read` reads at an offset into a buffer. Returns
/// the trailer that makes them a whole stream. `None` if no trailer does, or if they do not stand
/// for `record_bytes` bytes of records. An error is one of `read`.
pub(crate) fn prove(
    compression: Compression,
    len: u64,
    record_bytes: u64,
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<Option<Trailer>> {
    let Some(mut decoder) = decoder(compression)? else { return Ok(Some(Trailer::default())) };
    let mut buffer = vec![0; READ_BYTES.min(len as usize)];
    let (mut at, seen) = (0, Cell::new(0));
    let mut count = |bytes: &[u8]| seen.set(seen.get() + bytes.len() as u64);
    while at < len {
        let part = &mut buffer[..(len - at).min(READ_BYTES as u64) as usize];
        if read(part, at)? < part.len() {
            return Ok(None);
        }
        // A stream that ends before the cut is not one of ours.
        if !matches!(decoder.decode(part, &mut count), Ok(false)) || seen.get() > record_bytes {
            return Ok(None);
        }
        at += part.len() as u64;
    }
    let trailer = decoder.trailer();
    let ends = matches!(decoder.decode(trailer.bytes(), &mut count), Ok(true));
    Ok((ends && seen.get() == record_bytes).then_some(trailer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encoder;
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

    /// Some text that compresses, and some that does not.
    fn records(random: &mut Random, len: usize) -> Vec<u8> {
        let is_random = random.one_in(2);
        let word = |at: usize| b"GET /index.html 200 "[at % 20];
        (0..len).map(|at| if is_random { random.next() as u8 } else { word(at) }).collect()
    }

    fn proof(compression: Compression, file: &[u8], record_bytes: u64) -> Option<Trailer> {
        let read = |into: &mut [u8], at| {
            let from = &file[at as usize..];
            let len = from.len().min(into.len());
            into[..len].copy_from_slice(&from[..len]);
            Ok(len)
        };
        prove(compression, file.len() as u64, record_bytes, read).unwrap()
    }

    /// A stream, and after each call of the encoder: where it ends, what is encoded by then, and the
    /// trailer.
    fn stream(
        compression: Compression,
        lens: &[&[usize]],
    ) -> (Vec<u8>, Vec<u8>, Vec<(usize, usize, Trailer)>) {
        let mut random = Random::new(7);
        let mut encoder = encoder(compression).unwrap().unwrap();
        let (mut file, mut all, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for lens in lens {
            let parts: Vec<_> = lens.iter().map(|&len| records(&mut random, len)).collect();
            let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
            encoder.encode(&slices, &mut file).unwrap();
            all.extend(parts.concat());
            ends.push((file.len(), all.len(), encoder.trailer()));
        }
        (file, all, ends)
    }

    #[test]
    fn a_stream_that_is_cut_at_a_flush_is_proven_and_ends() {
        for compression in ALL {
            let (file, all, ends) =
                stream(compression, &[&[1], &[10, 0, 300_000], &[7], &[2_000_000], &[100, 3]]);
            for (len, bytes, trailer) in ends {
                let mut cut = file[..len].to_vec();
                assert_eq!(
                    proof(compression, &cut, bytes as u64),
                    Some(trailer),
                    "{compression:?}"
                );
                for wrong in [bytes as u64 - 1, bytes as u64 + 1, 0] {
                    assert_eq!(proof(compression, &cut, wrong), None);
                }
                cut.extend(trailer.bytes());
                assert!(crate::tests::codec::decode(compression, cut.clone()) == all[..bytes]);
                // What has ended does not end again.
                assert_eq!(proof(compression, &cut, bytes as u64), None);
            }
        }
    }

    #[test]
    fn a_proven_stream_can_be_read_wherever_it_is_cut_or_damaged() {
        for compression in ALL {
            let (file, all, _) = stream(compression, &[&[300], &[1000]]);
            let mut random = Random::new(9);
            let mut refused = 0;
            let mut try_it = |mut bytes: Vec<u8>, is_damaged: bool| {
                match proof(compression, &bytes, all.len() as u64) {
                    None => refused += 1,
                    Some(trailer) => {
                        bytes.extend(trailer.bytes());
                        // Panics unless any reader can read it.
                        let read = crate::tests::codec::decode(compression, bytes);
                        assert!(is_damaged || read == all, "{compression:?}");
                    }
                }
            };
            // The last bytes of a flush may be missing, if they stand for nothing.
            (0..file.len()).for_each(|len| try_it(file[..len].to_vec(), false));
            for at in 0..file.len() {
                let mut damaged = file.clone();
                damaged[at] ^= 1 << random.below(8_u32);
                try_it(damaged, true);
            }
            assert!(refused > file.len() - 8, "{compression:?}: {refused} of {}", file.len());
        }
    }
}
