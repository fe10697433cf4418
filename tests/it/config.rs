//! Promise: an option out of its range is refused with its name, the value and the range. A missing directory is
//! refused with its path. Nothing is left behind.

use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use bufferedwriter::testing::Errno;
use bufferedwriter::{Boundary, BufferedWriter, Config, CrashProof, Error, Io};
use bufferedwriter_testkit::dir::paths;

use crate::support::{Answer, BOUND, TestFs, WriterDir, assert_mode, close};

fn refusal(config: Config) -> Error {
    BufferedWriter::new(config).expect_err("refused")
}

#[test]
fn options_out_of_range() {
    let dir = WriterDir::new();
    let base = || dir.config();
    let plain = match cfg!(windows) {
        true => "without \\ / : * ? \" < > | and control characters",
        false => "without path separator and NUL",
    };
    for (config, option, value, range) in [
        (base().size(0), "size", "0", "1 to 1073741824"),
        (base().size((1 << 30) + 1), "size", "1073741825", "1 to 1073741824"),
        (base().queue_size((1 << 20) + 1), "queue_size", "1048577", "0 to 1048576"),
        (base().workers(0), "workers", "0", "1 to 256"),
        (base().workers(257), "workers", "257", "1 to 256"),
        (base().mode(0o1000), "mode", "0o1000", "0 to 0o777"),
        (base().prefix("a/b"), "prefix", "\"a/b\"", plain),
        (base().prefix("a\0"), "prefix", "\"a\\0\"", plain),
        (base().extension("/"), "extension", "\"/\"", plain),
        (base().extension("\0"), "extension", "\"\\0\"", plain),
        (base().prefix("p".repeat(161)), "prefix", "161 bytes long", "at most 160 bytes"),
        (base().prefix("p".repeat(158)), "extension", "3 bytes long", "at most 160 bytes"),
        (base().header([0; 4097]), "header", "4097 bytes long", "at most 4096 bytes"),
        (base().footer([0; 4097]), "footer", "4097 bytes long", "at most 4096 bytes"),
        (base().rotate_at(Boundary::Minutes(0)), "rotate_at", "0m", "divide 60"),
        (base().rotate_at(Boundary::Minutes(7)), "rotate_at", "7m", "divide 60"),
        (base().rotate_at(Boundary::Minutes(120)), "rotate_at", "120m", "divide 60"),
        (base().rotate_at(Boundary::Hours(0)), "rotate_at", "0h", "divide 24"),
        (base().rotate_at(Boundary::Hours(5)), "rotate_at", "5h", "divide 24"),
        (base().rotate_at(Boundary::Hours(48)), "rotate_at", "48h", "divide 24"),
        (base().time_zone(""), "time_zone", "\"\"", "\"UTC\""),
        (base().time_zone("Europe/Atlantis"), "time_zone", "\"Europe/Atlantis\"", "\"UTC\""),
        (base().path(""), "path", "\"\"", "a directory"),
        (base().temp(""), "temp", "\"\"", "a directory"),
        (base().temp("a\0b"), "temp", "\"a\\0b\"", "without NUL"),
        (base().size(1 << 30).queue_size(1 << 20), "size", "1073741824", "address space"),
    ] {
        let error = refusal(config);
        let text = error.to_string();
        assert_eq!((error.operation(), error.kind()), (option, ErrorKind::InvalidInput));
        assert!(error.path().is_none());
        for part in [option, value, range] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }
    dir.assert_clean();
}

#[test]
fn the_ends_of_the_ranges_work() {
    for (name, set) in [
        ("least", (|c| c.size(1).queue_size(0).workers(1).mode(0)) as fn(Config) -> Config),
        ("most chunks", |c| c.size(1).queue_size(1 << 20)),
        ("largest chunks", |c| c.size(1 << 30).queue_size(0).workers(1)),
        ("most workers", |c| c.workers(256).queue_size(0)),
        ("longest affixes", |c| c.prefix("p".repeat(157)).extension("log")),
        ("longest times", |c| {
            c.forced(Duration::MAX).file_age(Duration::MAX).drop_timeout(Duration::MAX)
        }),
        ("longest header and footer", |c| c.header([b'h'; 4096]).footer([b'f'; 4096])),
        ("shortest periods", |c| c.rotate_at(Boundary::Minutes(1))),
        ("longest periods", |c| c.rotate_at(Boundary::Hours(24)).time_zone("UTC")),
        ("largest files", |c| c.file_size(u64::MAX)),
    ] {
        let dir = WriterDir::new();
        let config = set(dir.config());
        let bound = config.memory_bound();
        let writer = BufferedWriter::new(config).unwrap_or_else(|error| panic!("{name}: {error}"));
        writer.write(b"a").unwrap();
        writer.flush(Duration::MAX).unwrap();
        assert_eq!(writer.stats().memory_bound_bytes, bound, "{name}");
        assert_eq!(close(&writer).files, 1, "{name}");
    }
}

