//! Do finished files become one stream in the order of time, whatever they are and however little memory there is?

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bufferedwriter_testkit::random::Random;
use bufferedwriter_testkit::unpacked::unpacked;
use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::Value;

use crate::help::{Place, exit_code};

/// `merge` with these arguments.
fn command(args: &[&str], inputs: &[&Path]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bufferedwriter"));
    command.arg("merge").args(args).args(inputs).stdin(Stdio::null());
    command
}

/// Exit code, standard output, messages.
fn merge(args: &[&str], inputs: &[&Path]) -> (i32, Vec<u8>, String) {
    ended(&mut command(args, inputs))
}

fn ended(command: &mut Command) -> (i32, Vec<u8>, String) {
    let output = command.output().unwrap();
    (exit_code(output.status), output.stdout, String::from_utf8(output.stderr).unwrap())
}

/// Runs it with at most this many descriptors.
fn with_descriptors(command: &mut Command, count: u64) -> &mut Command {
    let limit = Rlimit { current: Some(count), maximum: Some(count) };
    // SAFETY: a plain system call.
    unsafe { command.pre_exec(move || Ok(setrlimit(Resource::Nofile, limit)?)) }
}

/// Exit code, bytes of standard output, and the most memory while they came, in MiB.
fn measured(command: &mut Command) -> (i32, u64, u64) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut stdout, mut block) = (child.stdout.take().unwrap(), vec![0; 1 << 20]);
    let (mut bytes, mut kib) = (0, 0);
    loop {
        let read = stdout.read(&mut block).unwrap();
        bytes += read as u64;
        // It goes up only. A program that has ended has none.
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        kib = most.map_or(kib, |most| most.trim_end_matches("kB").trim().parse().unwrap());
        if read == 0 {
            break;
        }
    }
    assert!(kib > 0);
    (exit_code(child.wait().unwrap()), bytes, kib >> 10)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(zstd_safe::compress_bound(bytes.len()));
    let mut context = zstd_safe::CCtx::create();
    context.set_parameter(zstd_safe::CParameter::ChecksumFlag(true)).unwrap();
    context.compress2(&mut out, bytes).unwrap();
    out
}

/// Lines whose seconds ascend, and that hardly compress.
fn lines(from: u64, count: u64) -> String {
    let line = |second| {
        let noise = Random::new(second).next();
        format!(
            "{} line {second} {noise:x}
",
            1_700_000_000 + second
        )
    };
    (from..from + count).map(line).collect()
}

#[test]
fn what_eight_workers_wrote_is_in_input_order_again() {
    for codec in ["none", "gzip:1", "zstd:1"] {
        let place = Place::new();
        let input = lines(0, 60_000);
        let codec = format!("--compress={codec}");
        let ended = place
            .run([codec.as_str(), "--file-size=20KB", "--size=4096", "--queue-size=16"], &input);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(place.visible().len() > 4);
        let (code, merged, said) = merge(&[], &[&place.out()]);
        assert_eq!((code, said.as_str()), (0, ""));
        assert!(merged == input.as_bytes(), "{codec}");
    }
}

#[test]
fn stack_traces_stay_and_files_of_one_time_keep_their_order() {
    let place = Place::new();
    let one =
        place.file("b", "2026-11-30T12:00:00Z first\n  at a\n\n2026-11-30T12:00:02Z\r\nend\n");
    let other =
        place.file("a", "above\n2026-11-30 12:00:00,000 second\n\tat b\n2026-11-30 12:00:01 x");
    let (code, merged, said) = merge(&[], &[&one, &other]);
    let expected = "2026-11-30T12:00:00Z first\n  at a\n\nabove\n2026-11-30 12:00:00,000 second\n\tat b\n\
                    2026-11-30 12:00:01 x\n2026-11-30T12:00:02Z\r\nend\n";
    assert_eq!(
        (code, String::from_utf8(merged).unwrap().as_str(), said.as_str()),
        (0, expected, "")
    );
}

