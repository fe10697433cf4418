//! No credential is in a message, the journal, the metrics or the list of processes.

use std::fs;
use std::process::{Command, Stdio};

use bufferedwriter_testkit::wait;

use crate::help::{Cloud, Host};
use crate::proxy::Fault;

const SECRETS: [&str; 3] = ["OPENSESAMEID", "OPENSESAMEKEY", "OPENSESAMETOKEN"];

#[test]
fn nothing_that_is_told_or_kept_has_a_credential() {
    for fault in [Fault::Status(403), Fault::Status(500), Fault::Lost, Fault::AnswerCut] {
        let (host, cloud) = (Host::new(), Cloud::new());
        // Also in the middle of an upload in parts.
        cloud.proxy.plan(move |at, _| (at > 4).then_some(fault));
        let mut command = Command::new(env!("CARGO_BIN_EXE_bufferedwriter-ship"));
        command.arg("--from").arg(host.out()).args(["--to", "s3://bucket/logs", "--allow-http"]);
        command.args(["--endpoint", &cloud.proxy.endpoint(), "--region", "us-east-1", "--json"]);
        command.args(["--multipart", "1000B", "--part", "500B", "--backoff", "1ms"]);
        command.arg("--metrics").arg(host.dir.join("metrics")).env("AWS_SESSION_TOKEN", SECRETS[2]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        wait::until("failures", || cloud.proxy.seen().len() > 20);
        let process = fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
        // As a service ends it.
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let id2 = id.clone();
        assert!(Command::new("kill").args(["-TERM", &id2]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let mut told = vec![process, output.stdout, output.stderr];
        let kept = fs::read_dir(host.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let kept: Vec<_> = kept.filter(|path| path.is_file()).collect();
        assert!(kept.len() >= 2, "journal and metrics: {kept:?}");
        told.extend(kept.into_iter().map(|path| fs::read(path).unwrap()));
        let told = told.concat();
        let told = String::from_utf8_lossy(&told);
        assert!(told.contains("logs"), "{told}");
        for secret in SECRETS {
            assert!(!told.contains(secret), "{fault:?}: {told}");
        }
    }
}
