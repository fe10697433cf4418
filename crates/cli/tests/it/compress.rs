//! Are compressed files whole for the tools that read them, also after the program was killed?

use bufferedwriter_testkit::unpacked::unpacked;
use rustix::process::Signal;

use crate::help::{PLAIN, Place, exit_code, numbered, sorted, wait_until};

/// Codecs, and what names end with then.
const CODECS: [(&str, &str); 4] =
    [("gzip", "log.gz"), ("gzip:1", "log.gz"), ("zstd", "log.zst"), ("zstd:-5", "log.zst")];

/// The lines of all visible files, unless a tool is missing.
fn lines(place: &Place, end: &str) -> Option<Vec<u8>> {
    let visible = place.visible();
    assert!(visible.iter().all(|file| file.to_str().unwrap().ends_with(end)), "{visible:?}");
    visible.iter().map(|file| unpacked(file)).collect::<Option<Vec<_>>>().map(|all| all.concat())
}

#[test]
fn tools_read_every_file() {
    for (codec, end) in CODECS {
        let place = Place::new();
        let input = numbered(50_000);
        let codec = format!("--compress={codec}");
        let ended = place.run(PLAIN.iter().chain(&[codec.as_str(), "--file-size=5KB"]), &input);
        assert_eq!((ended.code, ended.records("written")), (0, 50_000), "{ended:?}");
        let visible = place.visible();
        let bytes: u64 = visible.iter().map(|file| file.metadata().unwrap().len()).sum();
        assert_eq!(ended.json["files_bytes"], bytes);
        assert!(visible.len() > 1 && bytes < input.len() as u64 / 3, "{ended:?}");
        let Some(lines) = lines(&place, end) else { continue };
        assert_eq!(sorted(&lines), sorted(input.as_bytes()));
    }
}

#[test]
fn the_summary_tells_both_sizes() {
    let place = Place::new();
    let mut command = place
        .write_command(["--compress=zstd:1", place.file("in", numbered(5000)).to_str().unwrap()]);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("5000 records, ") && said.contains(" on the disk) in "), "{said}");
}

#[test]
fn what_a_killed_program_wrote_is_read_by_tools_too() {
    for (codec, end) in CODECS {
        let place = Place::new();
        let codec = format!("--compress={codec}");
        let args = [
            codec.as_str(),
            "--forced=0",
            "--file-age=0",
            "--workers=1",
            "--size=64",
            "--io=buffered",
        ];
        let mut program = place.start(args);
        for _ in 0..2 {
            let before = place.temp_bytes();
            program.feed(numbered(20_000));
            wait_until("the file grows", || place.temp_bytes() > before);
        }
        program.signal(Signal::KILL);
        drop(program);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bufferedwriter"));
        command.arg("recover").arg("--path").arg(place.out()).arg("--temp").arg(place.tmp());
        let output = command.arg("--json").output().unwrap();
        assert_eq!(exit_code(output.status), 0, "{output:?}");
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let Some(lines) = lines(&place, end) else { continue };
        assert!(!lines.is_empty() && numbered(20_000).repeat(2).as_bytes().starts_with(&lines));
        let count = lines.iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!(json["records"], count, "{json}");
    }
}
