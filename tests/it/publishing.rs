//! Promise: each file that becomes visible has one line in the manifest, and the hook is called for it until it
//! succeeds; neither holds up a caller, and a close waits for both until its deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bufferedwriter::{BufferedWriter, Durability, FlushError, PublishReason, PublishedFile};
use serde_json::Value;

use crate::support::{
    Answer, BOUND, Gate, Op, TestFs, WriterDir, close, links, not_unicode, stats, until,
};

/// The lines of a manifest, each valid.
fn lines(manifest: &Path) -> Vec<Value> {
    let text = fs::read_to_string(manifest).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

/// Checks that the lines say what the files are, each once.
fn check(dir: &WriterDir, manifest: &Path) -> Vec<Value> {
    let lines = lines(manifest);
    let ids: BTreeSet<_> = lines.iter().map(|line| line["id"].to_string()).collect();
    assert_eq!(ids.len(), lines.len(), "{lines:#?}");
    let listed: BTreeMap<_, _> =
        lines.iter().map(|line| (dir.path.join(line["path"].as_str().unwrap()), line)).collect();
    let files = dir.files();
    assert_eq!(listed.keys().cloned().collect::<Vec<_>>(), {
        let mut paths: Vec<_> = files.iter().map(|(_, path)| path.clone()).collect();
        paths.sort();
        paths
    });
    for (path, line) in listed {
        let text = fs::read(&path).unwrap();
        let records = text.iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!((&line["bytes"], &line["records"]), (&text.len().into(), &records.into()));
        assert_eq!(line["record_bytes"], text.len());
        assert!(line["first"].as_str() <= line["last"].as_str(), "{line}");
    }
    lines
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<PublishedFile>>>);

impl Heard {
    fn hear(&self, file: &PublishedFile) {
        self.0.lock().unwrap().push(file.clone());
    }

    fn all(&self) -> Vec<PublishedFile> {
        self.0.lock().unwrap().clone()
    }
}

#[test]
fn each_file_has_one_line_and_then_one_call() {
    for durability in [Durability::None, Durability::File] {
        let (dir, heard) = (WriterDir::new(), Heard::default());
        let manifest = dir.root().join("m.ndjson");
        let (hears, reads) = (heard.clone(), manifest.clone());
        let config = dir.config().workers(3).size(64).file_size(500).durability(durability);
        let config = config.manifest(&manifest).on_publish(move |file| {
            // The line is there, and the file.
            let text = fs::read_to_string(&reads)?;
            assert!(text.contains(&file.id) && fs::metadata(&file.path)?.len() == file.bytes);
            hears.hear(file);
            Ok(())
        });
        let writer = BufferedWriter::new(config).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..6 {
                let writer = &writer;
                scope.spawn(move || {
                    for number in 0..500 {
                        let line = format!("{thread} {number}\n");
                        writer.write_timeout(line.as_bytes(), BOUND).unwrap();
                    }
                });
            }
        });
        let report = close(&writer);
        assert_eq!(report.unacknowledged, 0);
        let lines = check(&dir, &manifest);
        let records: u64 = lines.iter().map(|line| line["records"].as_u64().unwrap()).sum();
        assert_eq!((records, lines.len() as u64), (3000, report.files));
        let heard = heard.all();
        let ids: Vec<_> = heard.iter().map(|file| file.id.clone()).collect();
        assert_eq!(ids, lines.iter().map(|line| line["id"].as_str().unwrap()).collect::<Vec<_>>());
        for worker in 0..3 {
            let its = heard.iter().filter(|file| file.worker == worker);
            let sequence: Vec<_> = its.map(|file| file.sequence).collect();
            assert!(sequence.is_sorted_by(|a, b| a < b), "{sequence:?}");
        }
        dir.assert_clean();
    }
}

#[test]
fn the_reason_is_told() {
    let (dir, heard) = (WriterDir::new(), Heard::default());
    let hears = heard.clone();
    let config = dir.config().workers(1).size(64).file_size(100).on_publish(move |file| {
        hears.hear(file);
        Ok(())
    });
    let writer = BufferedWriter::new(config.clone()).unwrap();
    (0..3).for_each(|_| writer.write(&[b'x'; 60]).unwrap());
    until("the size counts", || stats(&writer).files == 1);
    writer.flush(BOUND).unwrap();
    writer.write(b"last\n").unwrap();
    close(&writer);
    let writer = BufferedWriter::new(config.file_age(Duration::from_millis(1))).unwrap();
    writer.write(b"old\n").unwrap();
    until("the age counts", || stats(&writer).files == 1);
    close(&writer);
    let reasons: Vec<_> = heard.all().iter().map(|file| file.reason).collect();
    use PublishReason::{Age, Close, Flush, Size};
    assert_eq!(reasons, [Size, Flush, Close, Age]);
}

