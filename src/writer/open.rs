//! Opens a writer: directories, state file, memory, quota, workers.
//!
//! Guarantees: a start that fails leaves nothing behind that can be removed. The state file is
//! created first, so that a recovery can attribute all later files to this instance if the process
//! dies in between. A start that lacks room recovers dead writers first, since they may hold it.
//! Refuses options, directories and memory that do not work, by name.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Instant;

use crate::base::sync::{Arc, Barrier, lock};
use crate::config::{Aftercare, Boundary, Config, Durability, Envelope, Limits, Publishing};
use crate::file::publish::{self, Places};
use crate::file::state_file::counters::slot_bytes;
use crate::file::state_file::format::{FileLayout, Header, MemoryDir};
use crate::file::state_file::live::StateFile;
use crate::file::usage::Scope;
use crate::fs::Fs;
use crate::fs::real::RealFs;
use crate::housekeeping::background::{Housekeeper, Job};
use crate::housekeeping::latest::Latest;
use crate::housekeeping::notices::Notices;
use crate::housekeeping::protection::Protector;
use crate::housekeeping::publications::Publications;
use crate::housekeeping::retention::Retention;
use crate::memory::Shared;
use crate::memory::arena::Arena;
use crate::memory::crash_image::{CrashImage, Layout};
use crate::naming::zone::time_zone;
use crate::naming::{Names, Partition};
use crate::recovery::background::Background;
use crate::report::error::Error;
use crate::report::recovery::Recovery;
use crate::worker::dumps::Dumps;
use crate::worker::output::Target;
use crate::worker::period::Calendar;
use crate::worker::quota::{Quota, Rest};
use crate::worker::recording::Recording;
use crate::worker::rotation::Rotation;
use crate::worker::round::{Policy, Worker};
use crate::writer::inner::{Inner, Parts};
use crate::writer::make_room;

/// Bytes of a partition's path. With a name they fit the 4096 that systems permit.
const PARTITION_BYTES_MAX: usize = 3800;

/// Checks the options, finds the directories, maps the memory and starts the workers.
pub(crate) fn open(config: Config) -> Result<Inner, Error> {
    config.check()?;
    let (recovers, may_be_full) = (config.recover, config.start_on_full_disk);
    let error = match start(config.clone().start_on_full_disk(false)) {
        Ok(inner) => {
            if recovers {
                inner.start_recovery(Recovery::default());
            }
            return Ok(inner);
        }
        Err(error) if lacks_room(&error) => error,
        Err(error) => return Err(error),
    };
    let recovery = recovers.then(|| make_room::recover(&config)).flatten();
    let is_retained = config.aftercare.retain.is_on() && make_room::retain(&config);
    if recovery.is_none() && !is_retained && !may_be_full {
        return Err(error);
    }
    let inner = start(config)?;
    if let Some(recovery) = recovery {
        match inner.publications() {
            // Again, since nobody has heard of the files that it published.
            Some(_) => inner.start_recovery(recovery),
            None => inner.end_recovery(recovery),
        }
    }
    Ok(inner)
}

fn start(config: Config) -> Result<Inner, Error> {
    let (inner, workers) = assemble(config, Instant::now())?;
    // An error from here on drops `inner`, which ends the workers that already run.
    let started = inner.start(workers).and_then(|()| inner.start_refresher());
    started.inspect_err(|_| inner.undo_start())?;
    Ok(inner)
}

/// Whether a start failed for want of room on a disk, in a quota or in memory.
fn lacks_room(error: &Error) -> bool {
    is_disk_full(error) || error.kind() == ErrorKind::OutOfMemory
}

