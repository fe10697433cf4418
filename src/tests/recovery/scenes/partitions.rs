//! Left-overs of writers with partitions: each appears where its writer would have put it, and nowhere else.

use bufferedwriter_testkit::os::{PermissionsExt, makes_links, set_mode, symlink};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{Left, Scene};
use crate::base::sync::lock;
use crate::fs::real::RealFs;
use crate::report::recovery::SkipReason;
use crate::tests::fs::hooked::{Answer, Call, HookedFs, Op};

const LEFT: Left<'_> = Left { contents: "good", good: 4, synced: 4 };
/// Of the scenes' stamps, with `dt=%F/h=%H`.
const BELOW: &str = "dt=2026-11-22/h=19";

fn left(template: &'static str, time_zone: &'static str) -> Scene {
    let scene = Scene::partitioned(template, time_zone);
    scene.leave(Scene::same_boot(), &[LEFT]);
    scene
}

/// Where the files are that the recovery has published, from `path` on.
fn published(scene: &Scene) -> Vec<PathBuf> {
    let below = |file: PathBuf| {
        assert_eq!(fs::read_to_string(&file).unwrap(), "good");
        file.parent().unwrap().strip_prefix(&scene.path).unwrap().to_owned()
    };
    scene.recover().published.into_iter().map(below).collect()
}

#[test]
fn a_left_over_appears_in_the_partition_of_its_stamp() {
    for (template, below) in [("dt=%F/h=%H", BELOW), ("100%%/a{b}", "100%/a{b}"), ("", "")] {
        let scene = left(template, "UTC");
        set_mode(scene.temp_path(0, 0), 0o640).unwrap();
        assert_eq!(published(&scene), [Path::new(below)]);
        scene.assert_temp(&[]);
        for dir in Path::new(below).ancestors().filter(|dir| *dir != Path::new("")) {
            let mode = fs::metadata(scene.path.join(dir)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, if cfg!(unix) { 0o750 } else { 0o600 }, "{dir:?}");
        }
    }
}

#[cfg(feature = "time-zone")]
#[test]
fn the_time_zone_is_the_writers() {
    assert_eq!(published(&left("dt=%F/h=%H", "Asia/Kathmandu")), [Path::new("dt=2026-11-23/h=01")]);
}

#[test]
fn whose_time_zone_is_not_known_is_skipped() {
    let scene = left("dt=%F", "Europe/Atlantis");
    let before = scene.snapshot();
    let recovery = scene.recover();
    assert_eq!(recovery.skipped[0].reason, SkipReason::TimeZone, "{recovery:?}");
    assert_eq!((recovery.skipped[0].path.clone(), scene.snapshot()), (scene.state(), before));
    // Without codes for the time, its zone does not matter.
    assert_eq!(published(&left("fixed", "Europe/Atlantis")), [Path::new("fixed")]);
}

#[test]
fn a_template_that_no_writer_makes_is_damage() {
    for template in ["../out", "..", "/etc", "a//b", "%T", "%Q", "a\0", ".hidden", "a/"] {
        let scene = left(template, "UTC");
        let recovery = scene.recover();
        assert_eq!((recovery.published.len(), recovery.set_aside.len()), (0, 2), "{template}");
        assert!(scene.visible().is_empty() && scene.dir.list() == ["path", "temp"], "{template}");
    }
}

#[test]
fn what_stands_in_the_way_is_told_and_no_link_is_followed() {
    let elsewhere = Scene::new();
    for is_link in [false, true].into_iter().filter(|&is_link| !is_link || makes_links()) {
        let scene = left("dt=%F/h=%H", "UTC");
        let way = scene.path.join("dt=2026-11-22");
        match is_link {
            false => fs::write(&way, "in the way").unwrap(),
            true => symlink(&elsewhere.path, &way).unwrap(),
        }
        let recovery = scene.recover_with(&RealFs, false);
        let error = &recovery.errors[0];
        assert_eq!((error.operation(), error.path()), ("create directory", Some(&*way)));
        assert!(scene.temp_path(0, 0).exists() && scene.state().exists());
        assert!(elsewhere.visible().is_empty());
        fs::remove_file(&way).unwrap();
        assert_eq!(published(&scene), [Path::new(BELOW)]);
    }
}

/// A recovery that is killed right after its rename has synced nothing.
#[test]
fn all_directories_are_synced_before_the_state_file_goes_also_after_a_killed_recovery() {
    for is_killed in [false, true] {
        let scene = left("dt=%F/h=%H", "UTC");
        if is_killed {
            let killed = HookedFs::with(|call: &Call<'_>| match call.op {
                Op::SyncDir | Op::Remove => Answer::Error(crate::base::sys::Errno::IO),
                _ => Answer::Go,
            });
            assert_eq!(scene.recover_with(&killed, false).published.len(), 1);
        }
        let calls = Arc::new(Mutex::new(Vec::new()));
        let log = calls.clone();
        let noting = HookedFs::with(move |call: &Call<'_>| {
            if matches!(call.op, Op::SyncDir | Op::Remove) {
                lock(&log).push((call.op, call.path.to_owned()));
            }
            Answer::Go
        });
        let recovery = scene.recover_with(&noting, false);
        assert!(recovery.errors.is_empty() && recovery.instances == 1, "{recovery:?}");
        let calls = lock(&calls);
        let (last, synced) = calls.split_last().unwrap();
        assert_eq!(*last, (Op::Remove, scene.state()));
        for dir in [scene.path.join(BELOW), scene.path.join("dt=2026-11-22"), scene.path.clone()] {
            assert!(synced.contains(&(Op::SyncDir, dir.clone())), "{dir:?} in {synced:?}");
        }
    }
}

#[test]
fn a_dry_run_makes_no_directory() {
    let scene = left("dt=%F/h=%H", "UTC");
    let told = scene.recover_with(&RealFs, true);
    assert_eq!(told.published, [scene.temp_path(0, 0)]);
    assert!(fs::read_dir(&scene.path).unwrap().next().is_none());
}
