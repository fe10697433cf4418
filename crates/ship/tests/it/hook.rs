//! In the process of a writer: its hook acknowledges what was shipped, so that retention deletes nothing else.

use std::time::Duration;

use bufferedwriter::{BufferedWriter, Config};
use bufferedwriter_ship::{After, Shipper, Until};
use bufferedwriter_testkit::wait;

use crate::help::{Cloud, Host};
use crate::proxy::Fault;

fn write(host: &Host, cloud: &Cloud, after: After) -> bufferedwriter::CloseReport {
    let config = host.config().after(after).attempts(u32::MAX);
    let running = Shipper::new(config, cloud.destination()).unwrap().spawn(Until::Stopped).unwrap();
    let acknowledger = running.acknowledger();
    let config = Config::default().path(host.out()).temp(host.dir.join("tmp")).create_dirs(true);
    let config = config.on_publish(move |file| acknowledger.acknowledge(file));
    let writer = BufferedWriter::new(config).unwrap();
    for nth in 0..50 {
        writer.write(format!("{nth}\n").as_bytes()).unwrap();
        writer.flush(wait::BOUND).unwrap();
    }
    let report = writer.close(wait::BOUND).unwrap();
    assert!(running.stop(wait::BOUND).is_complete());
    report
}

#[test]
fn a_writers_files_are_acknowledged_when_they_are_shipped() {
    for after in [After::Keep, After::Delete] {
        let (host, cloud) = (Host::empty(), Cloud::new());
        cloud.proxy.plan(|at, _| (at % 5 == 3).then_some(Fault::AnswerLost));
        let report = write(&host, &cloud, after);
        assert_eq!((report.written.records, report.unacknowledged), (50, 0));
        let all: Vec<u8> =
            cloud.s3.objects().into_values().flat_map(|object| object.body).collect();
        assert_eq!(all.iter().filter(|byte| **byte == b'\n').count(), 50);
        assert!(cloud.s3.overwritten().is_empty());
        assert_eq!(host.files().is_empty(), after == After::Delete);
    }
}

#[test]
fn a_hook_fails_while_nothing_is_shipped() {
    let (host, cloud) = (Host::empty(), Cloud::new());
    cloud.proxy.plan(|_, _| Some(Fault::Status(503)));
    let config = host.config();
    let running = Shipper::new(config, cloud.destination()).unwrap().spawn(Until::Stopped).unwrap();
    let acknowledger = running.acknowledger();
    let config =
        Config::default().path(host.out()).on_publish(move |f| acknowledger.acknowledge(f));
    let writer = BufferedWriter::new(config).unwrap();
    writer.write(b"x\n").unwrap();
    writer.flush(wait::BOUND).unwrap();
    wait::until("the hook fails", || {
        writer.health().hook.is_some_and(|stall| stall.error.contains("503"))
    });
    cloud.proxy.plan(|_, _| None);
    let report = writer.close(wait::BOUND).unwrap();
    assert_eq!(report.unacknowledged, 0);
    drop(running.stop(Duration::from_secs(1)));
    assert_eq!(cloud.s3.objects().len(), 1);
}
