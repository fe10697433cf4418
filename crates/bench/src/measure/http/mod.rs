//! A real caller: an HTTP server that logs a line for each request, with each subject in turn and with none.
//!
//! Each round of a row has a server in a process of its own; the clients run in this one. The first phase sends
//! as many requests as the server takes and counts them. The second sends them at a rate that all servers can
//! keep up with, the same for all, and measures latencies. Subjects take turns, and each round is compared with
//! that round's server without logging. memcpy, which writes no file, shows what formatting a line costs alone.

mod access;
mod load;
mod server;

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use self::load::{Load, Outcome};
use self::server::Log;
use super::args::seconds;
use super::child::{self, ChildProcess, Start};
use crate::bench::{Bench, Entry};
use crate::measure::lines;
use crate::report::{Http, HttpRow, Report};
use crate::stats::median;
use crate::system::{affinity, process};

const MEASURE: &str = "http";
/// The row that the others are compared with.
pub const NONE: &str = "none";
/// How long a subject may take to write what is in memory at the end.
const FINISH: Duration = Duration::from_secs(60);
const WARM_UP: Duration = Duration::from_millis(500);
/// The paced rate, as a share of what a server without logging takes.
const PACED_SHARE: f64 = 0.4;
/// About the length of a line, for subjects that count records.
const LINE_BYTES: usize = 256;

/// The options.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Duration of each of the two phases of a round [default: 5]
    #[arg(long, value_name = "S", value_parser = seconds)]
    seconds: Option<f64>,

    /// Rounds, of which each row is the median [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,

    /// Connections, each with at most one request in flight [default: 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    connections: Option<u16>,

    /// Requests per second at which latencies are measured [default: 40 % of what a server without logging
    /// takes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
}

/// The options with their defaults filled in.
#[derive(Clone, Copy)]
struct Plan {
    time: Duration,
    rounds: usize,
    connections: usize,
}

/// One server process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// None: no logging.
    start: Option<Start>,
}

impl child::Job for Job {
    const KIND: &'static str = MEASURE;
    type Answer = Served;

    fn run(&self) -> io::Result<Served> {
        serve(self, &mut |port| child::say(Ok(port)))
    }
}

/// What a server prints when it has ended; when it starts it prints its port.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Served {
    requests: u64,
    refused: u64,
    landed_lines: u64,
}

/// One round of a row.
struct Round {
    requests_per_s: f64,
    /// p50, p99, p99.9.
    latency_us: [f64; 3],
    /// Processor time of all of the server's threads, by request, at the paced rate.
    cpu_us: f64,
    served: Served,
}

pub fn run(bench: &Bench, report: &mut Report, options: &Options) {
    match measure(bench, report, options) {
        Ok(http) => report.measures.http = Some(http),
        Err(error) => report.skip(MEASURE, "all", &error.to_string()),
    }
}

fn measure(bench: &Bench, report: &mut Report, options: &Options) -> io::Result<Http> {
    let plan = Plan {
        time: Duration::from_secs_f64(options.seconds.unwrap_or(bench.full_or_quick(5.0, 0.5))),
        rounds: options.rounds.unwrap_or(bench.full_or_quick(5, 1)).into(),
        connections: options.connections.unwrap_or(64).into(),
    };
    let per_s = match options.rate {
        Some(per_s) => f64::from(per_s),
        None => PACED_SHARE * round(bench, None, None, plan)?.requests_per_s,
    };
    eprintln!("{MEASURE}: latencies at {per_s:.0} requests/s");
    let mut entries = vec![None];
    entries.extend(bench.entries().into_iter().map(Some));
    // By round, then by entry.
    let mut rounds: Vec<Vec<Option<Round>>> = Vec::new();
    for number in 0..plan.rounds {
        let mut row: Vec<Option<Round>> = entries.iter().map(|_| None).collect();
        for turn in 0..entries.len() {
            let at = (turn + number) % entries.len();
            let name = name(entries[at]);
            eprintln!("{MEASURE}: {name}, round {} of {}", number + 1, plan.rounds);
            match round(bench, entries[at], Some(per_s), plan) {
                Ok(measured) => row[at] = Some(measured),
                Err(error) => report.skip(MEASURE, name, &error.to_string()),
            }
        }
        rounds.push(row);
    }
    let rows = entries.iter().enumerate().filter_map(|(at, entry)| reported(*entry, at, &rounds));
    Ok(Http {
        connections: plan.connections as u64,
        seconds: plan.time.as_secs_f64(),
        rounds: plan.rounds as u64,
        paced_requests_per_s: per_s,
        rows: rows.collect(),
    })
}

fn name(entry: Option<Entry>) -> &'static str {
    entry.map_or(NONE, |entry| entry.name())
}

/// Runs a server with a subject, or with none: as many requests as it takes, then `per_s` a second if given.
fn round(bench: &Bench, entry: Option<Entry>, per_s: Option<f64>, plan: Plan) -> io::Result<Round> {
    process::sync_file_system(bench.dir())?;
    let scratch = bench.scratch();
    let job = Job { start: entry.map(|entry| Start::new(entry, &scratch, LINE_BYTES)) };
    let mut server = ChildProcess::start(&job)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.next(FINISH)?));
    let Plan { time, connections, .. } = plan;
    let load = |time, per_s| on_last_processor(Load { address, connections, time, per_s });
    load(WARM_UP, None)?;
    let flat_out = load(time, None)?;
    let cpu_before = server.cpu_seconds()?;
    let paced = load(time, per_s)?;
    let cpu_us = (server.cpu_seconds()? - cpu_before) * 1e6 / paced.requests.max(1) as f64;
    server.hang_up();
    let requests_per_s = flat_out.requests as f64 / time.as_secs_f64();
    let (latency_us, served) = (latency_us(&paced), server.next(2 * FINISH)?);
    Ok(Round { requests_per_s, latency_us, cpu_us, served })
}

