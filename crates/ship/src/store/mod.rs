//! Where objects go: a store, a prefix, and what this kind of store can do. Creates, compares, never overwrites.
//!
//! The only door to `object_store`, and to what its errors say.

mod compare;
mod open;
mod put;
mod trouble;
mod uploads;

use std::fmt;
use std::path::{Component, Path as FilePath};
use std::sync::Arc;
use std::time::Duration;

use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::report::Error;

pub(crate) use compare::{Compared, Same};
pub(crate) use put::{Abandoned, Notes, Upload};
pub(crate) use trouble::{Kind, Secrets, Trouble};
use uploads::Uploads;

/// How to get to a store. Credentials are not here: they come from the environment, as the store's own tools read it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Access {
    /// Permit `http://`, where everybody on the way reads and changes what is sent. Default: no.
    pub allow_http: bool,
    /// The address of an S3 service other than Amazon's. Default: `AWS_ENDPOINT_URL`, or Amazon's.
    pub endpoint: Option<String>,
    /// The region. Default: `AWS_REGION` or `AWS_DEFAULT_REGION`, or `us-east-1`.
    pub region: Option<String>,
    /// How long a request may take, its body included. Default: 120 s.
    pub timeout: Duration,
}

impl Default for Access {
    fn default() -> Self {
        Access {
            allow_http: false,
            endpoint: None,
            region: None,
            timeout: Duration::from_secs(120),
        }
    }
}

/// How a file that is too long for one request gets there without a chance to replace an object.
#[derive(Clone)]
enum Large {
    /// In parts. The last request says "only if nothing is there": the same store, with that header on each request.
    Conditional { parts: Arc<dyn MultipartStore>, last: Arc<dyn MultipartStore>, uploads: Uploads },
    /// In parts to a name of its own, then a copy that says "only if nothing is there".
    Staged,
    /// In one request all the same.
    Whole,
}

/// A store and a prefix in it.
#[derive(Clone)]
pub struct Destination {
    store: Arc<dyn ObjectStore>,
    large: Large,
    prefix: Path,
    has_metadata: bool,
    name: String,
    secrets: Secrets,
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Destination").field(&self.name).finish()
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Destination {
    /// `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, `file:///directory`, an absolute path, or
    /// `memory:///prefix`.
    ///
    /// # Errors
    /// Other addresses, addresses with a password, plain HTTP that is not allowed, missing credentials.
    pub fn open(address: &str, access: &Access) -> Result<Self, Error> {
        open::open(address, access)
    }

    /// A store of any other kind, such as HDFS. It must honour [`PutMode::Create`](object_store::PutMode::Create) and
    /// [`CopyMode::Create`](object_store::CopyMode::Create). The name is what messages and the journal call it.
    ///
    /// # Errors
    /// A prefix that is no valid key.
    pub fn of(store: Arc<dyn ObjectStore>, prefix: &str, name: &str) -> Result<Self, Error> {
        let prefix = Path::parse(prefix).map_err(|e| Error::new("parse", prefix, e))?;
        Ok(Destination {
            store,
            large: Large::Staged,
            prefix,
            has_metadata: false,
            name: name.to_owned(),
            secrets: Secrets::of_environment(),
        })
    }

    /// The key of a file: prefix, partition, name. `None` if its name is no text.
    pub(crate) fn key(&self, file: &FilePath) -> Option<Path> {
        file.components().try_fold(self.prefix.clone(), |key, component| match component {
            Component::Normal(part) => Some(key.join(part.to_str()?)),
            _ => None,
        })
    }

    /// Whether files longer than one request's are held in memory as a whole.
    pub(crate) fn holds_whole(&self) -> bool {
        matches!(self.large, Large::Whole)
    }

    /// Removes what a shipper has begun, and how much that was.
    pub(crate) async fn abort(&self, abandoned: &Abandoned) -> Result<u64, Trouble> {
        let Ok(key) = Path::parse(&abandoned.key) else { return Ok(0) };
        match &self.large {
            Large::Conditional { parts, uploads, .. } => {
                let ids = match abandoned.upload.as_str() {
                    "" => uploads.of(&key, &self.secrets).await?,
                    known => vec![known.to_owned()],
                };
                let mut count = 0;
                for id in ids {
                    count += self.removed(parts.abort_multipart(&key, &id).await)?;
                }
                Ok(count)
            }
            Large::Staged if abandoned.upload.is_empty() => {
                self.removed(self.store.delete(&key).await)
            }
            Large::Staged | Large::Whole => Ok(0),
        }
    }

    fn removed(&self, result: object_store::Result<()>) -> Result<u64, Trouble> {
        match result {
            Ok(()) => Ok(1),
            Err(object_store::Error::NotFound { .. }) => Ok(0),
            Err(error) => Err(self.trouble("abort", &error)),
        }
    }

    fn trouble(&self, operation: &'static str, error: &object_store::Error) -> Trouble {
        Trouble::of(operation, error, &self.secrets)
    }
}
