//! Does `--metrics` answer Prometheus, and nobody at the cost of the lines?

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::help::{PLAIN, Place, Program, numbered, wait_until};

/// The address that the program tells.
fn address(program: &Program<'_>) -> String {
    let find = |text: &str| {
        let line = text.lines().find_map(|line| line.split_once("metrics are at http://"));
        line.and_then(|(_, rest)| rest.strip_suffix("/metrics")).map(str::to_owned)
    };
    wait_until("it listens", || find(&program.stderr()).is_some());
    find(&program.stderr()).unwrap()
}

/// What comes back for these bytes, up to the end.
fn ask(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // A connection that is cut has no more to say.
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn metrics_are_served_and_nothing_else() {
    let place = Place::new();
    let mut program = place.started(&["--metrics=0", "--prefix=app_"]);
    let address = address(&program);
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let get = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    wait_until("the line is counted", || {
        let accepted = "\nbufferedwriter_accepted_records_total{prefix=\"app_\",path=";
        let answer = ask(&address, get);
        answer.lines().any(|line| line.starts_with(&accepted[1..]) && line.ends_with(" 1"))
    });
    let answer = ask(&address, get);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"),
        "{head}"
    );
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    assert!(body.starts_with("# HELP bufferedwriter_up "), "{body}");
    let answer = ask(&address, "HEAD /metrics?a=b HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\n"), "{answer}");
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("GET /metrics/x HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        ("hello\r\n\r\n", "400 Bad Request"),
    ] {
        let answer = ask(&address, request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {answer}");
    }
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(9000));
    assert_eq!(ask(&address, &long), "", "a request that is too long");
    program.feed("second\n");
    assert_eq!(program.end().records("written"), 2);
}

#[test]
fn who_is_slow_holds_up_neither_lines_nor_for_long_others() {
    let place = Place::new();
    let mut program = place.started(&["--metrics=127.0.0.1:0"]);
    let address = address(&program);
    // They say nothing, or half of it, and read nothing.
    let silent: Vec<TcpStream> = (0..2)
        .map(|nth| {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.write_all(&b"GET /metr"[..nth * 9]).unwrap();
            stream
        })
        .collect();
    program.feed(numbered(10_000));
    program.wait_until_read();
    let answer = ask(&address, "GET /metrics HTTP/1.1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    drop(silent);
    // Nor is the end.
    let held = TcpStream::connect(&address).unwrap();
    assert_eq!(program.end().records("written"), 10_001);
    drop(held);
}

#[test]
fn an_address_that_is_wrong_or_taken_is_told() {
    let place = Place::new();
    let ended = place.run(["--metrics=localhost"], "");
    assert!(ended.code == 2 && ended.stderr.contains("such as 9090"), "{ended:?}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = place.run([format!("--metrics={address}")], "");
    assert!(ended.code == 1 && ended.stderr.contains(&format!("listen at {address}")), "{ended:?}");
    assert_eq!(place.temp_bytes(), 0, "no state file stays");
    assert_eq!(place.run(PLAIN, "one\n").code, 0, "nothing is left behind");
}
