//! Console events, waited for together with the input.
//!
//! Guarantees: Ctrl-C, Ctrl-Break, and the end of the console or of the system each ask the program to stop, as SIGTERM
//! does elsewhere. So do a service manager and whatever stops a program by Ctrl-C. Windows ends the process some seconds
//! after the end of the console or of the system.

use std::io;
use std::time::{Duration, Instant};

use windows_sys::Win32::System::Console::{
    CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT,
    SetConsoleCtrlHandler,
};
use windows_sys::core::BOOL;

use crate::sys::Arrived;
use crate::sys::windows::events::{self, EVENTS};
use crate::sys::windows::input::Input;
use crate::sys::windows::service;

/// Runs in a thread that the system starts for it.
unsafe extern "system" fn heard(event: u32) -> BOOL {
    let name = match event {
        CTRL_C_EVENT => "Ctrl-C",
        CTRL_BREAK_EVENT => "Ctrl-Break",
        CTRL_CLOSE_EVENT => "the end of the console",
        // Only programs of services hear it, whoever logs off. Those of the session are gone by then.
        CTRL_LOGOFF_EVENT => return 1,
        // The manager says so too, and a second stop would end the program before it is done.
        CTRL_SHUTDOWN_EVENT if service::has_manager() => return 1,
        _ => "the end of the system",
    };
    events::stop(name);
    if !matches!(event, CTRL_C_EVENT | CTRL_BREAK_EVENT) {
        // The process ends when this returns, so the main thread gets all the time that there is.
        loop {
            std::thread::park();
        }
    }
    1
}

/// The events that the program handles.
pub(crate) struct Signals;

impl Signals {
    /// Catches the events. From then on they no longer end the process.
    pub(crate) fn catch(ignore_interrupts: bool) -> io::Result<Self> {
        // SAFETY: the handler lives as long as the program, and only takes a lock.
        let register = |handler| match unsafe { SetConsoleCtrlHandler(handler, 1) } {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        };
        register(Some(heard))?;
        if ignore_interrupts {
            // Without a handler: Ctrl-C is ignored.
            register(None)?;
        }
        service::answer();
        Ok(Signals)
    }

    /// Waits for an event or for the input. A timeout of `None` = without limit. May return early
    /// with nothing.
    pub(crate) fn wait(
        &self,
        input: Option<&Input>,
        timeout: Option<Duration>,
    ) -> io::Result<Arrived> {
        // A timeout beyond what the clock can tell is none.
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut stop = EVENTS.lock();
        loop {
            let input = input.is_some_and(Input::is_ready);
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if input || stop.is_some() || left == Some(Duration::ZERO) {
                return Ok(Arrived { input, stop: stop.take(), publish: false });
            }
            stop = EVENTS.wait(stop, left);
        }
    }
}
