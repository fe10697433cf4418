//! Plans of joined objects, beside them: `_joined/`, where engines don't look.
//!
//! Guarantees: a plan is there before its object is sent. So who finds no plan that names a file, finds no object either.

use std::path::Path as FilePath;

use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutOptions};

use crate::join::Plan;
use crate::join::plan::{PlanKey, folder};
use crate::store::{Compared, Destination, Kind, Trouble};

const PLANS: &str = "_joined";

impl Destination {
    fn plans_of(&self, dir: &FilePath) -> Option<Path> {
        Some(self.prefix.clone().join(PLANS).join(folder(dir)?))
    }

    /// Returns when the plan is there.
    pub(crate) async fn note(&self, plan: &Plan) -> Result<(), Trouble> {
        let dir = FilePath::new(&plan.object).parent().unwrap_or(FilePath::new(""));
        let Some(folder) = self.plans_of(dir) else {
            return Err(Trouble::new(Kind::Failed, "the directory's name is no text"));
        };
        let (key, body) = (folder.join(plan.key().name()), plan.body());
        let (bytes, checksum) = (body.len() as u64, crc32c::crc32c(&body));
        let options = PutOptions {
            mode: PutMode::Create,
            attributes: self.attributes(checksum),
            ..PutOptions::default()
        };
        match self.store.put_opts(&key, body.into(), options).await {
            Ok(_) => return Ok(()),
            Err(error) => {
                let trouble = self.trouble("put", &error);
                if trouble.kind != Kind::Exists {
                    return Err(trouble);
                }
            }
        }
        match self.compare(&key, bytes, checksum).await? {
            Compared::Same(_) => Ok(()),
            Compared::Different(text) => {
                Err(Trouble::new(Kind::Failed, format!("the list of files differs: {text}")))
            }
            Compared::Missing => Err(Trouble::new(
                Kind::Failed,
                "the store refused the list of files as existing, but it is not there",
            )),
        }
    }

    /// Whether there is any plan at all.
    pub(crate) async fn has_plans(&self) -> Result<bool, Trouble> {
        let mut all = self.store.list(Some(&self.prefix.clone().join(PLANS)));
        let first = all.try_next().await.map_err(|error| self.trouble("list", &error))?;
        Ok(first.is_some())
    }

    /// Plans of a directory that may name files of this time or a later one.
    pub(crate) async fn plans(&self, dir: &FilePath, time: u64) -> Result<Vec<PlanKey>, Trouble> {
        let Some(folder) = self.plans_of(dir) else { return Ok(Vec::new()) };
        let offset = folder.clone().join(PlanKey::offset(time));
        let mut all = self.store.list_with_offset(Some(&folder), &offset);
        let mut keys = Vec::new();
        while let Some(found) =
            all.try_next().await.map_err(|error| self.trouble("list", &error))?
        {
            keys.extend(found.location.filename().and_then(PlanKey::parse));
        }
        Ok(keys)
    }

    pub(crate) async fn plan(&self, dir: &FilePath, key: PlanKey) -> Result<Option<Plan>, Trouble> {
        let Some(folder) = self.plans_of(dir) else { return Ok(None) };
        let Some(found) = self.get(&folder.join(key.name()), false).await? else { return Ok(None) };
        let body = found.bytes().await.map_err(|error| self.trouble("get", &error))?;
        let value = serde_json::from_slice(&body).ok();
        let plan = value.as_ref().and_then(Plan::parse);
        // It may name the file that somebody asks for, so it can't be passed over.
        let text = || format!("the list of files {} can't be understood", key.name());
        plan.map(Some).ok_or_else(|| Trouble::new(Kind::Failed, text()))
    }
}
