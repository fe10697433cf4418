//! What becomes of each temp file and state file: published, cut, removed or set aside.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::base::sys::Errno;

use super::{Left, STAMP, Scene};
use crate::file::state_file::encode;
use crate::file::state_file::format::{ENTRY_BYTES, FileLayout, HEADER_BYTES, Header};
use crate::fs::real::RealFs;
use crate::naming::{self, Names, Stamp};
use crate::tests::fs::faulty::{Answer, Faulty, Op};
use crate::tests::fs::hooked::{Call, HookedFs};
use crate::tests::recovery::images::OTHER_BOOT;
use bufferedwriter_testkit::dir::list;

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

/// The footer is the dead writer's. What ends within its header has no record.
#[test]
fn a_file_gets_the_footer_and_a_header_alone_is_set_aside() {
    for (boot, contents, good, whole) in [
        (Scene::same_boot(), "head;one torn", 9, Some("head;one ;end")),
        (Scene::same_boot(), "head;one ;end", 9, Some("head;one ;end")),
        (Scene::same_boot(), "head;one ;en", 9, Some("head;one ;end")),
        (OTHER_BOOT, "head;one torn", 9, Some("head;one ;end")),
        (Scene::same_boot(), "head;one torn", 5, None),
        (Scene::same_boot(), "head;one torn", 2, None),
        (OTHER_BOOT, "head;one torn", 5, None),
    ] {
        let scene = Scene::new();
        let (header, footer) = (b"head;".to_vec(), b";end".to_vec());
        let head = Header {
            path: scene.path.clone(),
            memory: None,
            names: scene.names.clone(),
            codec: 0,
            layout: FileLayout { header, footer, ..FileLayout::default() },
            workers: 1,
            slot_bytes: 0,
        };
        let mut state = encode::header(boot, &head).unwrap();
        state.extend(Scene::entry(0, good, good));
        fs::write(scene.state(), state).unwrap();
        fs::write(scene.temp_path(0, 0), contents).unwrap();
        let recovery = scene.recover();
        assert_eq!(scene.visible(), Vec::from_iter(whole), "{contents} {good}");
        assert_eq!(recovery.bytes, whole.map_or(0, str::len) as u64);
        scene.assert_temp(&if whole.is_some() { vec![] } else { vec![scene.aside(0)] });
        assert!(scene.recover().is_empty());
    }
}

/// A power cut after the removal of the state file must not bring back a directory without the published file.
#[test]
fn both_directories_are_synced_before_the_state_file_goes() {
    let scene = Scene::new();
    scene.leave(Scene::same_boot(), &[Left { contents: "good", good: 4, synced: 0 }]);
    let calls: Arc<Mutex<Vec<(Op, PathBuf)>>> = Arc::default();
    let noted = calls.clone();
    let fs = HookedFs::with(move |call: &Call<'_>| {
        noted.lock().unwrap().push((call.op, call.path.to_owned()));
        Answer::Go
    });
    assert!(scene.recover_with(&fs, false).errors.is_empty());
    let calls = calls.lock().unwrap();
    let last = |op, path: &Path| calls.iter().rposition(|(called, at)| *called == op && at == path);
    let removed = last(Op::Remove, &scene.state());
    let renamed = last(Op::Rename, &scene.temp_path(0, 0));
    for dir in [&scene.path, &scene.temp] {
        let synced = last(Op::SyncDir, dir);
        assert!(renamed.is_some() && renamed < synced && synced < removed, "{calls:?}");
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
fn a_damaged_entry_speaks_for_no_file() {
    let scene = Scene::new();
    let good = Left { contents: "good", good: 4, synced: 0 };
    scene.leave(Scene::same_boot(), &[good, good, good]);
    let mut bytes = fs::read(scene.state()).unwrap();
    bytes[HEADER_BYTES + ENTRY_BYTES + 24] ^= 1;
    // More synced than written makes no sense.
    bytes[HEADER_BYTES + 2 * ENTRY_BYTES..].copy_from_slice(&Scene::entry(2, 3, 4));
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
    let bytes = scene.state_bytes(Scene::same_boot(), &[Scene::entry(0, 0, 0); 2]);
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
    fs.plan(Op::Sync, 1, Answer::Error(Errno::IO));
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
