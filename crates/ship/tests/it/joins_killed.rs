//! The program that joins files, killed with -9 at each request in turn. The next one, which may be another one, leaves
//! each record in one object.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use bufferedwriter_testkit::wait;

use crate::help::{Cloud, Host, name, runs};
use crate::joins::forget;
use crate::kills::{run_until_killed, ship};
use crate::proxy::Fault;

const JOIN: [&str; 2] = ["--compact", "600B"];

fn joining(host: &Host, cloud: &Cloud, more: &[&str]) -> Command {
    ship(host, cloud, &[&JOIN[..], more].concat())
}

fn requests() -> usize {
    let (host, cloud) = (Host::of_small_files(), Cloud::new());
    assert!(joining(&host, &cloud, &[]).status().unwrap().success());
    cloud.proxy.seen().len()
}

/// An upload that begins after its shipper's death is known to nobody: the bucket's lifecycle removes it.
fn check(cloud: &Cloud, fault: Fault, files: &BTreeMap<String, Vec<u8>>, what: &str) {
    match fault {
        Fault::KilledLate => cloud.assert_once(files, what),
        _ => cloud.assert_joined(files, what),
    }
}

/// What the one after the killed one does.
#[derive(Clone, Copy, Debug)]
enum Next {
    Same,
    /// It joins nothing.
    Plain,
    /// Somebody has deleted the journal.
    Forgetful,
    /// More files have come, older and newer ones, so that groups would be others.
    More,
}

#[test]
fn at_each_request_before_it_and_after_it() {
    let (cloud, requests, mut count) = (Cloud::new(), requests(), 0);
    let kinds = [Fault::KilledBefore, Fault::KilledAfter, Fault::KilledLate];
    let nexts = [Next::Same, Next::Plain, Next::Forgetful, Next::More];
    let plans: Vec<_> = (0..requests)
        .flat_map(|nth| kinds.map(|fault| (nth, fault)))
        .flat_map(|(nth, fault)| nexts.map(|next| (nth, fault, next)))
        // What is under way when the journal is lost may come twice: see the design.
        .filter(|(_, fault, next)| !matches!((fault, next), (Fault::KilledLate, Next::Forgetful)))
        .collect();
    for index in (0..plans.len()).map(|nth| nth * 1009 % plans.len()).take(runs(150)) {
        let (nth, fault, next) = plans[index];
        let after = if index % 2 == 0 { "keep" } else { "delete" };
        let host = Host::of_small_files();
        cloud.reset();
        let mut files = host.files();
        run_until_killed(&cloud, joining(&host, &cloud, &["--after", after]), nth, fault);
        let what = format!("{fault:?} at request {nth}, then {after}, {next:?}");
        match next {
            Next::Forgetful => forget(&host),
            Next::More => {
                for (nth, hour) in [(0, 11), (40, 11), (41, 12)] {
                    host.publish(&format!("dt=2026-11-30/hour={hour}"), nth, 100);
                }
                files.extend(host.files());
            }
            Next::Same | Next::Plain => {}
        }
        let after = ["--after", after];
        let mut command = match next {
            Next::Plain => ship(&host, &cloud, &after),
            _ => joining(&host, &cloud, &after),
        };
        assert_eq!(command.status().unwrap().code(), Some(0), "{what}: {:#?}", cloud.proxy.seen());
        // Removes an upload whose number was lost.
        assert!(joining(&host, &cloud, &after).status().unwrap().success(), "{what}");
        match next {
            // Nobody knows of an upload that a lost journal named.
            Next::Forgetful => cloud.assert_once(&files, &what),
            _ => check(&cloud, fault, &files, &what),
        }
        assert_eq!(host.files().is_empty(), after[1] == "delete", "{what}");
        count += 1;
    }
    println!("runs with joined files and a kill: {count}");
}

/// A file of a group that somebody deletes after the kill is not waited for, and the others are there once.
#[test]
fn a_file_that_vanishes_after_a_kill_holds_nobody_up() {
    let (cloud, requests, mut count) = (Cloud::new(), requests(), 0);
    let kinds = [Fault::KilledBefore, Fault::KilledAfter, Fault::KilledLate];
    for (nth, fault) in
        (0..requests).flat_map(|nth| kinds.map(|fault| (nth, fault))).take(runs(usize::MAX))
    {
        let host = Host::of_small_files();
        cloud.reset();
        let mut files = host.files();
        run_until_killed(&cloud, joining(&host, &cloud, &[]), nth, fault);
        let taken = "dt=2026-11-30/hour=11/".to_owned() + &name(2);
        fs::remove_file(host.out().join(&taken)).unwrap();
        let what = format!("{fault:?} at request {nth}");
        for _ in 0..2 {
            assert!(joining(&host, &cloud, &[]).status().unwrap().success(), "{what}");
        }
        // It may be there or not.
        let is_there =
            cloud.visible().values().any(|body| String::from_utf8_lossy(body).contains("2 dt="));
        if !is_there {
            files.remove(&format!("logs/{taken}"));
        }
        check(&cloud, fault, &files, &what);
        count += 1;
    }
    println!("runs with a kill and a vanished file: {count}");
}

/// Its request is carried out after the next one has looked.
#[test]
fn a_file_that_may_have_gone_alone_is_never_joined() {
    let (host, cloud) = (Host::empty(), Cloud::new());
    host.publish("p=1", 1, 100);
    // A question for the file, one for lists, two for the condition, and then the file.
    let put = 4;
    let one = ["--concurrency", "1"];
    run_until_killed(&cloud, joining(&host, &cloud, &one), put, Fault::KilledLate);
    let killed_at = cloud.proxy.seen().last().unwrap().clone();
    assert!(killed_at.starts_with("PUT ") && killed_at.contains(&name(1)), "{killed_at}");
    host.publish("p=1", 2, 100);
    host.publish("p=1", 3, 100);
    assert!(joining(&host, &cloud, &one).status().unwrap().success());
    cloud.assert_once(&host.files(), "late");
    assert_eq!(cloud.visible().len(), 2);
}

/// The next one takes over as soon as the lock is free.
#[test]
fn one_that_waits_takes_over_from_a_killed_one() {
    let (host, cloud) = (Host::of_small_files(), Cloud::new());
    let files = host.files();
    cloud.proxy.plan(|_, _| Some(Fault::Status(503)));
    let mut first = joining(&host, &cloud, &["--attempts", "1000000"]).spawn().unwrap();
    wait::until("it works", || cloud.proxy.seen().len() > 3);
    let busy = joining(&host, &cloud, &[]).status().unwrap();
    assert_eq!(busy.code(), Some(2), "once");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bufferedwriter-ship"));
    command.arg("--from").arg(host.out()).args(["--to", "s3://bucket/logs", "--allow-http"]);
    command.args(["--endpoint", &cloud.proxy.endpoint(), "--region", "us-east-1"]);
    command.args(["--drain", "60s", "--compact", "600B", "--backoff", "1ms", "--quiet"]);
    let mut second = command.spawn().unwrap();
    assert!(second.try_wait().unwrap().is_none());
    first.kill().unwrap();
    first.wait().unwrap();
    cloud.proxy.plan(|_, _| None);
    assert_eq!(second.wait().unwrap().code(), Some(0));
    cloud.assert_joined(&files, "taken over");
}
