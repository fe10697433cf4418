//! Tests of the recovery: each judgement on a scene of its own; each call of a large one failing.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use bufferedwriter_testkit::dir::{TestDir, list};
use rustix::io::Errno;

use crate::base::checksum::fnv1a;
use crate::file::state_file::format::{CHECKSUM_BYTES, HEADER_BYTES, RECORD_BYTES};
use crate::fs::Fs;
use crate::fs::real::RealFs;
use crate::naming::{self, Names, Stamp, TempId};
use crate::recovery::run;
use crate::recovery::scan::Scan;
use crate::report::recovery::{Recovery, SkipReason};
use crate::tests::fs::faulty::{Fault, Faulty, Op};
use crate::tests::recovery::images::{header, record};

/// Not of this machine.
const OTHER_BOOT: [u8; 16] = [9; 16];
const STAMP: u64 = 1_795_376_430_123_456_789;

pub(crate) fn names() -> Names {
    // Not UTF-8.
    let prefix = OsStr::from_bytes(b"p\xff").to_owned();
    Names { prefix, extension: OsString::from("log"), instance: 0xfeed, pid: 7 }
}

/// Directories with what a dead instance left.
pub(crate) struct Scene {
    pub(crate) dir: TestDir,
    pub(crate) path: PathBuf,
    pub(crate) temp: PathBuf,
    pub(crate) names: Names,
}

/// A temp file, and what its worker's record says of it.
#[derive(Clone, Copy)]
struct Left<'a> {
    contents: &'a str,
    good: u64,
    synced: u64,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let dir = TestDir::new();
        let (path, temp) = (dir.dir("path"), dir.dir("temp"));
        Scene { dir, path, temp, names: names() }
    }

    pub(crate) fn same_boot() -> [u8; 16] {
        RealFs.boot_id().expect("a boot id")
    }

    fn temp_name(&self, worker: usize, seq: u64) -> OsString {
        self.names.temp(Stamp(STAMP + seq), worker, seq)
    }

    fn temp_path(&self, worker: usize, seq: u64) -> PathBuf {
        self.temp.join(self.temp_name(worker, seq))
    }

    fn state(&self) -> PathBuf {
        self.temp.join(self.names.state())
    }

    /// The record of the temp file with the number of its worker.
    fn record(worker: usize, good: u64, synced: u64) -> [u8; RECORD_BYTES] {
        let seq = worker as u64;
        record(3, Some(TempId { stamp: Stamp(STAMP + seq), seq }), good, synced)
    }

    pub(crate) fn state_bytes(&self, boot: [u8; 16], records: &[[u8; RECORD_BYTES]]) -> Vec<u8> {
        let mut bytes = header(boot, &self.path, None, &self.names, records.len()).unwrap();
        records.iter().for_each(|record| bytes.extend(record));
        bytes
    }

    fn write_state(&self, boot: [u8; 16], records: &[[u8; RECORD_BYTES]]) {
        fs::write(self.state(), self.state_bytes(boot, records)).unwrap();
    }

    /// One worker for each, whose record names its file.
    fn leave(&self, boot: [u8; 16], left: &[Left<'_>]) {
        let records: Vec<_> = left
            .iter()
            .enumerate()
            .map(|(worker, left)| {
                fs::write(self.temp_path(worker, worker as u64), left.contents).unwrap();
                Self::record(worker, left.good, left.synced)
            })
            .collect();
        self.write_state(boot, &records);
    }

    fn recover_with(&self, fs: &dyn Fs, dry_run: bool) -> Recovery {
        let prefix = Some(&*self.names.prefix);
        let scan = Scan { fs, path: &self.path, temp: &self.temp, prefix, memory: &[], dry_run };
        let mut recovery = Recovery::default();
        if let Err(error) = run::run(scan, None, &mut recovery) {
            recovery.errors.push(error);
        }
        recovery
    }

    fn recover(&self) -> Recovery {
        let recovery = self.recover_with(&RealFs, false);
        assert!(recovery.errors.is_empty(), "{recovery:?}");
        recovery
    }

    /// Names and contents; the moment of the publication taken out of visible names.
    fn snapshot(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for dir in [&self.path, &self.temp] {
            for name in list(dir) {
                let parsed = naming::parse(&name, &self.names.prefix, &self.names.extension);
                let shown = match parsed.filter(|parsed| !parsed.temp) {
                    Some(parsed) => format!("visible w{}-{}", parsed.worker, parsed.seq),
                    None => name.to_string_lossy().into_owned(),
                };
                let file = dir.join(&name);
                let is_link = file.symlink_metadata().unwrap().is_symlink();
                let bytes = if is_link { b"link".into() } else { fs::read(file).unwrap() };
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let place = if dir == &self.path { "path" } else { "temp" };
                let again = all.insert(format!("{place}/{shown}"), text);
                assert!(again.is_none(), "twice: {shown}");
            }
        }
        all
    }

    fn visible(&self) -> Vec<String> {
        let files = list(&self.path);
        files.iter().map(|name| fs::read_to_string(self.path.join(name)).unwrap()).collect()
    }

    /// Only these files are in the temp directory.
    fn assert_temp(&self, expected: &[OsString]) {
        let mut expected = expected.to_vec();
        expected.sort();
        assert_eq!(list(&self.temp), expected);
    }

    fn aside(&self, worker: usize) -> OsString {
        naming::aside(&self.temp_name(worker, worker as u64))
    }
}

