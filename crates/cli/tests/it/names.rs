//! Do files have the names, the permissions and the places that were asked for?

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::help::Place;

#[test]
fn prefix_extension_and_mode() {
    let place = Place::new();
    let args = ["--prefix=access_", "--extension=txt", "--mode=0640"];
    assert_eq!(place.run(args, "line\n").code, 0);
    let [file] = &place.visible()[..] else { panic!("{:?}", place.visible()) };
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("access_") && name.ends_with(".txt"), "{name}");
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o7777, 0o640);
}

#[test]
fn they_may_be_any_bytes() {
    let place = Place::new();
    let option =
        |name: &str, value: &[u8]| OsString::from_vec([name.as_bytes(), b"=", value].concat());
    let args = [option("--prefix", b"\xff_"), option("--extension", b"\xfe")];
    assert_eq!(place.run(args, "line\n").code, 0);
    let [file] = &place.visible()[..] else { panic!("{:?}", place.visible()) };
    let name = file.file_name().unwrap().as_bytes();
    assert!(name.starts_with(b"\xff_") && name.ends_with(b".\xfe"), "{name:?}");
}

#[test]
fn defaults_are_log_for_the_owner_alone() {
    let place = Place::new();
    assert_eq!(place.run([] as [&str; 0], "line\n").code, 0);
    let [file] = &place.visible()[..] else { panic!("{:?}", place.visible()) };
    assert_eq!(file.extension().unwrap(), "log");
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn missing_directories_are_created_where_asked_for() {
    let place = Place::new();
    let deep = place.join("a/b/c");
    let path = format!("--path={}", deep.display());
    // A second --path would be refused, so this command line is built here.
    let mut command = Command::new(env!("CARGO_BIN_EXE_bufferedwriter"));
    command.args(["write", &path, "--create-dirs", "--temp"]).arg(place.tmp());
    command.arg(place.file("log", "line\n"));
    assert!(command.output().unwrap().status.success());
    assert_eq!(fs::read_dir(&deep).unwrap().count(), 1);
}
