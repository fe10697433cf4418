//! How subjects look, the same in all plots of a report. This library is blue and bold, memcpy black, and each
//! peer has a colour of its own.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::report::{MEMCPY, PRODUCER, Report, WRITER};

pub const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);
pub const SOFT: RGBColor = RGBColor(0x4a, 0x50, 0x57);
pub const FAINT: RGBColor = RGBColor(0x76, 0x7d, 0x86);
pub const GRID: RGBColor = RGBColor(0xe3, 0xe6, 0xea);

const BOLDEST: RGBColor = RGBColor(0x0b, 0x4f, 0xd8);
const PEERS: [RGBColor; 9] = [
    RGBColor(0xe0, 0x7b, 0x00),
    RGBColor(0x2e, 0x9e, 0x4f),
    RGBColor(0xc9, 0x2a, 0x2a),
    RGBColor(0x8e, 0x4e, 0xc6),
    RGBColor(0x8a, 0x5a, 0x3c),
    RGBColor(0xd6, 0x55, 0xa5),
    RGBColor(0x8a, 0x93, 0x00),
    RGBColor(0x00, 0x97, 0xa0),
    RGBColor(0x9a, 0xa0, 0xa6),
];

#[derive(Clone, Copy)]
pub struct Style {
    pub color: RGBColor,
    pub width: u32,
    pub is_ours: bool,
}

impl Style {
    pub fn of(report: &Report, subject: &str) -> Self {
        let new = |color, width, is_ours| Style { color, width, is_ours };
        match subject {
            MEMCPY => return new(RGBColor(0, 0, 0), 2, false),
            PRODUCER => return new(BOLDEST, 4, true),
            WRITER => return new(RGBColor(0x3d, 0x9b, 0xff), 4, true),
            _ => {}
        }
        if report.is_ours(subject) {
            let color = if subject == "record" { (0x6c, 0x7b, 0xd9) } else { (0x9d, 0xb8, 0xf2) };
            return new(RGBColor(color.0, color.1, color.2), 2, true);
        }
        let peers = report.subjects.iter().filter(|known| !known.ours && known.name != MEMCPY);
        let place = peers.map(|known| &known.name).position(|name| name == subject).unwrap_or(0);
        new(PEERS[place % PEERS.len()], 2, false)
    }

    /// The drawing order: this library last, its bold lines at the very end.
    pub fn layer(&self) -> (bool, u32, bool) {
        (self.is_ours, self.width, self.color == BOLDEST)
    }

    pub fn line(&self) -> ShapeStyle {
        ShapeStyle::from(&self.color).stroke_width(self.width)
    }

    pub fn filled(&self) -> ShapeStyle {
        self.color.filled()
    }
}

/// Text that is placed by its upper left corner.
pub fn text(size: i32, color: &RGBColor) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(color)
}

/// Text that is placed by the middle of its left or right side.
pub fn aside(size: i32, color: &RGBColor, side: HPos) -> TextStyle<'static> {
    text(size, color).pos(Pos::new(side, VPos::Center))
}
