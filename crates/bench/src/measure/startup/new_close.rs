//! Start and end of a subject that does nothing: the library with its defaults, and every peer.

use std::time::{Duration, Instant};

use bufferedwriter::{BufferedWriter, Config};

use crate::bench::{Bench, LARGE};
use crate::report::{NEW_CLOSE_DEFAULTS, NewClose, Report};
use crate::stats;
use crate::subject::{Running, Sink};
use crate::system::scratch::Scratch;

/// How long all runs of a slow subject may take.
const TIME: Duration = Duration::from_secs(4);

/// A row for each subject that could be started.
pub fn measure(bench: &Bench, report: &mut Report) -> Vec<NewClose> {
    let runs = bench.full_or_quick(200, 20);
    let scratch = bench.scratch();
    let ours = timed(runs, || {
        let writer = BufferedWriter::new(defaults(&scratch)).map_err(|error| error.to_string())?;
        writer.close(Duration::from_secs(5)).map_err(|error| error.to_string()).map(drop)
    });
    let mut results = vec![(NEW_CLOSE_DEFAULTS, ours)];
    for entry in bench.entries() {
        if entry.subject.ours() || !entry.subject.lands() || entry.buffers != LARGE {
            continue;
        }
        let result = timed(runs, || {
            let (running, _scratch) =
                bench.start(entry, Sink::Files, 128).map_err(|unavailable| unavailable.0)?;
            Running::finish(running, Duration::from_secs(5));
            Ok(())
        });
        results.push((entry.name(), result));
    }
    let rows = results.into_iter().filter_map(|(name, result)| match result {
        Ok(ms) => Some(NewClose {
            subject: name.into(),
            runs: ms.len() as u64,
            median_ms: stats::quantile(&ms, 0.5)?,
            p90_ms: stats::quantile(&ms, 0.9)?,
            max_ms: stats::quantile(&ms, 1.0)?,
        }),
        Err(reason) => {
            report.skip("startup", name, &reason);
            None
        }
    });
    rows.collect()
}

/// Milliseconds of each run, in ascending order.
fn timed(runs: u64, mut run: impl FnMut() -> Result<(), String>) -> Result<Vec<f64>, String> {
    let (began, mut times) = (Instant::now(), Vec::new());
    for _ in 0..runs {
        let before = Instant::now();
        run()?;
        times.push(before.elapsed().as_secs_f64() * 1e3);
        if began.elapsed() > TIME {
            break;
        }
    }
    Ok(stats::sorted(times))
}

/// The library's defaults, except for the directories.
pub fn defaults(scratch: &Scratch) -> Config {
    Config::default().path(scratch.path()).temp(scratch.path().join(".temp")).create_dirs(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_ascend_and_a_failure_is_told() {
        let mut runs = 0;
        let count = |_| {
            runs += 1;
            Ok(())
        };
        let mut count = count;
        assert!(timed(20, || count(())).unwrap().is_sorted());
        assert_eq!(runs, 20);
        assert_eq!(timed(20, || Err("no".into())), Err("no".into()));
    }
}
