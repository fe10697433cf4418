//! Do header and footer stand once in each file, also after the program was killed, and never among the lines?

use std::fs;
use std::process::Command;

use bufferedwriter_testkit::dir::{TestDir, list};
use bufferedwriter_testkit::random::Random;
use bufferedwriter_testkit::shm;
use bufferedwriter_testkit::unpacked::unpacked;
use rustix::process::Signal;

use crate::help::{PLAIN, Place, exit_code, numbered, sorted, wait_until};

const CODECS: [&str; 3] = ["none", "gzip:1", "zstd:1"];
const HEADER: &str = "number,text\n";
const FOOTER: &str = "# end\n";
const BOTH: [&str; 2] = ["--header=number,text", "--footer=# end"];

/// The lines between header and footer of all visible files, unless a tool is missing. Each file has some.
fn lines(place: &Place) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    for file in place.visible() {
        let bytes = unpacked(&file)?;
        let lines = bytes.strip_prefix(HEADER.as_bytes());
        let lines = lines.and_then(|rest| rest.strip_suffix(FOOTER.as_bytes()));
        let lines = lines.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&bytes)));
        assert!(lines.ends_with(b"\n"), "no line, or a torn one");
        all.extend_from_slice(lines);
    }
    Some(all)
}

fn recover(place: &Place, args: &[&str]) -> serde_json::Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bufferedwriter"));
    command.arg("recover").arg("--path").arg(place.out()).arg("--temp").arg(place.tmp());
    let output = command.args(args).arg("--json").output().unwrap();
    assert_eq!(exit_code(output.status), 0, "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn each_file_has_both_and_the_accounts_count_lines_only() {
    for codec in CODECS {
        let place = Place::new();
        let (input, codec) = (numbered(20_000), format!("--compress={codec}"));
        let args = [codec.as_str(), "--file-size=5KB"];
        let ended = place.run(PLAIN.iter().chain(&BOTH).chain(&args), &input);
        assert_eq!((ended.code, ended.records("written")), (0, 20_000), "{ended:?}");
        assert_eq!(ended.json["written"]["bytes"], input.len());
        let visible = place.visible();
        let bytes: u64 = visible.iter().map(|file| file.metadata().unwrap().len()).sum();
        assert_eq!(ended.json["files_bytes"], bytes);
        assert!(visible.len() > 2, "{ended:?}");
        let Some(lines) = lines(&place) else { continue };
        assert_eq!(sorted(&lines), sorted(input.as_bytes()));
    }
}

#[test]
fn other_bytes_come_from_a_file() {
    let place = Place::new();
    let header = format!("--header=@{}", place.file("head", b"\0\xff no newline: ").display());
    let footer = format!("--footer=@{}", place.file("foot", b"").display());
    let ended = place.run([header, footer], "line\n");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(place.written(), b"\0\xff no newline: line\n");
}

#[test]
fn without_a_line_there_is_no_file() {
    let place = Place::new();
    let ended = place.run(BOTH, "");
    assert_eq!((ended.code, place.visible().len()), (0, 0), "{ended:?}");
    assert!(list(&place.tmp()).is_empty());
}

#[test]
fn what_a_killed_program_wrote_has_both_too() {
    for codec in CODECS {
        let place = Place::new();
        let codec = format!("--compress={codec}");
        let args =
            [&codec, "--forced=0", "--file-age=0", "--workers=1", "--size=64", "--io=buffered"];
        let mut program = place.start(args.iter().chain(&BOTH));
        for _ in 0..2 {
            let before = place.temp_bytes();
            program.feed(numbered(20_000));
            wait_until("the file grows", || place.temp_bytes() > before);
        }
        program.signal(Signal::KILL);
        drop(program);
        let json = recover(&place, &[]);
        assert_eq!(place.visible().len(), 1, "{json}");
        let Some(lines) = lines(&place) else { continue };
        assert!(numbered(20_000).repeat(2).as_bytes().starts_with(&lines));
        let count = lines.iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!(json["records"], count, "{json}");
        let len = place.visible()[0].metadata().unwrap().len();
        assert_eq!(json["bytes"], len, "{json}");
    }
}

#[test]
fn what_is_salvaged_from_memory_has_both_too() {
    let Some(memory) = shm::dir().map(TestDir::within) else { return };
    for codec in CODECS {
        let place = Place::new();
        let (codec, crash_proof) =
            (format!("--compress={codec}"), format!("--crash-proof={}", memory.path().display()));
        let args = [&codec, &crash_proof, "--forced=0", "--file-age=0", "--size=4096"];
        let mut program = place.start(args.iter().chain(&BOTH));
        let input = numbered(500);
        program.feed(&input);
        program.wait_until_read();
        wait_until("it has handed over what it has read", || program.is_asleep());
        program.signal(Signal::KILL);
        drop(program);
        let dir = memory.path().to_str().unwrap();
        let json = recover(&place, &["--memory", dir]);
        assert_eq!(json["records"], 500, "{json}");
        let sizes = place.visible().into_iter().map(|file| file.metadata().unwrap().len());
        assert_eq!(json["bytes"], sizes.sum::<u64>(), "{json}");
        let Some(lines) = lines(&place) else { continue };
        assert_eq!(sorted(&lines), sorted(input.as_bytes()));
        assert!(list(&place.tmp()).is_empty() && memory.list().is_empty());
    }
}

/// The footer is within the limit too, or the file could never be ended.
#[test]
fn a_limit_of_the_file_size_leaves_room_for_the_footer() {
    for codec in CODECS {
        for io in ["buffered", "direct"] {
            let place = Place::new();
            let mut random = Random::new(3);
            let lines_in: String =
                (0..20_000).map(|_| format!("{:016x}\n", random.next())).collect();
            let log = place.file("log", &lines_in);
            let mut command = Command::new("sh");
            let limited = "ulimit -f 60 && exec \"$0\" \"$@\"";
            command.args(["-c", limited, env!("CARGO_BIN_EXE_bufferedwriter"), "write"]);
            command.args(["--workers=1", "--compress", codec, "--io", io]).args(BOTH);
            command.arg("--path").arg(place.out()).arg("--temp").arg(place.tmp()).arg(&log);
            assert_eq!(exit_code(command.status().unwrap()), 0, "{codec}");
            let sizes: Vec<_> =
                place.visible().iter().map(|file| fs::metadata(file).unwrap().len()).collect();
            let fit = sizes.iter().all(|&size| size <= 60 << 10);
            assert!(sizes.len() > 2 && fit, "{codec}: {sizes:?}");
            let Some(found) = lines(&place) else { continue };
            assert!(found == lines_in.as_bytes(), "{codec}");
        }
    }
}
