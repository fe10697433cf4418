//! Streams of a file: read back whole, and made anew in one gzip member or one zstd frame.
//!
//! Guarantees: damage and bytes behind the end are errors. Some engines read only the first member or frame, so there
//! is one.

use std::ffi::OsStr;
use std::io::{self, BufRead, Write};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

const ZSTD_LEVEL: i32 = 3;

/// How a file is compressed, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Plain,
    Gzip,
    Zstd,
}

impl Codec {
    pub(crate) fn of(extension: &OsStr) -> Codec {
        match extension.to_str().unwrap_or_default().rsplit('.').next() {
            Some("gz") => Codec::Gzip,
            Some("zst") => Codec::Zstd,
            _ => Codec::Plain,
        }
    }

    /// What the file holds.
    pub(crate) fn reader<'a>(self, file: impl BufRead + 'a) -> io::Result<Box<dyn BufRead + 'a>> {
        Ok(match self {
            Codec::Plain => Box::new(file),
            Codec::Gzip => Box::new(io::BufReader::new(MultiGzDecoder::new(file))),
            Codec::Zstd => Box::new(io::BufReader::new(zstd::Decoder::with_buffer(file)?)),
        })
    }

    pub(crate) fn writer<W: Write>(self, file: W) -> io::Result<Encoder<W>> {
        Ok(match self {
            Codec::Plain => Encoder::Plain(file),
            Codec::Gzip => Encoder::Gzip(GzEncoder::new(file, Compression::default())),
            Codec::Zstd => {
                let mut encoder = zstd::Encoder::new(file, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                Encoder::Zstd(encoder)
            }
        })
    }
}

/// One stream. Without `finish` it has no end.
pub(crate) enum Encoder<W: Write> {
    Plain(W),
    Gzip(GzEncoder<W>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    pub(crate) fn finish(self) -> io::Result<W> {
        match self {
            Encoder::Plain(file) => Ok(file),
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Encoder::Plain(file) => file.write(bytes),
            Encoder::Gzip(encoder) => encoder.write(bytes),
            Encoder::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Encoder::Plain(file) => file.flush(),
            Encoder::Gzip(encoder) => encoder.flush(),
            Encoder::Zstd(encoder) => encoder.flush(),
        }
    }
}
