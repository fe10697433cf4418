//! Promise: the examples do what they say.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use bufferedwriter_testkit::dir::TestDir;
use bufferedwriter_testkit::wait::until;

/// Ends with the test, whatever its result.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn page(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

#[test]
fn prometheus_gets_what_the_service_has_written() {
    let dir = TestDir::new();
    let mut service = Command::new(env!("CARGO_BIN_EXE_prometheus"));
    let service = service.arg("127.0.0.1:0").env("TMPDIR", dir.path()).stdout(Stdio::piped());
    let mut service = Killed(service.spawn().unwrap());
    let mut said = String::new();
    BufReader::new(service.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let address = said.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
    until("a file is visible", || {
        let page = page(&address);
        let files = page
            .lines()
            .find_map(|line| line.strip_prefix("bufferedwriter_files_total{writer=\"access\"} "));
        files.unwrap().parse::<u64>().unwrap() > 0
    });
    let page = page(&address);
    for line in [
        "# HELP bufferedwriter_accepted_records_total Records that the writer accepted",
        "# TYPE bufferedwriter_accepted_records_total counter",
        "# TYPE bufferedwriter_pending_records gauge",
        "bufferedwriter_refused_records_total{writer=\"access\",cause=\"full\"} 0",
        "bufferedwriter_worker_stalled{writer=\"access\",worker=\"7\"} 0",
        "bufferedwriter_healthy{writer=\"access\"} 1",
    ] {
        assert!(page.lines().any(|there| there == line), "{line} is not in:\n{page}");
    }
}

#[test]
fn opentelemetry_collects_the_final_counts() {
    let dir = TestDir::new();
    let mut example = Command::new(env!("CARGO_BIN_EXE_opentelemetry"));
    let output = example.env("TMPDIR", dir.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let written = text.split("bufferedwriter_written_records_total").nth(1).expect("it is there");
    assert!(written.split("Metric #").next().unwrap().contains("1000"), "{text}");
    assert!(text.contains("bufferedwriter_worker_stalled"), "{text}");
}
