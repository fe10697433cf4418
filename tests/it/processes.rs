//! Promise: many processes may write to one directory under one prefix, even if all of them have the same process
//! id. No two names are equal, nobody touches another's files, and each record lands once.
//!
//! The processes are this test program again, told by its environment to be one of them.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bufferedwriter::{BufferedWriter, Config};
use bufferedwriter_testkit::dir::paths;

use crate::support::{BOUND, Tally, WriterDir, close, record, stats, traces, until};

const PROCESSES: u32 = 16;
const RECORDS: u32 = 400;
const ROLE: &str = "BUFFEREDWRITER_TEST_PROCESS";

/// One of the processes: begins when all are there, and writes its records.
fn be_one_of_many(role: &str) {
    let (number, root) = role.split_once(':').unwrap();
    let (number, root) = (number.parse().unwrap(), Path::new(root));
    let config = Config::default().path(root.join("path")).temp(root.join("temp"));
    let config = config.size(128).queue_size(60).workers(2).file_size(2000);
    fs::write(root.join(format!("ready-{number}")), "").unwrap();
    until("all are ready", || root.join("go").exists());
    let writer = BufferedWriter::new(config).unwrap();
    let mut buffer = Vec::new();
    for seq in 0..RECORDS {
        record(&mut buffer, number, seq, 20 + seq as usize % 200);
        writer.write_timeout(&buffer, BOUND).unwrap();
    }
    close(&writer);
}

/// Ends a process that is still there when the test has failed.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a process that has ended said.
fn told(child: &mut Child) -> String {
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

/// Starts all of them, in pid namespaces of their own or not.
fn many(test: &str, apart: bool) {
    let dir = WriterDir::new();
    // A neighbour that was there before them, with a file that it is writing and a state file.
    let neighbour = BufferedWriter::new(dir.config().workers(1).size(128)).unwrap();
    let mut buffer = Vec::new();
    for seq in 0..10 {
        record(&mut buffer, PROCESSES, seq, 100);
        neighbour.write(&buffer).unwrap();
    }
    until("it has a temp file", || stats(&neighbour).workers[0].temp_file_bytes >= 900);
    // Its own worker may still write to its state file.
    let id = |file: &Path| {
        let found = traces(file).unwrap();
        let len = fs::metadata(file).unwrap().len();
        let is_temp = file.extension().is_some_and(|end| end == "tmp");
        (found.id, len, is_temp.then_some(found.changed))
    };
    let files = || paths(&dir.temp).into_iter();
    let before: Vec<_> = files().map(|file| (id(&file), file)).collect();
    assert_eq!(before.len(), 2, "{before:?}");

    let program = std::env::current_exe().unwrap();
    let mut processes: Vec<_> = (0..PROCESSES)
        .map(|number| {
            let mut command = if apart {
                let mut command = Command::new("unshare");
                command.args(["-p", "-f", "--kill-child", "--"]).arg(&program);
                command
            } else {
                Command::new(&program)
            };
            command.args(["--exact", test]).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.env(ROLE, format!("{number}:{}", dir.root().display()));
            Process(command.spawn().unwrap())
        })
        .collect();
    let ready = |number| dir.root().join(format!("ready-{number}")).exists();
    until("all are ready", || (0..PROCESSES).all(ready));
    fs::write(dir.root().join("go"), "").unwrap();
    for Process(child) in &mut processes {
        until("it ends", || child.try_wait().unwrap().is_some());
        let status = child.wait().unwrap();
        assert!(status.success(), "{status}: {}", told(child));
    }
    for (before, file) in &before {
        assert_eq!(id(file), *before, "{}", file.display());
    }
    close(&neighbour);
    let expected = (0..PROCESSES).map(|number| (number, RECORDS)).chain([(PROCESSES, 10)]);
    Tally::of(&dir).assert_ranges(&expected.collect::<Vec<_>>());
    dir.assert_clean();
    let names: Vec<_> = dir.files().into_iter().map(|(name, _)| name).collect();
    let instances: BTreeSet<_> = names.iter().map(|name| &name.instance).collect();
    assert_eq!(instances.len() as u32, PROCESSES + 1);
    let pids: BTreeSet<_> = names.iter().map(|name| name.pid).collect();
    let expected = if apart { 2 } else { PROCESSES as usize + 1 };
    assert_eq!(pids.len(), expected, "{pids:?}");
    assert!(!apart || pids.contains(&1), "{pids:?}");
}

#[test]
fn sixteen_in_one_directory() {
    if let Ok(role) = std::env::var(ROLE) {
        return be_one_of_many(&role);
    }
    many("processes::sixteen_in_one_directory", false);
}

/// As in containers that share a volume: each of them is process 1.
#[test]
fn sixteen_that_are_all_process_one() {
    if let Ok(role) = std::env::var(ROLE) {
        return be_one_of_many(&role);
    }
    let permitted = Command::new("unshare").args(["-p", "-f", "--", "true"]).output();
    if !permitted.is_ok_and(|output| output.status.success()) {
        println!("skipped: no pid namespaces here (unshare -pf needs root)");
        return;
    }
    many("processes::sixteen_that_are_all_process_one", true);
}
