//! Encodes records into file bytes, for files that do not hold records as they are.
//!
//! Guarantees: a file is one stream, which begins with the header. After each call, everything that was
//! encoded so far can be decoded, and a short trailer makes it a whole stream, which ends with the
//! footer. The trailer depends on nothing but the contents' checksum and length. It can be written over:
//! a file whose rename failed may grow on. Touches no file.

#[cfg(feature = "gzip")]
mod gzip;
mod proof;
mod stream;
#[cfg(feature = "zstd")]
mod zstd;

pub(crate) use proof::prove;
pub(crate) use stream::{Contents, Decoder, Edge, Encoder, Trailer};

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{Compression, Envelope};

/// Bytes of the output of a large write that an encoder keeps for the next one. All output is below
/// this, unless records do not compress.
const KEPT_BYTES: usize = 1 << 20;

/// The encoder of one file, with its output for records that do not count yet. An encoder cannot
/// take output back, so a retry writes the same bytes.
pub(crate) struct Encoding {
    encoder: Box<dyn Encoder>,
    envelope: Arc<Envelope>,
    /// The header is encoded.
    has_header: bool,
    out: Vec<u8>,
    /// Length of the records that `out` encodes.
    record_bytes: u64,
    /// How long it has worked.
    time: Duration,
    /// Records that the encoder has seen will not be in the file, so later ones can't be either.
    is_broken: bool,
}

impl Encoding {
    /// Returns `None` if the file holds records as they are. Fails for want of memory.
    pub(crate) fn new(
        compression: Compression,
        envelope: &Arc<Envelope>,
    ) -> io::Result<Option<Self>> {
        Ok(encoder(compression)?.map(|encoder| Encoding {
            encoder,
            envelope: envelope.clone(),
            has_header: envelope.header.is_empty(),
            out: Vec::new(),
            record_bytes: 0,
            time: Duration::ZERO,
            is_broken: false,
        }))
    }

    /// Encodes records, the first ones behind the header. If earlier output does not count yet, does nothing: that is written first.
    pub(crate) fn encode(&mut self, records: &[IoSlice<'_>]) -> io::Result<()> {
        if self.is_broken {
            return Err(io::Error::other("records of this stream are lost"));
        }
        if self.out.is_empty() {
            let begin = Instant::now();
            let encoded = if self.has_header {
                self.encoder.encode(records, &mut self.out)
            } else {
                let header = IoSlice::new(&self.envelope.header);
                self.encoder.encode(&[&[header], records].concat(), &mut self.out)
            };
            self.time += begin.elapsed();
            if let Err(error) = encoded {
                self.forget();
                self.is_broken = true;
                return Err(error);
            }
            self.has_header = true;
            self.record_bytes = records.iter().map(|slice| slice.len() as u64).sum();
        }
        Ok(())
    }

    /// The bytes to write, the length of the records that they encode, and the checksum of a file that
    /// ends with them.
    pub(crate) fn output(&self) -> (&[u8], u64, u32) {
        (&self.out, self.record_bytes, self.checksum())
    }

    /// Counts all records that were last encoded. Returns how many file bytes they took, and the
    /// checksum of a file that ends there.
    pub(crate) fn commit(&mut self, record_bytes: u64) -> (u64, u32) {
        debug_assert_eq!(record_bytes, self.record_bytes, "encoded as a whole");
        let len = self.out.len() as u64;
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES);
        (len, self.checksum())
    }

    fn checksum(&self) -> u32 {
        self.encoder.checksum(&self.envelope.footer)
    }

    /// Drops the output for the records that were last encoded; they are lost.
    pub(crate) fn forget(&mut self) {
        self.is_broken |= !self.out.is_empty();
        self.out = Vec::new();
    }

    /// Records that count are taken out of the file again.
    pub(crate) fn roll_back(&mut self) {
        self.is_broken = true;
    }

    /// How long it has worked since the last call.
    pub(crate) fn take_time(&mut self) -> Duration {
        std::mem::take(&mut self.time)
    }

    /// Whether nothing more can be encoded.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }
}

/// The encoder for one file; `None` if it holds records as they are.
pub(crate) fn encoder(compression: Compression) -> io::Result<Option<Box<dyn Encoder>>> {
    Ok(match compression {
        Compression::None => None,
        #[cfg(feature = "gzip")]
        Compression::Gzip(level) => Some(Box::new(gzip::Deflating::new(level))),
        #[cfg(feature = "zstd")]
        Compression::Zstd(level) => Some(Box::new(zstd::Compressing::new(level)?)),
        #[cfg(test)]
        Compression::Doubled => Some(Box::new(crate::tests::codec::Doubling::default())),
    })
}

/// The decoder for one file; `None` if it holds records as they are.
pub(crate) fn decoder(compression: Compression) -> io::Result<Option<Box<dyn Decoder>>> {
    Ok(match compression {
        Compression::None => None,
        #[cfg(feature = "gzip")]
        Compression::Gzip(_) => Some(Box::new(gzip::Inflating::new())),
        #[cfg(feature = "zstd")]
        Compression::Zstd(_) => Some(Box::new(zstd::Decompressing::new()?)),
        #[cfg(test)]
        Compression::Doubled => Some(Box::new(crate::tests::codec::Halving::default())),
    })
}

/// What makes a file of these contents a whole one, once it is cut behind the last record.
pub(crate) fn trailer<'a>(compression: Compression, contents: &Contents<'a>) -> Trailer<'a> {
    match compression {
        Compression::None => Trailer::new(Edge::default(), contents.footer, Edge::default()),
        #[cfg(feature = "gzip")]
        Compression::Gzip(_) => gzip::trailer(contents),
        #[cfg(feature = "zstd")]
        Compression::Zstd(_) => zstd::trailer(contents),
        #[cfg(test)]
        Compression::Doubled => crate::tests::codec::trailer(contents.footer),
    }
}

/// Most bytes of memory that a file takes while records of `batch` bytes are encoded, beside the
/// records.
pub(crate) fn memory_bound(compression: Compression, batch: usize) -> usize {
    if compression == Compression::None {
        return 0;
    }
    let state: usize = match compression {
        Compression::None => 0,
        #[cfg(feature = "gzip")]
        Compression::Gzip(_) => gzip::STATE_BYTES,
        #[cfg(feature = "zstd")]
        Compression::Zstd(level) => zstd::state_bytes(level),
        #[cfg(test)]
        Compression::Doubled => batch,
    };
    // What can't be compressed grows by less than a sixteenth. A vector that grows may double.
    state.saturating_add(batch.saturating_add(batch / 16).saturating_mul(2))
}