#[test]
fn what_is_whole_is_published_and_the_rest_cut_off() {
    for (boot, lengths, expected, cut) in [
        (Scene::same_boot(), (8, 4), "one two ", 6),
        // The page cache is gone.
        (OTHER_BOOT, (8, 4), "one ", 10),
        (OTHER_BOOT, (14, 14), "one two torn..", 0),
        // Nobody knows whether it is the same.
        ([0; 16], (8, 4), "one ", 10),
    ] {
        let scene = Scene::new();
        let (good, synced) = lengths;
        scene.leave(boot, &[Left { contents: "one two torn..", good, synced }]);
        let recovery = scene.recover();
        assert_eq!(scene.visible(), [expected]);
        scene.assert_temp(&[]);
        let name = recovery.published[0].file_name().unwrap();
        let parsed = naming::parse(name, &scene.names.prefix, &scene.names.extension).unwrap();
        assert_eq!((parsed.instance, parsed.pid, parsed.worker, parsed.seq), (0xfeed, 7, 0, 0));
        assert!(parsed.stamp.0 != STAMP);
        let told = (recovery.instances, recovery.bytes, recovery.cut_bytes);
        assert_eq!(told, (1, expected.len() as u64, cut));
        assert!(scene.recover().is_empty());
    }
}

#[test]
fn what_holds_nothing_whole_is_removed() {
    let scene = Scene::new();
    let nothing = Left { contents: "", good: 0, synced: 0 };
    scene.leave(Scene::same_boot(), &[Left { contents: "torn", ..nothing }, nothing]);
    // Of no record, and empty: it was created just before.
    fs::write(scene.temp_path(1, 9), "").unwrap();
    let recovery = scene.recover();
    assert_eq!((recovery.instances, recovery.cut_bytes), (1, 4));
    assert!(recovery.published.is_empty() && recovery.set_aside.is_empty());
    assert!(scene.visible().is_empty());
    scene.assert_temp(&[]);
}

#[test]
fn what_nobody_knows_is_set_aside() {
    let text = "something";
    for (boot, left) in [
        // After a reboot, and nothing was synced.
        (OTHER_BOOT, Left { contents: text, good: 9, synced: 0 }),
        // Shorter than it should be.
        (Scene::same_boot(), Left { contents: text, good: 10, synced: 0 }),
        (OTHER_BOOT, Left { contents: text, good: 10, synced: 10 }),
        (OTHER_BOOT, Left { contents: "", good: 10, synced: 10 }),
    ] {
        let scene = Scene::new();
        scene.leave(boot, &[left]);
        let recovery = scene.recover();
        scene.assert_temp(&[scene.aside(0)]);
        let aside = scene.temp.join(scene.aside(0));
        assert_eq!(fs::read_to_string(&aside).unwrap(), left.contents);
        assert_eq!((recovery.instances, recovery.set_aside), (1, vec![aside]));
        assert!(scene.visible().is_empty() && scene.recover().is_empty());
    }
}

