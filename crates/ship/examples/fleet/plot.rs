//! Attempts in each second around the return of the store.

use std::path::Path;

use plotters::prelude::*;

const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);
const GRID: RGBColor = RGBColor(0xe3, 0xe6, 0xea);
const COLORS: [RGBColor; 3] =
    [RGBColor(0xc9, 0x2a, 0x2a), RGBColor(0xe0, 0x7b, 0x00), RGBColor(0x0b, 0x4f, 0xd8)];
/// Seconds before and after.
const BEFORE: f64 = 60.0;
const AFTER: f64 = 240.0;

/// `back`: the second in which the store is back.
pub fn draw(
    path: &Path,
    back: f64,
    curves: &[(&str, Vec<u32>)],
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::new(path, (800, 480)).into_drawing_area();
    area.fill(&WHITE)?;
    let seconds = (back - BEFORE) as usize..(back + AFTER) as usize;
    let of = |curve: &[u32]| {
        let shown = curve.get(seconds.clone()).unwrap_or_default();
        shown.iter().map(|&attempts| f64::from(attempts)).collect::<Vec<_>>()
    };
    let most = curves.iter().flat_map(|(_, curve)| of(curve)).fold(1.0, f64::max) * 1.1;
    let text = |size: i32| ("sans-serif", size).into_font().color(&INK);
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .caption("10,000 hosts, a store that was away for an hour", text(19))
        .x_label_area_size(48)
        .y_label_area_size(72)
        .build_cartesian_2d(-BEFORE..AFTER, 0.0..most)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .x_desc("seconds since its return")
        .y_desc("attempts in a second")
        .label_style(text(14))
        .draw()?;
    for ((name, curve), color) in curves.iter().zip(COLORS) {
        let points = of(curve).into_iter().enumerate();
        let points = points.map(|(nth, attempts)| (nth as f64 - BEFORE, attempts));
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .label_font(text(14))
        .background_style(WHITE)
        .border_style(GRID)
        .draw()?;
    area.present()?;
    Ok(())
}
