//! Clients: keep-alive connections, all on the calling thread, each with at most one request in flight.
//!
//! Guarantees: ends after its time. With a rate, the latency of a request that the server made late counts from
//! when it was due. So a stall counts for each request that waited through it. Lateness of the client's own
//! timer, which has a resolution of a millisecond, does not count.

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
/// The longest response head that the client accepts.
const HEAD_BYTES_MAX: usize = 4096;

/// The load to generate.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub address: SocketAddr,
    pub connections: usize,
    pub time: Duration,
    /// Requests per second of all connections together. Without it each connection sends its next request as
    /// soon as it has a response.
    pub per_s: Option<f64>,
}

/// The result.
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
    /// The length of each response.
    response_bytes: usize,
    /// Larger than a response: a read that fills the buffer makes tokio read once more, in vain.
    buffer: Vec<u8>,
}

impl Client {
    /// Sends a first request, to learn the length of a response.
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

    /// The connections' requests are evenly spread over the period.
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

/// When a connection's requests are due, at a rate.
struct Schedule {
    period: Duration,
    /// When the next request is due.
    due: Instant,
    /// When the connection would have been free, with an exact timer.
    free: Instant,
}

impl Schedule {
    /// Moves on to the next request. Returns from when this one's latency counts.
    fn answered(&mut self, sent: Instant, done: Instant) -> Instant {
        let late_by_timer = sent.saturating_duration_since(self.due.max(self.free));
        let from = if self.free > self.due { self.due } else { sent };
        self.free = done.checked_sub(late_by_timer).unwrap_or(done);
        self.due += self.period;
        from
    }
}

/// Length of head and body, once the head is complete.
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