#[test]
fn a_damaged_record_speaks_for_no_file() {
    let scene = Scene::new();
    let good = Left { contents: "good", good: 4, synced: 0 };
    scene.leave(Scene::same_boot(), &[good, good, good]);
    let mut bytes = fs::read(scene.state()).unwrap();
    bytes[HEADER_BYTES + RECORD_BYTES + 24] ^= 1;
    // More synced than written makes no sense.
    bytes[HEADER_BYTES + 2 * RECORD_BYTES..].copy_from_slice(&Scene::record(2, 3, 4));
    fs::write(scene.state(), bytes).unwrap();
    // Worker 0 has another file, which its record does not name.
    fs::write(scene.temp_path(0, 9), "unnamed").unwrap();
    let recovery = scene.recover();
    assert_eq!((scene.visible(), recovery.set_aside.len()), (vec!["good".to_owned()], 3));
    let unnamed = naming::aside(&scene.temp_name(0, 9));
    scene.assert_temp(&[scene.aside(1), scene.aside(2), unnamed]);
}

#[test]
fn a_file_that_was_published_before_the_end_is_not_missed() {
    let scene = Scene::new();
    scene.leave(Scene::same_boot(), &[Left { contents: "x", good: 1, synced: 0 }]);
    fs::remove_file(scene.temp_path(0, 0)).unwrap();
    let recovery = scene.recover();
    assert_eq!((recovery.instances, recovery.published.len()), (1, 0));
    scene.assert_temp(&[]);
}

#[test]
fn a_state_file_that_tells_nothing_is_set_aside_with_the_files_that_carry_its_instance() {
    let (damaged, zeros) = (|b: &mut Vec<u8>| b[60] ^= 1, |b: &mut Vec<u8>| b.fill(0));
    let long = |b: &mut Vec<u8>| b.push(0);
    for change in [damaged as fn(&mut Vec<u8>), zeros, long] {
        let scene = Scene::new();
        let good = Left { contents: "good", good: 4, synced: 4 };
        scene.leave(Scene::same_boot(), &[good]);
        let mut bytes = fs::read(scene.state()).unwrap();
        change(&mut bytes);
        fs::write(scene.state(), &bytes).unwrap();
        // Whatever its extension; not another instance's.
        let extension = OsString::from("other.ext");
        let other = Names { extension, ..scene.names.clone() };
        let foreign = Names { pid: 8, ..other.clone() };
        let [other, foreign] = [other, foreign].map(|names| names.temp(Stamp(STAMP), 5, 1));
        fs::write(scene.temp.join(&other), "other").unwrap();
        fs::write(scene.temp.join(&foreign), "foreign").unwrap();
        let recovery = scene.recover();
        let state = naming::aside(&scene.names.state());
        scene.assert_temp(&[scene.aside(0), naming::aside(&other), foreign, state.clone()]);
        assert_eq!((recovery.instances, recovery.set_aside.len()), (1, 3));
        assert!(fs::read(scene.temp.join(state)).unwrap() == bytes);
        assert!(scene.visible().is_empty() && scene.recover().is_empty());
    }
}

#[test]
fn a_state_file_that_was_never_finished_goes() {
    let scene = Scene::new();
    let bytes = scene.state_bytes(Scene::same_boot(), &[Scene::record(0, 0, 0); 2]);
    for len in [0, 5, 11, 12, 4096, HEADER_BYTES, HEADER_BYTES + 1, bytes.len() - 1] {
        fs::write(scene.state(), &bytes[..len]).unwrap();
        let recovery = scene.recover();
        assert_eq!((recovery.instances, recovery.set_aside.len()), (1, 0), "{len}");
        scene.assert_temp(&[]);
        // But if there are files all the same, nobody knows what they are.
        fs::write(scene.state(), &bytes[..len]).unwrap();
        fs::write(scene.temp_path(0, 0), "text").unwrap();
        assert_eq!(scene.recover().set_aside.len(), 2, "{len}");
        scene.assert_temp(&[scene.aside(0), naming::aside(&scene.names.state())]);
        list(&scene.temp).iter().for_each(|name| fs::remove_file(scene.temp.join(name)).unwrap());
    }
}

