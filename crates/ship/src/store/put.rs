//! Creates objects. No way here replaces one.

use std::time::Instant;

use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CopyMode, CopyOptions, MultipartUpload, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload,
};

use crate::pace;
use crate::source::content::Content;
use crate::store::{Destination, Kind, Large, Trouble};

/// The name of the checksum in an object's metadata: eight hexadecimal digits.
pub(crate) const CHECKSUM: &str = "crc32c";
/// S3 and its like have no more.
const PARTS_MAX: u64 = 10_000;
/// How often a part is sent before the whole upload has failed.
const PART_ATTEMPTS: u32 = 4;
/// What is not finished is here, where engines don't look.
pub(super) const STAGING: &str = "_unfinished";

/// Something that was begun in a store, and may have to be removed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Abandoned {
    pub(crate) key: String,
    /// The number of an upload in parts. Empty: not known, or an object of its own.
    pub(crate) upload: String,
}

/// Who remembers what was begun, and says when bytes may go.
pub(crate) trait Notes {
    fn began(&self, what: &Abandoned);
    fn ended(&self, what: &Abandoned);
    /// When so many bytes may go.
    fn reserve(&self, bytes: u64) -> Instant;
}

/// A file on its way.
pub(crate) struct Upload<'a> {
    pub(crate) content: &'a Content,
    pub(crate) checksum: u32,
    /// A file longer than this goes in parts of that length.
    pub(crate) multipart: u64,
    pub(crate) part: u64,
    pub(crate) notes: &'a dyn Notes,
}

impl Upload<'_> {
    /// A piece and the checksum up to its end, once it may go.
    async fn piece(&self, at: u64, bytes: u64, sum: u32) -> Result<(PutPayload, u32), Trouble> {
        tokio::time::sleep_until(self.notes.reserve(bytes).into()).await;
        let changed = |error| Trouble::new(Kind::Changed, format!("read the file: {error}"));
        let piece = self.content.read(at, bytes).await.map_err(changed)?;
        let sum = piece.iter().fold(sum, |sum, buffer| crc32c::crc32c_append(sum, buffer));
        Ok((piece.into_iter().flat_map(PutPayload::from).collect(), sum))
    }

    fn check(&self, sum: u32) -> Result<(), Trouble> {
        if sum == self.checksum {
            return Ok(());
        }
        Err(Trouble::new(Kind::Changed, "the file changed while it was read"))
    }

    fn part_bytes(&self) -> u64 {
        self.part.max(self.content.bytes.div_ceil(PARTS_MAX))
    }
}

impl Destination {
    /// Creates the object. `Kind::Exists` if one may be there, and after other errors one may be there as well.
    pub(crate) async fn create(&self, key: &Path, upload: &Upload<'_>) -> Result<(), Trouble> {
        let is_short = upload.content.bytes <= upload.multipart;
        self.ask_for_condition((!is_short).then_some(upload.notes)).await?;
        match &self.large {
            Large::Whole => self.create_at_once(key, upload).await,
            _ if is_short => self.create_at_once(key, upload).await,
            Large::Conditional { .. } => self.create_in_parts(key, upload).await,
            Large::Staged => self.create_staged(key, upload).await,
        }
    }

    pub(super) fn attributes(&self, checksum: u32) -> Attributes {
        let mut attributes = Attributes::new();
        if self.has_metadata {
            attributes
                .insert(Attribute::Metadata(CHECKSUM.into()), format!("{checksum:08x}").into());
        }
        attributes
    }

    async fn create_at_once(&self, key: &Path, upload: &Upload<'_>) -> Result<(), Trouble> {
        let (body, sum) = upload.piece(0, upload.content.bytes, 0).await?;
        upload.check(sum)?;
        let options = PutOptions {
            mode: PutMode::Create,
            attributes: self.attributes(upload.checksum),
            ..PutOptions::default()
        };
        let put = self.store.put_opts(key, body, options).await;
        put.map(drop).map_err(|error| self.trouble("put", &error))
    }

