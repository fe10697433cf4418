//! Promise: a compressed file is one whole stream that tools read, the accounts tell records from what is on the
//! disk, and a recovery publishes what it can prove.

use bufferedwriter_testkit::os::FileExt;
use std::fs;
use std::path::Path;

use bufferedwriter::{BufferedWriter, Compression, Config, Durability, Io, Stats};
use bufferedwriter_testkit::dir::paths;
use bufferedwriter_testkit::unpacked::unpacked;

use crate::support::{BOUND, WriterDir, close, of_this_boot, recovery_of, stats, until};

const ALL: [(Compression, &str); 5] = [
    (Compression::Gzip(0), ".log.gz"),
    (Compression::Gzip(6), ".log.gz"),
    (Compression::Zstd(-7), ".log.zst"),
    (Compression::Zstd(3), ".log.zst"),
    (Compression::Zstd(19), ".log.zst"),
];

fn line(number: u32) -> Vec<u8> {
    format!("GET /item/{number:06} 200 {}\n", number.wrapping_mul(2_654_435_761)).into_bytes()
}

/// Lines of all files, unless a tool is missing.
fn lines(dir: &Path, end: &str) -> Option<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for file in paths(dir) {
        assert!(file.to_str().unwrap().ends_with(end), "{}", file.display());
        let bytes = unpacked(&file)?;
        assert!(bytes.ends_with(b"\n"), "{}", file.display());
        all.extend(bytes.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec));
    }
    all.sort();
    Some(all)
}

fn write(config: Config, count: u32) -> Stats {
    let writer = BufferedWriter::new(config).unwrap();
    for number in 0..count {
        writer.write_timeout(&line(number), BOUND).unwrap();
    }
    writer.flush(BOUND).unwrap();
    let stats = stats(&writer);
    close(&writer);
    stats
}

#[test]
fn every_file_is_one_stream_of_whole_records() {
    for (compression, end) in ALL {
        for (durability, io) in [
            (Durability::None, Io::Direct),
            (Durability::File, Io::Buffered),
            (Durability::File, Io::Direct),
        ] {
            let dir = WriterDir::new();
            let config = dir.config().compression(compression).durability(durability).io(io);
            let stats = write(config.workers(2).file_size(30_000), 20_000);
            let bytes: u64 =
                paths(&dir.path).iter().map(|file| file.metadata().unwrap().len()).sum();
            assert_eq!((stats.written.records, stats.files_bytes), (20_000, bytes));
            let time: u128 = stats.workers.iter().map(|worker| worker.codec_time.as_nanos()).sum();
            assert!(stats.files > 1 && time > 0, "{stats:?}");
            let Some(lines) = lines(&dir.path, end) else { continue };
            let mut expected: Vec<_> = (0..20_000).map(line).collect();
            expected.sort();
            assert!(lines == expected, "{compression:?}, {durability:?}, {io:?}");
            dir.assert_clean();
        }
    }
}

#[test]
fn names_end_with_the_codec_whatever_the_extension() {
    for (extension, end) in [("log", ".log.zst"), ("", ".zst"), ("json", ".json.zst")] {
        let dir = WriterDir::new();
        write(dir.config().compression(Compression::Zstd(1)).extension(extension), 1);
        let file = paths(&dir.path).remove(0).to_str().unwrap().to_owned();
        assert!(
            file.ends_with(end) && file.matches(".").count() == 1 + end.matches(".").count(),
            "{file}"
        );
    }
}

#[test]
fn levels_out_of_range_are_refused() {
    for compression in [Compression::Gzip(10), Compression::Zstd(-8), Compression::Zstd(20)] {
        let dir = WriterDir::new();
        let error = BufferedWriter::new(dir.config().compression(compression)).unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains("compression") && said.contains("0 to 9") && said.contains("-7 to 19"),
            "{said}"
        );
        dir.assert_clean();
    }
}

/// A writer's left-overs: its directories as they were while it lived.
fn left_over(compression: Compression) -> (WriterDir, WriterDir) {
    let (dir, copy) = (WriterDir::new(), WriterDir::new());
    let config = dir.config_without_copy().compression(compression);
    let config = of_this_boot(config);
    let writer = BufferedWriter::new(config.workers(1).size(1000).io(Io::Buffered)).unwrap();
    for number in 0..20_000 {
        writer.write_timeout(&line(number), BOUND).unwrap();
    }
    until("all full chunks are in the file", || {
        let worker = stats(&writer).workers.remove(0);
        worker.temp_file_bytes > 1000 && worker.backlog_chunks == 0
    });
    let temp = dir.temps().remove(0);
    // The state file names the directory of visible files, so the copy is another temp directory only.
    for file in paths(&dir.temp) {
        fs::copy(&file, copy.temp.join(file.file_name().unwrap())).unwrap();
    }
    assert!(copy.temp.join(temp.file_name().unwrap()).exists());
    close(&writer);
    for file in paths(&dir.path) {
        fs::remove_file(file).unwrap();
    }
    (dir, copy)
}

#[test]
fn a_recovery_publishes_what_it_can_decode_and_sets_the_rest_aside() {
    for (compression, end) in [ALL[1], ALL[3]] {
        for damage in [false, true] {
            let (dir, copy) = left_over(compression);
            let temp = copy.temps().remove(0);
            if damage {
                let file = fs::OpenOptions::new().read(true).write(true).open(&temp).unwrap();
                let mut byte = [0];
                file.read_exact_at(&mut byte, 500).unwrap();
                file.write_all_at(&[byte[0] ^ 1], 500).unwrap();
            }
            let options = recovery_of(&dir.path, &copy.temp);
            let recovery = bufferedwriter::recover(&options).unwrap();
            assert!(recovery.errors.is_empty(), "{recovery:?}");
            if damage {
                assert_eq!((recovery.published.len(), recovery.set_aside.len()), (0, 1));
                assert!(paths(&dir.path).is_empty());
                continue;
            }
            assert_eq!(
                (recovery.published.len(), recovery.set_aside.len()),
                (1, 0),
                "{recovery:?}"
            );
            let len = paths(&dir.path)[0].metadata().unwrap().len();
            assert_eq!(recovery.bytes, len);
            let Some(lines) = lines(&dir.path, end) else { continue };
            assert_eq!(recovery.records.records, lines.len() as u64);
            assert!(
                !lines.is_empty()
                    && lines.iter().zip(0..).all(|(found, number)| *found == line(number))
            );
        }
    }
}