#[test]
fn other_versions_paths_and_instances_are_left_alone() {
    let left = Left { contents: "good", good: 4, synced: 4 };
    let version = |bytes: &mut Vec<u8>| bytes[8] = 1;
    let codec = |bytes: &mut Vec<u8>| bytes[56] = 77;
    let path = |bytes: &mut Vec<u8>| bytes[64] = b'_';
    let instance = |bytes: &mut Vec<u8>| bytes[32] ^= 1;
    let prefix = |bytes: &mut Vec<u8>| {
        let at = bytes.windows(2).position(|two| two == b"p\xff").unwrap();
        bytes[at] = b'q';
    };
    for (change, reason) in [
        (version as fn(&mut Vec<u8>), SkipReason::Version(1)),
        (codec, SkipReason::Codec(77)),
        (path, SkipReason::OtherPath),
        (instance, SkipReason::OtherInstance),
        (prefix, SkipReason::OtherInstance),
    ] {
        let scene = Scene::new();
        scene.leave(Scene::same_boot(), &[left]);
        let mut bytes = fs::read(scene.state()).unwrap();
        change(&mut bytes);
        fix_header(&mut bytes);
        fs::write(scene.state(), bytes).unwrap();
        let before = scene.snapshot();
        let recovery = scene.recover();
        assert_eq!(recovery.skipped.len(), 1, "{recovery:?}");
        assert_eq!(recovery.skipped[0].path, scene.state());
        assert_eq!(recovery.skipped[0].reason, reason);
        assert_eq!(scene.snapshot(), before);
    }
    // Another prefix is not even looked at, unless all are wanted.
    let scene = Scene::new();
    scene.leave(Scene::same_boot(), &[left]);
    let search = |prefix| {
        let (fs, path, temp) = (&RealFs, &*scene.path, &*scene.temp);
        let mut recovery = Recovery::default();
        let scan = Scan { fs, path, temp, prefix, memory: &[], dry_run: false };
        run::run(scan, None, &mut recovery).unwrap();
        recovery
    };
    assert!(search(Some(OsStr::new(""))).is_empty());
    assert!(search(Some(OsStr::new("p"))).is_empty());
    assert_eq!(search(None).published.len(), 1);
}

fn fix_header(bytes: &mut [u8]) {
    let (body, rest) = bytes.split_at_mut(HEADER_BYTES - CHECKSUM_BYTES);
    rest[..CHECKSUM_BYTES].copy_from_slice(&fnv1a(body).to_le_bytes());
}

#[test]
fn who_lives_is_left_alone_and_so_is_the_own_instance() {
    let scene = Scene::new();
    scene.leave(Scene::same_boot(), &[Left { contents: "good", good: 4, synced: 4 }]);
    let before = scene.snapshot();
    let alive = fs::File::open(scene.state()).unwrap();
    alive.lock().unwrap();
    let recovery = scene.recover();
    assert_eq!((recovery.alive, recovery.instances), (1, 0));
    assert_eq!(scene.snapshot(), before);
    drop(alive);
    let scan = Scan {
        fs: &RealFs,
        path: &scene.path,
        temp: &scene.temp,
        prefix: None,
        memory: &[],
        dry_run: false,
    };
    let mut recovery = Recovery::default();
    run::run(scan, Some(&scene.names.state()), &mut recovery).unwrap();
    assert!(recovery.is_empty() && scene.snapshot() == before);
}