#[test]
fn damage_is_told_with_name_and_offset_and_the_rest_is_merged() {
    let place = Place::new();
    let (first, second) = (lines(0, 5000), lines(5000, 5000));
    for (end, pack) in [("gz", gzip as fn(&[u8]) -> Vec<u8>), ("zst", zstd)] {
        let name = format!("x.log.{end}");
        let parts = [pack(first.as_bytes()), pack(second.as_bytes())];
        let whole = parts.concat();
        // In the middle of the first frame: what is whole before it and the second frame are there.
        let mut damaged = whole.clone();
        damaged[parts[0].len() / 2] ^= 0x55;
        let path = place.file(&name, &damaged);
        let (code, merged, said) = merge(&[], &[&path]);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(&format!("{}: damaged ", path.display())), "{said}");
        assert!(
            said.contains(" at byte ") && said.contains("in the frame from byte 0 on"),
            "{said}"
        );
        assert!(merged.ends_with(second.as_bytes()), "{end}");
        assert!(merged.split_inclusive(|&b| b == b'\n').all(|line| line.ends_with(b"\n")));
        // The end is missing.
        let path = place.file(&name, &whole[..whole.len() - 5]);
        let (code, merged, said) = merge(&[], &[&path]);
        assert!(code == 1 && said.contains("missing"), "{said}");
        assert!(said.contains(&format!("from byte {} on", parts[0].len())), "{said}");
        assert!(merged.starts_with(first.as_bytes()), "{end}");
        // The end is missing in the middle of a line, which is left out.
        let path = place.file(&name, &whole[..parts[0].len() + parts[1].len() * 9 / 10]);
        let (code, merged, said) = merge(&[], &[&path]);
        assert!(code == 1 && said.contains("bytes of torn lines left out"), "{said}");
        let of_second = merged.strip_prefix(first.as_bytes()).unwrap();
        assert!(second.as_bytes().starts_with(of_second) && of_second.len() > 1000, "{end}");
        assert!(of_second.ends_with(b"\n"), "{end}");
        // Nothing of it is what the name says. Another file is merged all the same.
        let path = place.file(&name, "plain text");
        let other = place.file("other", &first);
        let (code, merged, said) = merge(&[], &[&path, &other]);
        assert!(code == 1 && merged == first.as_bytes(), "{said}");
        // An empty one is damaged, too.
        let path = place.file(&name, "");
        let (code, merged, said) = merge(&[], &[&path]);
        assert!(code == 1 && merged.is_empty() && said.contains("at byte 0"), "{said}");
    }
}

#[test]
fn a_file_of_a_thousand_damaged_frames_does_not_flood() {
    let place = Place::new();
    let (good, mut bad) = (zstd(lines(0, 5).as_bytes()), zstd(lines(5, 5).as_bytes()));
    *bad.last_mut().unwrap() ^= 1;
    let path = place.file("x.zst", [bad.repeat(1000), good].concat());
    let (code, merged, said) = merge(&[], &[&path]);
    assert!(code == 1 && merged.len() >= lines(0, 5).len(), "{said}");
    assert_eq!(said.matches("damaged zstd").count(), 100, "{said}");
    assert!(said.contains(": 900 more damaged places"), "{said}");
    let mut verify = Command::new(env!("CARGO_BIN_EXE_bufferedwriter"));
    let (code, _, said) =
        ended(verify.arg("verify").arg(place.join("")).arg("--temp").arg(place.tmp()));
    assert!(code == 1 && said.matches("damaged zstd").count() == 100, "{said}");
}

#[test]
fn what_is_no_file_is_told_and_the_rest_is_merged() {
    let place = Place::new();
    let (good, empty) = (place.file("good", lines(0, 3)), place.file("empty", ""));
    let fifo = place.join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    let none = place.join("none");
    let (code, merged, said) = merge(&[], &[&none, &fifo, &good, &empty]);
    assert_eq!((code, merged), (1, lines(0, 3).into_bytes()), "{said}");
    for (path, why) in [(&none, "No such file"), (&fifo, "not a regular file")] {
        let told = format!("{}: open: {why}", path.display());
        assert!(said.contains(&told), "{said}");
    }
    // A directory without files, and one with hidden ones, are nothing.
    place.file("tmp/.hidden", "x");
    let (code, merged, said) = merge(&[], &[&place.tmp(), &place.out()]);
    assert_eq!((code, merged, said.as_str()), (0, vec![], ""));
    let (code, merged, said) = merge(&[], &[&place.file("text", "no\ntime\n"), &good]);
    assert_eq!((code, merged), (1, ["no\ntime\n", &lines(0, 3)].concat().into_bytes()));
    assert!(said.contains("no line has a time (--time auto)"), "{said}");
}

