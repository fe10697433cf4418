//! Small files in joined objects: each record is in one object, once, whatever stores and networks do.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use bufferedwriter_ship::{Access, After, Destination, Shipper, Until};
use bufferedwriter_testkit::wait;

use crate::help::{Cloud, Host, assert_holds, destination_within, name, runs};
use crate::proxy::Fault;

fn requests() -> usize {
    let (host, cloud) = (Host::of_small_files(), Cloud::new());
    assert!(cloud.once(host.joining()).is_complete());
    cloud.proxy.seen().len()
}

#[test]
fn files_of_one_partition_share_an_object_and_no_others_do() {
    let (host, cloud) = (Host::of_small_files(), Cloud::new());
    let report = cloud.once(host.joining());
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.stats.shipped, report.stats.joined, report.stats.joined_objects), (9, 6, 2));
    cloud.assert_joined(&host.files(), "joined");
    let keys: Vec<_> = cloud.visible().into_keys().collect();
    let joined = |hour| {
        let of_hour = keys.iter().filter(|key| key.contains(hour));
        of_hour.map(|key| key.ends_with(".joined.log")).collect::<Vec<_>>()
    };
    assert_eq!(joined("hour=11").iter().filter(|is_joined| **is_joined).count(), 1, "{keys:?}");
    assert_eq!((joined("hour=11").len(), joined("hour=12")), (2, vec![true]), "{keys:?}");
    assert_eq!(joined("hour=13"), [false, false], "{keys:?}");
    assert!(keys.contains(&format!(
        "logs/dt=2026-11-30/hour=12/{}",
        name(6).replace(".log", ".joined.log")
    )));
    // With the journal nobody is asked again. Without it the store tells.
    let again = cloud.once(host.joining());
    assert_eq!((again.stats.remembered, again.stats.shipped), (9, 0));
    for shipped_by in [host.joining(), host.config()] {
        forget(&host);
        let again = cloud.once(shipped_by);
        assert_eq!((again.stats.already, again.stats.shipped), (9, 0), "{again:?}");
    }
    cloud.assert_joined(&host.files(), "again");
}

