//! Promises that hold on every system, with nothing but std: run under Wine for Windows, and on whatever `cargo test`
//! runs on.

#![allow(
    clippy::incompatible_msrv,
    reason = "the oldest Rust builds what is published, and no tests"
)]

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bufferedwriter::{
    BufferedWriter, Compression, Config, CrashProof, Durability, FileName, Io, RecoverOptions,
    WriteError, recover,
};
use bufferedwriter_testkit::dir::TestDir;

const BOUND: Duration = Duration::from_secs(60);
/// Set in a process that a test starts: where it writes.
const CHILD: &str = "BUFFEREDWRITER_TEST_CHILD";

fn config(dir: &Path) -> Config {
    Config::default()
        .path(dir.join("ready"))
        .temp(dir.join("temp"))
        .create_dirs(true)
        .forced(Duration::from_secs(3600))
        .size(4096)
        .queue_size(64)
}

/// The lines of all visible files, sorted.
fn lines(dir: &Path) -> Vec<u32> {
    let files = fs::read_dir(dir.join("ready")).unwrap().map(|entry| entry.unwrap().path());
    let texts = files.map(|file| fs::read_to_string(file).unwrap());
    let mut lines: Vec<u32> = texts
        .flat_map(|text| text.lines().map(|line| line.parse().unwrap()).collect::<Vec<_>>())
        .collect();
    lines.sort_unstable();
    lines
}

fn write(writer: &BufferedWriter, numbers: std::ops::Range<u32>) {
    let mut producer = writer.producer();
    for number in numbers {
        producer.write_timeout(format!("{number}\n").as_bytes(), BOUND).unwrap();
    }
}

#[test]
fn what_threads_write_is_in_files_once() {
    for io in [Io::Buffered, Io::Auto] {
        let dir = TestDir::new();
        let config = config(dir.path()).io(io).durability(Durability::File).file_size(20_000);
        let writer = BufferedWriter::new(config).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let writer = &writer;
                scope.spawn(move || write(writer, thread * 5000..(thread + 1) * 5000));
            }
        });
        let report = writer.close(BOUND).unwrap();
        assert_eq!((report.written.records, report.lost.total().records), (20_000, 0));
        assert!(lines(dir.path()).into_iter().eq(0..20_000));
        assert!(fs::read_dir(dir.join("ready")).unwrap().count() > 3);
        assert_eq!(fs::read_dir(dir.join("temp")).unwrap().count(), 0, "left-overs");
    }
}

/// More than the memory holds at once, with a flush in between, and larger than a chunk.
#[test]
fn a_flush_makes_all_visible_and_large_records_stay_whole() {
    let dir = TestDir::new();
    let writer = BufferedWriter::new(config(dir.path())).unwrap();
    write(&writer, 0..100);
    writer.flush(BOUND).unwrap();
    assert!(lines(dir.path()).into_iter().eq(0..100));
    let mut large = vec![b'0'; 50_000];
    large.extend_from_slice(b"7\n");
    writer.write(&large).unwrap();
    writer.close(BOUND).unwrap();
    assert_eq!(lines(dir.path()).len(), 101);
}

#[test]
fn compressed_files_are_whole() {
    for compression in [Compression::Gzip(1), Compression::Zstd(1)] {
        let dir = TestDir::new();
        let writer = BufferedWriter::new(config(dir.path()).compression(compression)).unwrap();
        write(&writer, 0..20_000);
        let report = writer.close(BOUND).unwrap();
        assert_eq!(report.written.records, 20_000);
        let bytes: u64 = fs::read_dir(dir.join("ready"))
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum();
        assert!((1000..report.written.bytes).contains(&bytes), "{bytes} bytes");
    }
}

/// On Windows an open file would hinder a rename and a removal, were it not opened for both.
#[test]
fn a_reader_and_a_second_writer_hinder_nobody() {
    let dir = TestDir::new();
    let first = BufferedWriter::new(config(dir.path())).unwrap();
    let second = BufferedWriter::new(config(dir.path())).unwrap();
    write(&first, 0..10);
    // Temp files and state files of both are open here too, as a tool for backups has them.
    first.flush(BOUND).unwrap();
    write(&second, 10..20);
    second.flush(BOUND).unwrap();
    let all = ["ready", "temp"].map(|name| fs::read_dir(dir.join(name)).unwrap());
    let open: Vec<_> =
        all.into_iter().flatten().map(|file| File::open(file.unwrap().path())).collect();
    assert!(open.len() >= 4, "{open:?}");
    write(&first, 20..30);
    write(&second, 30..40);
    first.close(BOUND).unwrap();
    second.close(BOUND).unwrap();
    drop(open);
    assert!(lines(dir.path()).into_iter().eq(0..40));
}

/// A rename can change a file's id on Windows, and the writer once took its own files for others then, and kept them
/// open.
#[test]
fn a_visible_file_is_open_nowhere() {
    let dir = TestDir::new();
    let writer = BufferedWriter::new(config(dir.path())).unwrap();
    write(&writer, 0..10);
    writer.flush(BOUND).unwrap();
    let file = fs::read_dir(dir.join("ready")).unwrap().next().unwrap().unwrap().path();
    #[cfg(windows)]
    {
        use std::os::windows::fs::OpenOptionsExt;
        // Fails if it is open anywhere.
        File::options().read(true).share_mode(0).open(&file).unwrap();
    }
    #[cfg(target_os = "linux")]
    for descriptor in fs::read_dir("/proc/self/fd").unwrap() {
        let open = fs::read_link(descriptor.unwrap().path()).ok();
        assert_ne!(open.as_ref(), Some(&file));
    }
    fs::remove_file(&file).unwrap();
    assert!(!file.exists());
    writer.close(BOUND).unwrap();
}

