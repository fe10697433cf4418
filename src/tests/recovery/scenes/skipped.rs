//! What a recovery does not touch: what lives, what is another's, and what is no file of a writer.

use bufferedwriter_testkit::os::{chown, makes_links, symlink};
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use crate::base::sys::Errno;

use super::{Left, Scene};
use crate::file::state_file::format::{HEADER_BYTES, TEXTS_AT};
use crate::fs::real::RealFs;
use crate::recovery::audience::Audience;
use crate::recovery::scan::Scan;
use crate::recovery::{RecoverOptions, recover, run};
use crate::report::recovery::{Recovery, SkipReason};
use crate::tests::forks;
use crate::tests::fs::hooked::{Answer, Call, HookedFs, Op};
use crate::tests::recovery::fuzz;
use crate::tests::recovery::images::header;

#[test]
fn other_versions_paths_and_instances_are_skipped() {
    let left = Left { contents: "good", good: 4, synced: 4 };
    let version = |bytes: &mut Vec<u8>| bytes[8] = 1;
    let codec = |bytes: &mut Vec<u8>| bytes[56] = 77;
    let path = |bytes: &mut Vec<u8>| bytes[TEXTS_AT] = b'_';
    let instance = |bytes: &mut Vec<u8>| bytes[32] ^= 1;
    let prefix = |bytes: &mut Vec<u8>| {
        let prefix = super::names().prefix;
        let prefix = prefix.as_encoded_bytes();
        let at = bytes.windows(prefix.len()).position(|bytes| bytes == prefix).unwrap();
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
        fuzz::fix_checksum(&mut bytes[..HEADER_BYTES]);
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
        let scan = Scan {
            fs,
            path,
            temp,
            from: None,
            prefix,
            memory: &[],
            without_memory: false,
            dry_run: false,
        };
        forks::recover(scan, None, &mut recovery).unwrap();
        recovery
    };
    assert!(search(Some(OsStr::new(""))).is_empty());
    assert!(search(Some(OsStr::new("p"))).is_empty());
    assert_eq!(search(None).published.len(), 1);
}

#[test]
fn who_lives_is_not_touched_nor_is_the_own_instance() {
    let scene = Scene::new();
    scene.leave(Scene::same_boot(), &[Left { contents: "good", good: 4, synced: 4 }]);
    let before = scene.snapshot();
    let alive = fs::File::open(scene.state()).unwrap();
    alive.lock().unwrap();
    let recovery = scene.recover();
    assert_eq!((recovery.alive, recovery.instances), (1, 0));
    assert_eq!(scene.snapshot(), before);
    drop(alive);
    let scan = scene.scan(&RealFs);
    let mut recovery = Recovery::default();
    forks::recover(scan, Some(&scene.names), &mut recovery).unwrap();
    assert!(recovery.is_empty() && scene.snapshot() == before);
}

/// Between the look at a file and the moment at which the recovery has it open.
#[test]
fn what_changes_under_the_recovery_is_skipped() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 4] = [
        ("another file", |at| {
            fs::rename(at, at.with_extension("moved")).unwrap();
            fs::write(at, "good").unwrap();
        }),
        ("another name", |at| fs::hard_link(at, at.with_extension("linked")).unwrap()),
        ("another length", |at| fs::write(at, "longer than it was").unwrap()),
        ("another owner", |at| chown(at, Some(12_345), None).unwrap()),
    ];
    for (what, change) in changes {
        if what == "another owner" && !crate::tests::fs::is_root() {
            println!("skipped: only root gives files away");
            continue;
        }
        let scene = Scene::new();
        scene.leave(Scene::same_boot(), &[Left { contents: "good", good: 4, synced: 4 }]);
        let temp = scene.temp_path(0, 0);
        let fs = HookedFs::with({
            let temp = temp.clone();
            move |call: &Call<'_>| {
                if call.op == Op::Open && call.path == temp {
                    change(&temp);
                }
                Answer::Go
            }
        });
        let recovery = scene.recover_with(&fs, false);
        assert!(recovery.errors.is_empty(), "{what}: {recovery:?}");
        assert!(scene.visible().is_empty() && recovery.published.is_empty(), "{what}");
        let told: Vec<_> = recovery.skipped.iter().map(|told| (&told.path, told.reason)).collect();
        assert_eq!(told, [(&temp, SkipReason::NotOurs)], "{what}");
        assert!(temp.exists() && scene.state().exists(), "{what}");
    }
}