/// As somebody who cleans up.
pub fn forget(host: &Host) {
    for entry in fs::read_dir(host.dir.path()).unwrap().map(Result::unwrap) {
        if entry.file_name().to_str().unwrap().contains(".ship-") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

#[test]
fn each_fault_at_each_request() {
    let requests = requests();
    let plans = (0..requests + 2).flat_map(|nth| Fault::OF_NETWORK.map(|fault| (nth, fault)));
    // A prime step, so that a few runs have something of each.
    let (plans, cloud): (Vec<_>, _) = (plans.collect(), Cloud::new());
    let (most, mut done) = (runs(200), BTreeMap::new());
    for index in (0..plans.len()).map(|nth| nth * 1009 % plans.len()).take(most) {
        let (nth, fault) = plans[index];
        let host = Host::of_small_files();
        cloud.reset();
        cloud.proxy.plan(move |at, _| (at == nth).then_some(fault));
        let files = host.files();
        let after = if index % 2 == 0 { After::Keep } else { After::Delete };
        let report = cloud.once(host.joining().after(after));
        let what = format!("{fault:?} at request {nth}, then {after:?}");
        assert!(report.is_complete(), "{what}: {report:?} {:#?}", cloud.proxy.seen());
        assert_eq!(report.stats.shipped + report.stats.already, 9, "{what}: {report:?}");
        assert!(cloud.once(host.joining()).is_complete(), "{what}");
        cloud.assert_joined(&files, &what);
        assert_eq!(host.files().is_empty(), after == After::Delete, "{what}");
        *done.entry(format!("{fault:?}")).or_insert(0) += 1;
    }
    println!(
        "runs with joined files and one fault: {}, by kind: {done:?}",
        done.values().sum::<usize>()
    );
}

#[test]
fn answers_that_come_too_late_for_the_client() {
    let (cloud, requests) = (Cloud::new(), requests());
    let to = destination_within(&cloud.proxy, Duration::from_millis(300));
    let mut count = 0;
    for nth in (0..requests).step_by(3).take(runs(usize::MAX)) {
        for fault in [Fault::Held, Fault::HeldAfter] {
            let host = Host::of_small_files();
            cloud.reset();
            cloud.proxy.plan(move |at, _| (at == nth).then_some(fault));
            let report = Shipper::new(host.joining(), to.clone()).unwrap().once();
            let what = format!("{fault:?} at request {nth}");
            assert!(report.is_complete(), "{what}: {report:?}");
            assert!(cloud.once(host.joining()).is_complete());
            cloud.assert_joined(&host.files(), &what);
            count += 1;
        }
    }
    println!("runs with answers after the timeout: {count}");
}

#[test]
fn files_that_come_meanwhile_are_in_one_object_each() {
    let (host, cloud) = (Host::of_small_files(), Cloud::new());
    cloud
        .proxy
        .plan(|at, _| (at % 7 == 6).then_some(Fault::OF_NETWORK[at / 7 % Fault::OF_NETWORK.len()]));
    let config =
        host.joining().compact_age(Duration::from_millis(20)).rescan(Duration::from_millis(50));
    let shipper = Shipper::new(config, cloud.destination()).unwrap();
    let running = shipper.spawn(Until::Stopped).unwrap();
    for nth in 10..60 {
        host.publish(&format!("dt=2026-12-01/hour={}", nth % 3), nth, 80);
        if nth % 10 == 0 {
            wait::until("some are shipped", || {
                let stats = running.stats();
                stats.shipped + stats.already + 5 > u64::from(nth) - 10
            });
        }
    }
    let report = running.stop(wait::BOUND);
    assert!(report.is_complete(), "{report:?}");
    assert!(report.stats.joined_objects > 3 && report.stats.joined > 10, "{report:?}");
    // Removes what the faults left.
    cloud.proxy.plan(|_, _| None);
    assert!(cloud.once(host.joining()).is_complete());
    cloud.assert_joined(&host.files(), "followed");
}

#[test]
fn a_last_small_file_waits_no_longer_than_its_age() {
    let (host, cloud) = (Host::empty(), Cloud::new());
    let config = host.joining().compact_age(Duration::from_millis(100));
    let shipper = Shipper::new(config, cloud.destination()).unwrap();
    let running = shipper.spawn(Until::Stopped).unwrap();
    host.publish("", 1, 10);
    wait::until("it is shipped", || cloud.visible().len() == 1);
    assert_eq!(running.stats().joined, 0);
    host.publish("", 2, 10);
    host.publish("", 3, 10);
    wait::until("they are shipped", || running.stats().shipped == 3);
    assert!(running.stop(wait::BOUND).is_complete());
    cloud.assert_joined(&host.files(), "at their age");
}

#[test]
fn two_shippers_never_join_at_once() {
    let (host, cloud) = (Host::of_small_files(), Cloud::new());
    for [one, other] in [
        [host.joining(), host.joining()],
        [host.joining(), host.config()],
        [host.config(), host.joining()],
    ] {
        let first = Shipper::new(one, cloud.destination()).unwrap();
        let error = Shipper::new(other.clone(), cloud.destination()).unwrap_err();
        assert!(error.is_busy(), "{error}");
        assert!(first.once().is_complete());
        drop(Shipper::new(other, cloud.destination()).unwrap());
    }
    cloud.assert_joined(&host.files(), "one after the other");
}

/// Threads that try again and again, as programs do.
#[test]
fn shippers_that_wait_for_each_other_make_each_record_once() {
    let (cloud, mut count) = (Cloud::new(), 0);
    for round in 0..runs(30) {
        let host = Host::of_small_files();
        cloud.reset();
        let (files, fault) = (host.files(), Fault::OF_NETWORK[round % Fault::OF_NETWORK.len()]);
        cloud.proxy.plan(move |at, _| (at == round).then_some(fault));
        let ship = |config: bufferedwriter_ship::Config| {
            let mut shipper = None;
            wait::until("the directory is free", || {
                shipper = Shipper::new(config.clone(), cloud.destination()).ok();
                shipper.is_some()
            });
            shipper.unwrap().once()
        };
        let reports = thread::scope(|scope| {
            let after = if round % 2 == 0 { After::Keep } else { After::Delete };
            let configs = [host.joining().after(after), host.config(), host.joining().after(after)];
            let all = configs.map(|config| scope.spawn(|| ship(config)));
            all.map(|one| one.join().unwrap())
        });
        assert!(reports.iter().all(|report| report.is_complete()), "{round}: {reports:?}");
        assert!(cloud.once(host.joining()).is_complete());
        cloud.assert_joined(&files, &format!("round {round}, {fault:?}"));
        count += 1;
    }
    println!("runs with three shippers, of which two join: {count}");
}

#[test]
fn a_header_stands_once_and_a_file_with_another_one_goes_alone() {
    let (host, cloud) = (Host::empty(), Cloud::new());
    let bodies = ["h\n1\ne\n", "h\n2\ne\n", "x\n3\ne\n", "h\n4\ne\n", "h\n5\n"];
    for (nth, body) in (1..).zip(bodies) {
        let path = host.publish("p=1", nth, 0);
        fs::write(path, body).unwrap();
    }
    let report = cloud.once(host.joining().header("h\n").footer("e\n"));
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.stats.joined, report.warnings.len()), (3, 2), "{report:?}");
    let mut found: Vec<_> =
        cloud.visible().into_values().map(|body| String::from_utf8(body).unwrap()).collect();
    found.sort();
    assert_eq!(found, ["h\n1\n2\n4\ne\n", "h\n5\n", "x\n3\ne\n"]);
    // A header that nobody has named.
    let (host, cloud) = (Host::empty(), Cloud::new());
    (1..4).for_each(|nth| fs::write(host.publish("p=1", nth, 0), format!("h\n{nth}\n")).unwrap());
    let report = cloud.once(host.joining());
    assert_eq!((report.stats.joined, cloud.visible().len()), (0, 3), "{report:?}");
    assert!(report.warnings[0].contains("begin with the same line"), "{report:?}");
}

