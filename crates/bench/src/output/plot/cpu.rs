//! Processor time of all threads per GB landed, at one load: a bar for each subject, the cheapest first. The bar
//! of a subject that did not take the load is pale and labelled so, since refused records cost little.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::canvas::{Area, Drawn, SIZE, headed};
use super::style::{self, Style};
use crate::output::targets;
use crate::report::{Report, Sustained, SustainedRow};

const NAMES_WIDTH: i32 = 190;
const VALUES_WIDTH: i32 = 270;

pub fn draw(area: &Area, report: &Report, sustained: &Sustained) -> Drawn {
    let rows = sustained.large_rows();
    // If no load was taken by both, the lowest one.
    let lowest = rows.iter().map(|row| row.fraction_of_disk).reduce(f64::min);
    let Some(load) = targets::compared_load(report).or(lowest) else { return Ok(()) };
    let costs = |row: &&SustainedRow| Some((row.cpu_s_per_gb?, (*row).clone()));
    let mut bars: Vec<(f64, SustainedRow)> =
        rows.iter().filter(|row| row.fraction_of_disk == load).filter_map(costs).collect();
    bars.sort_by(|a, b| a.0.total_cmp(&b.0));
    let offered = bars.first().map_or(0.0, |(_, row)| row.offered_mb_per_s);
    let title = format!("Processor seconds per GB landed, {offered:.0} MB/s offered");
    let body = headed(area, report, &title)?;
    let most = bars.last().map_or(1.0, |(cost, _)| *cost);
    let room = SIZE.0 as i32 - NAMES_WIDTH - VALUES_WIDTH;
    let step = ((SIZE.1 as i32 - 100) / bars.len().max(1) as i32).min(40);
    for (number, (cost, row)) in bars.iter().enumerate() {
        let (top, length) = (8 + step * number as i32, (cost / most * f64::from(room)) as i32);
        bar(&body, report, row, *cost, (top, step * 7 / 10, length.max(2)))?;
    }
    Ok(())
}

/// Draws name, bar and value; `place` is top, height and length.
fn bar(
    body: &Area,
    report: &Report,
    row: &SustainedRow,
    cost: f64,
    place: (i32, i32, i32),
) -> Drawn {
    let (top, height, length) = place;
    let (style, took_it) = (Style::of(report, &row.subject), targets::took_it(row));
    let color = style.color.mix(if took_it { 1.0 } else { 0.35 });
    let corners = [(NAMES_WIDTH, top), (NAMES_WIDTH + length, top + height)];
    body.draw(&Rectangle::new(corners, color.filled()))?;
    let (middle, ink) = (top + height / 2, if style.is_ours { style::INK } else { style::SOFT });
    let name = style::aside(15, &ink, HPos::Right);
    body.draw_text(&row.subject, &name, (NAMES_WIDTH - 10, middle))?;
    let missing = row.missing_share() * 100.0;
    let but = match (took_it, targets::kept_up(row)) {
        (true, _) => String::new(),
        (false, true) => format!("  ({missing:.0} % refused or lost)"),
        (false, false) => format!("  (callers reached {:.0} MB/s)", row.reached_mb_per_s),
    };
    let value = style::aside(14, &ink, HPos::Left);
    body.draw_text(&format!("{cost:.2} s{but}"), &value, (NAMES_WIDTH + length + 8, middle))?;
    Ok(())
}
