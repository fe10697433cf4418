//! The bytes of a file and their checksum. Reads with a bounded buffer, off the runtime's thread.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::spawn_blocking;

const READ_BYTES: u64 = 1 << 20;

/// An open file of ours, at rest.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    file: Arc<File>,
    identity: Identity,
    pub(crate) bytes: u64,
}

/// Which file it was, so that no other one is deleted.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    path: PathBuf,
    id: (u64, u64),
    pub(crate) bytes: u64,
}

impl Content {
    /// `NotFound` if somebody took it.
    pub(crate) async fn open(path: PathBuf) -> io::Result<Content> {
        blocking(move || Content::open_now(path)).await
    }

    /// The same, on this thread.
    pub(crate) fn open_now(path: PathBuf) -> io::Result<Content> {
        // A link could lead anywhere: who is not the writer may have put it there.
        if !path.symlink_metadata()?.is_file() {
            return Err(ErrorKind::NotFound.into());
        }
        Content::named(File::open(&path)?, path)
    }

    /// A file that has no name.
    pub(crate) fn of(file: File) -> io::Result<Content> {
        Content::named(file, PathBuf::new())
    }

    fn named(file: File, path: PathBuf) -> io::Result<Content> {
        let facts = file.metadata()?;
        let (bytes, id) = (facts.len(), id(&facts));
        Ok(Content { file: Arc::new(file), identity: Identity { path, id, bytes }, bytes })
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn into_identity(self) -> Identity {
        self.identity
    }

    /// A piece, in buffers of at most 1 MiB. An error if the file has become shorter.
    ///
    /// The C library's allocator keeps what is freed for the thread that asked for it. So one thread asks for all
    /// buffers, and they are small enough to fit where others were.
    pub(crate) async fn read(&self, at: u64, bytes: u64) -> io::Result<Vec<Vec<u8>>> {
        let file = Arc::clone(&self.file);
        let starts = (0..bytes).step_by(READ_BYTES as usize);
        let lengths = starts.map(|start| READ_BYTES.min(bytes - start) as usize);
        let mut buffers: Vec<Vec<u8>> = lengths.map(Vec::with_capacity).collect();
        blocking(move || {
            let (mut at, end) = (at, at + bytes);
            for buffer in &mut buffers {
                buffer.resize(READ_BYTES.min(end - at) as usize, 0);
                file.read_exact_at(buffer, at)?;
                at += buffer.len() as u64;
            }
            Ok(buffers)
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
}

impl Identity {
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

/// Off the runtime's thread.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
