//! The program, killed with -9 at each request in turn. The next one leaves each file with one object.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use bufferedwriter_testkit::wait;

use crate::help::{Cloud, Host, runs};
use crate::proxy::Fault;

pub fn ship(host: &Host, cloud: &Cloud, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bufferedwriter-ship"));
    command.arg("--from").arg(host.out()).args(["--to", "s3://bucket/logs", "--allow-http"]);
    command.args(["--endpoint", &cloud.proxy.endpoint(), "--region", "us-east-1", "--once"]);
    command.args(["--multipart", "1000B", "--part", "500B", "--backoff", "1ms", "--quiet"]);
    command.args(more).stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// Runs a command until the fault kills it, or to its end.
pub fn run_until_killed(cloud: &Cloud, mut command: Command, nth: usize, fault: Fault) {
    let child: Arc<Mutex<Option<Child>>> = Arc::default();
    let victim = Arc::clone(&child);
    cloud.proxy.on_kill(move || {
        wait::until("the child is known", || victim.lock().unwrap().is_some());
        victim.lock().unwrap().as_mut().unwrap().kill().unwrap();
    });
    cloud.proxy.plan(move |at, _| (at == nth).then_some(fault));
    *child.lock().unwrap() = Some(command.spawn().unwrap());
    wait::until("the end", || {
        child.lock().unwrap().as_mut().unwrap().try_wait().unwrap().is_some()
    });
}

#[test]
fn at_each_request_before_it_and_after_it() {
    let (cloud, mut count) = (Cloud::new(), 0);
    for after in ["keep", "delete"] {
        for (nth, fault) in plans().into_iter().take(runs(usize::MAX)) {
            let host = Host::new();
            cloud.reset();
            let files = host.files();
            run_until_killed(&cloud, ship(&host, &cloud, &["--after", after]), nth, fault);
            let what = format!("{fault:?} at request {nth}, then {after}");
            for object in cloud.s3.objects() {
                assert_eq!(files.get(&object.0), Some(&object.1.body), "{what}: torn");
            }
            for (key, body) in &files {
                let is_left = host.files().contains_key(key);
                let is_there =
                    cloud.s3.objects().get(key).is_some_and(|object| object.body == *body);
                assert!(is_left || is_there, "{what}: {key} is lost");
            }
            let next = ship(&host, &cloud, &["--after", after]).status().unwrap();
            assert_eq!(next.code(), Some(0), "{what}");
            cloud.assert_has(&files, &what);
            assert_eq!(host.files().is_empty(), after == "delete", "{what}");
            count += 1;
        }
    }
    println!("runs with a kill: {count}");
}

fn plans() -> Vec<(usize, Fault)> {
    let (host, cloud) = (Host::new(), Cloud::new());
    assert!(ship(&host, &cloud, &[]).status().unwrap().success());
    let requests = cloud.proxy.seen().len();
    (0..requests)
        .flat_map(|nth| [Fault::KilledBefore, Fault::KilledAfter].map(|f| (nth, f)))
        .collect()
}
