//! The bytes of a file and their checksum. Reads with a bounded buffer, off the runtime's thread.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::spawn_blocking;

const READ_BYTES: u64 = 1 << 20;

/// An open file of ours, at rest.
#[derive(Clone)]
pub(crate) struct Content {
    file: Arc<File>,
    path: PathBuf,
    pub(crate) bytes: u64,
    id: (u64, u64),
}

impl Content {
    /// `NotFound` if somebody took it.
    pub(crate) async fn open(path: PathBuf) -> io::Result<Content> {
        blocking(move || {
            // A link could lead anywhere: who is not the writer may have put it there.
            if !path.symlink_metadata()?.is_file() {
                return Err(ErrorKind::NotFound.into());
            }
            let file = File::open(&path)?;
            let facts = file.metadata()?;
            let (bytes, id) = (facts.len(), id(&facts));
            Ok(Content { file: Arc::new(file), path, bytes, id })
        })
        .await
    }

    /// A piece. An error if the file has become shorter.
    pub(crate) async fn read(&self, at: u64, bytes: u64) -> io::Result<Vec<u8>> {
        let file = Arc::clone(&self.file);
        blocking(move || {
            let mut buffer = vec![0; bytes as usize];
            file.read_exact_at(&mut buffer, at).map(|()| buffer)
        })
        .await
    }

    /// The checksum of the whole file, CRC32C.
    pub(crate) async fn checksum(&self) -> io::Result<u32> {
        let (file, bytes) = (Arc::clone(&self.file), self.bytes);
        blocking(move || {
            let (mut sum, mut at) = (0, 0);
            let mut buffer = vec![0; READ_BYTES.min(bytes) as usize];
            while at < bytes {
                let piece = &mut buffer[..READ_BYTES.min(bytes - at) as usize];
                file.read_exact_at(piece, at)?;
                sum = crc32c::crc32c_append(sum, piece);
                at += piece.len() as u64;
            }
            Ok(sum)
        })
        .await
    }

    /// Deletes the file, unless another one has its name by now. Whether it did.
    pub(crate) async fn delete(self) -> io::Result<bool> {
        blocking(move || {
            let named = match self.path.symlink_metadata() {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
                named => named?,
            };
            if (id(&named), named.len()) != (self.id, self.bytes) {
                return Ok(false);
            }
            std::fs::remove_file(&self.path).map(|()| true)
        })
        .await
    }
}

fn id(facts: &Metadata) -> (u64, u64) {
    (facts.dev(), facts.ino())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