fn is_disk_full(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Builds a writer and its workers. The workers do not run yet.
pub(crate) fn assemble(config: Config, now: Instant) -> Result<(Inner, Vec<Worker>), Error> {
    config.check()?;
    config.check_budget()?;
    let (memory_bound, layout) = (config.memory_bound(), config.layout());
    let staging_bytes = config.staging_bytes();
    let (recovers, may_be_full) = (config.recover, config.start_on_full_disk);
    let Config {
        memory,
        mut files,
        limits,
        on_failure,
        publishing,
        aftercare: Aftercare { retain, latest },
        drop_timeout,
        fs,
        wall_clock,
        ..
    } = config;
    let zone = time_zone(&files.time_zone)?;
    let partition =
        Partition::new(&files.partition, &files.partition_values, &files.time_zone, zone.clone())?;
    let boundary = partition.as_ref().map_or(Boundary::Never, |all| all.template().boundary());
    let calendar = Calendar::new(files.rotate_at.finer(boundary), zone);
    let names = Names::new(&files.prefix, &files.extensions())?;
    let fs = fs.map_or_else(|| std::sync::Arc::new(RealFs) as _, |fs| fs.0);
    let memory_dir =
        memory.crash_proof.dir().map(|dir| publish::directory(&*fs, dir)).transpose()?;
    let wanted = publish::directories(&*fs, &files.path, &files.temp, files.create_dirs)?;
    if let Some(partition) = &partition {
        check_places(&wanted, partition)?;
    }
    let latest = latest.map(|link| Latest::new(&fs, &link, files.create_dirs, &names));
    let latest = latest.transpose()?;
    let opening = Opening {
        fs: &*fs,
        memory: memory_dir.as_deref(),
        keeps: memory.keeps(),
        names: &names,
        layout,
        envelope: &files.envelope.clone(),
        partition: partition.as_ref(),
    };
    let (places, state, mut is_complete) = match opening.settle(wanted.clone()) {
        Err(error) if may_be_full && is_disk_full(&error) => {
            let state = StateFile::none(&wanted.temp, opening.header(&wanted)?);
            (wanted, state, false)
        }
        settled => settled.map(|(places, state)| (places, state, true))?,
    };
    let state = Arc::new(state);
    let undo = |_: &Error| drop(state.remove(&*fs));
    let publishing = housekeeping_paths(&*fs, publishing, &places.path).inspect_err(undo)?;
    let is_durable = files.durability == Durability::File;
    let publications =
        Publications::new(&fs, &places.path, publishing, files.mode, is_durable, memory.threads());
    let publications = publications.inspect_err(undo)?.map(Arc::new);
    if let Some(publications) = publications.as_deref().filter(|_| is_complete) {
        match make_journal(publications, &places, &names, &state) {
            Err(error) if may_be_full && is_disk_full(&error) => is_complete = false,
            made => made.inspect_err(undo)?,
        }
    }
    let undo = |error: &Error| {
        undo(error);
        publications.iter().for_each(|publications| publications.undo());
    };
    if files.durability == Durability::File {
        // Find out now rather than at the first file.
        publish::sync_dir(&*fs, &places.path).inspect_err(undo)?;
    }
    let shared = Arc::new(opening.memory(&places.path).inspect_err(undo)?);
    if is_complete {
        name_memory(&shared, opening.memory_path().as_deref()).inspect_err(undo)?;
    }
    let rest = (!is_complete).then(|| opening.rest(&fs, &places, &state, &shared, &publications));
    let depth = partition.as_ref().map_or(0, |partition| partition.template().depth());
    let mut scope = Scope {
        by_len: false,
        fs: fs.clone(),
        path: places.path.clone(),
        depth,
        temp: places.temp.clone(),
        prefix: names.prefix.clone(),
        extension: names.extension.clone(),
    };
    scope.by_len = (limits.max_total > 0 || retain.bytes > 0) && by_len(&scope, &names);
    let recovery = Arc::<Background>::default();
    let background = recovers.then(|| recovery.clone());
    let protector = Protector {
        fs: fs.clone(),
        path: places.path.clone(),
        temp: places.temp.clone(),
        names: names.clone(),
        publications: publications.clone().filter(|publications| publications.has_hook()),
        is_recovered: Box::new(move || background.as_ref().is_none_or(|it| it.is_over())),
    };
    let retention = Retention {
        fs: fs.clone(),
        path: places.path.clone(),
        depth,
        names: names.clone(),
        by_len: scope.by_len,
        rules: retain,
        clock: wall_clock.clone(),
        protection: protector.into_protection(),
    };
    let housekeeper = Housekeeper::new(Job { retention, latest });
    let notices = housekeeper.notices.clone();
    let relief = Some(notices.clone());
    let quota = quota(limits, rest, scope.clone(), relief, &shared, now);
    let quota = quota.map_or_else(OnceLock::new, OnceLock::from);
    (files.path, files.temp) = (places.path, places.temp);
    let rotation = Rotation::new(&files);
    let dumps = Arc::<Dumps>::default();
    let recording = memory.keeps().map(|_| Recording {
        dumps: dumps.clone(),
        dump_on_close: memory.dump_on_close,
        forced: files.forced,
    });
    let policy =
        Policy { rotation, calendar, wall_clock: wall_clock.clone(), on_failure, recording };
    let target = Target {
        fs,
        files,
        names,
        partition,
        staging_bytes,
        quota,
        scope,
        notices,
        memory_dir,
        missing: state.missing.clone(),
        publications: publications.clone(),
        wall_clock,
    };
    let inner = Inner::new(Parts {
        shared,
        workers: memory.threads(),
        dumps,
        target: Arc::new(target),
        housekeeper,
        recovery,
        state,
        drop_timeout,
        memory_bound,
    });
    let workers =
        inner.workers(&policy, memory.populate, now).inspect_err(|_| inner.undo_start())?;
    Ok((inner, workers))
}

/// The inputs of an open, before anything is created.
#[derive(Clone, Copy)]
struct Opening<'a> {
    fs: &'a dyn Fs,
    /// Directory of the crash-proof memory; `None` if it is off.
    memory: Option<&'a Path>,
    /// Most chunks in use while a flight recorder dumps nothing. `None` if this is none.
    keeps: Option<usize>,
    names: &'a Names,
    layout: Layout,
    envelope: &'a Envelope,
    partition: Option<&'a Partition>,
}