#[test]
fn nul_bytes_and_all_others_pass() {
    let place = Place::new();
    let mut content = b"1700000000 a\n".to_vec();
    content.extend([0; 5000]);
    content.extend((0..=255u8).filter(|&byte| byte != b'\n').cycle().take(10_000));
    content.extend(b"\n1700000001 \xff\xfe\n");
    let path = place.file("x", &content);
    assert_eq!(merge(&[], &[&path]), (0, content, String::new()));
}

#[test]
fn thousands_of_files_need_few_descriptors() {
    let place = Place::new();
    let mut random = Random::new(1);
    let mut all: Vec<(u64, usize)> = Vec::new();
    for file in 0..1500_usize {
        // Half of them overlap, the others follow each other; one in ten is not in order.
        let from = if file % 2 == 0 { 0 } else { file as u64 * 20 };
        let mut seconds: Vec<u64> = (0..20).map(|_| from + random.below(20_u64)).collect();
        if file % 10 != 0 {
            seconds.sort_unstable();
        }
        all.extend(seconds.iter().map(|&second| (second, file)));
        let text: String =
            seconds.iter().map(|second| format!("{} {file}\n", 1_700_000_000 + second)).collect();
        fs::write(place.out().join(format!("{file:05}.log")), text).unwrap();
    }
    all.sort_by_key(|&(second, _)| second);
    let expected: String =
        all.iter().map(|(second, file)| format!("{} {file}\n", 1_700_000_000 + second)).collect();
    for (args, descriptors) in [(&[][..], 64), (&[], 24), (&["--memory=64MiB"], 64)] {
        let mut command = command(args, &[&place.out()]);
        let (code, merged, said) = ended(with_descriptors(&mut command, descriptors));
        assert_eq!((code, said.as_str()), (0, ""));
        assert!(merged == expected.as_bytes());
    }
    // With `--path` the writer has some of them.
    let done = Place::new();
    let (out, tmp) = (done.out(), done.tmp());
    let args = ["--path", out.to_str().unwrap(), "--temp", tmp.to_str().unwrap(), "--quiet"];
    let (code, _, said) = ended(with_descriptors(&mut command(&args, &[&place.out()]), 64));
    assert_eq!((code, said.as_str()), (0, ""));
    assert!(done.written() == expected.as_bytes());
}

#[test]
fn ten_thousand_files_that_overlap_need_256_descriptors() {
    let place = Place::new();
    // The seconds of each file reach from the first to the last of all.
    for file in 0..10_000_u64 {
        let second = |line: u64| 1_700_000_000 + line * 10_000 + file;
        let text: String = (0..4).map(|line| format!("{} x\n", second(line))).collect();
        fs::write(place.out().join(format!("{:05}.log", file * 7919 % 10_000)), text).unwrap();
    }
    let expected: String =
        (0..40_000_u64).map(|line| format!("{} x\n", 1_700_000_000 + line)).collect();
    for args in [&["--memory=64MiB"][..], &["--memory=64MiB", "--window=0"]] {
        let mut command = command(args, &[&place.out()]);
        let (code, merged, said) = ended(with_descriptors(&mut command, 256));
        assert_eq!((code, said.as_str()), (0, ""), "{args:?}");
        assert!(merged == expected.as_bytes(), "{args:?}");
    }
    let mut command = command(&["--memory=64MiB"], &[&place.out()]);
    let (code, bytes, mib) = measured(with_descriptors(&mut command, 256));
    assert_eq!((code, bytes), (0, expected.len() as u64));
    assert!(mib <= 64, "{mib} MiB");
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let place = Place::new();
    let mut random = Random::new(2);
    let long = |name: &str, mib: usize| {
        let mut bytes = b"1700000001 ".to_vec();
        bytes.resize(mib << 20, b'x');
        place.file(name, bytes)
    };
    let unsorted: String = (0..400_000_u64)
        .map(|number| format!("{} line {number}\n", 1_700_000_000 + random.below(1000_u64)))
        .collect();
    let unsorted = place.file("unsorted", unsorted);
    let empty = place.file("empty", "\n".repeat(500_000));
    let (one, other) = (long("long", 60), long("other", 5));
    for args in [&[][..], &["--time=prefix:20"]] {
        let inputs: [&Path; 4] = [&unsorted, &empty, &one, &other];
        let all: u64 = inputs.iter().map(|path| path.metadata().unwrap().len()).sum();
        let (code, bytes, mib) =
            measured(&mut command(&[args, &["--memory=48MiB"]].concat(), &inputs));
        // Empty lines have no time, and two files get a newline.
        assert_eq!((code, bytes), (1, all + 2), "{args:?}");
        assert!(mib <= 48, "{args:?}: {mib} MiB");
    }
    // All of it is within the window, which then can't hold.
    let (code, bytes, mib) =
        measured(&mut command(&["--memory=48MiB", "--window=1h"], &[&unsorted]));
    assert_eq!((code, bytes), (1, unsorted.metadata().unwrap().len()));
    assert!(mib <= 48, "{mib} MiB");
}

