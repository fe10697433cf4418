//! The report as plots, SVG files in a directory. They show latency percentiles for each number of threads, and
//! processor time per GB. They also show the share of records that is refused or lost over the offered load.
//! What was not measured has none.

mod canvas;
mod cpu;
mod latency;
mod refused;
mod style;

use std::io;
use std::path::Path;

use crate::report::Report;
use canvas::{Drawn, canvas};

/// Writes the plots; makes the directory if it is missing.
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