#[test]
fn an_affix_leads_nowhere_else() {
    let dir = TestDir::new();
    let everywhere = ["a/b", "../x", "a\0"];
    let on_windows = ["a\\b", "..\\x", "a:b", "a*", "a?", "a\"b", "a<b", "a>b", "a|b", "a\nb"];
    let refused = everywhere.iter().chain(on_windows.iter().filter(|_| cfg!(windows)));
    for text in refused {
        let error = BufferedWriter::new(config(dir.path()).prefix(text)).unwrap_err();
        assert!(error.to_string().starts_with("option prefix is "), "{error}");
        let error = BufferedWriter::new(config(dir.path()).extension(text)).unwrap_err();
        assert!(error.to_string().starts_with("option extension is "), "{error}");
        // A partition has slashes.
        let template = format!("p={}", text.replace('/', "/../"));
        let error = BufferedWriter::new(config(dir.path()).partition(&template)).unwrap_err();
        assert!(error.to_string().starts_with("option partition is "), "{error}");
    }
    assert!(dir.list().is_empty());
}

#[test]
fn files_have_names_that_parse_and_directories_of_their_partition() {
    let dir = TestDir::new();
    let config = config(dir.path()).prefix("log-").partition("day=%Y%m%d");
    let writer = BufferedWriter::new(config.manifest(dir.join("manifest"))).unwrap();
    write(&writer, 0..10);
    writer.close(BOUND).unwrap();
    let manifest = fs::read_to_string(dir.join("manifest")).unwrap();
    assert!(manifest.contains(r#""path":"day="#) && manifest.contains("/log-"), "{manifest}");
    let day = fs::read_dir(dir.join("ready")).unwrap().next().unwrap().unwrap();
    assert!(day.file_name().to_str().unwrap().starts_with("day="));
    let file = fs::read_dir(day.path()).unwrap().next().unwrap().unwrap().file_name();
    let name = FileName::parse(&file).unwrap();
    assert_eq!((name.prefix.to_str(), name.pid), (Some("log-"), std::process::id()));
    assert_eq!(name.to_os_string(), file);
}

#[test]
fn memory_that_is_full_says_so() {
    let dir = TestDir::new();
    let writer = BufferedWriter::new(config(dir.path()).queue_size(2).workers(1)).unwrap();
    assert_eq!(writer.write(&[b'x'; 1 << 20]), Err(WriteError::TooLarge));
    writer.close(BOUND).unwrap();
}

/// Another process writes, and dies; its files are published by the next one, while its own are not touched.
#[test]
fn what_a_dead_process_left_is_published_and_a_live_one_is_left_alone() {
    if let Some(dir) = std::env::var_os(CHILD) {
        let writer = BufferedWriter::new(config(dir.as_ref()).io(Io::Buffered)).unwrap();
        write(&writer, 0..10_000);
        // Of 49 KB in chunks of 4 KiB most are in the temp file soon, and the rest dies with the process.
        let began = Instant::now();
        while temp_bytes(dir.as_ref()) < 30_000 && began.elapsed() < BOUND {
            std::thread::yield_now();
        }
        std::process::abort();
    }
    let dir = TestDir::new();
    let live = BufferedWriter::new(config(dir.path())).unwrap();
    write(&live, 5000..5010);
    let me = "what_a_dead_process_left_is_published_and_a_live_one_is_left_alone";
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", me]).env(CHILD, dir.path()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(!child.status().unwrap().success());
    let options = RecoverOptions::new(dir.join("ready"), dir.join("temp"));
    let recovery = recover(&options).unwrap();
    assert_eq!((recovery.instances, recovery.errors.len()), (1, 0), "{recovery:?}");
    let found = lines(dir.path());
    // Where nothing tells one boot from another, what was not synced may have gone with the machine's power.
    if cfg!(windows) && found.is_empty() {
        assert!(!recovery.set_aside.is_empty(), "{recovery:?}");
        println!("skipped: Wine does not count the boots of the machine");
        return;
    }
    assert!(!found.is_empty() && found.iter().copied().eq(0..found.len() as u32), "{found:?}");
    assert_eq!(recovery.records.records, found.len() as u64);
    live.close(BOUND).unwrap();
    assert_eq!(lines(dir.path()).len(), found.len() + 10);
}

fn temp_bytes(dir: &Path) -> u64 {
    let files = fs::read_dir(dir.join("temp")).unwrap().map(|file| file.unwrap());
    let temp = files.filter(|file| file.path().extension().is_some_and(|end| end == "tmp"));
    temp.map(|file| file.metadata().unwrap().len()).sum()
}

#[test]
fn crash_proof_memory_is_there_or_says_that_it_is_not() {
    let dir = TestDir::new();
    let result = BufferedWriter::new(config(dir.path()).crash_proof(CrashProof::Auto));
    if cfg!(target_os = "linux") {
        return;
    }
    let error = result.unwrap_err();
    assert_eq!(error.operation(), "create memory in");
    assert!(error.to_string().contains("Linux only"), "{error}");
}