impl Opening<'_> {
    /// Finds out where files are written and creates the state file there. It comes before the
    /// probes, so that a recovery knows whose probes they are if the process dies now.
    fn settle(self, wanted: Places) -> Result<(Places, StateFile), Error> {
        let Opening { fs, memory, names, .. } = self;
        let probed = |wanted| publish::probed(fs, wanted, names, memory.is_some());
        let create = |places: &Places| {
            // The error of a failed probe describes the fault of the directory better.
            StateFile::create(fs, &places.temp, self.header(places)?)
                .or_else(|error| probed(places.clone()).and(Err(error)))
        };
        let state = create(&wanted)?;
        match probed(wanted.clone()) {
            Ok(places) if places == wanted => Ok((places, state)),
            Ok(_) if self.partition.is_some() => {
                state.remove(fs)?;
                Err(apart(&wanted.temp))
            }
            Ok(places) => {
                state.remove(fs)?;
                create(&places).map(|state| (places, state))
            }
            Err(error) => {
                let _ = state.remove(fs);
                Err(error)
            }
        }
    }

    fn header(self, places: &Places) -> Result<Header, Error> {
        let Opening { fs, memory, names, layout, envelope, partition, .. } = self;
        let Envelope { header, footer } = envelope.clone();
        let (template, zone) = partition.map(Partition::texts).unwrap_or_default();
        Ok(Header {
            path: places.path.clone(),
            memory: memory.map(|dir| memory_dir(fs, dir)).transpose()?,
            names: names.clone(),
            codec: layout.codec,
            layout: FileLayout {
                partition: template.to_owned(),
                time_zone: zone.to_owned(),
                header,
                footer,
            },
            workers: layout.workers,
            slot_bytes: slot_bytes(layout.workers),
        })
    }

    fn memory_path(self) -> Option<PathBuf> {
        self.memory.map(|dir| dir.join(self.names.memory()))
    }

    /// What is left to do once there is room on the disk: the state file, the probes, and the name
    /// of the memory. It may be called again after an error.
    fn rest(
        self,
        fs: &std::sync::Arc<dyn Fs>,
        places: &Places,
        state: &Arc<StateFile>,
        shared: &Arc<Shared>,
        publications: &Option<Arc<Publications>>,
    ) -> Rest {
        let (fs, places, names) = (fs.clone(), places.clone(), self.names.clone());
        let (state, shared, publications) = (state.clone(), shared.clone(), publications.clone());
        let (memory, has_partition) = (self.memory_path(), self.partition.is_some());
        Box::new(move || {
            state.make(&*fs)?;
            // A worker finds out by itself that no rename leads from `temp` to `path`.
            let found = publish::probed(&*fs, places.clone(), &names, memory.is_some())?;
            if has_partition && found != places {
                return Err(apart(&places.temp));
            }
            name_memory(&shared, memory.as_deref())?;
            match &publications {
                Some(publications) => make_journal(publications, &places, &names, &state),
                None => Ok(()),
            }
        })
    }

    /// Creates the memory of a writer whose files appear in `path`.
    fn memory(self, path: &Path) -> Result<Shared, Error> {
        let Layout { chunks, size, workers, .. } = self.layout;
        let failed = |e| Error::io("map memory for", path, e);
        let arena = match self.memory {
            Some(dir) => {
                let Names { instance, pid, .. } = *self.names;
                let image = CrashImage::create(dir, self.layout, instance, pid)?;
                Arena::in_crash_image(chunks, size, image)
            }
            None => Arena::new(chunks, size).map_err(failed)?,
        };
        match self.keeps {
            Some(keeps) => Shared::recorder(arena, keeps as u32, Barrier::detect()),
            None => Shared::with(arena, workers, Barrier::detect()),
        }
        .map_err(failed)
    }
}

