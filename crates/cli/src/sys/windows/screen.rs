//! The console as a screen that is drawn on, and its keys.
//!
//! Guarantees: the console is as it was before once the screen is dropped.

use std::io::{self, Write};
use std::time::Duration;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, poll, read};
use ratatui::crossterm::queue;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::{Frame, Terminal};

use crate::sys::Key;
use crate::sys::windows::descriptor::Descriptor;

/// The whole console. One per process.
pub(crate) struct Screen(Terminal<CrosstermBackend<Whole>>);

impl Screen {
    /// Takes over the console of standard output. The error is a complete message.
    pub(crate) fn open() -> Result<Self, String> {
        let failed = |error: io::Error| format!("take the console: {error}");
        let terminal = Terminal::new(CrosstermBackend::new(Whole::default())).map_err(failed)?;
        // From here on its drop gives the console back.
        let mut screen = Screen(terminal);
        enable_raw_mode().map_err(failed)?;
        let backend = screen.0.backend_mut();
        queue!(backend, EnterAlternateScreen, Hide).map_err(failed)?;
        Ok(screen)
    }

    /// Draws what differs from the frame before.
    pub(crate) fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.0.draw(render).map(|_| ())
    }

    /// Waits for keys. None after this time, and if the size may have changed.
    pub(crate) fn keys(&mut self, timeout: Duration) -> io::Result<Vec<Key>> {
        let (mut keys, mut timeout) = (Vec::new(), timeout);
        while poll(timeout)? {
            if let Event::Key(event) = read()? {
                keys.extend(key(event));
            }
            timeout = Duration::ZERO;
        }
        Ok(keys)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let backend = self.0.backend_mut();
        // Whoever can't be told anything needs nothing back.
        let _ = queue!(backend, Show, LeaveAlternateScreen).and_then(|()| backend.flush());
        let _ = disable_raw_mode();
    }
}

fn key(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    let with_control = event.modifiers.contains(KeyModifiers::CONTROL);
    Some(match event.code {
        KeyCode::Esc | KeyCode::Char('q' | 'Q') => Key::Quit,
        KeyCode::Char('c' | 'd') if with_control => Key::Quit,
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Enter | KeyCode::Char('j') => Key::Down,
        KeyCode::PageUp | KeyCode::Char('b') => Key::PageUp,
        KeyCode::PageDown | KeyCode::Char(' ' | 'f') => Key::PageDown,
        KeyCode::Home | KeyCode::Char('g') => Key::Top,
        KeyCode::End | KeyCode::Char('G') => Key::Bottom,
        _ => return None,
    })
}

/// Standard output, one write a frame.
#[derive(Default)]
struct Whole(Vec<u8>);

impl Write for Whole {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = Descriptor::stdout().write_all(&self.0);
        self.0.clear();
        written
    }
}
