//! The bytes of a joined object, in a file without a name. What is left of it after a death is an empty name at most.
//!
//! Guarantees: each file is read to its end and decoded whole before anything is sent. The header stands once at the
//! beginning and the footer once at the end. The same files give the same bytes, with the same versions of codecs.
//! Memory: a few buffers of 64 KiB and the codec's.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::join::codec::{Codec, Encoder};
use crate::source::content::{Content, Identity};

const BUFFER: usize = 64 << 10;
/// Of a first line, as much as is compared with those of others.
const LINE_MAX: u64 = 256;

/// What is the same for all objects of a shipper.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recipe {
    /// Where the file gets a name for a moment.
    pub(crate) scratch: PathBuf,
    /// `None`: nobody has said, so files that all begin with the same line are left apart.
    pub(crate) header: Option<Vec<u8>>,
    pub(crate) footer: Vec<u8>,
}

/// A file as it was read.
#[derive(Debug)]
pub(crate) struct Joinable {
    pub(crate) identity: Identity,
    pub(crate) checksum: u32,
}

/// What can be sent.
#[derive(Debug)]
pub(crate) struct Assembled {
    pub(crate) content: Content,
    pub(crate) checksum: u32,
    pub(crate) files: Vec<Joinable>,
}

/// Why a file can't be joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Apart {
    /// Somebody took it.
    Gone,
    /// It goes alone, as it is.
    Alone(String),
    /// It can't be read: it is tried alone, which tells.
    Unreadable,
}

#[derive(Debug)]
pub(crate) enum Unfit {
    /// By their places in the list.
    Files(Vec<(usize, Apart)>),
    /// The object's bytes can't be written here.
    Here(io::Error),
}

/// Blocks, so it belongs on a thread of its own.
pub(crate) fn assemble(
    paths: &[PathBuf],
    codec: Codec,
    recipe: &Recipe,
) -> Result<Assembled, Unfit> {
    let mut file =
        Counted { to: nameless(&recipe.scratch).map_err(Unfit::Here)?, bytes: 0, sum: 0 };
    let out = BufWriter::with_capacity(BUFFER, &mut file);
    let mut joined =
        Joined { out: codec.writer(out).map_err(Unfit::Here)?, recipe, lines: Vec::new() };
    let (mut files, mut apart) = (Vec::new(), Vec::new());
    for (nth, path) in paths.iter().enumerate() {
        match joined.add(path, codec, nth == 0) {
            Ok(read) => files.push(read),
            Err(Fault::Here(error)) => return Err(Unfit::Here(error)),
            Err(Fault::Of(why)) => apart.push((nth, why)),
        }
    }
    if apart.is_empty() && joined.begin_alike() {
        let why =
            "all files begin with the same line: if it is a header, name it, or else an empty one";
        apart.extend((0..paths.len()).map(|nth| (nth, Apart::Alone(why.to_owned()))));
    }
    if !apart.is_empty() {
        return Err(Unfit::Files(apart));
    }
    joined.finish().map_err(Unfit::Here)?;
    let Counted { to, sum, .. } = file;
    let content = Content::of(to).map_err(Unfit::Here)?;
    Ok(Assembled { content, checksum: sum, files })
}

enum Fault {
    Here(io::Error),
    Of(Apart),
}

impl Fault {
    fn alone(why: impl Into<String>) -> Fault {
        Fault::Of(Apart::Alone(why.into()))
    }
}

struct Joined<'a, W: Write> {
    out: Encoder<W>,
    recipe: &'a Recipe,
    lines: Vec<Vec<u8>>,
}

