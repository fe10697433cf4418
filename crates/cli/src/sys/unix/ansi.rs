//! The escape sequences of a terminal, from what ratatui wants to draw. ratatui's own backends need a second rustix, and
//! read keys in a way that never ends once the terminal is gone.
//!
//! Guarantees: a frame is one write. Only the sequences that every terminal since the VT100 knows, and eight colours.

use std::io::{self, Write};

use ratatui::backend::{Backend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};
use ratatui::style::{Color, Modifier};
use terminal_size::{Height, Width, terminal_size_of};

/// Where the system does not tell.
const USUAL: Size = Size { width: 80, height: 24 };
/// A terminal may say anything, and memory grows with it.
const LARGEST: Size = Size { width: 1000, height: 500 };

/// Takes over the screen, without a cursor.
pub(super) const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J";
/// Gives it back as it was.
pub(super) const LEAVE: &str = "\x1b[0m\x1b[?25h\x1b[?1049l";

/// A frame on its way to the terminal.
pub(super) struct Ansi<W> {
    terminal: W,
    frame: Vec<u8>,
}

impl<W: Write> Ansi<W> {
    pub(super) fn new(terminal: W) -> Self {
        Ansi { terminal, frame: Vec::new() }
    }

    fn put(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        self.frame.extend(text.as_ref().as_bytes());
        Ok(())
    }
}

impl<W: Write> Backend for Ansi<W> {
    fn draw<'a, I>(&mut self, cells: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let plain = style(&Cell::default());
        let (mut next, mut current) = (None, plain.clone());
        for (x, y, cell) in cells {
            // The column after a wide character is not known, so only the next cell goes without.
            if next != Some((x, y)) {
                self.put(format!("\x1b[{};{}H", y + 1, x + 1))?;
            }
            let wanted = style(cell);
            if wanted != current {
                self.put(&wanted)?;
                current = wanted;
            }
            self.put(cell.symbol())?;
            next = cell.symbol().is_ascii().then_some((x + 1, y));
        }
        if current == plain { Ok(()) } else { self.put(plain) }
    }

    // The cursor stays hidden, see `ENTER`.
    fn hide_cursor(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, _: P) -> io::Result<()> {
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.put("\x1b[2J")
    }

    fn size(&self) -> io::Result<Size> {
        let told = terminal_size_of(io::stdout());
        let size = told.map_or(USUAL, |(Width(width), Height(height))| Size { width, height });
        Ok(Size { width: size.width.min(LARGEST.width), height: size.height.min(LARGEST.height) })
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::ZERO })
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.terminal.write_all(&self.frame);
        self.frame.clear();
        written
    }
}

/// The sequence that begins the style of a cell, whatever stood before.
fn style(cell: &Cell) -> String {
    let mut sequence = "\x1b[0".to_owned();
    for (modifier, code) in
        [(Modifier::BOLD, ";1"), (Modifier::DIM, ";2"), (Modifier::REVERSED, ";7")]
    {
        if cell.modifier.contains(modifier) {
            sequence += code;
        }
    }
    sequence += match cell.fg {
        Color::Red => ";31",
        Color::Green => ";32",
        Color::Yellow => ";33",
        Color::Cyan => ";36",
        _ => "",
    };
    sequence + "m"
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::buffer::Buffer;
    use ratatui::layout::Rect;
    use ratatui::style::Style;
    use ratatui::{TerminalOptions, Viewport};

    use super::*;

    fn drawn(terminal: &mut Terminal<Ansi<Vec<u8>>>, paint: impl FnOnce(&mut Buffer)) -> String {
        terminal.draw(|frame| paint(frame.buffer_mut())).unwrap();
        let bytes = std::mem::take(&mut terminal.backend_mut().terminal);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn only_what_differs_is_written_with_its_style() {
        let viewport = Viewport::Fixed(Rect::new(0, 0, 10, 2));
        let backend = Ansi::new(Vec::new());
        let mut terminal = Terminal::with_options(backend, TerminalOptions { viewport }).unwrap();
        let red = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
        let text = drawn(&mut terminal, |buffer| {
            buffer.set_string(0, 0, "ab", Style::new());
            buffer.set_string(3, 1, "c", red);
            buffer.set_string(4, 1, "d\u{1b}[2J", Style::new());
        });
        assert_eq!(text, "\x1b[1;1Hab\x1b[2;4H\x1b[0;1;31mc\x1b[0md[2J");
        let text = drawn(&mut terminal, |buffer| {
            buffer.set_string(0, 0, "aB", Style::new());
            buffer.set_string(3, 1, "c", red);
            buffer.set_string(4, 1, "d[2J", Style::new());
        });
        assert_eq!(text, "\x1b[1;2HB");
    }

    #[test]
    fn wide_characters_do_not_shift_what_follows() {
        let viewport = Viewport::Fixed(Rect::new(0, 0, 10, 1));
        let backend = Ansi::new(Vec::new());
        let mut terminal = Terminal::with_options(backend, TerminalOptions { viewport }).unwrap();
        let text =
            drawn(&mut terminal, |buffer| buffer.set_string(0, 0, "\u{6f22}x", Style::new()));
        assert_eq!(text, "\x1b[1;1H\u{6f22}\x1b[1;3Hx");
    }
}
