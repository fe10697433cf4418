//! Options from a file and from the environment, and what the program says of them.

use std::process::{Command, Stdio};

use crate::help::Place;

/// `bufferedwriter config` with these arguments, and what it printed on the two outputs.
fn config(args: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bufferedwriter"));
    command.arg("config").args(args).envs(variables.iter().copied()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn flags_come_before_the_environment_and_that_before_the_file() {
    let place = Place::new();
    let text = "file_size = \"1GiB\"\nprefix = \"file_\"\nheader = \"a,b\"\nworkers = 2\n";
    let file = place.file("write.toml", text);
    let file = file.to_str().unwrap();
    let mut program = place.start_with(["--prefix=flag_"], |command| {
        command.env("BUFFEREDWRITER_CONFIG", file);
        command.env("BUFFEREDWRITER_PREFIX", "variable_").env("BUFFEREDWRITER_HEADER", "c,d");
        // As a hook has it.
        command.env("BUFFEREDWRITER_FILE", "/none");
    });
    program.feed("1,2\n");
    assert_eq!(program.end().code, 0);
    assert_eq!(place.written(), b"c,d\n1,2\n");
    let name = place.visible().pop().unwrap();
    assert!(name.file_name().unwrap().to_str().unwrap().starts_with("flag_"), "{name:?}");
}

#[test]
fn config_says_what_holds_and_where_it_stands() {
    let place = Place::new();
    let text = "file_size = \"1GiB\"\nworkers = 2\npartition = \"app={app}\"\n[partition_value]\napp = \"a\\\"b\"\n";
    let file = place.file("write.toml", text);
    let file = file.to_str().unwrap();
    let variables = [("BUFFEREDWRITER_WORKERS", "3"), ("BUFFEREDWRITER_PATH", "/var/log/app")];
    let args = ["--config", file, "--create-dirs", "--temp", "/var/log/temp"];
    let (code, out, err) = config(&args, &variables);
    assert_eq!((code, err.as_str()), (0, ""));
    let line = |key: &str| {
        let line = out.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once('#').map(|(value, from)| (value.trim().to_owned(), from.trim().to_owned()))
    };
    let says = |value: &str, from: &str| Some((value.to_owned(), from.to_owned()));
    assert_eq!(line("file_size"), says("file_size = \"1GiB\"", file));
    assert_eq!(line("workers"), says("workers = 3", "BUFFEREDWRITER_WORKERS"));
    assert_eq!(line("path"), says("path = \"/var/log/app\"", "BUFFEREDWRITER_PATH"));
    assert_eq!(line("create_dirs"), says("create_dirs = true", "flag"));
    assert_eq!(line("queue_size"), says("queue_size = 1024", "default"));
    assert!(
        out.lines().any(|line| line.starts_with("# latest ") && line.ends_with("# not set")),
        "{out}"
    );
    // What it prints is a file that says the same.
    let again = place.file("again.toml", &out);
    let (code, other, _) = config(&["--config", again.to_str().unwrap()], &[]);
    let values = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| line.split(" # ").next().unwrap_or_default().trim());
        lines.map(str::to_owned).collect()
    };
    assert_eq!((code, values(&other)), (0, values(&out)));
    assert!(out.contains("app = 'a\"b'") || out.contains("app = \"a\\\"b\""), "{out}");
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_nothing_is_read() {
    let place = Place::new();
    let file = place.file("write.toml", "wokers = 2\n");
    for (args, said) in [
        (
            vec![format!("--config={}", file.display())],
            "write.toml: unknown key `wokers`, did you mean `workers`?",
        ),
        (vec!["--config=/no/such/file".to_owned()], "/no/such/file: No such file"),
        (vec!["--config".to_owned()], "a value is required for '--config <FILE>'"),
    ] {
        let mut command = place.write_command(&args);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(said), "{args:?}: {stderr}");
    }
    assert!(place.visible().is_empty());
}
