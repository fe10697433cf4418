//! Does `verify` find what is wrong with a directory, and nothing where all is well?

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bufferedwriter_testkit::random::Random;
use rustix::process::Signal;
use serde_json::Value;

use crate::help::{Place, exit_code, numbered, wait_until};

/// Exit code, the result, messages.
fn verify(place: &Place, args: &[&str]) -> (i32, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bufferedwriter"));
    command.arg("verify").arg(place.out()).arg("--temp").arg(place.tmp()).args(args);
    let output = command.output().unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (exit_code(output.status), json, String::from_utf8(output.stderr).unwrap())
}

/// Kind, file name, and whether there is an offset, of each problem.
fn problems(place: &Place, args: &[&str]) -> Vec<(String, String)> {
    let (code, json, said) = verify(place, &[args, &["--json"]].concat());
    let found = json["problems"].as_array().unwrap_or_else(|| panic!("{json} {said}"));
    assert_eq!((code == 0, json["ok"] == true), (found.is_empty(), found.is_empty()), "{json}");
    let name = |path: &str| Path::new(path).file_name().unwrap().to_str().unwrap().to_owned();
    let text = |problem: &Value, key: &str| problem[key].as_str().unwrap().to_owned();
    found.iter().map(|problem| (text(problem, "kind"), name(&text(problem, "path")))).collect()
}

