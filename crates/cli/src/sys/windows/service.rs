//! Windows services: the manager's stop is one more event, and the manager hears how the program ended.
//!
//! Guarantees: a program that no manager started goes on as if this were not there. The manager hears of the end after
//! the last file is visible.
//! Refuses: pauses, and arguments of a start beside the service's command line.

use std::ffi::c_void;
use std::ptr::null;
use std::sync::atomic::{AtomicPtr, Ordering};

use windows_sys::Win32::Foundation::{
    ERROR_CALL_NOT_IMPLEMENTED, ERROR_SERVICE_SPECIFIC_ERROR, NO_ERROR,
};
use windows_sys::Win32::System::Services::{
    RegisterServiceCtrlHandlerExW, SERVICE_ACCEPT_SHUTDOWN, SERVICE_ACCEPT_STOP,
    SERVICE_CONTROL_INTERROGATE, SERVICE_CONTROL_SHUTDOWN, SERVICE_CONTROL_STOP, SERVICE_RUNNING,
    SERVICE_STATUS, SERVICE_STOP_PENDING, SERVICE_STOPPED, SERVICE_TABLE_ENTRYW,
    SERVICE_WIN32_OWN_PROCESS, SetServiceStatus, StartServiceCtrlDispatcherW,
};
use windows_sys::core::PWSTR;

use crate::sys::windows::events;

/// How long the manager expects a stop to take, in milliseconds. It ends no process that takes longer, unless the
/// system ends.
const STOP_MS: u32 = 60_000;

/// The manager's handle of this service, or null.
static MANAGER: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

/// Answers the manager, if one started this program.
pub(super) fn answer() {
    // The call lasts as long as the service. Without a manager it fails at once, and nothing else happens.
    let dispatch = || {
        // A service with a process of its own needs no name.
        let mut name = [0];
        let this =
            SERVICE_TABLE_ENTRYW { lpServiceName: name.as_mut_ptr(), lpServiceProc: Some(begun) };
        let table = [this, SERVICE_TABLE_ENTRYW::default()];
        // SAFETY: the table ends with an empty entry, and outlives the call.
        unsafe { StartServiceCtrlDispatcherW(table.as_ptr()) };
    };
    // Without a thread there is no service: the manager says that it does not answer.
    let _ = super::spawn("service", dispatch);
}

/// Runs in a thread that the system starts for the service.
unsafe extern "system" fn begun(_: u32, _: *mut PWSTR) {
    let name = [0];
    // SAFETY: the name ends with a zero, and the handler lives as long as the program.
    let manager = unsafe { RegisterServiceCtrlHandlerExW(name.as_ptr(), Some(told), null()) };
    MANAGER.store(manager, Ordering::SeqCst);
    say(SERVICE_RUNNING, 0);
    // The service lasts as long as the process. Some systems take a return for its end.
    loop {
        std::thread::park();
    }
}

/// Whether a manager started this program.
pub(super) fn has_manager() -> bool {
    !MANAGER.load(Ordering::SeqCst).is_null()
}

/// What the manager wants.
unsafe extern "system" fn told(control: u32, _: u32, _: *mut c_void, _: *mut c_void) -> u32 {
    match control {
        SERVICE_CONTROL_STOP | SERVICE_CONTROL_SHUTDOWN => {
            say(SERVICE_STOP_PENDING, 0);
            events::stop("the service manager's stop");
        }
        SERVICE_CONTROL_INTERROGATE => {}
        _ => return ERROR_CALL_NOT_IMPLEMENTED,
    }
    NO_ERROR
}

/// Tells the manager that the program ends, with this exit code.
pub(crate) fn ends(code: u8) {
    say(SERVICE_STOPPED, code);
}

fn say(state: u32, code: u8) {
    let manager = MANAGER.load(Ordering::SeqCst);
    if manager.is_null() {
        return;
    }
    let status = SERVICE_STATUS {
        dwServiceType: SERVICE_WIN32_OWN_PROCESS,
        dwCurrentState: state,
        dwControlsAccepted: match state {
            SERVICE_RUNNING => SERVICE_ACCEPT_STOP | SERVICE_ACCEPT_SHUTDOWN,
            _ => 0,
        },
        dwWin32ExitCode: if code == 0 { NO_ERROR } else { ERROR_SERVICE_SPECIFIC_ERROR },
        dwServiceSpecificExitCode: code.into(),
        dwCheckPoint: 0,
        dwWaitHint: if state == SERVICE_STOP_PENDING { STOP_MS } else { 0 },
    };
    // SAFETY: the handle needs no closing, and the call only reads the structure.
    unsafe { SetServiceStatus(manager, &status) };
}
