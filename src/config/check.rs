//! The ranges of the options. Each option is checked here and nowhere else.

use std::ffi::OsStr;
use std::path::Path;

use crate::base::sys::names;
use crate::config::{Boundary, Config, Recorder};
use crate::report::error::Error;

/// Bytes of one chunk.
pub(crate) const SIZE_MAX: usize = 1 << 30;
const QUEUE_SIZE_MAX: usize = 1 << 20;
pub(crate) const WORKERS_MAX: usize = 256;
/// Chunks of one writer.
pub(crate) const CHUNKS_MAX: usize = QUEUE_SIZE_MAX + WORKERS_MAX;
/// Prefix and extension together. With the rest of a name they fit the 255 bytes that file systems
/// allow.
pub(crate) const AFFIX_BYTES_MAX: usize = 160;
/// Of the header of files, and of their footer. Both stand in the state file.
pub(crate) const ENVELOPE_BYTES_MAX: usize = 4096;

impl Config {
    /// Checks every option. Returns the first one that is out of its range.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Config { memory, files, .. } = self;
        range("size", memory.size, 1, SIZE_MAX)?;
        range("queue_size", memory.queue_size, 0, QUEUE_SIZE_MAX)?;
        range("workers", memory.workers, 1, WORKERS_MAX)?;
        recorder(self)?;
        affix("prefix", &files.prefix, AFFIX_BYTES_MAX)?;
        affix("extension", &files.extensions(), AFFIX_BYTES_MAX - files.prefix.len())?;
        if !files.compression.has_level() {
            let permitted = "gzip with a level of 0 to 9, or zstd with a level of -7 to 19";
            return Err(Error::option("compression", files.compression, permitted));
        }
        boundary(files.rotate_at)?;
        for (option, bytes) in
            [("header", &files.envelope.header), ("footer", &files.envelope.footer)]
        {
            if bytes.len() > ENVELOPE_BYTES_MAX {
                let permitted = format!("at most {ENVELOPE_BYTES_MAX} bytes");
                let length = format!("{} bytes long", bytes.len());
                return Err(Error::option(option, length, permitted));
            }
        }
        if let Some(manifest) = &self.publishing.manifest {
            directory("manifest", manifest)?;
            utf8("prefix", &files.prefix)?;
            utf8("extension", &files.extension)?;
        }
        directory("path", &files.path)?;
        directory("temp", &files.temp)?;
        if let Some(dir) = memory.crash_proof.dir() {
            directory("crash_proof", dir)?;
        }
        if let Some(link) = &self.aftercare.latest {
            directory("latest", link)?;
        }
        if files.mode > 0o777 {
            return Err(Error::option("mode", format!("{:#o}", files.mode), "0 to 0o777"));
        }
        Ok(())
    }
}

fn range(option: &'static str, value: usize, min: usize, max: usize) -> Result<(), Error> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Error::option(option, value, format!("{min} to {max}")))
}

/// The memory of a flight recorder, and what would refuse its records for the sake of files.
fn recorder(config: &Config) -> Result<(), Error> {
    let Config { memory, limits, start_on_full_disk, .. } = config;
    if memory.recorder == Recorder::Off {
        return Ok(());
    }
    let refused = |permitted: String| Err(Error::option("recorder", memory.recorder, permitted));
    if memory.recorder == Recorder::Last(0) || memory.chunks() > CHUNKS_MAX {
        return refused(format!("1 byte to {CHUNKS_MAX} chunks, with those of queue_size"));
    }
    if limits.min_free > 0 || limits.max_total > 0 || *start_on_full_disk {
        return refused("off, with min_free, max_total or start_on_full_disk".to_owned());
    }
    Ok(())
}

/// Prefix and extension become part of a file name, so they must not lead out of the directory.
fn affix(option: &'static str, value: &OsStr, bytes_max: usize) -> Result<(), Error> {
    let bytes = value.as_encoded_bytes();
    if bytes.len() > bytes_max {
        let max = AFFIX_BYTES_MAX;
        let permitted = format!("prefix and extension together at most {max} bytes");
        return Err(Error::option(option, format!("{} bytes long", bytes.len()), permitted));
    }
    if !names::permits(bytes) {
        return Err(Error::option(option, format!("{value:?}"), names::PERMITTED));
    }
    Ok(())
}

fn utf8(option: &'static str, value: &OsStr) -> Result<(), Error> {
    let permitted = "UTF-8 with a manifest, which is JSON";
    value.to_str().map(drop).ok_or_else(|| Error::option(option, format!("{value:?}"), permitted))
}

fn boundary(value: Boundary) -> Result<(), Error> {
    let (number, of) = match value {
        Boundary::Never | Boundary::Day => return Ok(()),
        Boundary::Minutes(minutes) => (minutes, 60),
        Boundary::Hours(hours) => (hours, 24),
    };
    if number > 0 && of % number == 0 {
        return Ok(());
    }
    let permitted = format!("numbers that divide {of}");
    Err(Error::option("rotate_at", value, permitted))
}

fn directory(option: &'static str, value: &Path) -> Result<(), Error> {
    let bytes = value.as_os_str().as_encoded_bytes();
    if bytes.is_empty() || bytes.contains(&0) {
        return Err(Error::option(option, format!("{value:?}"), "a directory, without NUL"));
    }
    Ok(())
}
