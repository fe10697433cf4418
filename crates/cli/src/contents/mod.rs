//! What a finished file holds, plain or compressed, and where it is damaged.
//!
//! Guarantees: a damaged frame is told with its offset, and the reading goes on with the next frame
//! of the file. Every frame's checksum is checked. Memory is bounded, whatever the file holds.
//! Refuses: zstd frames that need a larger window than permitted. They count as damaged.

mod frames;
mod raw;
mod zstd;

use std::io::{self, BufRead, Read};
use std::path::Path;

use crate::sys;
use flate2::bufread::GzDecoder;
use raw::Raw;
use zstd::Frame;

/// The largest window that every zstd level up to 19 has, as a power of 2.
pub(crate) const WINDOW_LOG: u32 = 23;

/// Memory of a gzip decoder, with its buffer.
const GZIP_BYTES: usize = 160 << 10;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Codec {
    Plain,
    Gzip,
    Zstd,
}

impl Codec {
    /// By the name, or else by the first bytes.
    fn of(path: &Path, begin: &[u8]) -> Codec {
        match path.extension().map(|end| end.as_encoded_bytes()) {
            Some(b"gz") => Codec::Gzip,
            Some(b"zst") => Codec::Zstd,
            _ if frames::begins_gzip(begin) => Codec::Gzip,
            _ if frames::begins_zstd(begin) => Codec::Zstd,
            _ => Codec::Plain,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Codec::Plain => "plain",
            Codec::Gzip => "gzip",
            Codec::Zstd => "zstd",
        }
    }
}

/// Where a file is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Byte of the file at which the damage showed.
    pub(crate) offset: u64,
    pub(crate) what: String,
}

/// What one read has brought.
#[derive(Debug)]
pub(crate) enum Step {
    /// This many bytes; never 0.
    Bytes(usize),
    /// Between the bytes before and those that follow, some are missing.
    Fault(Fault),
    End,
}

/// Reads what a file stands for.
pub(crate) struct Contents {
    codec: Codec,
    decoder: Decoder,
    /// Offset of the frame that is being read.
    frame_at: u64,
    /// The most memory so far of the decoder.
    decoder_bytes: usize,
}

enum Decoder {
    Plain(Raw),
    /// Between two frames.
    Between(Raw),
    Gzip(Box<GzDecoder<Raw>>),
    Zstd(Box<Frame>, Raw),
    Ended,
}

impl Contents {
    /// Opens a regular file. Zstd windows may have up to `1 << window_log` bytes, with a log of 10 to 30.
    pub(crate) fn open(path: &Path, window_log: u32) -> io::Result<Self> {
        let mut raw = Raw::new(sys::open_finished(path)?);
        let codec = Codec::of(path, raw.peek(frames::BEGIN_BYTES));
        let decoder = match codec {
            Codec::Plain => {
                raw.seek(0);
                Decoder::Plain(raw)
            }
            Codec::Gzip => Decoder::Between(raw),
            Codec::Zstd => Decoder::Zstd(Box::new(Frame::new(window_log)?), raw),
        };
        Ok(Contents { codec, decoder, frame_at: 0, decoder_bytes: 0 })
    }

    /// The most memory that decoding took so far, beside the caller's buffer.
    pub(crate) fn memory(&self) -> usize {
        self.decoder_bytes
    }