impl<W: Write> Joined<'_, W> {
    fn add(&mut self, path: &Path, codec: Codec, is_first: bool) -> Result<Joinable, Fault> {
        let content = Content::open_now(path.to_owned()).map_err(|error| {
            let is_gone = error.kind() == ErrorKind::NotFound;
            Fault::Of(if is_gone { Apart::Gone } else { Apart::Unreadable })
        })?;
        let mut raw = Hashed { from: content.file(), bytes: 0, sum: 0 };
        let damaged = |error: io::Error| Fault::alone(format!("it is damaged: {error}"));
        let mut inner =
            codec.reader(BufReader::with_capacity(BUFFER, &mut raw)).map_err(damaged)?;
        self.copy(&mut *inner, is_first)?;
        drop(inner);
        if raw.bytes != content.bytes {
            return Err(Fault::Of(Apart::Unreadable));
        }
        Ok(Joinable { checksum: raw.sum, identity: content.into_identity() })
    }

    /// What lies between header and footer.
    fn copy(&mut self, from: &mut dyn BufRead, is_first: bool) -> Result<(), Fault> {
        let damaged = |error: io::Error| Fault::alone(format!("it is damaged: {error}"));
        let Recipe { header, footer, .. } = self.recipe;
        let expected = header.as_deref().unwrap_or_default();
        let mut begins = vec![0; expected.len()];
        let is_long = from.read_exact(&mut begins);
        if is_long.is_err() || begins != expected {
            return Err(Fault::alone("it does not begin with the header"));
        }
        if is_first {
            self.write(expected)?;
        }
        let mut held = Vec::with_capacity(BUFFER + footer.len());
        if header.is_none() {
            from.take(LINE_MAX).read_until(b'\n', &mut held).map_err(damaged)?;
            self.lines.push(held.clone());
        }
        loop {
            let known = held.len().saturating_sub(footer.len());
            self.write(&held[..known])?;
            held.drain(..known);
            let more = from.fill_buf().map_err(damaged)?;
            if more.is_empty() {
                break;
            }
            let count = more.len();
            held.extend_from_slice(more);
            from.consume(count);
        }
        if held != *footer {
            return Err(Fault::alone("it does not end with the footer"));
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.out.write_all(bytes).map_err(Fault::Here)
    }

    /// Which a header would do that nobody has named.
    fn begin_alike(&self) -> bool {
        let first = self.lines.first().filter(|line| !line.is_empty());
        self.lines.len() > 1
            && first.is_some_and(|first| self.lines.iter().all(|line| line == first))
    }

    fn finish(mut self) -> io::Result<()> {
        self.out.write_all(&self.recipe.footer)?;
        self.out.finish()?.flush()
    }
}

/// A file that vanishes with its last descriptor.
fn nameless(path: &Path) -> io::Result<File> {
    // One of a shipper that died just here.
    let _ = fs::remove_file(path);
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    fs::remove_file(path)?;
    Ok(file)
}