#[test]
fn compressed_files_share_one_stream_and_a_damaged_one_goes_alone() {
    for extension in ["json.gz", "json.zst"] {
        let (host, cloud) = (Host::empty(), Cloud::new());
        for nth in 1..=4_u32 {
            let path = host.publish("p=1", nth, 0);
            let text = format!("line of {nth}\n");
            let body = match extension {
                "json.gz" => {
                    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Default::default());
                    gzip.write_all(text.as_bytes()).unwrap();
                    gzip.finish().unwrap()
                }
                _ => zstd::encode_all(text.as_bytes(), 1).unwrap(),
            };
            let body = if nth == 2 { body[..body.len() - 1].to_vec() } else { body };
            fs::write(&path, body).unwrap();
            fs::rename(&path, path.with_extension(extension)).unwrap();
        }
        let report = cloud.once(host.joining().compact(10_000));
        assert!(report.is_complete() && report.warnings[0].contains("damaged"), "{report:?}");
        let mut visible = cloud.visible().into_iter();
        let (key, joined) = visible.next().unwrap();
        assert!(key.ends_with(&format!("-1.joined.{extension}")), "{key}");
        let mut text = String::new();
        match extension {
            // The first member alone.
            "json.gz" => flate2::bufread::GzDecoder::new(&joined[..]).read_to_string(&mut text),
            _ => zstd::Decoder::new(&joined[..]).unwrap().single_frame().read_to_string(&mut text),
        }
        .unwrap();
        assert_eq!(text, "line of 1\nline of 3\nline of 4\n");
        let (key, damaged) = visible.next().unwrap();
        assert_eq!(damaged, host.files()[&key], "as it is");
    }
}

#[test]
fn joined_files_go_after_the_compare_and_at_their_age() {
    let (host, cloud) = (Host::of_small_files(), Cloud::new());
    let files = host.files();
    cloud.proxy.plan(|_, request| {
        let is_compare = request.method == "HEAD" && request.target.contains("joined");
        is_compare.then_some(Fault::Status(500))
    });
    let report = cloud.once(host.joining().after(After::Delete).attempts(3));
    assert_eq!((report.stats.deleted, report.left.len()), (3, 6), "{report:?}");
    cloud.proxy.plan(|_, _| None);
    let long = After::KeepFor(Duration::from_secs(3600));
    assert_eq!(cloud.once(host.joining().after(long)).stats.deleted, 0);
    for config in [host.joining(), host.config()] {
        // Their object has vanished: it is made again, of the same files.
        cloud.s3.remove(|key| key.contains("joined.log") && !key.contains("/_"));
        forget(&host);
        assert!(cloud.once(config).is_complete());
    }
    let report = cloud.once(host.config().after(After::KeepFor(Duration::ZERO)));
    assert_eq!((report.stats.deleted, host.files().len()), (6, 0), "{report:?}");
    cloud.assert_joined(&files, "deleted files");
}

#[test]
fn a_directory_holds_joined_objects_too() {
    let host = Host::of_small_files();
    let store = host.dir.join("store");
    let to = Destination::open(&format!("{}/logs", store.display()), &Access::default()).unwrap();
    let once = |config| Shipper::new(config, to.clone()).unwrap().once();
    assert_eq!(once(host.joining()).stats.joined, 6);
    forget(&host);
    let again = once(host.joining());
    assert_eq!((again.stats.already, again.stats.shipped), (9, 0), "{again:?}");
    let mut objects = BTreeMap::new();
    crate::help::collect(&store.join("logs"), "logs", &mut objects);
    objects.retain(|key, _| !key.contains("/_"));
    assert_holds(&objects, &host.files(), "in a directory");
    assert_eq!(objects.len(), 5);
}

#[test]
fn an_object_that_differs_is_told_and_nothing_is_touched() {
    let (host, cloud) = (Host::of_small_files(), Cloud::new());
    let key = format!("logs/dt=2026-11-30/hour=12/{}", name(6).replace(".log", ".joined.log"));
    cloud.s3.set(&key, b"of somebody else");
    let report = cloud.once(host.joining().after(After::Delete));
    assert_eq!((report.stats.conflicts, host.files().len()), (2, 2), "{report:?}");
    assert_eq!(cloud.s3.objects()[&key].body, b"of somebody else");
}