#[test]
fn links_and_strange_files_are_never_followed() {
    type Plant = fn(&Scene, &Path);
    let plants: [(Plant, SkipReason); 4] = [
        (|scene, at| symlink(scene.dir.join("canary"), at).unwrap(), SkipReason::NotOurs),
        (|_, at| fs::create_dir(at).unwrap(), SkipReason::NotOurs),
        (|_, at| crate::tests::fs::fifo(at), SkipReason::NotOurs),
        (|scene, at| fs::hard_link(scene.dir.join("canary"), at).unwrap(), SkipReason::OtherName),
    ];
    // The first one is a link.
    for (plant, reason) in plants.into_iter().skip(usize::from(!makes_links())) {
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

/// A container may have another file system where the writer's memory was. Only a reboot, or who knows it, says that
/// the memory is gone.
#[test]
fn memory_that_may_be_elsewhere_keeps_an_instance() {
    let left = Left { contents: "good", good: 4, synced: 4 };
    let entry = Scene::entry(0, left.good, left.synced);
    let same_boot = Scene::same_boot();
    for (boot, is_recovered) in [([0; 16], false), (same_boot, false), ([1; 16], true)] {
        let scene = Scene::new();
        let memory = scene.dir.dir("memory");
        scene.leave(boot, &[left]);
        let mut bytes = header(boot, &scene.path, Some(&memory), &scene.names, 1).unwrap();
        bytes.extend(entry);
        fs::write(scene.state(), bytes).unwrap();
        // The first one keeps its inode, so that the second is another.
        fs::rename(&memory, scene.dir.join("former")).unwrap();
        fs::create_dir(&memory).unwrap();
        let mut recovery = Recovery::default();
        let scan = Scan { memory: std::slice::from_ref(&memory), ..scene.scan(&RealFs) };
        run::run(scan, None, &mut recovery, &mut Audience::default()).unwrap();
        let told: Vec<_> = recovery.skipped.iter().map(|told| told.reason).collect();
        let expected = if is_recovered { vec![] } else { vec![SkipReason::MemoryNotFound] };
        assert_eq!((told, recovery.published.len()), (expected, usize::from(is_recovered)));
        assert_ne!(scene.state().exists(), is_recovered);
    }
}

#[test]
fn a_lock_that_fails_is_an_error_and_not_a_file_system_without_locks() {
    let scene = Scene::new();
    scene.leave(Scene::same_boot(), &[Left { contents: "good", good: 4, synced: 4 }]);
    let before = scene.snapshot();
    let fs = HookedFs::with(|call: &Call<'_>| match call.op {
        Op::Lock => Answer::Error(Errno::IO),
        _ => Answer::Go,
    });
    let recovery = scene.recover_with(&fs, false);
    let errors: Vec<_> = recovery.errors.iter().map(|error| error.operation()).collect();
    assert_eq!((errors, recovery.skipped.len()), (vec!["lock"], 0));
    assert_eq!(scene.snapshot(), before);
}

/// There a writer has its temp files if `temp` is on another file system.
#[test]
fn what_is_in_the_visible_directory_is_recovered_too() {
    let mut scene = Scene::new();
    let temp = std::mem::replace(&mut scene.temp, scene.path.clone());
    scene.leave(Scene::same_boot(), &[Left { contents: "good", good: 4, synced: 4 }]);
    let recovery = recover(&RecoverOptions::new(&scene.path, temp)).unwrap();
    assert_eq!((recovery.instances, recovery.published.len()), (1, 1), "{recovery:?}");
    assert_eq!(scene.visible(), ["good"]);
}