    async fn create_in_parts(&self, key: &Path, upload: &Upload<'_>) -> Result<(), Trouble> {
        let Large::Conditional { parts, .. } = &self.large else { unreachable!("asked before") };
        let options = PutMultipartOptions {
            attributes: self.attributes(upload.checksum),
            ..PutMultipartOptions::default()
        };
        // Without an answer, the next start looks whether there is one.
        let unknown = Abandoned { key: key.to_string(), upload: String::new() };
        upload.notes.began(&unknown);
        let begun = parts.create_multipart_opts(key, options).await;
        let id = begun.map_err(|error| self.trouble("begin an upload", &error))?;
        let begun = Abandoned { key: key.to_string(), upload: id };
        upload.notes.began(&begun);
        upload.notes.ended(&unknown);
        let result = self.send_parts(key, &begun.upload, upload).await;
        // After an answer that was lost the upload may be complete, and then there is nothing to abort.
        if result.is_ok() || self.abort(&begun).await.is_ok() {
            upload.notes.ended(&begun);
        }
        result
    }

    async fn send_parts(
        &self,
        key: &Path,
        id: &String,
        upload: &Upload<'_>,
    ) -> Result<(), Trouble> {
        let Large::Conditional { parts, last, .. } = &self.large else {
            unreachable!("asked before")
        };
        let (mut sent, mut sum, mut at) = (Vec::new(), 0, 0);
        while at < upload.content.bytes {
            let bytes = upload.part_bytes().min(upload.content.bytes - at);
            let piece;
            (piece, sum) = upload.piece(at, bytes, sum).await?;
            let mut attempt = 1;
            let part = loop {
                match parts.put_part(key, id, sent.len(), piece.clone()).await {
                    Ok(part) => break part,
                    Err(error) if attempt == PART_ATTEMPTS => {
                        return Err(self.trouble("put a part", &error));
                    }
                    Err(_) => {
                        let max = std::time::Duration::from_secs(5);
                        tokio::time::sleep(pace::backoff(attempt, max, pace::random())).await;
                    }
                }
                attempt += 1;
            };
            sent.push(part);
            at += bytes;
        }
        upload.check(sum)?;
        let completed = last.complete_multipart(key, id, sent).await;
        completed.map(drop).map_err(|error| self.trouble("complete an upload", &error))
    }

    async fn create_staged(&self, key: &Path, upload: &Upload<'_>) -> Result<(), Trouble> {
        let name = format!("{}.{:016x}", key.filename().unwrap_or_default(), pace::random());
        let staged = self.prefix.clone().join(STAGING).join(name);
        let begun = Abandoned { key: staged.to_string(), upload: String::new() };
        upload.notes.began(&begun);
        let mut result = self.stage(&staged, upload).await;
        if result.is_ok() {
            let options = CopyOptions::new().with_mode(CopyMode::Create);
            let copied = self.store.copy_opts(&staged, key, options).await;
            result = copied.map_err(|error| self.trouble("copy", &error));
        }
        if self.abort(&begun).await.is_ok() {
            upload.notes.ended(&begun);
        }
        result
    }

    async fn stage(&self, staged: &Path, upload: &Upload<'_>) -> Result<(), Trouble> {
        let options = PutMultipartOptions {
            attributes: self.attributes(upload.checksum),
            ..PutMultipartOptions::default()
        };
        let begun = self.store.put_multipart_opts(staged, options).await;
        let mut parts = begun.map_err(|error| self.trouble("begin an upload", &error))?;
        let result = self.stage_parts(&mut *parts, upload).await;
        if result.is_err() {
            // The first error says more.
            let _ = parts.abort().await;
        }
        result
    }

    async fn stage_parts(
        &self,
        parts: &mut dyn MultipartUpload,
        upload: &Upload<'_>,
    ) -> Result<(), Trouble> {
        let (mut sum, mut at) = (0, 0);
        while at < upload.content.bytes {
            let bytes = upload.part_bytes().min(upload.content.bytes - at);
            let piece;
            (piece, sum) = upload.piece(at, bytes, sum).await?;
            let put = parts.put_part(piece).await;
            put.map_err(|error| self.trouble("put a part", &error))?;
            at += bytes;
        }
        upload.check(sum)?;
        let completed = parts.complete().await;
        completed.map(drop).map_err(|error| self.trouble("complete an upload", &error))
    }
}
