//! The program on Windows: stopped as a service, and by an event of the console. `scripts/platforms` runs it under
//! Wine. On Windows the service needs an administrator.

#![cfg(windows)]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle};
use std::os::windows::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::ptr::{null, null_mut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bufferedwriter_testkit::dir::TestDir;
use bufferedwriter_testkit::wait::until;
use windows_sys::Win32::Foundation::{
    ERROR_SERVICE_DATABASE_LOCKED, ERROR_SERVICE_SPECIFIC_ERROR, INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::Storage::FileSystem::PIPE_ACCESS_OUTBOUND;
use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, GenerateConsoleCtrlEvent};
use windows_sys::Win32::System::Pipes::{ConnectNamedPipe, CreateNamedPipeW, PIPE_TYPE_BYTE};
use windows_sys::Win32::System::Services::{
    CloseServiceHandle, ControlService, CreateServiceW, DeleteService, OpenSCManagerW,
    QueryServiceStatus, SC_HANDLE, SC_MANAGER_ALL_ACCESS, SERVICE_ALL_ACCESS, SERVICE_CONTROL_STOP,
    SERVICE_DEMAND_START, SERVICE_ERROR_NORMAL, SERVICE_RUNNING, SERVICE_STATUS, SERVICE_STOPPED,
    SERVICE_WIN32_OWN_PROCESS, StartServiceW,
};
use windows_sys::Win32::System::Threading::CREATE_NEW_PROCESS_GROUP;

const LINES: u32 = 20_000;

fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}

fn program() -> PathBuf {
    std::path::absolute(env!("CARGO_BIN_EXE_bufferedwriter")).unwrap()
}

/// The numbers of all lines in visible files, sorted.
fn numbers(out: &Path) -> Vec<u32> {
    let files = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path());
    let mut numbers: Vec<u32> = files
        .flat_map(|file| {
            let text = fs::read_to_string(file).unwrap();
            text.lines().map(|line| line.parse().unwrap()).collect::<Vec<_>>()
        })
        .collect();
    numbers.sort_unstable();
    numbers
}

fn write_lines(mut to: impl Write) {
    let text: String = (0..LINES).map(|number| format!("{number}\n")).collect();
    to.write_all(text.as_bytes()).unwrap();
}

/// Wine's manager forgets handles, and lets starts fail, when it is busy with two services at once.
static ALONE: Mutex<()> = Mutex::new(());

/// A service that is gone at the end of its test.
struct Service {
    _alone: MutexGuard<'static, ()>,
    manager: SC_HANDLE,
    service: SC_HANDLE,
}

impl Service {
    fn new(name: &str, command: &str) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (wide_name, command) = (wide(name), wide(command));
        // SAFETY: the strings end with a zero and outlive the calls; null stands for what is optional.
        let (manager, service) = unsafe {
            let manager = OpenSCManagerW(null(), null(), SC_MANAGER_ALL_ACCESS);
            assert!(!manager.is_null(), "open the manager: {}", std::io::Error::last_os_error());
            let service = CreateServiceW(
                manager,
                wide_name.as_ptr(),
                null(),
                SERVICE_ALL_ACCESS,
                SERVICE_WIN32_OWN_PROCESS,
                SERVICE_DEMAND_START,
                SERVICE_ERROR_NORMAL,
                command.as_ptr(),
                null(),
                null_mut(),
                null(),
                null(),
                null(),
            );
            (manager, service)
        };
        assert!(!service.is_null(), "create {name}: {}", std::io::Error::last_os_error());
        Service { _alone: alone, manager, service }
    }

    fn start(&self) {
        // The manager starts one service at a time.
        until("the start of the service", || {
            // SAFETY: the handle is open, and there are no arguments.
            let started = unsafe { StartServiceW(self.service, 0, null()) } != 0;
            let error = std::io::Error::last_os_error();
            let is_busy = error.raw_os_error() == Some(ERROR_SERVICE_DATABASE_LOCKED as i32);
            assert!(started || is_busy, "start: {error}");
            started
        });
    }

    fn stop(&self) {
        let mut status = SERVICE_STATUS::default();
        // SAFETY: the handle is open, and the call fills the structure.
        let told = unsafe { ControlService(self.service, SERVICE_CONTROL_STOP, &mut status) };
        assert_ne!(told, 0, "stop: {}", std::io::Error::last_os_error());
    }

    fn status(&self) -> SERVICE_STATUS {
        let mut status = SERVICE_STATUS::default();
        // SAFETY: the handle is open, and the call fills the structure.
        let told = unsafe { QueryServiceStatus(self.service, &mut status) };
        assert_ne!(told, 0, "ask for the status: {}", std::io::Error::last_os_error());
        status
    }

    fn wait_for(&self, state: u32) {
        until("the state of the service", || self.status().dwCurrentState == state);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // SAFETY: both handles are open, and not used after this.
        unsafe {
            DeleteService(self.service);
            CloseServiceHandle(self.service);
            CloseServiceHandle(self.manager);
        }
    }
}

