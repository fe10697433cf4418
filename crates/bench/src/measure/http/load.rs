//! Clients: keep-alive connections, all on the calling thread, each with one request under way at most.
//!
//! Guarantees: ends after its time. With a rate, latency counts from when a request was due if the server
//! is what made it late, so that a stall counts for all who waited through it; the client's own timer,
//! which is no finer than a millisecond, does not count.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::stats::histogram;

const REQUEST: &[u8] = b"GET /articles/4711/comments?page=2&order=newest HTTP/1.1\r\n\
    Host: localhost\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml\r\n\
    Referer: http://localhost/articles/4711\r\n\r\n";
/// Of a response's head.
const HEAD_BYTES_MAX: usize = 4096;

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub address: SocketAddr,
    pub connections: usize,
    pub time: Duration,
    /// Requests per second of all connections together; without, each sends its next request as soon as it
    /// has an answer.
    pub per_s: Option<f64>,
}

/// What came of it.
pub struct Outcome {
    pub requests: u64,
    /// In nanoseconds.
    pub latency: Histogram<u64>,
}

/// Puts the server under load.
pub fn run(load: Load) -> io::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut clients = Vec::new();
        for number in 0..load.connections {
            clients.push(Client::connect(load, number).await?);
        }
        let (began, mut tasks) = (Instant::now(), JoinSet::new());
        for client in clients {
            tasks.spawn(client.run(began));
        }
        let mut sum = Outcome { requests: 0, latency: histogram() };
        while let Some(outcome) = tasks.join_next().await {
            let outcome = outcome.map_err(io::Error::other)??;
            sum.requests += outcome.requests;
            sum.latency += outcome.latency;
        }
        Ok(sum)
    })
}

struct Client {
    stream: TcpStream,
    load: Load,
    number: usize,
    /// How long each response is.
    response_bytes: usize,
    /// Room for a response and more: a read that fills its room makes tokio read again, in vain.
    buffer: Vec<u8>,
}

impl Client {
    /// The first request finds out how long a response is.
    async fn connect(load: Load, number: usize) -> io::Result<Self> {
        let mut stream = TcpStream::connect(load.address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(REQUEST).await?;
        let mut response = Vec::new();
        loop {
            let response_bytes = response_bytes(&response);
            if let Some(response_bytes) = response_bytes
                && response.len() == response_bytes
            {
                let buffer = vec![0; response_bytes + 1];
                return Ok(Client { stream, load, number, response_bytes, buffer });
            }
            let too_long = response_bytes.unwrap_or(HEAD_BYTES_MAX) < response.len();
            if too_long || stream.read_buf(&mut response).await? == 0 {
                return Err(io::Error::other("no response that this client understands"));
            }
        }
    }

    async fn run(mut self, began: Instant) -> io::Result<Outcome> {
        let (end, mut schedule) = (began + self.load.time, self.schedule(began));
        let mut outcome = Outcome { requests: 0, latency: histogram() };
        loop {
            if let Some(due) = schedule.as_ref().map(|schedule| schedule.due) {
                tokio::time::sleep_until(due.into()).await;
            }
            let sent = Instant::now();
            if sent >= end {
                return Ok(outcome);
            }
            self.exchange().await?;
            let done = Instant::now();
            let from = schedule.as_mut().map_or(sent, |schedule| schedule.answered(sent, done));
            outcome
                .latency
                .saturating_record(done.saturating_duration_since(from).as_nanos() as u64);
            outcome.requests += 1;
        }
    }

    /// Connections take turns.
    fn schedule(&self, began: Instant) -> Option<Schedule> {
        let all = self.load.connections as f64;
        let period = Duration::from_secs_f64(all / self.load.per_s?);
        let due = began + period.mul_f64(self.number as f64 / all);
        Some(Schedule { period, due, free: began })
    }

    async fn exchange(&mut self) -> io::Result<()> {
        self.stream.write_all(REQUEST).await?;
        let mut have = 0;
        while have < self.response_bytes {
            match self.stream.read(&mut self.buffer[have..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                bytes => have += bytes,
            }
        }
        if have == self.response_bytes && self.buffer.starts_with(b"HTTP/1.1 200 ") {
            Ok(())
        } else {
            Err(io::Error::other("a response that is not 200, or of another length"))
        }
    }
}

/// A connection's requests at a rate.
struct Schedule {
    period: Duration,
    /// When the next request is due.
    due: Instant,
    /// When the connection would have been free for it, had the timer been exact.
    free: Instant,
}

impl Schedule {
    /// On to the next request; from when this one's latency counts.
    fn answered(&mut self, sent: Instant, done: Instant) -> Instant {
        let late_by_timer = sent.saturating_duration_since(self.due.max(self.free));
        let from = if self.free > self.due { self.due } else { sent };
        self.free = done.checked_sub(late_by_timer).unwrap_or(done);
        self.due += self.period;
        from
    }
}

/// Of head and body together, once the head is there.
fn response_bytes(response: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(response).ok()?;
    let head = &text[..text.find("\r\n\r\n")? + 4];
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    })?;
    Some(head.len() + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_tells_its_length() {
        assert_eq!(response_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na"), Some(41));
        assert_eq!(response_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"), None);
        assert_eq!(response_bytes(b"HTTP/1.1 200 OK\r\n\r\n"), None);
    }

    #[test]
    fn who_waits_through_a_stall_counts_from_when_it_was_due() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let mut schedule = Schedule { period: Duration::from_millis(10), due: began, free: began };
        // The timer is a millisecond late: no latency.
        assert_eq!(schedule.answered(at(1), at(2)), at(1));
        // The server takes 25 ms; the next request should have been under way for 16 ms by then.
        assert_eq!(schedule.answered(at(11), at(36)), at(11));
        assert_eq!(schedule.answered(at(36), at(37)), at(20));
        assert_eq!(schedule.answered(at(37), at(38)), at(30));
        // It has caught up.
        assert_eq!(schedule.answered(at(41), at(42)), at(41));
    }
}