/// Runs the clients on another processor than the server, if there are two: otherwise they share one in some
/// rounds only. On a thread of their own, since child processes would inherit the choice.
fn on_last_processor(load: Load) -> io::Result<Outcome> {
    std::thread::scope(|scope| {
        let clients = scope.spawn(|| {
            if let [_, .., last] = affinity::processors()?[..] {
                affinity::pin(last)?;
            }
            load::run(load)
        });
        clients.join().map_err(|_| io::Error::other("a client panicked"))?
    })
}

/// The same for the server. Threads that the subject has already started are not restricted.
fn to_first_processor() -> io::Result<()> {
    match affinity::processors()?[..] {
        [first, _, ..] => affinity::pin(first),
        _ => Ok(()),
    }
}

fn latency_us(outcome: &Outcome) -> [f64; 3] {
    [0.5, 0.99, 0.999].map(|q| outcome.latency.value_at_quantile(q) as f64 / 1e3)
}

/// The row at index `at`, compared with the one at index 0.
fn reported(entry: Option<Entry>, at: usize, rounds: &[Vec<Option<Round>>]) -> Option<HttpRow> {
    let mine = || rounds.iter().filter_map(|round| round[at].as_ref());
    let pairs = || rounds.iter().filter_map(|round| round[at].as_ref().zip(round[0].as_ref()));
    let over = |value: &dyn Fn(&Round) -> f64| median(mine().map(value).collect());
    let relative = |value: &dyn Fn(&Round) -> f64| {
        median(pairs().map(|(mine, none)| value(mine) / value(none)).collect())
    };
    let sum = |value: &dyn Fn(&Served) -> u64| mine().map(|round| value(&round.served)).sum();
    let bytes = |value: fn(Entry) -> usize| entry.map_or(0, value) as u64;
    Some(HttpRow {
        subject: name(entry).into(),
        buffer_bytes: bytes(|entry| entry.buffers.buffer_bytes),
        memory_bytes: bytes(|entry| entry.buffers.memory_bytes),
        requests_per_s: over(&|round| round.requests_per_s)?,
        p50_us: over(&|round| round.latency_us[0])?,
        p99_us: over(&|round| round.latency_us[1])?,
        p999_us: over(&|round| round.latency_us[2])?,
        relative_requests: relative(&|round| round.requests_per_s)?,
        relative_p999: relative(&|round| round.latency_us[2])?,
        cpu_us_per_request: over(&|round| round.cpu_us)?,
        cpu_us_of_logging: median(pairs().map(|(mine, none)| mine.cpu_us - none.cpu_us).collect())?,
        landed_lines: sum(&|served| served.landed_lines),
        refused_lines: sum(&|served| served.refused),
        requests: sum(&|served| served.requests),
    })
}

/// The child's side: serves until its standard input ends.
fn serve(job: &Job, ready: &mut dyn FnMut(u16) -> io::Result<()>) -> io::Result<Served> {
    let (stop, stopped) = oneshot::channel();
    std::thread::spawn(move || {
        // Whether it ends or fails, no client is left.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        let _ = stop.send(());
    });
    serve_until(job, stopped, ready)
}

fn serve_until(
    job: &Job,
    stopped: oneshot::Receiver<()>,
    ready: &mut dyn FnMut(u16) -> io::Result<()>,
) -> io::Result<Served> {
    let running = job.start.as_ref().map(Start::run).transpose()?;
    let log = Log::new(running.as_ref().map(|running| running.writer()));
    to_first_processor()?;
    let log = server::serve(log, stopped, ready)?;
    let (requests, refused) = (log.requests, log.refused);
    drop(log);
    if let Some(running) = running {
        running.finish(FINISH);
    }
    let landed_lines = job.start.as_ref().map_or(Ok(0), |start| lines::count(&start.dir))?;
    Ok(Served { requests, refused, landed_lines })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::bench::LARGE;
    use crate::report::WRITER;
    use crate::subjects;
    use crate::system::scratch::Scratch;

    /// A server in this process, some requests, and a line for each.
    #[test]
    fn each_request_is_a_line() {
        let subject = subjects::named(WRITER).unwrap();
        let scratch = Scratch::new(&std::env::temp_dir()).unwrap();
        let start = Start::new(Entry { subject: &*subject, buffers: LARGE }, &scratch, LINE_BYTES);
        for job in [Job { start: None }, Job { start: Some(start) }] {
            let logged = job.start.is_some();
            let (stop, stopped) = oneshot::channel();
            let (ready, port) = mpsc::channel();
            let server = std::thread::spawn(move || {
                serve_until(&job, stopped, &mut |port| ready.send(port).map_err(io::Error::other))
            });
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.recv().unwrap()));
            let time = Duration::from_millis(30);
            let load = Load { address, connections: 3, time, per_s: Some(1000.0) };
            let paced = load::run(load).unwrap();
            let flat_out = load::run(Load { per_s: None, ..load }).unwrap();
            stop.send(()).unwrap();
            let served = server.join().unwrap().unwrap();
            // Each connection begins with a request that is not counted.
            assert_eq!(served.requests, paced.requests + flat_out.requests + 2 * 3);
            assert_eq!(served.landed_lines, if logged { served.requests } else { 0 });
            assert_eq!(served.refused, 0);
        }
    }
}