#[test]
fn a_window_reads_once_and_tells_what_is_late() {
    let place = Place::new();
    let path =
        place.file("x", "1700000005 a\n1700000003 b\n  trace\n1700000009 c\n1700000001 late\n");
    let (code, merged, said) = merge(&["--window=2s"], &[&path]);
    let expected = "1700000003 b\n  trace\n1700000005 a\n1700000001 late\n1700000009 c\n";
    assert_eq!((code, String::from_utf8(merged).unwrap().as_str()), (1, expected), "{said}");
    assert!(said.contains("1 lines came later than --window permits"), "{said}");
    let (code, merged, said) = merge(&["--window=1m"], &[&path]);
    assert!(code == 0 && merged.starts_with(b"1700000001 late\n"), "{said}");
}

#[test]
fn files_are_compressed_and_split_as_with_write() {
    let place = Place::new();
    let (one, other) =
        (place.file("one", lines(0, 40_000)), place.file("other", lines(40_000, 40_000)));
    let (out, manifest) = (place.out(), place.join("m.ndjson"));
    let args = [
        "--path",
        out.to_str().unwrap(),
        "--temp",
        place.tmp().to_str().unwrap(),
        "--compress=zstd:1",
        "--file-size=50KB",
        "--prefix=all_",
        "--extension=txt",
        "--header=# merged",
        "--manifest",
        manifest.to_str().unwrap(),
    ]
    .map(str::to_owned);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let (code, stdout, said) = merge(&[&args[..], &["--json"]].concat(), &[&other, &one]);
    assert_eq!(code, 0, "{said}");
    let json: Value = serde_json::from_slice(&stdout).unwrap();
    assert_eq!(
        (&json["lines"], &json["written"]["records"]),
        (&80_000.into(), &80_000.into()),
        "{json}"
    );
    let files: Vec<PathBuf> = place.visible();
    assert!(files.len() > 2 && json["files"] == files.len(), "{json}");
    let Some(all) = files.iter().map(|file| unpacked(file)).collect::<Option<Vec<_>>>() else {
        return;
    };
    assert!(all.iter().all(|content| content.starts_with(b"# merged\n")));
    let all: Vec<u8> = all.iter().flat_map(|content| &content[9..]).copied().collect();
    assert!(all == lines(0, 80_000).as_bytes());
    let (code, _, said) = merge(&args, &[&one]);
    assert!(
        code == 0 && said.contains("40000 lines, ") && said.contains(" merged into "),
        "{said}"
    );
    let mut verify = Command::new(env!("CARGO_BIN_EXE_bufferedwriter"));
    verify.arg("verify").arg(&out).arg("--temp").arg(place.tmp()).arg("--manifest").arg(&manifest);
    let (code, _, said) = ended(verify.arg("--header=# merged"));
    assert!(code == 0, "{said}");
}

