//! `--metrics`: the writer's metrics over HTTP, for Prometheus to ask.
//!
//! Guarantees: a thread of its own answers one connection after the other, so no line waits for it. A connection has
//! two seconds in all, and its request at most 8 KiB. More than a few that wait are refused by the system. Nothing but
//! `GET /metrics` is answered.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bufferedwriter::BufferedWriter;

use crate::commands::stats::metrics;
use crate::sys;

/// Time for a request and its answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest request.
const REQUEST_BYTES_MAX: usize = 8 << 10;
/// After an error such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// An address to listen at; a port alone is one of this machine.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<u16>() {
        Ok(port) => Ok((IpAddr::V4(Ipv4Addr::LOCALHOST), port).into()),
        Err(_) => text.parse().map_err(|_| {
            "neither a port nor an IP address with a port, such as 9090 or 0.0.0.0:9090".to_owned()
        }),
    }
}

/// What is told of the writer.
pub(super) struct Served {
    pub(super) writer: BufferedWriter,
    pub(super) prefix: std::ffi::OsString,
    pub(super) path: PathBuf,
}

/// Starts the thread that answers. Returns the address, whose port the system may have chosen.
pub(super) fn serve(listener: TcpListener, served: Served) -> io::Result<SocketAddr> {
    let bound = listener.local_addr()?;
    sys::spawn("metrics", move || {
        // It ends with the process: nobody waits for whoever hangs here.
        loop {
            match listener.accept() {
                // Whoever asks has gone, or is too slow.
                Ok((stream, _)) => drop(answer(stream, &served)),
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    })?;
    Ok(bound)
}

fn answer(mut stream: TcpStream, served: &Served) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    let request = request(&mut stream, until)?;
    let mut words = request.split(|&byte| byte == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
    let is_http = words.next().is_some_and(|version| version.starts_with(b"HTTP/1."));
    let (status, body) = match (method, path) {
        _ if !is_http => ("400 Bad Request", "this is not HTTP/1.1\n".to_owned()),
        (b"GET" | b"HEAD", b"/metrics") => {
            let Served { writer, prefix, path } = served;
            ("200 OK", metrics::of_writer(writer.stats(), writer.health(), prefix, path))
        }
        (_, b"/metrics") => ("405 Method Not Allowed", "only GET and HEAD\n".to_owned()),
        _ => ("404 Not Found", "there is /metrics only\n".to_owned()),
    };
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    let kind = if status.starts_with("200") {
        "text/plain; version=0.0.4; charset=utf-8"
    } else {
        "text/plain"
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n",
        body.len()
    );
    let body = if method == b"HEAD" { "" } else { &body };
    let mut left = [head.as_bytes(), body.as_bytes()].concat();
    while !left.is_empty() {
        stream.set_write_timeout(Some(time_left(until)?))?;
        let written = stream.write(&left)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        left.drain(..written);
    }
    stream.shutdown(std::net::Shutdown::Write)
}

/// Reads up to the end of the headers.
fn request(stream: &mut TcpStream, until: Instant) -> io::Result<Vec<u8>> {
    let (mut request, mut block) = (Vec::new(), [0; 1024]);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        stream.set_read_timeout(Some(time_left(until)?))?;
        let read = stream.read(&mut block)?;
        if read == 0 || request.len() + read > REQUEST_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        request.extend(&block[..read]);
    }
    Ok(request)
}

/// Never zero, which would be no limit at all.
fn time_left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_of_this_machine() {
        let shown = |text| address(text).map(|address| address.to_string());
        assert_eq!(shown("9090").as_deref(), Ok("127.0.0.1:9090"));
        assert_eq!(shown("0.0.0.0:80").as_deref(), Ok("0.0.0.0:80"));
        assert_eq!(shown("[::1]:80").as_deref(), Ok("[::1]:80"));
        for wrong in ["", "localhost", "1.2.3.4", "65536", ":80", "1.2.3.4:x"] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }
}
