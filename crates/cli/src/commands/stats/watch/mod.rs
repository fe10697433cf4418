//! `stats --watch`: the counts of writers on the terminal, anew each second.
//!
//! Guarantees: the terminal is given back as it was, see [`Screen`]. A directory that can't be read, or is gone, is told
//! on the screen, and looked for again. Draws no colour unless it was said so.

mod model;
mod rates;
mod view;

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use bufferedwriter::InstanceStats;

use crate::commands::stats::options::Stats;
use crate::commands::stats::watch::model::Writer;
use crate::commands::stats::watch::rates::{Pace, Sample};
use crate::commands::stats::watch::view::View;
use crate::sys::{Key, Screen};
use crate::{console, exit};

/// From one look to the next. Writers refresh as often.
const INTERVAL: Duration = Duration::from_secs(1);

/// Runs until somebody quits. Returns the exit code.
pub(super) fn run(args: &Stats, has_colors: bool) -> u8 {
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if !io::stdout().is_terminal() || is_dumb {
        console::report_usage(
            "--watch needs a terminal as standard output; without it the counts are printed once, as text or with \
             --json or --prometheus",
        );
        return exit::USAGE;
    }
    // An error of the first look is told as without --watch.
    let first = match args.read() {
        Ok(first) => first,
        Err(error) => {
            console::report(error);
            return exit::IO;
        }
    };
    let mut screen = match Screen::open() {
        Ok(screen) => screen,
        Err(error) => {
            console::report(error);
            return exit::IO;
        }
    };
    let ended = watch(args, first, &mut screen, has_colors);
    drop(screen);
    match ended {
        Ok(()) => exit::WRITTEN,
        Err(error) => {
            console::report(format_args!("the terminal: {error}"));
            exit::IO
        }
    }
}

fn watch(
    args: &Stats,
    first: Vec<InstanceStats>,
    screen: &mut Screen,
    has_colors: bool,
) -> io::Result<()> {
    let mut view = View::new(args.dirs(), has_colors);
    let mut paces = Paces::default();
    let mut found = Ok(first);
    loop {
        let looked = Instant::now();
        match &found {
            Ok(found) => view.show(paces.look(found, looked)),
            Err(error) => view.fail(format!("{error}")),
        }
        let next = looked + INTERVAL;
        loop {
            screen.draw(|frame| view.draw(frame))?;
            let left = next.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            for key in screen.keys(left)? {
                if key == Key::Quit {
                    return Ok(());
                }
                view.press(key);
            }
        }
        found = args.read();
    }
}

/// How fast each writer is.
#[derive(Default)]
struct Paces(HashMap<(PathBuf, u64), Pace>);

impl Paces {
    fn look(&mut self, found: &[InstanceStats], now: Instant) -> Vec<Writer> {
        let key = |it: &InstanceStats| (it.state_file.clone(), it.instance);
        let shown = SystemTime::now();
        let mut current = HashMap::new();
        let mut writers = Vec::new();
        for it in found {
            let mut pace = self.0.remove(&key(it));
            if let Some(told) = &it.last_refresh {
                let sample = Sample::new(told.refreshed, &told.stats);
                match &mut pace {
                    Some(pace) => pace.look(sample, now),
                    None => pace = Some(Pace::new(sample, now)),
                }
            }
            let rates = pace.as_ref().and_then(Pace::rates).cloned();
            writers.push(Writer::new(it, rates, shown));
            current.extend(pace.map(|pace| (key(it), pace)));
        }
        // Those that are gone are forgotten.
        self.0 = current;
        writers
    }
}
