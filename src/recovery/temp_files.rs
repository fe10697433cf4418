//! Deals with the temp files of a dead instance: each is cut and published, set aside, removed or
//! skipped.
//!
//! Guarantees: a file is synced before it is published. A file whose fsync failed is never synced
//! again.

use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;
use std::path::Path;

use crate::codec::{self, Contents, Trailer};
use crate::config::Compression;
use crate::file::publish::Identity;
use crate::file::state_file::format::FileLayout;
use crate::file::tree;
use crate::fs::{Facts, FsFile, read_full, write_all};
use crate::naming::{self, Names, Parsed, Stamp};
use crate::recovery::audience::LeftOver;
use crate::recovery::run::{Dead, Run};
use crate::recovery::salvage::COPY_BYTES;
use crate::recovery::scan::Scan;
use crate::recovery::verdict::{Claim, Verdict, claim, verdict};
use crate::report::error::Error;
use crate::report::recovery::SkipReason;
use crate::report::stats::Watermark;

impl Run<'_> {
    /// Deals with each temp file of a dead instance. Returns whether none is left.
    pub(super) fn temp_files(&mut self, dead: &Dead<'_>) -> Result<bool, Error> {
        let mut all = true;
        for dir in self.scan.dirs() {
            // A worker from whose directory no rename leads continues in that of visible files.
            all &= self.temp_files_in(dir, dead)?;
        }
        Ok(all)
    }

    fn temp_files_in(&mut self, dir: &Path, dead: &Dead<'_>) -> Result<bool, Error> {
        let mut all = true;
        // List them only now, when no more can appear.
        for name in self.scan.list(dir)? {
            let Names { prefix, extension, instance, pid } = dead.names;
            let extension = match dead.entries {
                Some(_) => extension,
                None => naming::temp_extension(&name, prefix),
            };
            let parsed = naming::parse_temp(&name, prefix, extension);
            let is_its = |parsed: &Parsed| parsed.instance == *instance && parsed.pid == *pid;
            let Some(parsed) = parsed.filter(is_its) else { continue };
            if dead.memory.is_some_and(|memory| memory.worker() == parsed.worker) {
                // It was made by a recovery; `salvage` continues with it.
                continue;
            }
            match self.temp_file(dead, &dir.join(&name), &parsed) {
                Ok(done) => all &= done,
                Err(error) => {
                    self.recovery.errors.push(error);
                    all = false;
                }
            }
        }
        Ok(all)
    }

    /// Deals with one temp file. Returns whether nothing remains to do.
    fn temp_file(&mut self, dead: &Dead<'_>, temp: &Path, parsed: &Parsed) -> Result<bool, Error> {
        let Some(facts) = self.scan.facts(temp)? else { return Ok(true) };
        let claim = dead.entries.map_or(Claim::Damaged, |entries| claim(entries, parsed));
        match verdict(&facts, self.uid, claim, dead.same_boot) {
            Verdict::Publish(good) => {
                let doubtful = match claim {
                    Claim::Holds { synced, .. } if dead.same_boot => Some(synced.len),
                    _ => None,
                };
                return self.publish(dead, temp, parsed, &facts, good, doubtful);
            }
            Verdict::Remove => {
                self.remove(temp)?;
                self.recovery.cut_bytes += facts.len;
            }
            Verdict::SetAside => self.set_aside(temp)?,
            Verdict::TwoNames => return self.end_rename(dead, temp, parsed, &facts),
            Verdict::Skip(reason) => {
                self.skip(temp, reason)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Cuts a temp file to its whole records, ends it, and publishes it. From `doubtful` on it may not be on
    /// the disk.
    fn publish(
        &mut self,
        dead: &Dead<'_>,
        temp: &Path,
        parsed: &Parsed,
        facts: &Facts,
        good: Watermark,
        doubtful: Option<u64>,
    ) -> Result<bool, Error> {
        let len = good.len;
        let Scan { fs, path, dry_run, .. } = self.scan;
        let in_one_step = dead.memory.is_some();
        let Some(mut file) = self.scan.open(temp, facts)? else {
            self.skip(temp, SkipReason::NotOurs)?;
            return Ok(false);
        };
        // Someone may have truncated it while it was written.
        let has_hole = file.has_hole(len).map_err(|e| Error::io("look for holes in", temp, e))?;
        let trailer = if has_hole { None } else { proven(dead, &mut *file, temp, good)? };
        let Some(trailer) = trailer else {
            self.set_aside(temp)?;
            return Ok(true);
        };
        let whole = Watermark { len: len + trailer.len(), ..good };
        // Its writer may have ended it.
        let expected = trailer.to_vec();
        let mut end = expected.clone();
        let read = read_full(&mut *file, &mut end, len).map_err(|e| Error::io("read", temp, e))?;
        let has_end = read == end.len() && end == expected;
        let kept = if has_end { whole.len } else { len };
        let visible = if dry_run {
            temp.to_owned()
        } else {
            let file = &mut *file;
            make_whole(file, len, facts.len, doubtful, &trailer)
                .map_err(|(operation, e)| Error::io(operation, temp, e))?;
            if let Err(error) = file.sync() {
                // A second fsync would succeed although the data are gone (see
                // `file/temp_file`). The file can't be trusted any more.
                let error = Error::io("fsync", temp, error);
                self.set_aside(temp)?;
                return Err(error);
            }
            let of =
                Identity { names: dead.names, worker: parsed.worker, seq: parsed.seq, in_one_step };
            let below = dead.partition.map(|partition| partition.dir(parsed.stamp)).transpose()?;
            let below = below.unwrap_or_default();
            let (first, last) = (parsed.stamp, Stamp(facts.modified.max(1)));
            let left_over = LeftOver { temp, below: &below, mode: facts.mode, first, last, whole };
            self.audience.rename(fs, path, of, &left_over)?
        };
        self.published(visible, whole);
        self.recovery.cut_bytes += facts.len - kept;
        Ok(true)
    }

    /// Deals with a file with two names: a process died between the two steps of a rename, or
    /// someone made another hard link.
    fn end_rename(
        &mut self,
        dead: &Dead<'_>,
        temp: &Path,
        parsed: &Parsed,
        facts: &Facts,
    ) -> Result<bool, Error> {
        if self.is_aside(temp, facts)? || self.is_visible(dead, parsed, facts)? {
            self.remove(temp)?;
            return Ok(true);
        }
        self.skip(temp, SkipReason::OtherName)?;
        Ok(false)
    }

    /// Whether this temp file already has a visible name.
    fn is_visible(&self, dead: &Dead<'_>, temp: &Parsed, facts: &Facts) -> Result<bool, Error> {
        let Scan { fs, path, .. } = self.scan;
        let Names { prefix, extension, .. } = dead.names;
        let depth = dead.partition.map_or(0, |partition| partition.template().depth());
        // All of them: where the rules of a time zone have changed, it is in another one.
        for dir in tree::walk(fs, path, depth)? {
            for name in tree::list(fs, path, &dir)? {
                let parsed = naming::parse(&name, prefix, extension);
                let is_its = |found: &Parsed| {
                    let id = |of: &Parsed| (of.instance, of.pid, of.worker, of.seq);
                    !found.temp && id(found) == id(temp)
                };
                if parsed.is_some_and(|found| is_its(&found)) {
                    let found = self.scan.facts(&dir.join(name))?;
                    if found.is_some_and(|found| found.id == facts.id) {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }
}

/// The trailer that makes the good part of a temp file a whole one. `None` if the good part is not
/// what its writer wrote, or has no record.
fn proven<'a>(
    dead: &Dead<'a>,
    file: &mut dyn FsFile,
    temp: &Path,
    good: Watermark,
) -> Result<Option<Trailer<'a>>, Error> {
    let Some(compression) = dead.compression else { return Ok(None) };
    let read = |bytes: &mut [u8], at| read_full(file, bytes, at);
    let Watermark { len, count, checksum } = good;
    let FileLayout { header, footer, .. } = dead.layout;
    let contents =
        Contents { len: count.bytes.saturating_add(header.len() as u64), checksum, footer };
    let is_proven =
        codec::prove(compression, len, &contents, read).map_err(|e| Error::io("read", temp, e))?;
    // A header alone is no record.
    let is_plain = compression == Compression::None;
    let has_record = if is_plain { len > header.len() as u64 } else { count.bytes > 0 };
    Ok((is_proven && has_record).then(|| codec::trailer(compression, &contents)))
}

/// Cuts a file of this length to its good length and ends it. From `doubtful` on it is written again.
fn make_whole(
    file: &mut dyn FsFile,
    good: u64,
    len: u64,
    doubtful: Option<u64>,
    trailer: &Trailer<'_>,
) -> Result<(), (&'static str, io::Error)> {
    if len > good {
        file.set_len(good).map_err(|e| ("truncate", e))?;
    }
    if let Some(doubtful) = doubtful {
        // Its writer may have died between a failed fsync and the record of that failure. The pages
        // that the kernel dropped look written, and the next fsync would not notice.
        write_again(file, doubtful..good).map_err(|e| ("write", e))?;
    }
    write_all(file, &mut trailer.slices(), good).1.map_err(|e| ("write", e))
}

/// Writes the same bytes again, so that the next fsync must write them to the disk.
fn write_again(file: &mut dyn FsFile, mut range: Range<u64>) -> io::Result<()> {
    let mut bytes = vec![0; COPY_BYTES];
    while range.start < range.end {
        let left = (range.end - range.start).min(bytes.len() as u64) as usize;
        if read_full(file, &mut bytes[..left], range.start)? < left {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        write_all(file, &mut [IoSlice::new(&bytes[..left])], range.start).1?;
        range.start += left as u64;
    }
    Ok(())
}
