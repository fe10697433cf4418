//! Whether a service of S3's kind honours "only if nothing is there". One that ignores it would replace objects.
//!
//! Guarantees: it is asked before the first object is sent, and before the first one in parts. An object of its own,
//! which stays, must be refused the second time. Google, Azure and directories are not asked: they honour it.

use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutOptions};
use tokio::sync::OnceCell;

use crate::store::put::STAGING;
use crate::store::{Abandoned, Destination, Kind, Large, Notes, Trouble};

const BODY: &str = "bufferedwriter-ship asks whether this service honours If-None-Match\n";

/// What was seen. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Honours {
    in_one: Arc<OnceCell<()>>,
    in_parts: Arc<OnceCell<()>>,
}

impl Destination {
    pub(super) async fn ask_for_condition(
        &self,
        in_parts: Option<&dyn Notes>,
    ) -> Result<(), Trouble> {
        let Large::Conditional { .. } = self.large else { return Ok(()) };
        let Honours { in_one, in_parts: parts } = &self.honours;
        in_one.get_or_try_init(|| self.try_in_one()).await?;
        if let Some(notes) = in_parts {
            parts.get_or_try_init(|| self.try_in_parts(notes)).await?;
        }
        Ok(())
    }

    fn asked(&self) -> Path {
        self.prefix.clone().join(STAGING).join("if-none-match")
    }

    async fn try_in_one(&self) -> Result<(), Trouble> {
        // The first time it is created, and then it must not be.
        for _ in 0..2 {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match self.store.put_opts(&self.asked(), BODY.into(), options).await {
                Ok(_) => {}
                Err(error) => {
                    let trouble = self.trouble("put", &error);
                    return if trouble.kind == Kind::Exists { Ok(()) } else { Err(trouble) };
                }
            }
        }
        Err(Trouble::new(
            Kind::Refused,
            "the service ignores If-None-Match, so objects could be replaced",
        ))
    }

    async fn try_in_parts(&self, notes: &dyn Notes) -> Result<(), Trouble> {
        let Large::Conditional { parts, last, .. } = &self.large else { return Ok(()) };
        let key = self.asked();
        let unknown = Abandoned { key: key.to_string(), upload: String::new() };
        notes.began(&unknown);
        let begun = parts.create_multipart(&key).await;
        let id = begun.map_err(|error| self.trouble("begin an upload", &error))?;
        let begun = Abandoned { key: key.to_string(), upload: id };
        notes.began(&begun);
        notes.ended(&unknown);
        let result = match parts.put_part(&key, &begun.upload, 0, BODY.into()).await {
            Ok(part) => last.complete_multipart(&key, &begun.upload, vec![part]).await,
            Err(error) => Err(error),
        };
        if self.abort(&begun).await.is_ok() {
            notes.ended(&begun);
        }
        match result.map_err(|error| self.trouble("complete an upload", &error)) {
            Err(trouble) if trouble.kind == Kind::Exists => Ok(()),
            Err(trouble) => Err(trouble),
            Ok(_) => {
                let text = "the service ignores If-None-Match at the end of an upload in parts, so objects could be \
                            replaced: set --multipart above the length of all files";
                Err(Trouble::new(Kind::Refused, text))
            }
        }
    }
}
