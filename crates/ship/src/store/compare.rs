//! Whether an object is the file: its length, then its checksum.
//!
//! The checksum stands in the object's metadata, where its creator put it, and the store has checked the bytes that
//! came with it. Where there is none, the object is read.

use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{Attribute, GetOptions, ObjectStore};

use crate::store::put::CHECKSUM;
use crate::store::{Destination, Trouble};

/// The proof that an object equals the file. Only a compare makes one, and only with one a file may go.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Same(());

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Compared {
    Same(Same),
    Different(String),
    Missing,
}

impl Destination {
    pub(crate) async fn compare(
        &self,
        key: &Path,
        bytes: u64,
        checksum: u32,
    ) -> Result<Compared, Trouble> {
        let Some(found) = self.get(key, true).await? else { return Ok(Compared::Missing) };
        if found.meta.size != bytes {
            let text = format!("the object has {} bytes, the file {bytes}", found.meta.size);
            return Ok(Compared::Different(text));
        }
        let noted = found.attributes.get(&Attribute::Metadata(CHECKSUM.into()));
        let seen = match noted.and_then(|text| u32::from_str_radix(text.as_ref(), 16).ok()) {
            Some(seen) => seen,
            None => match self.read(key).await? {
                Some(seen) => seen,
                None => return Ok(Compared::Missing),
            },
        };
        Ok(if seen == checksum {
            Compared::Same(Same(()))
        } else {
            let text = format!("the object's CRC32C is {seen:08x}, the file's {checksum:08x}");
            Compared::Different(text)
        })
    }

    /// Whether an object of this length is there, for a file that nobody has any longer.
    pub(crate) async fn has(&self, key: &Path, bytes: u64) -> Result<bool, Trouble> {
        Ok(self.get(key, true).await?.is_some_and(|found| found.meta.size == bytes))
    }

    async fn get(
        &self,
        key: &Path,
        head: bool,
    ) -> Result<Option<object_store::GetResult>, Trouble> {
        let options = GetOptions { head, ..GetOptions::default() };
        match self.store.get_opts(key, options).await {
            Ok(found) => Ok(Some(found)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.trouble(if head { "head" } else { "get" }, &error)),
        }
    }

    async fn read(&self, key: &Path) -> Result<Option<u32>, Trouble> {
        let Some(found) = self.get(key, false).await? else { return Ok(None) };
        let (mut sum, mut stream) = (0, found.into_stream());
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|error| self.trouble("get", &error))?;
            sum = crc32c::crc32c_append(sum, &piece);
        }
        Ok(Some(sum))
    }
}
