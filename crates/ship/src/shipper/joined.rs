//! The way of a group: make the bytes, note which files they are, create, compare, and only then perhaps delete.
//!
//! Guarantees: nothing is sent before the journal and the store have the plan. From then on its files go in this object
//! and no other way. A file that vanishes meanwhile is left out, under the same key, so that only one of both is made.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;

use crate::join::assemble::{Apart, Assembled, Recipe, Unfit, assemble};
use crate::join::codec::Codec;
use crate::join::{Member, Plan, object_of};
use crate::shipper::one::{Done, End, Failure, Shared, create, delete, deletes, settled};
use crate::shipper::queue::{Join, Waiting};
use crate::source::content::blocking;
use crate::source::manifest::Line;
use crate::store::{Compared, Kind, Trouble};

/// An object is there, with these files in it.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) object: String,
    /// Of each member of the group.
    pub(crate) files: Vec<Done>,
}

pub(crate) async fn ship(
    shared: &Shared,
    waiting: &mut Waiting,
    join: &Join,
    lines: &[Option<Line>],
) -> Result<End, Failure> {
    let assembled = match assembled(shared, join).await {
        Ok(assembled) => assembled,
        Err(unfit) => return unfitting(join, unfit),
    };
    let plan = match &join.plan {
        Some(plan) => {
            unchanged(plan, join, &assembled)?;
            Rc::clone(plan)
        }
        None => match planned(shared, join, &assembled, lines) {
            Ok(plan) => plan,
            Err(apart) => return Ok(End::Dissolved(apart)),
        },
    };
    let members = join.members.clone();
    waiting.join = Some(Rc::new(Join { members, plan: Some(Rc::clone(&plan)) }));
    send(shared, waiting.asks_first, join, &plan, assembled).await
}

async fn assembled(shared: &Shared, join: &Join) -> Result<Assembled, Unfit> {
    thread_local!(static NTH: Cell<u16> = const { Cell::new(0) });
    let nth = NTH.replace(NTH.get().wrapping_add(1));
    let paths: Vec<PathBuf> =
        join.members.iter().map(|file| shared.config.from.join(&file.path)).collect();
    let extension = paths[0].file_name().and_then(bufferedwriter::FileName::parse);
    let codec = Codec::of(&extension.map(|name| name.extension).unwrap_or_default());
    let mut recipe: Recipe = shared.recipe.clone();
    if let Some(plan) = &join.plan {
        (recipe.header, recipe.footer) = (Some(plan.header.clone()), plan.footer.clone());
    }
    recipe.scratch.as_mut_os_string().push(format!(".{nth}"));
    blocking(move || Ok(assemble(&paths, codec, &recipe)))
        .await
        .unwrap_or_else(|e| Err(Unfit::Here(e)))
}

/// Without a plan, the group falls apart. With one, what is left of it goes on.
fn unfitting(join: &Join, unfit: Unfit) -> Result<End, Failure> {
    let apart = match unfit {
        Unfit::Files(apart) => apart,
        Unfit::Here(error) if join.plan.is_none() => {
            everything(join, &format!("the joined object can't be made: {error}"))
        }
        Unfit::Here(error) => {
            let text = format!("the joined object can't be made: {error}");
            return Err(Trouble::new(Kind::Local, text).into());
        }
    };
    if join.plan.is_some() && apart.iter().any(|(_, why)| *why == Apart::Unreadable) {
        return Err(Trouble::new(Kind::Local, "a file of a joined object can't be read").into());
    }
    Ok(End::Dissolved(apart))
}

fn everything(join: &Join, why: &str) -> Vec<(usize, Apart)> {
    (0..join.members.len()).map(|nth| (nth, Apart::Alone(why.to_owned()))).collect()
}

fn unchanged(plan: &Plan, join: &Join, assembled: &Assembled) -> Result<(), Failure> {
    for (member, read) in join.members.iter().zip(&assembled.files) {
        let is_same = plan
            .member(&member.path)
            .is_some_and(|one| (one.bytes, one.checksum) == (read.identity.bytes, read.checksum));
        if !is_same {
            let path = member.path.display();
            return Err(Failure::Conflict(format!("{path} has changed since it was joined")));
        }
    }
    Ok(())
}

/// A new plan, which the journal has. Else what goes apart.
fn planned(
    shared: &Shared,
    join: &Join,
    assembled: &Assembled,
    lines: &[Option<Line>],
) -> Result<Rc<Plan>, Vec<(usize, Apart)>> {
    let of_manifest = lines.iter().zip(&assembled.files).enumerate();
    let wrong = of_manifest
        .filter(|(_, (line, read))| line.is_some_and(|line| line.bytes != read.identity.bytes));
    // The way of one file tells.
    let wrong: Vec<_> = wrong.map(|(nth, _)| (nth, Apart::Unreadable)).collect();
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let object = object_of(&join.members[0].path)
        .and_then(|object| object.into_os_string().into_string().ok());
    let members = join.members.iter().zip(&assembled.files).map(|(file, read)| {
        let path = file.path.to_str()?.to_owned();
        Some(Member { path, bytes: read.identity.bytes, checksum: read.checksum })
    });
    let (Some(object), Some(members)) = (object, members.collect()) else {
        return Err(everything(join, "a name is no text"));
    };
    let (bytes, checksum) = (assembled.content.bytes, assembled.checksum);
    let Recipe { header, footer, .. } = &shared.recipe;
    let (header, footer) = (header.clone().unwrap_or_default(), footer.clone());
    let plan = Rc::new(Plan { object, bytes, checksum, header, footer, members });
    if !shared.journal.borrow_mut().plan(&plan) {
        return Err(everything(join, "the journal can't be written"));
    }
    Ok(plan)
}

async fn send(
    shared: &Shared,
    asks_first: bool,
    join: &Join,
    plan: &Plan,
    assembled: Assembled,
) -> Result<End, Failure> {
    let Shared { config, destination, .. } = shared;
    let Assembled { content, checksum, files } = assembled;
    let Some(key) = destination.key(plan.object.as_ref()) else {
        return Err(Failure::Conflict("its name is no text, which a key must be".to_owned()));
    };
    // Another version of a codec, or a member less, gives other bytes.
    let right = [(plan.bytes, plan.checksum), (content.bytes, checksum)];
    let mut compared = match asks_first {
        true => destination.compare_any(&key, &right).await?,
        false => Compared::Missing,
    };
    let is_new = compared == Compared::Missing;
    if is_new {
        destination.note(plan).await?;
        shared.lookup.borrow_mut().made(plan);
        compared = create(shared, &key, &content, checksum, &right).await?;
    }
    let proof = settled(compared)?;
    let mut done = Vec::new();
    for (file, read) in join.members.iter().zip(files) {
        let bytes = read.identity.bytes;
        let mut one = Done { is_new, bytes, checksum: read.checksum, ..Done::default() };
        if deletes(config.after, file) {
            delete(read.identity, &proof, &mut one).await;
        }
        done.push(one);
    }
    Ok(End::Joined(Joined { object: plan.object.clone(), files: done }))
}