#[test]
fn links_and_strange_files_are_never_followed() {
    type Plant = fn(&Scene, &Path);
    let plants: [(Plant, SkipReason); 4] = [
        (|scene, at| symlink(scene.dir.join("canary"), at).unwrap(), SkipReason::NotOurs),
        (|_, at| fs::create_dir(at).unwrap(), SkipReason::NotOurs),
        (
            |_, at| {
                let mode = rustix::fs::Mode::RUSR;
                rustix::fs::mkfifoat(rustix::fs::CWD, at, mode).unwrap();
            },
            SkipReason::NotOurs,
        ),
        (|scene, at| fs::hard_link(scene.dir.join("canary"), at).unwrap(), SkipReason::OtherName),
    ];
    for (plant, reason) in plants {
        for of_state in [true, false] {
            let scene = Scene::new();
            scene.leave(Scene::same_boot(), &[Left { contents: "good", good: 4, synced: 4 }]);
            let at = if of_state { scene.state() } else { scene.temp_path(0, 0) };
            // As the state file it would be a good one.
            fs::rename(&at, scene.dir.join("canary")).unwrap();
            plant(&scene, &at);
            let canary = fs::read(scene.dir.join("canary")).unwrap();
            let recovery = scene.recover();
            assert_eq!(recovery.skipped.len(), 1, "{recovery:?}");
            let told = &recovery.skipped[0];
            assert_eq!((&told.path, told.reason), (&at, reason));
            assert!(at.symlink_metadata().is_ok() && scene.state().symlink_metadata().is_ok());
            assert!(scene.visible().is_empty() && recovery.published.is_empty());
            assert!(fs::read(scene.dir.join("canary")).unwrap() == canary);
        }
    }
}

#[test]
fn a_rename_in_two_steps_is_ended() {
    let scene = Scene::new();
    let good = Left { contents: "good", good: 4, synced: 0 };
    scene.leave(Scene::same_boot(), &[good, good, good]);
    let visible = |worker: usize| {
        scene.path.join(scene.names.visible(Stamp(STAMP + 99), worker, worker as u64))
    };
    fs::hard_link(scene.temp_path(0, 0), visible(0)).unwrap();
    fs::hard_link(scene.temp_path(1, 1), scene.temp.join(scene.aside(1))).unwrap();
    // Another's visible name is not its own.
    fs::hard_link(scene.temp_path(2, 2), visible(7)).unwrap();
    fs::write(visible(2), "of this name, but another file").unwrap();
    let recovery = scene.recover();
    assert_eq!((recovery.instances, recovery.published.len()), (0, 0));
    assert_eq!(recovery.skipped[0].path, scene.temp_path(2, 2));
    scene.assert_temp(&[scene.names.state(), scene.aside(1), scene.temp_name(2, 2)]);
    // Once it has one name only, it is published.
    fs::remove_file(visible(7)).unwrap();
    assert_eq!(scene.recover().published.len(), 1);
    scene.assert_temp(&[scene.aside(1)]);
    // So is the setting aside of a state file.
    fs::write(scene.state(), vec![1; HEADER_BYTES + RECORD_BYTES]).unwrap();
    let state = naming::aside(&scene.names.state());
    fs::hard_link(scene.state(), scene.temp.join(&state)).unwrap();
    scene.recover();
    scene.assert_temp(&[scene.aside(1), state]);
}

/// Its writer may not have lived to note that an fsync had failed, which dropped what it could not write.
#[test]
fn what_no_fsync_covered_is_written_again() {
    let contents = "x".repeat(300_000);
    for (boot, synced, writes) in [
        (Scene::same_boot(), 0, 2),
        (Scene::same_boot(), 299_000, 1),
        (Scene::same_boot(), 300_000, 0),
        ([1; 16], 300_000, 0),
    ] {
        let (scene, fs) = (Scene::new(), Faulty::default());
        scene.leave(boot, &[Left { contents: &contents, good: 300_000, synced }]);
        let recovery = scene.recover_with(&fs, false);
        assert!(recovery.errors.is_empty(), "{recovery:?}");
        assert_eq!((fs.calls(Op::Write), scene.visible().concat()), (writes, contents.clone()));
    }
}