/// With partitions, engines read all that lies below `path`. And paths must not become too long.
fn check_places(places: &Places, partition: &Partition) -> Result<(), Error> {
    let Places { path, temp } = places;
    if temp.starts_with(path) {
        let permitted = "a directory outside of `path`, since `partition` is set";
        return Err(Error::option("temp", temp.display(), permitted));
    }
    let most = path.as_os_str().len() + partition.template().bytes_max();
    if most > PARTITION_BYTES_MAX {
        let permitted = format!("paths of at most {PARTITION_BYTES_MAX} bytes with `partition`");
        return Err(Error::option("path", format!("up to {most} bytes long"), permitted));
    }
    Ok(())
}

/// Files would have to be written in `path`.
fn apart(temp: &Path) -> Error {
    let permitted = "a directory on the file system of `path`, since `partition` is set";
    Error::option("temp", temp.display(), permitted)
}

/// The manifest's absolute path. Engines would read it in the directory of visible files.
fn housekeeping_paths(
    fs: &dyn Fs,
    mut publishing: Publishing,
    visible: &Path,
) -> Result<Publishing, Error> {
    let Some(manifest) = &mut publishing.manifest else { return Ok(publishing) };
    let permitted = "a file outside of the directory of visible files";
    let refused = |path: &Path| Error::option("manifest", path.display(), permitted);
    let name = manifest.file_name().ok_or_else(|| refused(manifest))?.to_owned();
    let parent = manifest.parent().filter(|parent| !parent.as_os_str().is_empty());
    let dir = publish::directory(fs, parent.unwrap_or(Path::new(".")))?;
    if dir.starts_with(visible) {
        return Err(refused(manifest));
    }
    *manifest = dir.join(name);
    Ok(publishing)
}

fn make_journal(
    publications: &Publications,
    places: &Places,
    names: &Names,
    state: &StateFile,
) -> Result<(), Error> {
    let has_locks = !lock(&state.missing).locks;
    publications.make(&places.temp, names, has_locks)
}

/// Names the crash-proof memory, by which a recovery finds it. The state file must be there.
fn name_memory(shared: &Shared, path: Option<&Path>) -> Result<(), Error> {
    match (shared.arena.crash_image(), path) {
        (Some(image), Some(path)) => image.link(path.to_owned()),
        _ => Ok(()),
    }
}

/// The directory of the memory, as recoveries know it again.
fn memory_dir(fs: &dyn Fs, dir: &Path) -> Result<MemoryDir, Error> {
    let failed = |e| Error::io("look up", dir, e);
    let found = fs.facts(dir).map_err(failed)?;
    let found = found.ok_or_else(|| failed(ErrorKind::NotFound.into()))?;
    Ok(MemoryDir { path: dir.to_owned(), id: found.id })
}

/// Whether the file system says how much files take. The state file is not empty, but some FUSE
/// file systems report no blocks for any file. Without a state file nothing shows that.
fn reports_blocks(scope: &Scope, names: &Names) -> bool {
    match scope.fs.facts(&scope.temp.join(names.state())) {
        Ok(state) => state.is_some_and(|state| state.allocated > 0),
        Err(_) => true,
    }
}

/// Whether lengths must count in place of what files take.
pub(super) fn by_len(scope: &Scope, names: &Names) -> bool {
    !reports_blocks(scope, names)
}

/// Measures at once, so that a full disk gets no first chunk.
fn quota(
    limits: Limits,
    rest: Option<Rest>,
    scope: Scope,
    relief: Option<Arc<Notices>>,
    shared: &Arc<Shared>,
    now: Instant,
) -> Option<Quota> {
    let quota = Quota::new(limits, rest, scope, relief, shared.clone(), now)?;
    while quota.look(|| now) {}
    Some(quota)
}
