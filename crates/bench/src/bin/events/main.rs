//! What an event costs the thread that logs it: `info!` with a message and three fields, in no span and in three.
//!
//! Usage: `events DIR [ROUNDS [SVG]]` (default 7 rounds, interleaved; medians). `SVG` gets a plot.
//! What an event costs in instructions, `scripts/event-instructions` counts.
//!
//! Each subject runs in a process of its own, as the logger of all of it. Bursts of events are followed by a
//! pause in which its threads write them, so that no queue is ever full.

mod burst;
mod plot;
mod subjects;

use std::io;
use std::path::Path;
use std::process::{Command, exit};

use bufferedwriter_bench::stats::median;

use burst::Cost;
use subjects::SUBJECTS;

/// Of one subject, a value for each round; in no span and in three.
#[derive(Default)]
struct Results([Vec<Cost>; 2]);

impl Results {
    fn median(&self, spans: usize, of: fn(&Cost) -> f64) -> Option<f64> {
        median(self.0[spans].iter().map(of).collect())
    }
}

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["child", subject, spans, dir] => child(subject, spans == "3", Path::new(dir)),
        [dir] => table(Path::new(dir), 7, None),
        [dir, rounds] => table(Path::new(dir), rounds.parse().unwrap_or(7), None),
        [dir, rounds, svg] => {
            table(Path::new(dir), rounds.parse().unwrap_or(7), Some(Path::new(svg)))
        }
        _ => {
            eprintln!("usage: events DIR [ROUNDS [SVG]]");
            exit(2)
        }
    }
}

/// Measures one subject, and prints what [`Cost`] has.
fn child(subject: &str, in_spans: bool, dir: &Path) -> io::Result<()> {
    let Some(subject) = SUBJECTS.iter().find(|other| other.name == subject) else { exit(2) };
    let running = (subject.start)(dir)?;
    let cost = burst::measure(subject.log, in_spans);
    drop(running);
    println!("{} {}", cost.median, cost.p999);
    Ok(())
}

fn table(dir: &Path, rounds: usize, svg: Option<&Path>) -> io::Result<()> {
    let mut all: Vec<_> = SUBJECTS.iter().map(|_| Results::default()).collect();
    for _ in 0..rounds.max(1) {
        for (subject, results) in SUBJECTS.iter().zip(&mut all) {
            for (results, spans) in results.0.iter_mut().zip(["0", "3"]) {
                if spans == "0" || subject.has_spans {
                    results.push(measured(subject.name, spans, dir)?);
                }
            }
        }
    }
    println!("ns of the caller for an event, medians of {rounds} rounds:\n");
    println!("| | no span | p99.9 | ours : this | 3 spans | p99.9 | ours : this |");
    println!("|---|---|---|---|---|---|---|");
    let number =
        |value: Option<f64>| value.map_or(String::from("-"), |value| format!("{value:.0}"));
    let ours = [0, 1].map(|spans| all[subjects::OURS].median(spans, |cost| cost.median));
    for (subject, results) in SUBJECTS.iter().zip(&all) {
        print!("| {} |", subject.name);
        for (spans, ours) in ours.into_iter().enumerate() {
            let median = results.median(spans, |cost| cost.median);
            let ratio = ours
                .zip(median)
                .map_or(String::from("-"), |(ours, this)| format!("1 : {:.1}", this / ours));
            print!(
                " {} | {} | {ratio} |",
                number(median),
                number(results.median(spans, |cost| cost.p999))
            );
        }
        println!();
    }
    let Some(svg) = svg else { return Ok(()) };
    let bars: Vec<_> = SUBJECTS
        .iter()
        .zip(&all)
        .filter(|(subject, _)| subject.is_plotted)
        .map(|(subject, results)| {
            (subject.name, [0, 1].map(|spans| results.median(spans, |cost| cost.median)))
        })
        .collect();
    plot::draw(svg, &bars).map_err(io::Error::other)
}

fn measured(subject: &str, spans: &str, dir: &Path) -> io::Result<Cost> {
    let dir = dir.join(format!("events-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let output =
        Command::new(std::env::current_exe()?).args(["child", subject, spans]).arg(&dir).output();
    std::fs::remove_dir_all(&dir)?;
    let output = output?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(median)), Some(Ok(p999))) => Ok(Cost { median, p999 }),
        _ => {
            Err(io::Error::other(format!("{subject}: {}", String::from_utf8_lossy(&output.stderr))))
        }
    }
}