#[test]
fn a_file_whose_fsync_fails_is_not_synced_again() {
    let (scene, fs) = (Scene::new(), Faulty::default());
    scene.leave(Scene::same_boot(), &[Left { contents: "good", good: 4, synced: 0 }]);
    fs.plan(Op::Sync, 1, Fault::Error(Errno::IO));
    let recovery = scene.recover_with(&fs, false);
    assert_eq!((recovery.errors[0].operation(), recovery.instances), ("fsync", 0));
    scene.assert_temp(&[scene.aside(0), scene.names.state()]);
    assert_eq!(scene.recover().instances, 1);
    scene.assert_temp(&[scene.aside(0)]);
}

#[test]
fn what_was_set_aside_is_not_replaced() {
    let scene = Scene::new();
    scene.leave(OTHER_BOOT, &[Left { contents: "new", good: 3, synced: 0 }]);
    fs::write(scene.temp.join(scene.aside(0)), "old").unwrap();
    let before = scene.snapshot();
    let recovery = scene.recover_with(&RealFs, false);
    assert_eq!(recovery.errors[0].operation(), "set aside");
    assert_eq!(scene.snapshot(), before);
}

/// A scene with all that there can be.
fn everything() -> Scene {
    let scene = Scene::new();
    let left = |contents, good| Left { contents, good, synced: 0 };
    let all = [
        left("whole", 5),
        left("whole torn", 6),
        left("torn", 0),
        left("short", 9),
        left("published", 9),
        left("linked", 6),
        left("linked aside", 12),
        left("", 0),
    ];
    scene.leave(Scene::same_boot(), &all);
    fs::rename(
        scene.temp_path(4, 4),
        scene.path.join(scene.names.visible(Stamp(STAMP + 50), 4, 4)),
    )
    .unwrap();
    let visible = scene.path.join(scene.names.visible(Stamp(STAMP + 51), 5, 5));
    fs::hard_link(scene.temp_path(5, 5), visible).unwrap();
    fs::hard_link(scene.temp_path(6, 6), scene.temp.join(scene.aside(6))).unwrap();
    fs::write(scene.temp_path(1, 77), "unnamed").unwrap();
    // A second instance, whose state file is damaged, and a third one, that never began.
    let broken = Names { instance: 2, ..scene.names.clone() };
    fs::write(scene.temp.join(broken.state()), vec![7; HEADER_BYTES + RECORD_BYTES]).unwrap();
    fs::write(scene.temp.join(broken.temp(Stamp(STAMP), 0, 0)), "of the broken one").unwrap();
    let begun = Names { instance: 3, ..scene.names.clone() };
    // A fourth one died while it tried its directories. A probe that is not empty is none.
    let probing = Names { instance: 4, ..scene.names.clone() };
    let mut state = header(Scene::same_boot(), &scene.path, None, &probing, 1).unwrap();
    state.extend([0; RECORD_BYTES]);
    fs::write(scene.temp.join(probing.state()), state).unwrap();
    fs::write(scene.temp.join(&probing.probes()[0]), "").unwrap();
    fs::write(scene.path.join(&probing.probes()[1]), "").unwrap();
    fs::write(scene.path.join(&scene.names.probes()[1]), "not a probe").unwrap();
    fs::write(scene.temp.join(begun.state()), "BUFWRST\0").unwrap();
    scene
}

#[test]
fn a_dry_run_tells_the_same_and_changes_nothing() {
    let (scene, fs) = (everything(), Faulty::default());
    let before = scene.snapshot();
    let told = scene.recover_with(&fs, true);
    assert_eq!(scene.snapshot(), before);
    let changes = [Op::Rename, Op::Remove, Op::SetLen, Op::Create, Op::Write, Op::SyncDir];
    assert!(fs.all_calls().iter().all(|op| !changes.contains(op)));
    let done = scene.recover();
    let count = |r: &Recovery| {
        let (published, aside) = (r.published.len(), r.set_aside.len());
        (r.instances, r.alive, published, r.bytes, r.cut_bytes, aside, r.skipped.len())
    };
    assert_eq!(count(&told), count(&done));
    assert_eq!(count(&done), (4, 0, 2, 11, 8, 4, 0));
}