/// Counts what passes, and computes its checksum.
struct Counted<W> {
    to: W,
    bytes: u64,
    sum: u32,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.bytes += written as u64;
        self.sum = crc32c::crc32c_append(self.sum, &bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

struct Hashed<R> {
    from: R,
    bytes: u64,
    sum: u32,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.bytes += read as u64;
        self.sum = crc32c::crc32c_append(self.sum, &buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bufferedwriter_testkit::dir::TestDir;

    fn encoded(codec: Codec, text: &[u8]) -> Vec<u8> {
        let mut encoder = codec.writer(Vec::new()).unwrap();
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn join(
        dir: &TestDir,
        codec: Codec,
        bodies: &[Vec<u8>],
        recipe: Recipe,
    ) -> Result<Vec<u8>, Unfit> {
        let recipe = Recipe { scratch: dir.join("scratch"), ..recipe };
        let paths: Vec<_> = (0..bodies.len()).map(|nth| dir.join(nth.to_string())).collect();
        for (path, body) in paths.iter().zip(bodies) {
            fs::write(path, body).unwrap();
        }
        let assembled = assemble(&paths, codec, &recipe)?;
        assert!(!recipe.scratch.exists());
        for (file, body) in assembled.files.iter().zip(bodies) {
            assert_eq!(file.checksum, crc32c::crc32c(body));
        }
        let (content, mut bytes) = (assembled.content, vec![0; 0]);
        bytes.resize(content.bytes as usize, 0);
        std::os::unix::fs::FileExt::read_exact_at(content.file(), &mut bytes, 0).unwrap();
        assert_eq!(assembled.checksum, crc32c::crc32c(&bytes));
        Ok(bytes)
    }

    fn decoded(codec: Codec, bytes: &[u8]) -> String {
        let mut text = String::new();
        codec.reader(bytes).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    const CODECS: [Codec; 3] = [Codec::Plain, Codec::Gzip, Codec::Zstd];

    #[test]
    fn header_and_footer_stand_once_with_each_codec() {
        let dir = TestDir::new();
        for codec in CODECS {
            let recipe = |header: Option<&str>, footer: &str| Recipe {
                header: header.map(|text| text.as_bytes().to_vec()),
                footer: footer.as_bytes().to_vec(),
                ..Recipe::default()
            };
            let bodies =
                ["h\n1\nend\n", "h\nend\n", "h\n2\n3\nend\n"].map(|t| encoded(codec, t.as_bytes()));
            let joined = join(&dir, codec, &bodies, recipe(Some("h\n"), "end\n")).unwrap();
            assert_eq!(decoded(codec, &joined), "h\n1\n2\n3\nend\n");
            let joined = join(&dir, codec, &bodies, recipe(Some(""), "")).unwrap();
            assert_eq!(decoded(codec, &joined), "h\n1\nend\nh\nend\nh\n2\n3\nend\n");
            let apart = join(&dir, codec, &bodies, recipe(None, "")).unwrap_err();
            assert!(matches!(apart, Unfit::Files(apart) if apart.len() == 3), "all begin with h");
            let apart = join(&dir, codec, &bodies, recipe(Some("h\n1"), "")).unwrap_err();
            assert!(
                matches!(apart, Unfit::Files(apart) if apart.iter().map(|one| one.0).eq([1, 2]))
            );
            let apart = join(&dir, codec, &bodies, recipe(Some("h\n"), "3\nend\n")).unwrap_err();
            assert!(
                matches!(apart, Unfit::Files(apart) if apart.iter().map(|one| one.0).eq([0, 1]))
            );
        }
    }

    #[test]
    fn an_object_is_one_stream_and_large_files_are_whole_in_it() {
        let dir = TestDir::new();
        let text = |seed: u64| {
            (0..60_000_u64).map(|n| format!("{}\n", n * seed % 7919)).collect::<String>()
        };
        for codec in CODECS {
            let bodies = [2, 3].map(|seed| encoded(codec, text(seed).as_bytes()));
            let recipe =
                || Recipe { header: Some(Vec::new()), footer: b"\n".to_vec(), ..Recipe::default() };
            let joined = join(&dir, codec, &bodies, recipe()).unwrap();
            let expected = text(2).strip_suffix('\n').unwrap().to_owned() + &text(3);
            assert!(decoded(codec, &joined) == expected);
            assert_eq!(joined, join(&dir, codec, &bodies, recipe()).unwrap(), "the same again");
            match codec {
                Codec::Plain => {}
                Codec::Gzip => {
                    let mut one = flate2::bufread::GzDecoder::new(&joined[..]);
                    assert_eq!(io::copy(&mut one, &mut io::sink()).unwrap(), expected.len() as u64);
                }
                Codec::Zstd => {
                    let mut one = zstd::Decoder::new(&joined[..]).unwrap().single_frame();
                    assert_eq!(io::copy(&mut one, &mut io::sink()).unwrap(), expected.len() as u64);
                }
            }
        }
    }

    #[test]
    fn damaged_files_are_told_and_none_is_joined() {
        let dir = TestDir::new();
        for codec in [Codec::Gzip, Codec::Zstd] {
            let good = |text: &str| encoded(codec, text.repeat(100).as_bytes());
            let whole = good("some text\n");
            let mut flipped = whole.clone();
            let middle = flipped.len() - 3;
            flipped[middle] ^= 0x40;
            let torn = whole[..whole.len() - 2].to_vec();
            let longer = [&whole[..], b"x"].concat();
            let bodies = [good("a\n"), flipped, good("b\n"), torn, longer, Vec::new()];
            let Err(Unfit::Files(apart)) = join(&dir, codec, &bodies, Recipe::default()) else {
                panic!("{codec:?}: joined");
            };
            let which: Vec<_> = apart.iter().map(|one| one.0).collect();
            assert!(which.starts_with(&[1, 3, 4]), "{codec:?}: {apart:?}");
            assert!(
                apart
                    .iter()
                    .all(|(_, why)| matches!(why, Apart::Alone(text) if text.contains("damaged")))
            );
        }
    }

    #[test]
    fn what_is_gone_or_no_file_is_told() {
        let dir = TestDir::new();
        let recipe = Recipe { scratch: dir.join("scratch"), ..Recipe::default() };
        fs::write(dir.join("a"), "a\n").unwrap();
        let paths = ["a", "none"].map(|name| dir.join(name));
        let Err(Unfit::Files(apart)) = assemble(&paths, Codec::Plain, &recipe) else { panic!() };
        assert_eq!(apart, [(1, Apart::Gone)]);
        let nowhere = Recipe { scratch: dir.join("none/scratch"), ..Recipe::default() };
        assert!(matches!(assemble(&paths, Codec::Plain, &nowhere), Err(Unfit::Here(_))));
    }
}
