//! The frame that all plots share: size, title, origin and legend.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::style::{self, Style};
use crate::report::Report;

pub const SIZE: (u32, u32) = (1000, 560);
pub const LEGEND_WIDTH: i32 = 215;

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// What plotters says when a file can't be written.
pub type Drawn = Result<(), Box<dyn std::error::Error + Send + Sync>>;

pub fn canvas(path: &Path) -> Result<Area<'_>, Box<dyn std::error::Error + Send + Sync>> {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    Ok(area)
}

/// Draws title and origin of the data. Returns the remaining area.
pub fn headed<'a>(
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

/// A line and a name for each subject, in the order of the tables.
pub fn legend(area: &Area, entries: &[(String, Style)]) -> Drawn {
    for (number, (name, style)) in entries.iter().enumerate() {
        let y = 14 + 25 * number as i32;
        area.draw(&PathElement::new([(8, y), (40, y)], style.line()))?;
        let weight = if style.is_ours { style::INK } else { style::SOFT };
        area.draw_text(name, &style::text(14, &weight), (50, y - 7))?;
    }
    Ok(())
}
