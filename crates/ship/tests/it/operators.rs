//! What goes wrong on hosts: rights, names, journals, signals, services that are away or lack something.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use bufferedwriter_ship::{After, Shipper, Until};
use bufferedwriter_testkit::wait;

use crate::help::{Cloud, Host, name};
use crate::kills::ship;
use crate::proxy::Fault;
use crate::s3::Ignores;

#[test]
fn a_service_that_ignores_conditions_is_refused_before_any_file_is_sent() {
    for (ignores, told, sent) in
        [(Ignores::All, "ignores If-None-Match", 0), (Ignores::OfParts, "in parts", 2)]
    {
        let (host, cloud) = (Host::new(), Cloud::new());
        cloud.s3.ignore(ignores);
        let report = cloud.once(host.config());
        let error = report.error.as_ref().expect("an error").to_string();
        assert!(error.contains(told) && !report.is_complete(), "{report:?}");
        assert!(cloud.s3.objects().len() <= sent, "{ignores:?}: {:?}", cloud.s3.objects().keys());
        assert!(report.left.len() >= 3 - sent, "{report:?}");
        // In one request all goes well there.
        if ignores == Ignores::OfParts {
            assert!(cloud.once(host.config().multipart(10_000)).is_complete());
            cloud.assert_has_bytes(&host.files(), "in one request");
        }
    }
}

#[test]
fn a_run_ends_when_nothing_succeeds_however_many_files_there_are() {
    let (host, cloud) = (Host::empty(), Cloud::new());
    (0..60).for_each(|nth| drop(host.publish("p=1", nth, 10)));
    for fault in [Fault::Status(403), Fault::Lost] {
        for config in [host.config(), host.joining()] {
            cloud.proxy.plan(move |_, _| Some(fault));
            let report = cloud.once(config.attempts(10));
            let asked = cloud.proxy.seen().len();
            assert!(asked < 40 && report.left.len() == 60, "{asked} requests: {report:?}");
            let error = report.error.unwrap().to_string();
            assert!(error.contains("s3://bucket/logs: nothing succeeds"), "{error}");
        }
    }
    cloud.proxy.plan(|_, _| None);
    assert!(cloud.once(host.config()).is_complete());
}

#[test]
fn partitions_without_files_go_and_come_back() {
    let (host, cloud) = (Host::empty(), Cloud::new());
    let config = host.config().after(After::Delete).rescan(Duration::from_millis(50));
    let shipper = Shipper::new(config.clone(), cloud.destination()).unwrap();
    let running = shipper.spawn(Until::Stopped).unwrap();
    fs::create_dir_all(host.out().join("of=others")).unwrap();
    for nth in 1..=3 {
        host.publish("dt=1/hour=2", nth, 10);
        wait::until("it is shipped", || cloud.s3.objects().len() == nth as usize);
        wait::until("its directory is gone", || !host.out().join("dt=1").exists());
    }
    assert!(running.stop(wait::BOUND).is_complete());
    host.publish("dt=1/hour=2", 4, 10);
    let other = host.publish("dt=1/hour=3", 5, 10);
    fs::rename(&other, other.with_file_name("notes.txt")).unwrap();
    assert!(cloud.once(config).is_complete());
    assert!(!host.out().join("dt=1/hour=2").exists());
    assert!(
        host.out().join("dt=1/hour=3/notes.txt").exists() && host.out().join("of=others").exists()
    );
}