    /// Reads the next bytes into `out`, which must not be empty.
    pub(crate) fn read(&mut self, out: &mut [u8]) -> Step {
        loop {
            let step = match std::mem::replace(&mut self.decoder, Decoder::Ended) {
                Decoder::Ended => return Step::End,
                Decoder::Plain(raw) => Some(self.read_plain(raw, out)),
                Decoder::Between(raw) => self.begin_gzip(raw),
                Decoder::Gzip(decoder) => self.read_gzip(decoder, out),
                Decoder::Zstd(frame, raw) => self.read_zstd(frame, raw, out),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn read_plain(&mut self, mut raw: Raw, out: &mut [u8]) -> Step {
        let bytes = raw.read_directly(out);
        if let Some(error) = raw.error.take() {
            return Step::Fault(Fault { offset: raw.offset(), what: format!("read: {error}") });
        }
        if bytes == 0 {
            return Step::End;
        }
        self.decoder = Decoder::Plain(raw);
        Step::Bytes(bytes)
    }

    /// Begins the next member, if there is one.
    fn begin_gzip(&mut self, mut raw: Raw) -> Option<Step> {
        self.decoder_bytes = GZIP_BYTES;
        self.frame_at = raw.offset();
        let begin = raw.peek(frames::BEGIN_BYTES);
        let (is_empty, begins) = (begin.is_empty(), frames::begins_gzip(begin));
        if is_empty && raw.error.is_none() {
            // An empty file of this name is damaged, too.
            return match self.frame_at {
                0 => Some(self.fault(raw, "no member".to_owned(), None)),
                _ => Some(Step::End),
            };
        }
        if !begins {
            return Some(self.fault(raw, "not a gzip member".to_owned(), None));
        }
        self.decoder = Decoder::Gzip(Box::new(GzDecoder::new(raw)));
        None
    }

    fn read_gzip(&mut self, mut decoder: Box<GzDecoder<Raw>>, out: &mut [u8]) -> Option<Step> {
        match decoder.read(out) {
            Ok(0) => {
                self.decoder = Decoder::Between(decoder.into_inner());
                None
            }
            Ok(bytes) => {
                self.decoder = Decoder::Gzip(decoder);
                Some(Step::Bytes(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.decoder = Decoder::Gzip(decoder);
                None
            }
            Err(error) => {
                let what = match error.kind() {
                    io::ErrorKind::UnexpectedEof => "the end of the member is missing".to_owned(),
                    _ => error.to_string(),
                };
                Some(self.fault(decoder.into_inner(), what, None))
            }
        }
    }

    fn read_zstd(&mut self, mut frame: Box<Frame>, mut raw: Raw, out: &mut [u8]) -> Option<Step> {
        if frame.is_over() {
            self.frame_at = raw.offset();
        }
        let input = raw.peek(1);
        let is_empty = input.is_empty();
        let result = frame.decode(input, out);
        self.decoder_bytes = self.decoder_bytes.max(frame.memory());
        let (taken, made) = match result {
            Ok(done) => done,
            Err(error) => return Some(self.fault(raw, error.to_string(), Some(frame))),
        };
        raw.consume(taken);
        if made == 0 && is_empty && raw.error.is_none() && frame.is_over() && raw.offset() > 0 {
            return Some(Step::End);
        }
        if made == 0 && is_empty {
            let what = if frame.is_over() { "no frame" } else { "the end of the frame is missing" };
            return Some(self.fault(raw, what.to_owned(), Some(frame)));
        }
        self.decoder = Decoder::Zstd(frame, raw);
        (made > 0).then_some(Step::Bytes(made))
    }

    /// Goes on with the next frame after the damaged one, if there is any.
    fn fault(&mut self, mut raw: Raw, what: String, frame: Option<Box<Frame>>) -> Step {
        let offset = raw.offset();
        if let Some(error) = raw.error.take() {
            return Step::Fault(Fault { offset, what: format!("read: {error}") });
        }
        let (codec, at) = (self.codec.name(), self.frame_at);
        let what =
            format!("damaged {codec} at byte {offset}, in the frame from byte {at} on: {what}");
        let begins = match self.codec {
            Codec::Zstd => frames::begins_zstd,
            _ => frames::begins_gzip,
        };
        raw.seek(self.frame_at + 1);
        if frames::find(&mut raw, begins) {
            self.decoder = match frame {
                Some(mut frame) => {
                    frame.restart();
                    Decoder::Zstd(frame, raw)
                }
                None => Decoder::Between(raw),
            };
        }
        Step::Fault(Fault { offset, what })
    }
}
