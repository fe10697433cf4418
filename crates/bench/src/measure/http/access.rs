//! Access lines in the combined log format, made as servers make them: the date once a second, the line in a
//! reused buffer.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::header::{HeaderMap, HeaderName, REFERER, USER_AGENT};
use hyper::{Request, StatusCode};
use jiff::Timestamp;

/// Formats lines.
#[derive(Default)]
pub struct Formatter {
    line: Vec<u8>,
    date: String,
    /// The second that `date` stands for.
    second: i64,
}

impl Formatter {
    /// The line for a request that was answered, with its newline.
    pub fn line<B>(
        &mut self,
        peer: SocketAddr,
        request: &Request<B>,
        status: StatusCode,
        body_bytes: usize,
    ) -> &[u8] {
        self.date_at(now());
        let Formatter { line, date, .. } = self;
        line.clear();
        let (method, uri, version) = (request.method(), request.uri(), request.version());
        let status = status.as_u16();
        // Writing to a Vec can't fail.
        let _ = write!(line, "{} - - [{date}] \"{method} {uri} {version:?}\"", peer.ip());
        let _ = write!(line, " {status} {body_bytes} ");
        quoted(line, request.headers(), REFERER);
        line.push(b' ');
        quoted(line, request.headers(), USER_AGENT);
        line.push(b'\n');
        line
    }

    fn date_at(&mut self, second: i64) {
        if self.second != second || self.date.is_empty() {
            let time = Timestamp::from_second(second).unwrap_or_default();
            self.date = time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string();
            self.second = second;
        }
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() as i64)
}

/// A header's value, escaped so that it can't end the field; a dash if there is none.
fn quoted(line: &mut Vec<u8>, headers: &HeaderMap, name: HeaderName) {
    line.push(b'"');
    match headers.get(name) {
        None => line.push(b'-'),
        Some(value) => line.extend(value.as_bytes().escape_ascii()),
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_in_the_combined_format() {
        let request = Request::get("/a/b?c=d").header("user-agent", "say \"hi\"").body(()).unwrap();
        let mut formatter = Formatter::default();
        let peer = "127.0.0.1:80".parse().unwrap();
        for _ in 0..2 {
            let line = formatter.line(peer, &request, StatusCode::OK, 512).to_vec();
            let line = String::from_utf8(line).unwrap();
            assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
            let rest = "+0000] \"GET /a/b?c=d HTTP/1.1\" 200 512 \"-\" \"say \\\"hi\\\"\"\n";
            assert!(line.ends_with(rest), "{line}");
        }
    }

    #[test]
    fn dates_follow_the_clock() {
        let mut formatter = Formatter::default();
        formatter.date_at(0);
        assert_eq!(formatter.date, "01/Jan/1970:00:00:00 +0000");
        formatter.date_at(951_782_400);
        assert_eq!(formatter.date, "29/Feb/2000:00:00:00 +0000");
    }
}