#[test]
fn odd_names_are_keys_and_names_that_are_no_text_are_told() {
    let (host, cloud) = (Host::empty(), Cloud::new());
    let dir = "k=\u{e4} %2F?#[b]*";
    for (nth, prefix) in [(1, "a b%20"), (2, "\u{fc}?#"), (3, "&=+"), (4, "&=+")] {
        let path = host.publish(dir, nth, 10);
        fs::rename(&path, path.with_file_name(format!("{prefix}{}", name(nth)))).unwrap();
    }
    let path = host.publish("p=1", 5, 10);
    let odd = [&b"\xff"[..], name(5).as_bytes()].concat();
    fs::rename(&path, path.with_file_name(std::ffi::OsStr::from_bytes(&odd))).unwrap();
    for config in [host.config(), host.joining()] {
        cloud.reset();
        crate::joins::forget(&host);
        let report = cloud.once(config.clone());
        assert_eq!((report.stats.shipped, report.stats.conflicts), (4, 1), "{report:?}");
        assert!(report.conflicts[0].reason.contains("no text"), "{report:?}");
        crate::joins::forget(&host);
        let again = cloud.once(config);
        assert_eq!((again.stats.already, again.stats.shipped), (4, 0), "{again:?}");
        let bytes: usize = cloud.visible().values().map(Vec::len).sum();
        let of_text =
            crate::help::paths(&host.out()).into_iter().filter(|path| path.to_str().is_some());
        let expected: usize = of_text.map(|path| fs::read(path).unwrap().len()).sum();
        assert_eq!(bytes, expected);
    }
}

#[test]
fn files_that_vanish_between_list_and_upload_are_counted() {
    for joins in [false, true] {
        let (host, cloud) = (Host::empty(), Cloud::new());
        (1..=20).for_each(|nth| drop(host.publish("p=1", nth, 10)));
        let out = host.out();
        cloud.proxy.plan(move |at, _| {
            if at == 0 {
                (1..=15).for_each(|nth| fs::remove_file(out.join("p=1").join(name(nth))).unwrap());
            }
            None
        });
        let report = cloud.once(if joins { host.joining() } else { host.config() });
        assert!(report.is_complete() && report.stats.gone >= 11, "{report:?}");
        assert_eq!(report.stats.gone + report.stats.shipped, 20, "{report:?}");
        assert!(host.files().len() == 5 && report.stats.shipped <= 9);
    }
}