/// A hook that fails is called again, the later files wait, and the next writer goes on.
#[test]
fn what_a_hook_does_not_acknowledge_it_is_called_for_again() {
    for manifest in [false, true] {
        let (dir, calls) = (WriterDir::new(), Arc::new(AtomicU64::new(0)));
        let counted = calls.clone();
        let path = dir.root().join("m.ndjson");
        let plain = dir.config().workers(1);
        let plain = if manifest { plain.manifest(&path) } else { plain };
        let config = plain.clone().on_publish(move |_| match counted.fetch_add(1, Relaxed) {
            0 => Ok(()),
            1 => panic!("a hook that panics"),
            _ => Err("not now".into()),
        });
        let writer = BufferedWriter::new(config).unwrap();
        for number in 0..3 {
            writer.write(format!("{number}\n").as_bytes()).unwrap();
            writer.flush(BOUND).unwrap();
        }
        until("it has failed twice", || calls.load(Relaxed) >= 3);
        until("health says so", || writer.health().hook.is_some_and(|hook| hook.attempts > 1));
        let stall = writer.health().hook.unwrap();
        assert_eq!((stall.error.as_str(), stall.unacknowledged), ("not now", 2));
        assert!(!writer.health().is_ok());
        let told = stats(&writer).publishing.unwrap();
        assert_eq!((told.listed, told.acknowledged, told.unacknowledged), (3, 1, 2));
        assert_eq!(writer.close(Duration::from_millis(50)).unwrap().unacknowledged, 2);

        // A writer without a hook leaves them alone.
        drop(writer);
        close(&BufferedWriter::new(plain.clone()).unwrap());
        let heard = Heard::default();
        let hears = heard.clone();
        let writer = BufferedWriter::new(plain.on_publish(move |file| {
            hears.hear(file);
            Ok(())
        }))
        .unwrap();
        until("it is called for the rest", || heard.all().len() == 2);
        assert_eq!(close(&writer).unacknowledged, 0);
        let texts = heard
            .all()
            .iter()
            .map(|file| fs::read_to_string(&file.path).unwrap())
            .collect::<Vec<_>>();
        assert_eq!(texts, ["1\n", "2\n"]);
        if manifest {
            check(&dir, &path);
        }
        dir.assert_clean();
    }
}

/// A gate that a hook waits at.
#[derive(Default)]
struct Door(Mutex<bool>, Condvar);

impl Door {
    fn pass(&self) {
        let mut open = self.0.lock().unwrap();
        while !*open {
            open = self.1.wait(open).unwrap();
        }
    }

    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }
}

#[test]
fn a_hook_that_hangs_holds_nobody_up() {
    let (dir, door) = (WriterDir::new(), Arc::new(Door::default()));
    let hook = door.clone();
    let config = dir.config().workers(1).size(64).file_size(0).on_publish(move |_| {
        hook.pass();
        Ok(())
    });
    let writer = BufferedWriter::new(config).unwrap();
    // More than are kept in memory.
    for number in 0..300 {
        writer.write_timeout(format!("{number}\n").as_bytes(), BOUND).unwrap();
        writer.flush(BOUND).unwrap();
    }
    until("health says so", || writer.health().hook.is_some());
    let stall = writer.health().hook.unwrap();
    assert!(
        stall.error.is_empty() && stall.attempts == 0 && stall.unacknowledged >= 290,
        "{stall:?}"
    );
    let began = Instant::now();
    assert_eq!(writer.close(Duration::from_millis(50)).unwrap().unacknowledged, 300);
    assert!(began.elapsed() < BOUND / 2);
    door.open();
    drop(writer);
}

#[test]
fn a_hook_may_write_but_not_wait_for_its_writer() {
    let dir = WriterDir::new();
    let slot: Arc<Mutex<Option<BufferedWriter>>> = Arc::default();
    let (hook, results) = (slot.clone(), Arc::new(Mutex::new(Vec::new())));
    let told = results.clone();
    let config = dir.config().workers(1).on_publish(move |_| {
        let writer = hook.lock().unwrap().take();
        if let Some(writer) = writer {
            writer.write(b"from the hook\n")?;
            let flushed = matches!(writer.flush(BOUND), Err(FlushError::OnWorker));
            told.lock().unwrap().extend([flushed, writer.close(BOUND).is_err()]);
        }
        Ok(())
    });
    let writer = BufferedWriter::new(config).unwrap();
    *slot.lock().unwrap() = Some(writer.clone());
    writer.write(b"one\n").unwrap();
    writer.flush(BOUND).unwrap();
    until("it was called", || results.lock().unwrap().len() == 2);
    assert_eq!(*results.lock().unwrap(), [true, true]);
    close(&writer);
    assert_eq!(dir.contents().concat(), b"one\nfrom the hook\n");
}

