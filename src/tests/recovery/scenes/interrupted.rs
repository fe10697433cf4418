//! Recoveries that fail, or die, at each of their calls, and two at once: the next one makes up for it.

use std::collections::BTreeMap;
use std::fs;

use bufferedwriter_testkit::os::removes_open_files;

use crate::base::sys::Errno;

use super::{Left, STAMP, Scene};
use crate::file::state_file::format::{ENTRY_BYTES, HEADER_BYTES};
use crate::fs::real::RealFs;
use crate::naming::{self, Names, Stamp};
use crate::report::recovery::Recovery;
use crate::tests::fs::faulty::{Answer, Faulty, Op};
use crate::tests::recovery::images::header;

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
    fs::write(scene.state(), vec![1; HEADER_BYTES + ENTRY_BYTES]).unwrap();
    let state = naming::aside(&scene.names.state());
    fs::hard_link(scene.state(), scene.temp.join(&state)).unwrap();
    scene.recover();
    scene.assert_temp(&[scene.aside(1), state]);
}

/// A scene with all that there can be.
fn everything() -> Scene {
    everything_in(Scene::new(), "")
}

/// The same, of a writer whose files appear in `below`.
fn everything_in(scene: Scene, below: &str) -> Scene {
    let path = scene.path.join(below);
    fs::create_dir_all(&path).unwrap();
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
    fs::rename(scene.temp_path(4, 4), path.join(scene.names.visible(Stamp(STAMP + 50), 4, 4)))
        .unwrap();
    let visible = path.join(scene.names.visible(Stamp(STAMP + 51), 5, 5));
    fs::hard_link(scene.temp_path(5, 5), visible).unwrap();
    fs::hard_link(scene.temp_path(6, 6), scene.temp.join(scene.aside(6))).unwrap();
    fs::write(scene.temp_path(1, 77), "unnamed").unwrap();
    // A second instance, whose state file is damaged, and a third one, that never began.
    let broken = Names { instance: 2, ..scene.names.clone() };
    fs::write(scene.temp.join(broken.state()), vec![7; HEADER_BYTES + ENTRY_BYTES]).unwrap();
    fs::write(scene.temp.join(broken.temp(Stamp(STAMP), 0, 0)), "of the broken one").unwrap();
    let begun = Names { instance: 3, ..scene.names.clone() };
    // A fourth one died while it tried its directories. A probe that is not empty is none.
    let probing = Names { instance: 4, ..scene.names.clone() };
    let mut state = header(Scene::same_boot(), &scene.path, None, &probing, 1).unwrap();
    state.extend([0; ENTRY_BYTES]);
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
    clean_of(everything())
}

fn clean_of(scene: Scene) -> BTreeMap<String, String> {
    scene.recover();
    let clean = scene.snapshot();
    let probes = clean.iter().filter(|(name, _)| name.ends_with(".pb1") || name.ends_with(".pb2"));
    assert!(probes.map(|(_, contents)| &**contents).eq(["not a probe"]), "{clean:?}");
    assert!(scene.recover().is_empty() && scene.snapshot() == clean);
    clean
}

/// Runs a recovery of `everything` with the k-th call failing, for each k, and a second one that goes well.
fn each_call(sticky: bool, fault: Answer) {
    each_call_in(everything, "", sticky, fault);
    let below = "dt=2026-11-22/h=19";
    let partitioned = || everything_in(Scene::partitioned("dt=%F/h=%H", "UTC"), below);
    each_call_in(partitioned, &format!("{below}/"), sticky, fault);
}

fn each_call_in(left: impl Fn() -> Scene, below: &str, sticky: bool, fault: Answer) {
    let clean = clean_of(left());
    let visible = |worker: usize| format!("path/{below}visible w{worker}-{worker}");
    assert!(clean.contains_key(&visible(0)) && clean.contains_key(&visible(4)), "{clean:?}");
    for k in 1.. {
        let (scene, fs) = (left(), Faulty::default());
        fs.plan_any(k, sticky, fault);
        let first = scene.recover_with(&fs, false);
        let calls = fs.all_calls();
        let Some(op) = calls.get(k - 1) else {
            assert!(first.errors.is_empty() && k > 60, "{k}: {first:?}");
            return;
        };
        scene.recover();
        let mut found = scene.snapshot();
        let whole = found.contains_key(&visible(0));
        if *op == Op::Sync && !whole {
            // It is set aside: the one way in which a fault may show in the end.
            let aside = format!("temp/{}", scene.aside(0).to_string_lossy());
            let contents = found.remove(&aside).expect("set aside");
            found.insert(visible(0), contents);
        }
        if *op == Op::Sync && !found.contains_key(&visible(1)) {
            let aside = format!("temp/{}", scene.aside(1).to_string_lossy());
            let contents = found.remove(&aside).expect("set aside");
            found.insert(visible(1), contents);
        }
        // A damaged state file alone has pages of output.
        let differ = |(name, is): &(&String, &String)| clean.get(*name) != Some(*is);
        let more: Vec<_> = found.iter().filter(differ).map(|(name, _)| name).collect();
        let less: Vec<_> = clean.keys().filter(|name| !found.contains_key(*name)).collect();
        assert!(more.is_empty() && less.is_empty(), "call {k}, {op:?}: {more:?}, {less:?}");
        assert!(scene.recover().is_empty(), "call {k}, {op:?}: something is left");
    }
}

#[test]
fn whichever_call_fails_once_the_next_recovery_makes_up_for_it() {
    each_call(false, Answer::Error(Errno::NOSPC));
}

#[test]
fn whichever_answer_is_lost_the_next_recovery_makes_up_for_it() {
    each_call(false, Answer::DoneBut(Errno::IO));
}

#[test]
fn killed_at_any_call_the_next_recovery_goes_on() {
    each_call(true, Answer::Error(Errno::IO));
}

#[test]
fn of_two_recoveries_at_once_each_instance_is_one_s() {
    // The other one may have opened a state file before it was removed.
    if !removes_open_files() {
        return;
    }
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
    fs.plan(Op::Facts, 3, Answer::Absent);
    let recovery = scene.recover_with(&fs, false);
    assert!(recovery.is_empty() && scene.snapshot() == before, "{recovery:?}");
    assert_eq!((fs.calls(Op::Lock), fs.calls(Op::Facts)), (1, 3));
}