#[test]
fn a_signal_shortens_a_drain() {
    let (host, cloud) = (Host::new(), Cloud::new());
    cloud.proxy.plan(|_, _| Some(Fault::Status(503)));
    for signal in ["-TERM", "-INT"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bufferedwriter-ship"));
        command.arg("--from").arg(host.out()).args(["--to", "s3://bucket/logs", "--allow-http"]);
        command.args(["--endpoint", &cloud.proxy.endpoint(), "--region", "us-east-1"]);
        command.args(["--drain", "1h", "--stop-within", "100ms", "--backoff", "1ms"]);
        let child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let before = cloud.proxy.seen().len();
        wait::until("it works", || cloud.proxy.seen().len() > before + 3);
        assert!(
            Command::new("kill")
                .args([signal, &child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(
            String::from_utf8_lossy(&output.stderr).matches("left: ").count() == 3,
            "{output:?}"
        );
    }
}

#[test]
fn a_journal_that_can_not_be_is_an_error_with_its_name() {
    let (host, cloud) = (Host::new(), Cloud::new());
    let open = |journal: &str| {
        Shipper::new(host.config().journal(host.dir.join(journal)), cloud.destination())
    };
    let error = open("none/j").unwrap_err().to_string();
    assert!(error.contains("open the journal") && error.contains("none/j"), "{error}");
    fs::create_dir(host.dir.join("d")).unwrap();
    assert!(open("d").unwrap_err().to_string().contains("/d: "));
    fs::write(host.dir.join("j"), "{\"destination\":\"s3://other\"}\n").unwrap();
    let error = open("j").unwrap_err().to_string();
    assert!(error.contains("of another destination, s3://other"), "{error}");
    // Bytes of any kind say nothing.
    fs::write(host.dir.join("j"), [b"\x00\xff{\n".repeat(100), b"{\"done\":".to_vec()].concat())
        .unwrap();
    assert!(open("j").unwrap().once().is_complete());
    cloud.assert_has(&host.files(), "with a damaged journal");
}

/// As another user than root, whom nothing stops.
#[test]
fn what_can_not_be_read_is_left_and_holds_up_nothing_else() {
    let (host, cloud) = (Host::new(), Cloud::new());
    // Many of each: whatever the order of a list, a closed one comes before an open one.
    let closed: Vec<_> = (1..=8).map(|n| host.publish(&format!("closed={n}"), 8, 10)).collect();
    (1..=8).for_each(|n| drop(host.publish(&format!("open={n}"), 8, 10)));
    let set_closed = |mode| {
        for file in &closed {
            fs::set_permissions(file.parent().unwrap(), fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    let unreadable = host.publish("p=1", 9, 10);
    let open = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap()
    };
    open(host.dir.path(), 0o777);
    let program = host.dir.join("ship");
    fs::copy(env!("CARGO_BIN_EXE_bufferedwriter-ship"), &program).unwrap();
    open(&unreadable, 0);
    set_closed(0);
    let original = ship(&host, &cloud, &["--json", "--attempts", "2"]);
    let is_root = fs::metadata("/proc/self")
        .is_ok_and(|facts| std::os::unix::fs::MetadataExt::uid(&facts) == 0);
    let mut command = if is_root { Command::new("setpriv") } else { Command::new(&program) };
    if is_root {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
    }
    let Ok(output) = command.args(original.get_args()).stdin(Stdio::null()).output() else {
        println!("skipped: no setpriv here");
        return;
    };
    set_closed(0o755);
    open(&unreadable, 0o644);
    let told = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(cloud.s3.objects().len(), 11, "{output:?}");
    assert!(told.contains("read the file: Permission denied"), "{told}");
    let is_told = |n| told.contains(&format!("closed={n}: Permission denied"));
    assert!((1..=8).any(is_told), "{told}");
    assert!(cloud.once(host.config()).is_complete());
    cloud.assert_has(&host.files(), "readable again");
}

/// Nothing can be written below it, nor beside it, as in a container that has a host's directory.
#[test]
fn a_directory_that_is_read_only_is_shipped_with_a_journal_elsewhere() {
    let (host, cloud) = (Host::new(), Cloud::new());
    let elsewhere = bufferedwriter_testkit::dir::TestDir::new();
    let journal = elsewhere.join("journal");
    let journal = ["--journal", journal.to_str().unwrap()];
    let run = |more: &[&str]| {
        let read_only =
            "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" || exit 77; exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-c", read_only]).arg(host.dir.path());
        let program = ship(&host, &cloud, &["--json"]);
        command.arg(program.get_program()).args(program.get_args()).args(more);
        command.stdin(Stdio::null()).output().ok().filter(|output| output.status.code() != Some(77))
    };
    let Some(output) = run(&[]).filter(|output| output.status.code() == Some(2)) else {
        println!("skipped: no unshare here, or no mounts in it");
        return;
    };
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("open the journal") && told.contains("--journal"), "{told}");
    let rows =
        [("keep", 3, 0, ""), ("keep", 0, 3, ""), ("delete", 0, 0, "delete: Read-only file system")];
    for (after, shipped, remembered, warning) in rows {
        let output = run(&[&journal[..], &["--after", after]].concat()).unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{told}");
        for part in [format!("\"shipped\":{shipped}"), format!("\"remembered\":{remembered}")] {
            assert!(after == "delete" || told.contains(&part), "{part}: {told}");
        }
        assert!(told.contains(warning), "{told}");
        cloud.assert_has(&host.files(), "read-only");
    }
    cloud.reset();
    let joins = ["--journal", elsewhere.join("joins").to_str().unwrap(), "--compact", "10000B"]
        .map(str::to_owned);
    let joins: Vec<_> = joins.iter().map(String::as_str).collect();
    assert_eq!(run(&joins).unwrap().status.code(), Some(0));
    cloud.assert_joined(&host.files(), "joined from a read-only directory");
}
