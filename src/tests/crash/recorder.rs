//! Promise: after the death of a flight recorder with `CrashProof`, the newest records come back, each once, in each
//! producer's order, up to the last one whose write returned `Ok`. The overwritten ones are counted, at each step.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use bufferedwriter_testkit::record_set::RecordSet;

use super::process::{Case, Page, Recording, THREADS};
use super::{Dirs, wait};
use crate::config::Compression;
use crate::{Durability, Io};

/// Records of each thread: more than the memory holds.
const FEW: u32 = 60;

#[test]
fn a_recorder_killed_at_each_step() {
    for recording in [Recording::Releases, Recording::Keeps] {
        let Some(dirs) = Dirs::new() else { return };
        // In the long mode each of them.
        let stride = if std::env::var_os("BUFFEREDWRITER_KILLS").is_some() { 1 } else { 9 };
        let (mut kills, mut overwritten) = (0, 0);
        for step in (1..).step_by(stride) {
            let how = (Durability::None, Io::Buffered, Compression::None, false);
            let case = Case { recording, ..dirs.case(step as u32, step, FEW, 1, how) };
            let status = wait(case.spawn("write"));
            let killed = status.signal() == Some(9);
            assert!(killed || status.code() == Some(0), "{status}");
            overwritten += recover_and_check(&dirs, &case);
            if !killed {
                break;
            }
            kills += 1;
        }
        assert!(kills > 20 && overwritten > 0, "{kills} kills, {overwritten} overwritten");
        println!("each step, {recording:?}: {kills} kills, {overwritten} overwritten");
    }
}

/// Returns how many records were overwritten.
fn recover_and_check(dirs: &Dirs, case: &Case) -> u64 {
    if case.recording == Recording::Keeps {
        // Copies, of which no recovery may make another file.
        dirs.visible().iter().for_each(|file| fs::remove_file(file).unwrap());
    }
    let status = wait(Case { step: 0, ..case.clone() }.spawn("recover"));
    assert_eq!(status.code(), Some(0), "{case:?}");
    let mut seen = RecordSet::default();
    for file in dirs.visible() {
        let added = seen.add(&fs::read(&file).unwrap());
        added.unwrap_or_else(|wrong| panic!("{}: {wrong}, {case:?}", file.display()));
        fs::remove_file(&file).unwrap();
    }
    let accepted = Page::read(&case.page());
    let overwritten = Page::overwritten(&case.page());
    for (thread, &accepted) in accepted.iter().enumerate() {
        let producer = case.producer(thread as u32);
        let last = seen.ids().filter(|id| id.producer == producer).map(|id| id.seq).max();
        // One more may have been accepted, of which nobody was told. Other threads may have
        // overwritten a large record that was the last one.
        let end = last.map_or(0, |last| last + 1);
        let is_right = end <= accepted + 1 && (end >= accepted || overwritten > 0);
        assert!(is_right, "{accepted} accepted, {end}; {case:?}");
    }
    let all: u64 = accepted.iter().sum();
    let counted = seen.records + overwritten;
    assert!((all..=all + u64::from(THREADS)).contains(&counted), "{all}, {counted}: {case:?}");
    assert!(seen.ids().all(|id| id.producer / THREADS == case.process));
    fs::remove_file(case.page()).unwrap();
    dirs.assert_clean();
    overwritten
}