#[test]
fn a_line_that_no_memory_holds_is_refused_by_a_writer() {
    let place = Place::new();
    let content = [lines(0, 2), "x".repeat(9 << 20), "\n".to_owned(), lines(2, 1)].concat();
    let path = place.file("x", &content);
    let (out, tmp) = (place.out(), place.tmp());
    let args = ["--path", out.to_str().unwrap(), "--temp", tmp.to_str().unwrap()];
    let (code, _, said) = merge(&args, &[&path]);
    assert!(code == 3 && said.contains("are left out") && said.contains("refused 1"), "{said}");
    assert_eq!(place.written(), lines(0, 3).as_bytes());
}

#[test]
fn wrong_options_are_2() {
    let place = Place::new();
    let path = place.file("x", lines(0, 1));
    for (args, said) in [
        (&["--time=yesterday"][..], "must be auto, rfc3339"),
        (&["--time=strptime:%!"], "invalid value"),
        (&["--time-zone=Mars/Base"], "IANA time zone"),
        (&["--memory=1MiB"], "--memory must be at least"),
        (&["--time=prefix:5", "--window=1s"], "prefix:N"),
        (&["--compress=zstd"], "--path"),
        (&["--file-size=1"], "--path"),
    ] {
        let (code, merged, told) = merge(args, &[&path]);
        assert!(code == 2 && merged.is_empty() && told.contains(said), "{args:?}: {told}");
    }
    assert_eq!(merge(&[], &[]).0, 2);
}

#[test]
fn a_reader_that_has_enough_ends_it() {
    let place = Place::new();
    let path = place.file("x", lines(0, 200_000));
    let mut child =
        command(&[], &[&path]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((exit_code(output.status), output.stderr), (1, vec![]));
}

#[test]
fn a_full_disk_is_told() {
    let place = Place::new();
    let path = place.file("x", lines(0, 10));
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let (code, _, said) = ended(command(&[], &[&path]).stdout(full));
    assert!(code == 1 && said.contains("write to standard output: No space left"), "{said}");
    let unsorted = place.file("y", [lines(5, 5), lines(0, 5)].concat());
    let (code, _, said) = merge(&["--temp", "/no/such/dir"], &[&unsorted]);
    assert!(code == 1 && said.contains("create a temp file in /no/such/dir"), "{said}");
}

#[test]
fn real_logs() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let logs = std::env::var_os("BUFFEREDWRITER_TEST_LOGS").map_or(beside, PathBuf::from);
    if !logs.is_dir() {
        println!("skipped: no real logs in {}", logs.display());
        return;
    }
    for (name, time) in [
        ("Apache", "auto"),
        ("BGL", "strptime:- %s"),
        ("HDFS", "strptime:%y%m%d %H%M%S"),
        ("Hadoop", "auto"),
        ("Linux", "auto"),
        ("Mac", "auto"),
        ("OpenSSH", "syslog"),
        ("Zookeeper", "rfc3339"),
    ] {
        let path = logs.join(format!("{name}.log"));
        let place = Place::new();
        let content = fs::read(&path).unwrap();
        let mut all: Vec<_> = content.split_inclusive(|&byte| byte == b'\n').collect();
        // Cut into three, every third line in each.
        let parts: Vec<PathBuf> = (0..3)
            .map(|part| {
                let lines: Vec<_> = all.iter().skip(part).step_by(3).copied().collect();
                place.file(&format!("{part}"), lines.concat())
            })
            .collect();
        let parts: Vec<&Path> = parts.iter().map(PathBuf::as_path).collect();
        let (code, merged, said) = merge(&["--time", time], &parts);
        assert_eq!((code, said.as_str()), (0, ""), "{name}");
        // All are there; the last of the file may have got a newline.
        let mut lines: Vec<_> = merged.split_inclusive(|&byte| byte == b'\n').collect();
        let ended = [all.pop().unwrap(), b"\n"].concat();
        all.push(if content.ends_with(b"\n") { &ended[..ended.len() - 1] } else { &ended });
        // Merged once more nothing changes.
        let again = place.file("again", &merged);
        assert_eq!(
            merge(&["--time", time], &[&again]),
            (0, merged.clone(), String::new()),
            "{name}"
        );
        all.sort_unstable();
        lines.sort_unstable();
        assert!(lines == all, "{name}");
    }
}