/// While its directory is gone, files appear up to a limit. Later each has its line.
#[test]
fn a_manifest_that_fails_holds_up_files_but_no_caller() {
    let dir = WriterDir::new();
    let home = dir.root().join("home");
    fs::create_dir(&home).unwrap();
    let manifest = home.join("m.ndjson");
    let config = dir.config().workers(1).size(64).file_size(0).manifest(&manifest);
    let writer = BufferedWriter::new(config).unwrap();
    fs::remove_dir_all(&home).unwrap();
    for number in 0..20 {
        writer.write(format!("{number}\n").as_bytes()).unwrap();
        let _ = writer.flush(Duration::from_millis(100));
    }
    until("health says so", || {
        writer.health().manifest.is_some() && !writer.health().stalls.is_empty()
    });
    assert_eq!(stats(&writer).files, 8, "a ring's worth");
    assert_eq!(writer.health().manifest.unwrap().error.path(), Some(&*manifest));
    fs::create_dir(&home).unwrap();
    assert_eq!(close(&writer).written.records, 20);
    check(&dir, &manifest);
    dir.assert_clean();
}

/// No thread tries for ever. The next writer lists what is left.
#[test]
fn after_a_close_that_gave_up_on_the_manifest_nothing_runs_on() {
    let dir = WriterDir::new();
    let (home, held) = (dir.root().join("home"), Arc::new(()));
    fs::create_dir(&home).unwrap();
    let manifest = home.join("m.ndjson");
    let config = || {
        let held = held.clone();
        dir.config().workers(1).manifest(&manifest).on_publish(move |_| {
            let _ = &held;
            Ok(())
        })
    };
    let writer = BufferedWriter::new(config()).unwrap();
    fs::remove_dir_all(&home).unwrap();
    writer.write(b"one\n").unwrap();
    // The file is visible, whatever becomes of its line.
    writer.flush(BOUND).unwrap();
    let report = writer.close(Duration::from_millis(50));
    assert_eq!(report.map_or_else(|e| e.report().unacknowledged, |r| r.unacknowledged), 1);
    drop(writer);
    until("its threads are gone", || Arc::strong_count(&held) == 1);
    fs::create_dir(&home).unwrap();
    close(&BufferedWriter::new(config()).unwrap());
    assert_eq!(check(&dir, &manifest).len(), 1);
    dir.assert_clean();
}

/// Nor after one while a worker hangs.
#[test]
fn after_a_close_while_a_worker_hangs_nothing_runs_on() {
    let (dir, held, (gate, pass)) = (WriterDir::new(), Arc::new(()), Gate::open());
    let manifest = dir.root().join("m.ndjson");
    let fs = TestFs::new(move |call| {
        if call.op == Op::Write && call.is_temp() {
            pass.through();
        }
        Answer::Go
    });
    let config = || {
        let held = held.clone();
        dir.config().workers(1).manifest(&manifest).on_publish(move |_| {
            let _ = &held;
            Ok(())
        })
    };
    let writer = BufferedWriter::new(config().fs(fs)).unwrap();
    writer.write(b"one\n").unwrap();
    writer.flush(BOUND).unwrap();
    gate.set_shut(true);
    writer.write(b"two\n").unwrap();
    assert!(writer.close(Duration::from_millis(50)).is_err());
    assert_eq!(gate.waiting(), 1);
    gate.set_shut(false);
    drop(writer);
    until("its threads are gone", || Arc::strong_count(&held) == 1);
    close(&BufferedWriter::new(config()).unwrap());
    assert_eq!(check(&dir, &manifest).len(), dir.files().len());
    dir.assert_clean();
}

#[test]
fn writers_share_a_manifest_and_it_may_be_moved_away() {
    let (dir, moved) = (WriterDir::new(), AtomicU64::new(0));
    let manifest = dir.root().join("m.ndjson");
    let writer = || {
        let config = dir.config().workers(2).size(64).file_size(0).manifest(&manifest);
        BufferedWriter::new(config).unwrap()
    };
    let (writers, ended) = ([writer(), writer(), writer()], AtomicU64::new(0));
    std::thread::scope(|scope| {
        for writer in &writers {
            let ended = &ended;
            scope.spawn(move || {
                for number in 0..200 {
                    writer.write_timeout(format!("{number}\n").as_bytes(), BOUND).unwrap();
                    if number % 10 == 0 {
                        writer.flush(BOUND).unwrap();
                    }
                }
                ended.fetch_add(1, Relaxed);
            });
        }
        for nth in 0..5 {
            let has_lines = || fs::metadata(&manifest).is_ok_and(|found| found.len() > 0);
            until("there are lines", || has_lines() || ended.load(Relaxed) == 3);
            if !has_lines() {
                break;
            }
            let to = dir.root().join(format!("m.ndjson.{nth}"));
            fs::rename(&manifest, to).unwrap();
            moved.fetch_add(1, Relaxed);
        }
    });
    writers.iter().for_each(|writer| {
        close(writer);
    });
    let all: Vec<String> = (0..moved.load(Relaxed))
        .map(|nth| dir.root().join(format!("m.ndjson.{nth}")))
        .chain([manifest.clone()])
        .filter_map(|path| fs::read_to_string(path).ok())
        .collect();
    fs::write(&manifest, all.concat()).unwrap();
    let records: u64 = check(&dir, &manifest).iter().map(|l| l["records"].as_u64().unwrap()).sum();
    assert_eq!(records, 600);
}