/// A pipe with this name, for one reader.
fn named_pipe(path: &str) -> File {
    let name = wide(path);
    // SAFETY: the name ends with a zero.
    let pipe = unsafe {
        CreateNamedPipeW(
            name.as_ptr(),
            PIPE_ACCESS_OUTBOUND,
            PIPE_TYPE_BYTE,
            1,
            65_536,
            0,
            0,
            null(),
        )
    };
    assert_ne!(pipe, INVALID_HANDLE_VALUE, "{}", std::io::Error::last_os_error());
    // SAFETY: the handle is new, and nobody else's.
    unsafe { File::from_raw_handle(pipe) }
}

#[test]
fn a_service_that_is_stopped_has_written_what_its_pipe_gave() {
    let dir = TestDir::new();
    let out = std::path::absolute(dir.join("out")).unwrap();
    let name = format!("bufferedwriter-test-{}", std::process::id());
    let path = format!(r"\\.\pipe\{name}");
    let pipe = named_pipe(&path);
    let (program, to) = (program(), out.clone());
    let (program, to) = (program.display(), to.display());
    let service =
        Service::new(&name, &format!(r#""{program}" write --path "{to}" --create-dirs {path}"#));
    service.start();
    service.wait_for(SERVICE_RUNNING);
    // SAFETY: the handle is open. An error says that the reader was faster.
    unsafe { ConnectNamedPipe(pipe.as_raw_handle(), null_mut()) };
    write_lines(&pipe);
    // Returns once the program has read all of it.
    pipe.sync_all().unwrap();
    assert_eq!(service.status().dwCurrentState, SERVICE_RUNNING, "its pipe is open");
    service.stop();
    service.wait_for(SERVICE_STOPPED);
    assert_eq!(service.status().dwWin32ExitCode, 0);
    assert!(numbers(&out).into_iter().eq(0..LINES));
}

#[test]
fn a_service_that_fails_tells_its_exit_code() {
    let dir = TestDir::new();
    let out = std::path::absolute(dir.join("out")).unwrap();
    let name = format!("bufferedwriter-test-fails-{}", std::process::id());
    let (program, to) = (program(), out.display());
    let program = program.display();
    // The first input takes a while, so that the manager has its answer before the end.
    let pipe = named_pipe(&format!(r"\\.\pipe\{name}"));
    let inputs = format!(r"\\.\pipe\{name} \\.\pipe\{name}-is-not-there");
    let command = format!(r#""{program}" write --path "{to}" --create-dirs {inputs}"#);
    let service = Service::new(&name, &command);
    service.start();
    service.wait_for(SERVICE_RUNNING);
    drop(pipe);
    service.wait_for(SERVICE_STOPPED);
    let status = service.status();
    let codes = (status.dwWin32ExitCode, status.dwServiceSpecificExitCode);
    assert_eq!(codes, (ERROR_SERVICE_SPECIFIC_ERROR, 1));
}

#[test]
fn ctrl_break_ends_the_program_in_order() {
    let dir = TestDir::new();
    let out = dir.join("out");
    let mut child = Command::new(program())
        .args(["write", "--verbose", "--create-dirs", "--path"])
        .arg(&out)
        .arg("--temp")
        .arg(dir.join("temp"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .creation_flags(CREATE_NEW_PROCESS_GROUP)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("reading standard input") {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "it ended");
    }
    let stdin = child.stdin.take().unwrap();
    write_lines(&stdin);
    // SAFETY: the call has no pointers.
    let sent = unsafe { GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, child.id()) };
    if sent == 0 {
        println!("skipped: the console takes no event: {}", std::io::Error::last_os_error());
        child.kill().unwrap();
        child.wait().unwrap();
        return;
    }
    let mut code = None;
    until("the end of the program", || {
        code = child.try_wait().unwrap();
        code.is_some()
    });
    assert_eq!(code.unwrap().code(), Some(0));
    assert!(numbers(&out).into_iter().eq(0..LINES));
    drop(stdin);
}
