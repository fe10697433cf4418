//! Latency by percentile. Both scales are logarithmic, the horizontal one in nines, so the few slow calls get as
//! much room as the many fast ones.

use plotters::prelude::*;

use super::canvas::{Area, Drawn, LEGEND_WIDTH, SIZE, headed, legend};
use super::style::{self, Style};
use crate::report::{Latency, LatencyRow, Report, Which};

/// About the difference between two readings of the clock with nothing in between; lower values are drawn here.
const FLOOR_NS: f64 = 5.0;

/// The numbers of threads that were measured.
pub fn threads(latency: &Latency) -> Vec<u64> {
    let mut threads: Vec<u64> = latency.rows.iter().map(|row| row.threads).collect();
    threads.sort_unstable();
    threads.dedup();
    threads
}

/// Rows with the largest buffers, which all subjects have.
fn rows(latency: &Latency, threads: u64) -> Vec<&LatencyRow> {
    let large = latency.rows.iter().map(|row| row.buffer_bytes).max().unwrap_or(0);
    let is_asked = |row: &&LatencyRow| {
        row.threads == threads && row.which == Which::All && row.buffer_bytes == large
    };
    latency.rows.iter().filter(is_asked).collect()
}

pub fn draw(area: &Area, report: &Report, latency: &Latency, threads: u64) -> Drawn {
    let rows = rows(latency, threads);
    let plural = if threads == 1 { "" } else { "s" };
    let title = format!(
        "Latency of a write of {} bytes in paced bursts, {threads} thread{plural}",
        latency.record_bytes
    );
    let body = headed(area, report, &title)?;
    let (left, right) = body.split_horizontally(SIZE.0 as i32 - LEGEND_WIDTH - 30);
    let points = || rows.iter().flat_map(|row| &row.curve);
    let nines = points().map(|(nines, _)| *nines).fold(2.0, f64::max).ceil();
    let most = points().map(|(_, ns)| *ns).fold(1000.0, f64::max);
    let most = 10f64.powf(most.log10().ceil());
    let mut chart = ChartBuilder::on(&left)
        .margin_top(8)
        .margin_right(16)
        .x_label_area_size(48)
        .y_label_area_size(74)
        .build_cartesian_2d(0.0..nines, (FLOOR_NS..most).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(style::GRID)
        .axis_style(style::FAINT)
        .x_labels(nines as usize + 1)
        .x_label_formatter(&|nines| percentile(*nines))
        .y_label_formatter(&|ns| duration(*ns))
        .x_desc("of all calls take no longer")
        .label_style(style::text(14, &style::SOFT))
        .draw()?;
    // This library's lines come last, on top of the others.
    let mut in_order = rows.clone();
    in_order.sort_by_key(|row| Style::of(report, &row.subject).layer());
    for row in in_order {
        let points = row.curve.iter().map(|(nines, ns)| (*nines, ns.max(FLOOR_NS)));
        chart.draw_series(LineSeries::new(points, Style::of(report, &row.subject).line()))?;
    }
    let names: Vec<_> =
        rows.iter().map(|row| (row.subject.clone(), Style::of(report, &row.subject))).collect();
    legend(&right, &names)
}

/// `0 %`, `90 %`, `99 %`, `99.9 %`; no label between whole nines.
fn percentile(nines: f64) -> String {
    let whole = nines.round();
    if (nines - whole).abs() > 1e-6 {
        return String::new();
    }
    match whole as usize {
        0 => "0 %".into(),
        1 => "90 %".into(),
        2 => "99 %".into(),
        more => format!("99.{} %", "9".repeat(more - 2)),
    }
}

/// `10 ns`, `1 us`, `100 ms`.
fn duration(ns: f64) -> String {
    let (value, unit) = match ns {
        ns if ns < 1e3 => (ns, "ns"),
        ns if ns < 1e6 => (ns / 1e3, "us"),
        ns if ns < 1e9 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s"),
    };
    format!("{} {unit}", value.round())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nines_and_durations_read_well() {
        let nines = [0.0, 1.0, 2.0, 3.0, 5.0, 1.5].map(percentile);
        assert_eq!(nines, ["0 %", "90 %", "99 %", "99.9 %", "99.999 %", ""]);
        let durations = [10.0, 1000.0, 1e5, 1e6, 1e9].map(duration);
        assert_eq!(durations, ["10 ns", "1 us", "100 us", "1 ms", "1 s"]);
    }
}
