//! Two shippers in one directory.

use std::thread;

use bufferedwriter_ship::After;

use crate::help::{Cloud, Host, runs};
use crate::proxy::Fault;

#[test]
fn two_at_the_same_time_make_each_object_once() {
    let cloud = Cloud::new();
    let mut count = 0;
    for round in 0..runs(60) {
        let host = Host::new();
        cloud.reset();
        (4..12)
            .for_each(|nth| drop(host.publish("dt=2026-11-30/hour=13", nth, 700 * nth as usize)));
        let (files, nth) = (host.files(), round);
        let fault = Fault::OF_NETWORK[round % Fault::OF_NETWORK.len()];
        cloud.proxy.plan(move |at, _| (at == nth).then_some(fault));
        let after = if round % 2 == 0 { After::Keep } else { After::Delete };
        let ship = || cloud.once(host.config().after(after));
        let reports = thread::scope(|scope| {
            let both = [scope.spawn(ship), scope.spawn(ship)];
            both.map(|one| one.join().unwrap())
        });
        let what = format!("round {round}, {fault:?}");
        assert!(reports.iter().all(|report| report.is_complete()), "{what}: {reports:?}");
        // Removes what the fault left.
        assert!(cloud.once(host.config()).is_complete());
        assert!(cloud.once(host.config()).is_complete());
        cloud.assert_has(&files, &what);
        let [first, second] = reports.map(|report| report.stats);
        assert!(first.shipped + second.shipped >= 11 - first.already - second.already, "{what}");
        if after == After::Delete {
            assert!(host.files().is_empty(), "{what}");
            assert!(first.deleted + second.deleted == 11, "{what}: {first:?} {second:?}");
        }
        count += 1;
    }
    println!("runs with two shippers: {count}");
}