/// What is done to the bytes of a file, and its name.
type Damage = (&'static str, fn(&mut Vec<u8>));

/// Lines that hardly compress.
fn noise(count: u64) -> String {
    (0..count).map(|number| format!("{:x}\n", Random::new(number).next())).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// A directory with some files of one worker, a manifest, and no problem.
fn written(codec: &str, more: &[&str]) -> (Place, Vec<PathBuf>, String) {
    let place = Place::new();
    let manifest = place.join("m.ndjson").to_str().unwrap().to_owned();
    let codec = format!("--compress={codec}");
    let args = [
        &codec,
        "--file-size=4KB",
        "--size=4096",
        "--queue-size=4",
        "--workers=1",
        "--manifest",
        &manifest,
    ];
    let ended = place.run(args.iter().chain(more), noise(20_000));
    assert_eq!(ended.code, 0, "{ended:?}");
    let files = place.visible();
    assert!(files.len() > 4, "{files:?}");
    (place, files, manifest)
}

#[test]
fn all_is_well() {
    for codec in ["none", "gzip", "zstd"] {
        let (place, files, manifest) = written(codec, &["--header=# begin", "--footer=# end"]);
        let args = ["--manifest", &manifest, "--header=# begin", "--footer=# end"];
        let (code, json, said) = verify(&place, &[&args[..], &["--json"]].concat());
        assert_eq!((code, said.as_str()), (0, ""), "{json}");
        assert_eq!(
            (&json["files"], &json["lines"]),
            (&files.len().into(), &20_000.into()),
            "{json}"
        );
        assert_eq!(json["record_bytes"], noise(20_000).len(), "{json}");
        let (code, _, said) = verify(&place, &args);
        assert!(code == 0 && said.contains("20000 lines in them: 0 problems"), "{said}");
    }
}

#[test]
fn a_writer_at_work_is_no_problem() {
    let place = Place::new();
    let mut program = place.start(["--forced=0", "--file-age=0", "--workers=1", "--size=64"]);
    program.feed(numbered(100));
    wait_until("a line is in a file", || place.temp_bytes() > 0);
    assert_eq!(problems(&place, &[]), []);
    // Dead, it has left something.
    program.signal(Signal::KILL);
    drop(program);
    let found = problems(&place, &[]);
    assert!(
        found.len() == 1 && found[0].0 == "left_over" && found[0].1.ends_with(".log.tmp"),
        "{found:?}"
    );
    let (_, _, said) = verify(&place, &[]);
    assert!(said.contains("`bufferedwriter recover` publishes it"), "{said}");
    // Without its state file nobody knows it any more.
    for state in bufferedwriter_testkit::dir::paths(&place.tmp()) {
        if state.extension() == Some("state".as_ref()) {
            fs::remove_file(state).unwrap();
        }
    }
    fs::write(place.tmp().join(".x.aside"), "").unwrap();
    let found = problems(&place, &[]);
    assert!(found.len() == 2 && found.iter().all(|(kind, _)| kind == "left_over"), "{found:?}");
}

#[test]
fn damaged_frames() {
    for (codec, message) in [("gzip", "gzip"), ("zstd", "zstd")] {
        let (place, files, manifest) = written(codec, &[]);
        let whole = fs::read(&files[1]).unwrap();
        let damages: [Damage; 5] = [
            ("a bit", |bytes| bytes[2000] ^= 4),
            ("the checksum", |bytes| *bytes.last_mut().unwrap() ^= 1),
            ("the end", |bytes| bytes.truncate(3000)),
            ("something behind", |bytes| bytes.extend(b"junk behind it")),
            ("the beginning", |bytes| bytes[0] = b'x'),
        ];
        for (what, damage) in &damages {
            let mut bytes = whole.clone();
            damage(&mut bytes);
            fs::write(&files[1], &bytes).unwrap();
            let (code, json, _) = verify(&place, &["--json"]);
            let problem = &json["problems"][0];
            assert_eq!((code, &problem["kind"]), (1, &"damaged".into()), "{codec}, {what}: {json}");
            assert!(
                problem["offset"].as_u64().is_some_and(|at| at <= bytes.len() as u64),
                "{problem}"
            );
            let told = problem["message"].as_str().unwrap();
            assert!(told.contains(&format!("damaged {message} at byte ")), "{told}");
        }
        fs::write(&files[1], "").unwrap();
        let found = problems(&place, &["--manifest", &manifest]);
        let expected = [("differs", name(&files[1])), ("damaged", name(&files[1]))];
        assert_eq!(found, expected.map(|(kind, name)| (kind.to_owned(), name)), "{codec}");
    }
}

#[test]
fn plain_files() {
    let (place, files, _) = written("none", &[]);
    let change = |at: usize, bytes: &[u8]| fs::write(&files[at], bytes).unwrap();
    change(0, b"");
    change(1, b"no end");
    change(2, &[b"a\n", &[0; 4096][..], b"\nb\n"].concat());
    let found = problems(&place, &[]);
    let expected = [("empty", 0), ("no_newline", 1), ("nul_block", 2)];
    assert_eq!(found, expected.map(|(kind, at)| (kind.to_owned(), name(&files[at]))));
    let (_, json, _) = verify(&place, &["--json"]);
    assert_eq!(json["problems"][2]["offset"], 2, "{json}");
    // Records may be anything, but a file is never empty.
    assert_eq!(problems(&place, &["--binary"]), [("empty".to_owned(), name(&files[0]))]);
    let found = problems(&place, &["--binary", "--header=no", "--footer=b\n"]);
    assert!(found.iter().filter(|(kind, _)| kind == "envelope").count() > files.len(), "{found:?}");
}

#[test]
fn names_and_numbers() {
    let (place, files, _) = written("none", &["--prefix=p_"]);
    fs::remove_file(&files[2]).unwrap();
    fs::create_dir(place.out().join("sub")).unwrap();
    let twice = place.out().join("sub").join(name(&files[3]));
    fs::copy(&files[3], &twice).unwrap();
    fs::write(place.out().join("foreign.log"), "x\n").unwrap();
    let found = problems(&place, &[]);
    let expected =
        [("name", "foreign.log".to_owned()), ("gap", name(&files[3])), ("twice", name(&twice))];
    assert_eq!(found, expected.map(|(kind, name)| (kind.to_owned(), name)));
    let found = problems(&place, &["--allow-missing", "--prefix=p_"]);
    assert_eq!(found, [("twice".to_owned(), name(&twice))]);
    // The oldest may be gone: retention takes them.
    fs::remove_file(&twice).unwrap();
    files[..2].iter().for_each(|file| fs::remove_file(file).unwrap());
    assert_eq!(problems(&place, &["--prefix=p_"]), []);
}

#[test]
fn the_manifest() {
    for codec in ["none", "zstd"] {
        let (place, files, manifest) = written(codec, &[]);
        let args = ["--manifest", manifest.as_str()];
        let whole = fs::read_to_string(&manifest).unwrap();
        let mut lines: Vec<_> = whole.lines().map(str::to_owned).collect();
        let with = |key: &str, value: u64, line: &str| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            line[key] = value.into();
            line.to_string()
        };
        let kinds = |lines: &[String]| {
            fs::write(&manifest, lines.join("\n") + "\n").unwrap();
            problems(&place, &args).into_iter().map(|(kind, _)| kind).collect::<Vec<_>>()
        };
        assert_eq!(kinds(&lines), [""; 0]);
        for key in ["bytes", "records", "record_bytes"] {
            let mut changed = lines.clone();
            changed[1] = with(key, 7, &lines[1]);
            assert_eq!(kinds(&changed), ["differs"], "{codec}: {key}");
        }
        assert_eq!(kinds(&lines[1..]), ["unlisted"]);
        let mut torn = lines.clone();
        torn.push("{\"id\":\"8267".to_owned());
        assert_eq!(kinds(&torn), ["manifest"]);
        let mut twice = lines.clone();
        twice.push(lines[0].clone());
        assert_eq!(kinds(&twice), ["manifest"]);
        lines.truncate(files.len());
        kinds(&lines);
        fs::remove_file(&files[0]).unwrap();
        let (code, json, _) = verify(&place, &[&args[..], &["--json"]].concat());
        assert_eq!((code, &json["problems"][0]["kind"]), (1, &"missing".into()), "{json}");
        assert_eq!(problems(&place, &[&args[..], &["--allow-missing"]].concat()), []);
        // In two parts, as after a rotation of the manifest.
        let (one, other) = (
            place.file("one", lines[..2].join("\n") + "\n"),
            place.file("other", lines[2..].join("\n") + "\n"),
        );
        let args = ["--manifest", one.to_str().unwrap(), "--manifest", other.to_str().unwrap()];
        assert_eq!(problems(&place, &[&args[..], &["--allow-missing"]].concat()), []);
        let found = problems(&place, &["--manifest=/no/such/file", "--allow-missing"]);
        assert!(found[0].0 == "manifest" && found.len() == files.len(), "{found:?}");
    }
}

#[test]
fn what_can_not_be_read() {
    let place = Place::new();
    let (code, json, said) = verify(&place, &["--json"]);
    assert_eq!((code, &json["files"]), (0, &0.into()), "{said}");
    fs::remove_dir(place.out()).unwrap();
    let (code, json, _) = verify(&place, &["--json"]);
    assert_eq!(code, 1, "{json}");
    assert_eq!(json["problems"][0]["kind"], "unreadable", "{json}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bufferedwriter"));
    assert_eq!(exit_code(command.arg("verify").output().unwrap().status), 2);
}

#[test]
fn many_files() {
    let place = Place::new();
    for sequence in 0..5000 {
        let name = format!("20261122T194030.123456789Z-00000000deadbeef-7-w0-{sequence}.log");
        fs::write(place.out().join(name), "a line\n").unwrap();
    }
    let (code, json, said) = verify(&place, &["--json"]);
    assert_eq!((code, &json["files"], &json["lines"]), (0, &5000.into(), &5000.into()), "{said}");
}
