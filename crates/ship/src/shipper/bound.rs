//! Whether a joined object has a file, or shall have it: the plans in the store tell, whatever became of the journal.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::join::Plan;
use crate::join::plan::{PlanKey, Seen};
use crate::shipper::one::Shared;
use crate::store::{Compared, Kind, Trouble};

/// What the store was asked already. Nobody else makes plans for our files meanwhile: see `source::lock`.
#[derive(Default)]
pub(crate) struct Lookup {
    has_any: Option<bool>,
    /// Counts our own plans. A list that was under way meanwhile may lack one.
    made: u64,
    /// For each directory, plans that may name files of a time or a later one.
    dirs: HashMap<PathBuf, (u64, Rc<Vec<PlanKey>>)>,
}

impl Lookup {
    /// There is one more.
    pub(crate) fn made(&mut self, plan: &Plan) {
        self.has_any = Some(true);
        self.made += 1;
        self.dirs.remove(dir(plan.object.as_ref()));
    }
}

/// The plan that names this file.
pub(crate) async fn bound(shared: &Shared, file: &Path) -> Result<Option<Rc<Plan>>, Trouble> {
    let Some(seen) = Seen::of(file) else { return Ok(None) };
    if !has_any(shared).await? {
        return Ok(None);
    }
    let mut plans = Vec::new();
    for key in keys(shared, dir(file), seen).await?.iter().filter(|key| key.may_name(seen)) {
        let plan = shared.destination.plan(dir(file), *key).await?;
        plans.extend(plan.filter(|plan| plan.member(file).is_some()));
    }
    // More than one: of a request that came late, after a journal was lost. The one whose object is there holds.
    if plans.len() > 1 {
        for plan in &plans {
            if is_there(shared, plan).await? {
                return Ok(Some(Rc::new(plan.clone())));
            }
        }
        if plans.iter().any(|plan| plan.object != plans[0].object) {
            let text = "two lists of joined files name it, and neither object is there";
            return Err(Trouble::new(Kind::Failed, text));
        }
    }
    Ok(plans.pop().map(Rc::new))
}

/// Whether the object of the plan that names this file is there, for a file that nobody has any longer.
pub(crate) async fn has_joined(shared: &Shared, file: &Path) -> Result<bool, Trouble> {
    match bound(shared, file).await? {
        Some(plan) => is_there(shared, &plan).await,
        None => Ok(false),
    }
}

async fn is_there(shared: &Shared, plan: &Plan) -> Result<bool, Trouble> {
    let Some(key) = shared.destination.key(plan.object.as_ref()) else { return Ok(false) };
    let compared = shared.destination.compare(&key, plan.bytes, plan.checksum).await?;
    Ok(matches!(compared, Compared::Same(_)))
}

async fn has_any(shared: &Shared) -> Result<bool, Trouble> {
    let known = shared.lookup.borrow().has_any;
    if let Some(known) = known {
        return Ok(known);
    }
    let found = shared.destination.has_plans().await?;
    // Our own first one may have come meanwhile.
    Ok(*shared.lookup.borrow_mut().has_any.get_or_insert(found))
}

async fn keys(shared: &Shared, dir: &Path, seen: Seen) -> Result<Rc<Vec<PlanKey>>, Trouble> {
    let known = shared.lookup.borrow().dirs.get(dir).cloned();
    if let Some((_, keys)) = known.filter(|(from, _)| *from <= seen.time) {
        return Ok(keys);
    }
    let made = shared.lookup.borrow().made;
    let keys = Rc::new(shared.destination.plans(dir, seen.time).await?);
    let mut lookup = shared.lookup.borrow_mut();
    if lookup.made == made {
        lookup.dirs.insert(dir.to_owned(), (seen.time, Rc::clone(&keys)));
    }
    Ok(keys)
}

fn dir(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}
