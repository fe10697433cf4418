//! Promise: header and footer stand once in each file, in each form of it, and count as bytes of files, never as
//! records.

use std::fs;
use std::time::Duration;

use bufferedwriter::{BufferedWriter, Compression, Config, Durability, Io};
use bufferedwriter_testkit::dir::paths;
use bufferedwriter_testkit::unpacked::unpacked;

use crate::support::{BOUND, WriterDir, close, stats, until};

const HEADER: &[u8] = b"a header\n";
const FOOTER: &[u8] = b"a footer\n";

/// Lines of all files, each of them between header and footer, unless a tool is missing.
fn lines(dir: &WriterDir) -> Option<Vec<String>> {
    let mut all = Vec::new();
    for file in paths(&dir.path) {
        let bytes = unpacked(&file)?;
        let rest = bytes.strip_prefix(HEADER).and_then(|rest| rest.strip_suffix(FOOTER));
        let text = String::from_utf8(rest.expect("both").to_vec()).unwrap();
        assert!(text.ends_with('\n'), "{text:?}");
        all.extend(text.lines().map(str::to_owned));
    }
    all.sort();
    Some(all)
}

fn enclosed(config: Config) -> Config {
    config.header(HEADER).footer(FOOTER)
}

#[test]
fn each_file_has_both_whatever_its_form() {
    for compression in [Compression::None, Compression::Gzip(1), Compression::Zstd(1)] {
        for (durability, io) in [
            (Durability::None, Io::Direct),
            (Durability::File, Io::Buffered),
            (Durability::File, Io::Direct),
        ] {
            let dir = WriterDir::new();
            let config = enclosed(dir.config()).compression(compression).durability(durability);
            let writer = BufferedWriter::new(config.io(io).workers(2).file_size(20_000)).unwrap();
            let mut expected: Vec<_> = (0..20_000).map(|n| format!("line {n}")).collect();
            for part in expected.chunks(7000) {
                for line in part {
                    writer.write_timeout(format!("{line}\n").as_bytes(), BOUND).unwrap();
                }
                writer.flush(BOUND).unwrap();
            }
            let stats = stats(&writer);
            let sizes: Vec<_> =
                paths(&dir.path).iter().map(|file| fs::metadata(file).unwrap().len()).collect();
            assert!(sizes.len() >= 3);
            assert_eq!(stats.files_bytes, sizes.iter().sum::<u64>());
            assert_eq!(stats.written.records, 20_000);
            let records: usize = expected.iter().map(|line| line.len() + 1).sum();
            assert_eq!(stats.written.bytes, records as u64);
            if compression == Compression::None {
                let others = sizes.len() * (HEADER.len() + FOOTER.len());
                assert_eq!(stats.files_bytes, (records + others) as u64);
            }
            close(&writer);
            dir.assert_clean();
            let Some(found) = lines(&dir) else { continue };
            expected.sort();
            assert!(found == expected);
        }
    }
}

/// A file that grows on after its rename failed has its footer at its end only.
#[test]
fn a_file_that_waits_for_its_name_grows_before_its_footer() {
    let dir = WriterDir::new();
    let config = enclosed(dir.config()).workers(1).size(64).file_age(Duration::ZERO);
    let writer = BufferedWriter::new(config.file_size(100)).unwrap();
    let away = dir.path.with_extension("away");
    fs::rename(&dir.path, &away).unwrap();
    for number in 0..20 {
        writer
            .write_timeout(format!("line {number:03}, and more of it\n").as_bytes(), BOUND)
            .unwrap();
    }
    writer.flush(Duration::from_millis(10)).unwrap_err();
    until("a worker tells of it", || !writer.health().is_ok());
    fs::rename(away, &dir.path).unwrap();
    writer.flush(BOUND).unwrap();
    close(&writer);
    assert_eq!(lines(&dir).unwrap().len(), 20);
}

#[test]
fn the_length_of_a_temp_file_counts_the_header_only() {
    let dir = WriterDir::new();
    let config = enclosed(dir.config()).workers(1).size(8).file_age(Duration::ZERO);
    let writer = BufferedWriter::new(config).unwrap();
    (0..4).for_each(|_| writer.write_timeout(b"12345678", BOUND).unwrap());
    let bytes = || stats(&writer).workers[0].temp_file_bytes;
    until("the file has some", || bytes() > 0);
    assert_eq!((bytes() - HEADER.len() as u64) % 8, 0);
    close(&writer);
}