/// What all recoveries of `everything` must come to, in the end.
fn clean() -> BTreeMap<String, String> {
    let scene = everything();
    scene.recover();
    let clean = scene.snapshot();
    let probes = clean.iter().filter(|(name, _)| name.ends_with(".pb1") || name.ends_with(".pb2"));
    assert!(probes.map(|(_, contents)| &**contents).eq(["not a probe"]), "{clean:?}");
    assert!(scene.recover().is_empty() && scene.snapshot() == clean);
    clean
}

/// Runs a recovery of `everything` with the k-th call failing, for each k, and a second one that goes well.
fn each_call(sticky: bool, fault: Fault) {
    let clean = clean();
    for k in 1.. {
        let (scene, fs) = (everything(), Faulty::default());
        fs.plan_any(k, sticky, fault);
        let first = scene.recover_with(&fs, false);
        let calls = fs.all_calls();
        let Some(op) = calls.get(k - 1) else {
            assert!(first.errors.is_empty() && k > 60, "{k}: {first:?}");
            return;
        };
        scene.recover();
        let mut found = scene.snapshot();
        let whole = found.contains_key("path/visible w0-0");
        if *op == Op::Sync && !whole {
            // It is set aside: the one way in which a fault may show in the end.
            let aside = format!("temp/{}", scene.aside(0).to_string_lossy());
            let contents = found.remove(&aside).expect("set aside");
            found.insert("path/visible w0-0".to_owned(), contents);
        }
        if *op == Op::Sync && !found.contains_key("path/visible w1-1") {
            let aside = format!("temp/{}", scene.aside(1).to_string_lossy());
            let contents = found.remove(&aside).expect("set aside");
            found.insert("path/visible w1-1".to_owned(), contents);
        }
        assert_eq!(found, clean, "call {k}, {op:?}");
        assert!(scene.recover().is_empty(), "call {k}, {op:?}: something is left");
    }
}

#[test]
fn whichever_call_fails_once_the_next_recovery_makes_up_for_it() {
    each_call(false, Fault::Error(Errno::NOSPC));
}

#[test]
fn whichever_answer_is_lost_the_next_recovery_makes_up_for_it() {
    each_call(false, Fault::DoneBut(Errno::IO));
}

#[test]
fn killed_at_any_call_the_next_recovery_goes_on() {
    each_call(true, Fault::Error(Errno::IO));
}

#[test]
fn of_two_recoveries_at_once_each_instance_is_one_s() {
    for _ in 0..20 {
        let scene = everything();
        let both = std::thread::scope(|scope| {
            [(); 2]
                .map(|()| scope.spawn(|| scene.recover_with(&RealFs, false)))
                .map(|thread| thread.join().unwrap())
        });
        assert!(both.iter().all(|recovery| recovery.errors.is_empty()), "{both:?}");
        assert_eq!(both.iter().map(|recovery| recovery.instances).sum::<u64>(), 4);
        assert_eq!(both.iter().map(|recovery| recovery.published.len()).sum::<usize>(), 2);
        assert_eq!(scene.snapshot(), clean());
    }
}

#[test]
fn who_is_quicker_between_the_look_and_the_lock_wins() {
    let (scene, fs) = (Scene::new(), Faulty::default());
    scene.leave(Scene::same_boot(), &[Left { contents: "good", good: 4, synced: 0 }]);
    let before = scene.snapshot();
    // The look-up after the lock finds that the name is gone.
    fs.plan(Op::Facts, 3, Fault::Absent);
    let recovery = scene.recover_with(&fs, false);
    assert!(recovery.is_empty() && scene.snapshot() == before, "{recovery:?}");
    assert_eq!((fs.calls(Op::Lock), fs.calls(Op::Facts)), (1, 3));
}
