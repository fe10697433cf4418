//! Processor time over how many times smaller the files are, a point for each codec.

use std::path::Path;

use plotters::prelude::*;

use crate::Cost;

const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);
const GRID: RGBColor = RGBColor(0xe3, 0xe6, 0xea);
const GZIP: RGBColor = RGBColor(0xe0, 0x7b, 0x00);
const ZSTD: RGBColor = RGBColor(0x0b, 0x4f, 0xd8);

pub fn draw(path: &Path, costs: &[Cost]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let area = SVGBackend::new(path, (800, 480)).into_drawing_area();
    area.fill(&WHITE)?;
    let most = |of: fn(&Cost) -> f64| costs.iter().map(of).fold(1.0, f64::max) * 1.15;
    let text = |size: i32| ("sans-serif", size).into_font().color(&INK);
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .caption("Processor seconds for each GB of records, one worker", text(19))
        .x_label_area_size(48)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..most(|cost| cost.ratio), 0.0..most(|cost| cost.seconds))?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .x_label_formatter(&|ratio| format!("{ratio:.0}"))
        .y_label_formatter(&|seconds| format!("{seconds:.0} s"))
        .x_desc("how many times smaller the files are")
        .label_style(text(14))
        .draw()?;
    for Cost { name, seconds, ratio } in costs {
        let color = match &name[..4] {
            "gzip" => GZIP,
            "zstd" => ZSTD,
            _ => INK,
        };
        let at = (*ratio, *seconds);
        chart.draw_series([Circle::new(at, 5, color.filled())])?;
        let (x, y) = chart.backend_coord(&at);
        area.draw_text(name, &text(14).color(&color), (x + 9, y - 7))?;
    }
    area.present()?;
    Ok(())
}
