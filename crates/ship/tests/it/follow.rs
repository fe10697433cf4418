//! A shipper beside a writer: what appears is shipped at once.

use std::fs;
use std::time::Duration;

use bufferedwriter_ship::{Shipper, Until};
use bufferedwriter_testkit::wait;

use crate::help::{Cloud, Host};

#[test]
fn files_of_new_and_old_partitions_are_shipped_long_before_the_next_list() {
    let (host, cloud) = (Host::new(), Cloud::new());
    let config = host.config().rescan(Duration::from_secs(3600));
    let running = Shipper::new(config, cloud.destination()).unwrap().spawn(Until::Stopped).unwrap();
    wait::until("the first files", || cloud.s3.objects().len() == 3);
    host.publish("dt=2026-11-30/hour=12", 4, 10);
    wait::until("a file in a directory that was there", || cloud.s3.objects().len() == 4);
    for nth in 5..40 {
        host.publish(&format!("dt=2026-12-01/hour={nth}/deep"), nth, 10);
    }
    wait::until("files in new directories", || cloud.s3.objects().len() == 39);
    // A temp file, a hidden directory, and a name of others.
    fs::create_dir(host.out().join(".hidden")).unwrap();
    fs::write(host.out().join(".hidden").join(crate::help::name(50)), "x\n").unwrap();
    fs::write(host.out().join("notes.txt"), "x\n").unwrap();
    host.publish("", 41, 10);
    wait::until("a file at the top", || cloud.s3.objects().len() == 40);
    let stats = running.stats();
    let report = running.stop(wait::BOUND);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.stats.shipped, stats.conflicts), (40, 0));
    let mut files = host.files();
    files.retain(|key, _| !key.contains("hidden") && !key.ends_with(".txt"));
    cloud.assert_has(&files, "followed");
}

#[test]
fn a_stop_ships_what_is_there() {
    let (host, cloud) = (Host::empty(), Cloud::new());
    let config = host.config().rescan(Duration::from_secs(3600));
    let running = Shipper::new(config, cloud.destination()).unwrap().spawn(Until::Stopped).unwrap();
    (1..20).for_each(|nth| drop(host.publish("x=1", nth, 10)));
    let report = running.stop(wait::BOUND);
    assert_eq!(report.stats.shipped, 19, "{report:?}");
    cloud.assert_has(&host.files(), "stopped");
}