#[test]
fn a_manifest_that_engines_would_read_is_refused() {
    let dir = WriterDir::new();
    let refused = |path: &Path| BufferedWriter::new(dir.config().manifest(path)).err().unwrap();
    for path in [dir.path.join("m"), dir.path.join("../path/m"), dir.root().join("..")] {
        assert_eq!(refused(&path).operation(), "manifest", "{}", path.display());
    }
    assert_eq!(refused(Path::new("")).operation(), "manifest");
    assert_eq!(refused(&dir.root().join("none/m")).operation(), "open directory");
    let link = dir.root().join("link");
    let link = links("m", &link).then_some(&link);
    for path in [&dir.temp].into_iter().chain(link) {
        assert!(refused(path).to_string().contains("a regular file"), "{}", path.display());
    }
    let config = dir.config().manifest(dir.root().join("m"));
    let prefix = not_unicode("");
    assert_eq!(BufferedWriter::new(config.prefix(prefix)).err().unwrap().operation(), "prefix");
    dir.assert_clean();
}

/// Somebody took a file, and the hook can't do without it. The next files have their turn, and it is counted.
#[test]
fn a_file_that_is_gone_holds_up_no_other() {
    let dir = WriterDir::new();
    let (is_shut, heard) = (Arc::new(AtomicBool::new(true)), Arc::<Mutex<Vec<u64>>>::default());
    let (shut, hears) = (is_shut.clone(), heard.clone());
    let hook = move |file: &PublishedFile| {
        fs::metadata(&file.path)?;
        if shut.load(Ordering::SeqCst) {
            return Err("not now".into());
        }
        hears.lock().unwrap().push(file.sequence);
        Ok(())
    };
    let writer = BufferedWriter::new(dir.config().workers(1).on_publish(hook)).unwrap();
    for _ in 0..3 {
        writer.write(b"a record\n").unwrap();
        writer.flush(BOUND).unwrap();
    }
    until("the hook fails", || writer.health().hook.is_some());
    fs::remove_file(&dir.files()[0].1).unwrap();
    is_shut.store(false, Ordering::SeqCst);
    until("all had their turn", || stats(&writer).publishing.unwrap().unacknowledged == 0);
    let told = stats(&writer).publishing.unwrap();
    assert_eq!((told.gone, told.acknowledged, heard.lock().unwrap().len()), (1, 2, 2));
    assert_eq!(close(&writer).unacknowledged, 0);
    dir.assert_clean();
}

/// Its files are not listed when a writer with a hook dies. The next one has no hook: it adds the lines, and leaves the
/// calls to the one after it. Nor does it delete the files.
#[test]
fn what_waits_for_a_hook_waits_for_the_next_writer_with_one() {
    let dir = WriterDir::new();
    let manifest = dir.root().join("m");
    let config = || dir.config().workers(1).manifest(&manifest);
    let alive = Arc::new(());
    let hold = alive.clone();
    let hook = move |_: &PublishedFile| {
        let _ = &hold;
        Ok(())
    };
    let writer = BufferedWriter::new(config().on_publish(hook)).unwrap();
    let other = fs::File::open(&manifest).unwrap();
    other.lock().unwrap();
    for _ in 0..3 {
        writer.write(b"a record\n").unwrap();
        writer.flush(BOUND).unwrap();
    }
    let _ = writer.close(Duration::ZERO);
    drop(writer);
    until("nobody has its journal any more", || Arc::strong_count(&alive) == 1);
    drop(other);
    let without = BufferedWriter::new(config().retain_files(1)).unwrap();
    until("the lines are there", || lines(&manifest).len() == 3);
    until("they are held", || stats(&without).retention.unwrap().held_by.is_some());
    close(&without);
    assert_eq!(dir.files().len(), 3);
    let heard: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let hears = heard.clone();
    let hook = move |file: &PublishedFile| {
        hears.lock().unwrap().insert(file.id.clone());
        Ok(())
    };
    let next = BufferedWriter::new(config().on_publish(hook)).unwrap();
    until("it has heard of all", || heard.lock().unwrap().len() == 3);
    close(&next);
    check(&dir, &manifest);
    dir.assert_clean();
}