/// `new` refuses these; the bound of what is no writer is as high as it gets.
#[test]
fn the_bound_of_absurd_options_saturates() {
    const ABSURD: [usize; 7] = [0, 1, 257, 1 << 31, usize::MAX / 8192, usize::MAX / 2, usize::MAX];
    let all = || ABSURD.into_iter();
    let pairs = || all().flat_map(|a| all().map(move |b| (a, b)));
    for ((size, queue_size), workers) in pairs().flat_map(|pair| all().map(move |c| (pair, c))) {
        for io in [Io::Auto, Io::Direct, Io::Buffered] {
            for memory in [CrashProof::Off, CrashProof::Auto] {
                let config = Config::default().io(io).crash_proof(memory);
                let bound =
                    config.size(size).queue_size(queue_size).workers(workers).memory_bound();
                let least = queue_size.saturating_add(workers).saturating_mul(size);
                assert!(bound >= least, "{size} {queue_size} {workers}: {bound}");
            }
        }
    }
}

#[test]
fn directories_that_are_missing_or_none() {
    let dir = WriterDir::new();
    let missing = dir.root().join("missing/deep");
    for config in [dir.config().path(&missing), dir.config().temp(&missing)] {
        let error = refusal(config.clone());
        assert_eq!((error.path(), error.kind()), (Some(&*missing), ErrorKind::NotFound));
        assert!(error.to_string().contains(&*missing.to_string_lossy()), "{error}");
    }
    let file = dir.root().join("file");
    fs::write(&file, "").unwrap();
    let error = refusal(dir.config().path(&file));
    assert_eq!((error.path(), error.kind()), (Some(&*file), ErrorKind::NotADirectory));
    dir.assert_clean();
}

#[test]
fn directories_that_may_be_created() {
    let dir = WriterDir::new();
    let (path, temp) = (dir.root().join("new/path"), dir.root().join("new/temp"));
    let config = dir.config().path(&path).temp(&temp).create_dirs(true);
    let writer = BufferedWriter::new(config).unwrap();
    writer.write(b"a\n").unwrap();
    close(&writer);
    assert_eq!((paths(&path).len(), paths(&temp).len()), (1, 0));
    for created in [&path, &temp, &dir.root().join("new")] {
        assert_mode(created, 0o700);
    }
}

#[test]
fn one_directory_for_both_is_fine() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config().temp(&dir.path)).unwrap();
    writer.write(b"a\n").unwrap();
    writer.flush(BOUND).unwrap();
    assert_eq!(dir.contents(), [b"a\n"]);
    assert_eq!(writer.stats().temp_dir, dir.path);
    close(&writer);
    dir.assert_clean();
}

/// Each call of the start fails once: an error that names a path, and nothing is left behind.
#[test]
fn a_start_that_fails_leaves_nothing() {
    const DROP_TIMEOUT: Duration = Duration::from_secs(20);
    let dir = WriterDir::new();
    let start = |fs| {
        let config = dir.config().workers(2).durability(bufferedwriter::Durability::File).fs(fs);
        // A recovery would call at any time.
        let config = config.create_dirs(true).recover(false).drop_timeout(DROP_TIMEOUT);
        BufferedWriter::new(config)
    };
    let clean = TestFs::new(|_| Answer::Go);
    let writer = start(clean.clone()).unwrap();
    let calls = clean.calls_made();
    close(&writer);
    for k in 1..=calls {
        let began = Instant::now();
        let fs = TestFs::new(
            move |call| {
                if call.nth == k { Answer::Error(Errno::IO) } else { Answer::Go }
            },
        );
        match start(fs) {
            Ok(writer) => panic!("call {k} of {calls} is not checked: {:?}", writer.stats()),
            Err(error) => assert!(error.path().is_some(), "{error}"),
        }
        // Workers that did not start are not waited for.
        assert!(began.elapsed() < DROP_TIMEOUT / 2, "call {k}: {:?}", began.elapsed());
        // A file that could not be removed is the one thing that may stay.
        for path in [paths(&dir.temp), paths(&dir.path)].concat() {
            let end = path.extension().unwrap();
            assert!(end == "pb1" || end == "pb2", "call {k}: {}", path.display());
            fs::remove_file(path).unwrap();
        }
    }
}
