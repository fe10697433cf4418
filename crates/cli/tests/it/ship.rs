//! `ship` becomes another program, or says where that one should be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use bufferedwriter_testkit::dir::TestDir;

fn ship(path: &TestDir) -> Command {
    // A copy, so that nobody has put the other program beside it.
    let program = path.join("bufferedwriter");
    fs::hard_link(env!("CARGO_BIN_EXE_bufferedwriter"), &program)
        .or_else(|_| fs::copy(env!("CARGO_BIN_EXE_bufferedwriter"), &program).map(drop))
        .unwrap();
    let mut command = Command::new(program);
    command.arg("ship");
    command
}

fn install(dir: &TestDir, name: &str) {
    let path = dir.join(name);
    fs::write(&path, "#!/bin/sh\necho \"$@\"\nexit 7\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_program_gets_arguments_and_gives_its_exit_code() {
    for is_beside in [true, false] {
        let (dir, other) = (TestDir::new(), TestDir::new());
        let place = if is_beside { &dir } else { &other };
        install(place, "bufferedwriter-ship");
        let mut command = ship(&dir);
        command.args(["--to", "s3://b/p", "--help", "x y"]);
        let paths = [other.path().to_owned(), "/usr/bin".into(), "/bin".into()];
        command.env("PATH", std::env::join_paths(paths).unwrap());
        let output = command.output().unwrap();
        assert_eq!(output.stdout, b"--to s3://b/p --help x y\n");
        assert_eq!(output.status.code(), Some(7));
    }
}

#[test]
fn without_the_program_it_says_what_is_missing() {
    let dir = TestDir::new();
    let output = ship(&dir).args(["--to", "x"]).env("PATH", dir.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("bufferedwriter-ship is neither beside this program nor on PATH"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(1));
}
