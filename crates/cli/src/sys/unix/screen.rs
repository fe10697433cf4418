//! The terminal as a screen that is drawn on, and its keys.
//!
//! Guarantees: the terminal is as it was before once the screen is dropped, also after a panic and after each signal that
//! a process may catch. A stop by Ctrl-Z shows the shell, and the screen comes back with `fg`.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ratatui::{Frame, Terminal};
use rustix::process::{Signal, kill_current_process_group};
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, OutputModes, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGCONT, SIGQUIT, SIGWINCH};

use crate::sys::unix::ansi::{Ansi, ENTER, LEAVE};
use crate::sys::unix::descriptor::Descriptor;
use crate::sys::unix::input::Input;
use crate::sys::unix::signals::Signals;
use crate::sys::unix::{inherited, keys};
use crate::sys::{Key, STDIN};

/// How long the rest of a key may take. Slow lines need a bit.
const REST: Duration = Duration::from_millis(50);

/// What the terminal must get back: its settings, if standard input is one.
static BEFORE: Mutex<Option<Option<Termios>>> = Mutex::new(None);

/// The whole terminal. One per process.
pub(crate) struct Screen {
    terminal: Terminal<Ansi<Descriptor<'static>>>,
    signals: Signals,
    input: Input,
    /// SIGQUIT has come.
    quit: Arc<AtomicBool>,
    /// It runs again after a stop, so that others may have drawn.
    resumed: Arc<AtomicBool>,
}

impl Screen {
    /// Takes over the terminal of standard output. The error is a complete message.
    pub(crate) fn open() -> Result<Self, String> {
        let input = Input::open(STDIN.as_ref(), false)?;
        let failed = |error: io::Error| format!("take the terminal: {error}");
        let signals = Signals::catch(false).map_err(failed)?;
        let [quit, resumed, resized]: [Arc<AtomicBool>; 3] = Default::default();
        for (signal, flag) in [(SIGQUIT, &quit), (SIGCONT, &resumed), (SIGWINCH, &resized)] {
            // Each ends a wait. The size is asked for at each frame.
            if !inherited::is_ignored(signal) {
                signal_hook::flag::register(signal, Arc::clone(flag)).map_err(failed)?;
            }
        }
        let terminal = Terminal::new(Ansi::new(Descriptor::stdout())).map_err(failed)?;
        let former = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // Otherwise its message would go with the screen.
            give_back();
            former(panic);
        }));
        // From here on its drop gives the terminal back.
        let screen = Screen { terminal, signals, input, quit, resumed };
        take_over().map_err(failed)?;
        Ok(screen)
    }

    /// Draws what differs from the frame before.
    pub(crate) fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(render).map(|_| ())
    }

    /// Waits for keys. None after this time, and if the size may have changed. The end of input and signals that ask
    /// the program to end are [`Key::Quit`].
    pub(crate) fn keys(&mut self, timeout: Duration) -> io::Result<Vec<Key>> {
        let mut bytes = Vec::new();
        let mut until = Instant::now() + timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let arrived = self.signals.wait(Some(&self.input), Some(left))?;
            if arrived.stop.is_some() || arrived.publish || self.quit.load(Ordering::Relaxed) {
                return Ok(vec![Key::Quit]);
            }
            if self.resumed.swap(false, Ordering::Relaxed) {
                self.come_back()?;
            }
            if !arrived.input {
                break;
            }
            let mut block = [0; 256];
            match self.input.read(&mut block) {
                // A terminal that is gone fails.
                Ok(Some(0)) | Err(_) => return Ok(vec![Key::Quit]),
                Ok(read) => bytes.extend(&block[..read.unwrap_or(0)]),
            }
            if !keys::is_begun(&bytes) || bytes.len() > block.len() {
                break;
            }
            until = Instant::now() + REST;
        }
        let mut all = keys::keys(&bytes);
        for key in &all {
            match key {
                Key::Suspend => self.stop()?,
                Key::Redraw => self.terminal.clear()?,
                _ => {}
            }
        }
        all.retain(|key| !matches!(key, Key::Suspend | Key::Redraw));
        Ok(all)
    }

    /// As Ctrl-Z does elsewhere.
    fn stop(&mut self) -> io::Result<()> {
        give_back();
        // Returns when the program runs again. Without a shell that could do so, the system stops nothing.
        kill_current_process_group(Signal::TSTP)?;
        self.resumed.store(false, Ordering::Relaxed);
        self.come_back()
    }

    fn come_back(&mut self) -> io::Result<()> {
        take_over()?;
        self.terminal.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn take_over() -> io::Result<()> {
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    if before.is_none() {
        // Where keys do not come from a terminal, it has no settings that matter.
        *before = Some(if stdin().is_terminal() { Some(tcgetattr(stdin())?) } else { None });
    }
    if let Some(Some(found)) = &*before {
        let mut settings = found.clone();
        settings.make_raw();
        // The messages of other programs do not become stairs.
        settings.output_modes |= found.output_modes & (OutputModes::OPOST | OutputModes::ONLCR);
        tcsetattr(stdin(), OptionalActions::Now, &settings)?;
    }
    Descriptor::stdout().write_all(ENTER.as_bytes())
}

/// Does nothing if it was done.
fn give_back() {
    let Ok(mut before) = BEFORE.lock() else { return };
    let Some(settings) = before.take() else { return };
    // Whoever can't be told anything needs nothing back.
    let _ = Descriptor::stdout().write_all(LEAVE.as_bytes());
    if let Some(settings) = settings {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &settings);
    }
}
