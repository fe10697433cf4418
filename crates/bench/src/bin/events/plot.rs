//! A bar for each subject, in no span and in three.

use std::path::Path;

use plotters::prelude::*;

const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);
const GRID: RGBColor = RGBColor(0xe3, 0xe6, 0xea);
const NO_SPAN: RGBColor = RGBColor(0x0b, 0x4f, 0xd8);
const SPANS: RGBColor = RGBColor(0xe0, 0x7b, 0x00);
const ROW: i32 = 46;
const LEFT: i32 = 330;
const TOP: i32 = 70;
const WIDTH: i32 = 420;

/// A name, and nanoseconds in no span and in three.
pub type Bar<'a> = (&'a str, [Option<f64>; 2]);

pub fn draw(path: &Path, bars: &[Bar<'_>]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let height = TOP + ROW * bars.len() as i32 + 10;
    let area =
        SVGBackend::new(path, ((LEFT + WIDTH + 90) as u32, height as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let text = |size: i32, color: &RGBColor| ("sans-serif", size).into_font().color(color);
    area.draw_text(
        "What an event costs its caller: a message and three fields",
        &text(19, &INK),
        (16, 14),
    )?;
    area.draw_text("in no span", &text(14, &NO_SPAN), (LEFT, 44))?;
    area.draw_text("in three spans", &text(14, &SPANS), (LEFT + 90, 44))?;
    let most = bars
        .iter()
        .flat_map(|(_, costs)| costs.iter().flatten())
        .fold(1.0_f64, |most, cost| most.max(*cost));
    for (row, (name, costs)) in bars.iter().enumerate() {
        let y = TOP + ROW * row as i32;
        area.draw(&PathElement::new([(16, y - 4), (LEFT + WIDTH + 74, y - 4)], GRID))?;
        area.draw_text(name, &text(14, &INK), (16, y + 11))?;
        for (number, (cost, color)) in costs.iter().zip([NO_SPAN, SPANS]).enumerate() {
            let Some(cost) = cost else { continue };
            let (from, end) =
                (y + 2 + 18 * number as i32, LEFT + (cost / most * f64::from(WIDTH)) as i32);
            area.draw(&Rectangle::new(
                [(LEFT, from), (end.max(LEFT + 1), from + 15)],
                color.filled(),
            ))?;
            area.draw_text(&format!("{cost:.0} ns"), &text(13, &color), (end + 6, from + 1))?;
        }
    }
    area.present()?;
    Ok(())
}
