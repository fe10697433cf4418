//! Each fault at each request in turn: afterwards each file has one object, and what is told is true.

use std::collections::BTreeMap;
use std::time::Duration;

use bufferedwriter_ship::Shipper;

use crate::help::{Cloud, Host, runs};
use crate::proxy::Fault;

/// The number of requests of a run without faults.
fn requests() -> usize {
    let (host, cloud) = (Host::new(), Cloud::new());
    assert!(cloud.once(host.config()).is_complete());
    cloud.proxy.seen().len()
}

#[test]
fn each_fault_at_each_request() {
    let requests = requests();
    let (most, mut done) = (runs(usize::MAX), BTreeMap::new());
    let plans = (0..requests + 2).flat_map(|nth| Fault::OF_NETWORK.map(|fault| (nth, fault)));
    let cloud = Cloud::new();
    for (nth, fault) in plans.take(most) {
        let host = Host::new();
        cloud.reset();
        cloud.proxy.plan(move |at, _| (at == nth).then_some(fault));
        let files = host.files();
        let report = cloud.once(host.config());
        let what = format!("{fault:?} at request {nth}");
        assert!(report.is_complete(), "{what}: {report:?} {:#?}", cloud.proxy.seen());
        assert_eq!(report.stats.shipped + report.stats.already, 3, "{what}: {report:?}");
        // Removes an upload whose number was lost.
        assert!(cloud.once(host.config()).is_complete(), "{what}");
        cloud.assert_has(&files, &what);
        *done.entry(format!("{fault:?}")).or_insert(0) += 1;
    }
    println!("runs with one fault: {}, by kind: {done:?}", done.values().sum::<usize>());
}

#[test]
fn two_faults_in_a_row_of_every_pair() {
    let requests = requests();
    let (most, mut count) = (runs(300), 0);
    let kinds = Fault::OF_NETWORK;
    let pairs = kinds.iter().flat_map(|first| kinds.map(|second| (*first, second)));
    let plans = (0..requests).flat_map(|nth| pairs.clone().map(move |pair| (nth, pair)));
    // A prime step, so that a few runs have something of each.
    let (plans, cloud): (Vec<_>, _) = (plans.collect(), Cloud::new());
    for index in (0..plans.len()).map(|nth| nth * 1009 % plans.len()).take(most) {
        let (nth, (first, second)) = plans[index];
        let host = Host::new();
        cloud.reset();
        cloud.proxy.plan(move |at, _| match at.checked_sub(nth) {
            Some(0) => Some(first),
            Some(1) => Some(second),
            _ => None,
        });
        let files = host.files();
        let report = cloud.once(host.config());
        let what = format!("{first:?}, {second:?} at request {nth}");
        assert!(report.is_complete(), "{what}: {report:?}");
        assert!(cloud.once(host.config()).is_complete(), "{what}");
        cloud.assert_has(&files, &what);
        count += 1;
    }
    println!("runs with two faults: {count}");
}

#[test]
fn a_store_that_is_away_leaves_everything_and_tells() {
    let (host, cloud) = (Host::new(), Cloud::new());
    cloud.proxy.plan(|_, _| Some(Fault::Status(503)));
    let report = cloud.once(host.config().attempts(3));
    assert!(!report.is_complete());
    assert_eq!((report.left.len(), report.stats.waiting), (3, 0));
    assert!(report.left.iter().all(|left| left.reason == "head: 503"), "{:?}", report.left);
    assert_eq!((report.stats.shipped, report.stats.throttled), (0, 9));
    cloud.proxy.plan(|_, _| None);
    assert!(cloud.once(host.config()).is_complete());
    cloud.assert_has(&host.files(), "after that");
}

/// Else ten thousand hosts would send as many requests as they have files.
#[test]
fn a_store_that_is_away_is_not_asked_by_each_file() {
    let (host, cloud) = (Host::empty(), Cloud::new());
    (0..60).for_each(|nth| drop(host.publish("", nth, 10)));
    cloud.proxy.plan(|_, _| Some(Fault::Status(503)));
    let config = host.config().backoff_max(Duration::from_secs(30));
    let report = Shipper::new(config, cloud.destination()).unwrap().drain(Duration::from_secs(1));
    let asked = cloud.proxy.seen().len();
    assert!(asked < 50 && report.left.len() == 60, "{asked} requests: {report:?}");
    cloud.proxy.plan(|_, _| None);
    assert!(cloud.once(host.config()).is_complete());
    cloud.assert_has(&host.files(), "after that");
}
