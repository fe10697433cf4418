//! What becomes of files, and what is told of those that can't be shipped.

use std::fs;
use std::time::{Duration, SystemTime};

use bufferedwriter_ship::{After, Shipper};

use crate::help::{Cloud, Host, name};
use crate::proxy::Fault;

#[test]
fn files_go_after_the_compare_and_only_then() {
    let (host, cloud) = (Host::new(), Cloud::new());
    let files = host.files();
    // No compare succeeds, though each upload does.
    cloud.proxy.plan(|_, request| (request.method == "HEAD").then_some(Fault::Status(500)));
    let report = cloud.once(host.config().after(After::Delete).attempts(3));
    assert_eq!((report.stats.deleted, host.files().len()), (0, 3), "{report:?}");
    cloud.proxy.plan(|_, _| None);
    let report = cloud.once(host.config().after(After::Delete));
    assert_eq!((report.stats.deleted, host.files().len()), (3, 0), "{report:?}");
    cloud.assert_has(&files, "deleted files");
}

#[test]
fn a_file_that_differs_from_its_object_is_told_and_neither_is_touched() {
    let (host, cloud) = (Host::new(), Cloud::new());
    let key = format!("logs/dt=2026-11-30/hour=12/{}", name(3));
    let same_length: Vec<u8> = host.files()[&key].iter().map(|byte| byte ^ 1).collect();
    for body in [&b"other"[..], &same_length] {
        cloud.reset();
        cloud.s3.set(&key, body);
        let report = cloud.once(host.config().after(After::Delete));
        assert!(!report.is_complete());
        assert_eq!((report.stats.conflicts, report.conflicts.len()), (1, 1), "{report:?}");
        assert!(report.conflicts[0].file.ends_with(name(3)));
        assert_eq!(cloud.s3.objects()[&key].body, body);
        assert!(host.files().contains_key(&key), "the file is gone");
        host.publish("dt=2026-11-30/hour=11", 1, 100);
    }
}

#[test]
fn an_object_that_appears_between_question_and_upload_is_not_replaced() {
    // The question at the beginning says that nothing is there, which is not true.
    for nth in [2, 3] {
        let (host, cloud) = (Host::new(), Cloud::new());
        let key = format!("logs/dt=2026-11-30/hour=12/{}", name(nth));
        cloud.s3.set(&key, b"of somebody else");
        let target = name(nth);
        cloud.proxy.plan(move |at, request| {
            let is_question = request.method == "HEAD" && request.target.contains(&target);
            (at < 3 && is_question).then_some(Fault::Status(404))
        });
        let report = cloud.once(host.config());
        assert_eq!(report.stats.conflicts, 1, "{report:?}");
        assert_eq!(cloud.s3.objects()[&key].body, b"of somebody else");
        assert_eq!((cloud.s3.overwritten().len(), cloud.s3.uploads()), (0, 0));
    }
}

#[test]
fn a_file_goes_at_its_age_and_not_before() {
    let (host, cloud) = (Host::new(), Cloud::new());
    let files = host.files();
    let long = After::KeepFor(Duration::from_secs(3600));
    assert!(cloud.once(host.config().after(long)).is_complete());
    let report = cloud.once(host.config().after(long));
    assert_eq!((report.stats.remembered, report.stats.deleted), (3, 0), "{report:?}");
    let report = cloud.once(host.config().after(After::KeepFor(Duration::ZERO)));
    assert_eq!((report.stats.deleted, report.stats.already), (3, 0), "{report:?}");
    assert!(host.files().is_empty());
    cloud.assert_has(&files, "old files");
    // A file that was written before the clock was set back.
    let path = host.publish("p=1", 4, 10);
    let later = SystemTime::now() + Duration::from_secs(365 * 86400);
    fs::File::options().write(true).open(path).unwrap().set_modified(later).unwrap();
    let report = cloud.once(host.config().after(After::KeepFor(Duration::ZERO)));
    assert_eq!((report.stats.shipped, report.stats.deleted), (1, 0), "{report:?}");
    assert_eq!(host.files().len(), 1);
}

#[test]
fn a_file_whose_object_has_vanished_is_not_deleted_on_the_journals_word() {
    let (host, cloud) = (Host::new(), Cloud::new());
    assert!(cloud.once(host.config()).is_complete());
    cloud.s3.clear();
    let files = host.files();
    let report = cloud.once(host.config().after(After::Delete));
    assert_eq!((report.stats.shipped, report.stats.deleted), (3, 3), "{report:?}");
    cloud.assert_has(&files, "shipped again");
}

#[test]
fn a_file_that_the_manifest_knows_with_another_length_stays() {
    let (host, cloud) = (Host::new(), Cloud::new());
    let line = |nth, hour, bytes| {
        let path = format!("dt=2026-11-30/hour={hour}/{}", name(nth));
        format!("{{\"id\":\"x\",\"path\":\"{path}\",\"bytes\":{bytes},\"records\":5}}\n")
    };
    let length = |nth: u32| {
        host.files().iter().find(|(key, _)| key.ends_with(&name(nth))).unwrap().1.len() as u64
    };
    let manifest = host.dir.join("m.ndjson");
    let lines = [line(1, 11, length(1)), line(2, 12, length(2)), line(3, 12, 4)];
    fs::write(&manifest, lines.concat()).unwrap();
    let report = cloud.once(host.config().manifest(manifest));
    assert_eq!((report.stats.shipped, report.stats.records), (2, 10), "{report:?}");
    assert!(report.conflicts[0].reason.starts_with("the manifest says 4 bytes"), "{report:?}");
}

#[test]
fn only_the_files_that_are_named_go() {
    let (host, cloud) = (Host::new(), Cloud::new());
    let path = host.out().join("dt=2026-11-30/hour=12").join(name(3));
    let shipper = || Shipper::new(host.config(), cloud.destination()).unwrap();
    assert!(shipper().only([path]).unwrap().once().is_complete());
    assert_eq!(cloud.s3.objects().len(), 1);
    let error = shipper().only(["/etc/passwd".into()]).unwrap_err().to_string();
    assert!(error.contains("it is not in the directory"), "{error}");
    let error = shipper().only([host.out().join("x")]).unwrap_err().to_string();
    assert!(error.contains("no name of a finished file"), "{error}");
    let report = shipper().only([host.out().join(name(9))]).unwrap().once();
    assert_eq!(report.left[0].reason, "it is not there");
}

#[test]
fn a_deadline_lists_what_is_left() {
    let (host, cloud) = (Host::new(), Cloud::new());
    cloud.proxy.plan(|_, _| Some(Fault::Lost));
    let shipper = Shipper::new(host.config().attempts(u32::MAX), cloud.destination()).unwrap();
    let report = shipper.drain(Duration::from_millis(200));
    assert_eq!((report.left.len(), report.stats.waiting), (3, 3), "{report:?}");
    assert!(!report.is_complete());
}

#[test]
fn a_directory_that_can_not_be_listed_is_no_success() {
    let (host, cloud) = (Host::empty(), Cloud::new());
    let shipper = Shipper::new(host.config(), cloud.destination()).unwrap();
    fs::remove_dir(host.out()).unwrap();
    let report = shipper.once();
    assert!(!report.is_complete() && report.error.is_some(), "{report:?}");
}
