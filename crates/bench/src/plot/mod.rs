//! The report as plots, SVG files in a directory: latency percentiles for each number of threads, the
//! share that is refused or lost over the offered load, processor time per GB. Only for what was measured.

mod cpu;
mod latency;
mod refused;
mod style;

use std::io;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::report::Report;
use style::Style;

const SIZE: (u32, u32) = (1000, 560);
const LEGEND_WIDTH: i32 = 215;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// What plotters says when a file can't be written.
type Drawn = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Makes the directory if need be.
pub fn write(report: &Report, dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let measures = &report.measures;
    let drawn = || -> Drawn {
        for latencies in measures.latency.iter() {
            for threads in latency::threads(latencies) {
                let path = dir.join(format!("latency-{threads}.svg"));
                latency::draw(&canvas(&path)?, report, latencies, threads)?;
            }
        }
        for sustained in measures.sustained.iter() {
            refused::draw(&canvas(&dir.join("refused.svg"))?, report, sustained)?;
            cpu::draw(&canvas(&dir.join("cpu.svg"))?, report, sustained)?;
        }
        Ok(())
    };
    drawn().map_err(io::Error::other)
}

fn canvas(path: &Path) -> Result<Area<'_>, Box<dyn std::error::Error + Send + Sync>> {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    Ok(area)
}

/// Draws title and origin, and gives back what is left.
fn headed<'a>(
    area: &Area<'a>,
    report: &Report,
    title: &str,
) -> Result<Area<'a>, Box<dyn std::error::Error + Send + Sync>> {
    area.draw_text(title, &style::text(21, &style::INK), (24, 18))?;
    let machine = &report.machine;
    let commit = report.commit.as_ref().map_or("", |commit| &commit.hash);
    let origin = [
        format!("{}, {} cores", machine.cpu, machine.cores),
        machine.file_system.clone(),
        report.date.get(..10).unwrap_or_default().to_string(),
        format!("commit {}", commit.get(..10).unwrap_or("unknown")),
    ];
    area.draw_text(&origin.join(" · "), &style::text(13, &style::FAINT), (24, 46))?;
    Ok(area.margin(68, 10, 14, 20))
}

/// To the right, a line for each, in the order of the tables.
fn legend(area: &Area, entries: &[(String, Style)]) -> Drawn {
    for (number, (name, style)) in entries.iter().enumerate() {
        let y = 14 + 25 * number as i32;
        area.draw(&PathElement::new([(8, y), (40, y)], style.line()))?;
        let weight = if style.is_ours { style::INK } else { style::SOFT };
        area.draw_text(name, &style::text(14, &weight), (50, y - 7))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Latency, LatencyRow, MEMCPY, Sustained, SustainedRow, Which};

    fn report() -> Report {
        let mut report = Report::default();
        let row = LatencyRow {
            subject: MEMCPY.into(),
            buffer_bytes: 64 << 10,
            threads: 1,
            which: Which::All,
            writes: 1000,
            refused: 0,
            p50_ns: 0.0,
            p90_ns: 10.0,
            p99_ns: 20.0,
            p999_ns: 30.0,
            p9999_ns: 30.0,
            max_ns: 30.0,
            ratio_p99: None,
            ratio_p999: None,
            curve: vec![(0.0, 0.0), (1.0, 10.0), (3.0, 30.0)],
        };
        report.measures.latency = Some(Latency { rows: vec![row], ..Latency::default() });
        let row = SustainedRow {
            subject: "peer <&>".into(),
            buffer_bytes: 64 << 10,
            offered_mb_per_s: 100.0,
            fraction_of_disk: 0.2,
            accepted_records: 10,
            cpu_s_per_gb: Some(1.0),
            ..SustainedRow::default()
        };
        report.measures.sustained = Some(Sustained { rows: vec![row], ..Sustained::default() });
        report
    }

    #[test]
    fn each_plot_is_an_svg_file_that_names_its_subjects() {
        let dir = std::env::temp_dir().join(format!("bench-plots-{}", std::process::id()));
        let written = write(&report(), &dir);
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_default();
        let texts = ["latency-1.svg", "refused.svg", "cpu.svg"].map(read);
        std::fs::remove_dir_all(&dir).unwrap();
        written.unwrap();
        assert!(
            texts
                .iter()
                .all(|text| text.starts_with("<svg") && text.trim_end().ends_with("</svg>"))
        );
        assert!(texts[0].contains("memcpy") && texts[1].contains("peer &lt;&amp;&gt;"));
    }

    #[test]
    fn nothing_measured_makes_no_plots() {
        let dir = std::env::temp_dir().join(format!("bench-no-plots-{}", std::process::id()));
        write(&Report::default(), &dir).unwrap();
        let files = std::fs::read_dir(&dir).unwrap().count();
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(files, 0);
    }
}
