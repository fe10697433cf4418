//! The share of what was offered that is refused or lost, over the offered load.

use plotters::prelude::*;

use super::canvas::{Area, Drawn, LEGEND_WIDTH, SIZE, headed, legend};
use super::style::{self, Style};
use crate::output::targets;
use crate::report::{MEMCPY, Report, Sustained, SustainedRow};

pub fn draw(area: &Area, report: &Report, sustained: &Sustained) -> Drawn {
    let title = format!(
        "Refused or lost, records of {} bytes, {} s a point",
        sustained.record_bytes, sustained.seconds
    );
    let body = headed(area, report, &title)?;
    let (left, right) = body.split_horizontally(SIZE.0 as i32 - LEGEND_WIDTH - 30);
    let mut rows = sustained.large_rows();
    // memcpy writes no file.
    rows.retain(|row| row.subject != MEMCPY);
    let load = rows.iter().map(|row| row.offered_mb_per_s).fold(1.0, f64::max);
    let share = rows.iter().map(|row| percent(row)).fold(10.0, f64::max);
    let mut chart = ChartBuilder::on(&left)
        .margin_top(8)
        .margin_right(16)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..load * 1.05, -share * 0.02..share * 1.05)?;
    let of_disk = format!("offered, MB/s; the disk takes {:.0} MB/s", sustained.disk_mb_per_s);
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(style::GRID)
        .axis_style(style::FAINT)
        .y_label_formatter(&|share| format!("{share:.0} %"))
        .x_label_formatter(&|load| format!("{load:.0}"))
        .x_desc(of_disk)
        .label_style(style::text(14, &style::SOFT))
        .draw()?;
    let names = subjects(report, &rows);
    let mut in_order = names.clone();
    in_order.sort_by_key(|name| Style::of(report, name).layer());
    for name in in_order {
        let style = Style::of(report, name);
        let mut points: Vec<_> = rows.iter().filter(|row| row.subject == name).collect();
        points.sort_by(|a, b| a.offered_mb_per_s.total_cmp(&b.offered_mb_per_s));
        let place = |row: &&&SustainedRow| (row.offered_mb_per_s, percent(row));
        chart.draw_series(LineSeries::new(points.iter().map(place), style.line()))?;
        let size = style.width + 3;
        chart
            .draw_series(points.iter().map(|row| Circle::new(place(row), size, style.filled())))?;
        // Hollow points.
        let waited = points.iter().filter(|row| !targets::kept_up(row));
        chart.draw_series(waited.map(|row| Circle::new(place(row), size - 2, WHITE.filled())))?;
    }
    let entries = names.iter().map(|name| (name.to_string(), Style::of(report, name)));
    legend(&right, &entries.collect::<Vec<_>>())?;
    if rows.iter().any(|row| !targets::kept_up(row)) {
        let (note, top) = (style::text(13, &style::FAINT), 30 + 25 * names.len() as i32);
        right.draw_text("hollow: callers waited, or had", &note, (8, top))?;
        right.draw_text("no processor left to write on", &note, (8, top + 18))?;
    }
    Ok(())
}

fn percent(row: &SustainedRow) -> f64 {
    row.missing_share() * 100.0
}

/// The names of the subjects, in the order of the tables.
fn subjects<'a>(report: &Report, rows: &[&'a SustainedRow]) -> Vec<&'a str> {
    let mut names: Vec<&str> = rows.iter().map(|row| row.subject.as_str()).collect();
    names.sort_by_key(|name| report.place(name));
    names.dedup();
    names
}
