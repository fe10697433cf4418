//! Terminals of the tests, and what is to be seen on them.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::help::wait_until;

/// A terminal whose other end keeps what is shown.
pub struct Terminal {
    device: PathBuf,
    shown: Arc<Mutex<Vec<u8>>>,
    /// Open, so that the terminal stays when a program has ended.
    kept: File,
    keyboard: File,
}

impl Terminal {
    pub fn new() -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let device =
            PathBuf::from(ptsname(&controller, Vec::new()).unwrap().into_string().unwrap());
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, all) = (File::from(controller), Arc::clone(&shown));
        let keyboard = reader.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut block = [0; 4096];
            // An error is the end of the last program.
            while let Ok(read @ 1..) = reader.read(&mut block) {
                all.lock().unwrap().extend(&block[..read]);
            }
        });
        let kept = OpenOptions::new().read(true).write(true).open(&device).unwrap();
        Terminal { device, shown, kept, keyboard }
    }

    /// The same with a size.
    pub fn sized(columns: u16, rows: u16) -> Self {
        let terminal = Self::new();
        terminal.resize(columns, rows);
        terminal
    }

    pub fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.keyboard, size).unwrap();
    }

    /// For a program's standard streams.
    pub fn output(&self) -> Stdio {
        self.kept.try_clone().unwrap().into()
    }

    pub fn press(&self, keys: &[u8]) {
        (&self.keyboard).write_all(keys).unwrap();
    }

    pub fn settings(&self) -> Termios {
        tcgetattr(&self.kept).unwrap()
    }

    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    pub fn wait_for(&self, text: &str) {
        wait_until(&format!("{text} on {}", self.device.display()), || self.shown().contains(text));
    }

    /// What is to be seen, a line each, without blanks at the ends. Empty once a program has given the screen back.
    pub fn screen(&self) -> Vec<String> {
        seen(&self.shown())
    }

    /// Waits until a line has all these words.
    pub fn wait_for_line(&self, words: &[&str]) {
        wait_until(&format!("{words:?} in a line of {:#?}", self.screen()), || {
            self.screen().iter().any(|line| words.iter().all(|word| line.contains(word)))
        });
    }
}

/// Follows the sequences that the program uses. Others fail the test.
fn seen(mut text: &str) -> Vec<String> {
    let (mut lines, mut row, mut column) = (Vec::<Vec<char>>::new(), 0, 0);
    while let Some(next) = text.chars().next() {
        text = &text[next.len_utf8()..];
        match next {
            '\u{1b}' => {
                let Some(end) = text.find(|char: char| char.is_ascii_alphabetic()) else { break };
                let (sequence, rest) = text.split_at(end + 1);
                text = rest;
                match sequence {
                    "[?1049h" | "[?1049l" | "[2J" => lines.clear(),
                    "[?25l" | "[?25h" => {}
                    _ if sequence.ends_with('m') => {}
                    _ => {
                        let place = sequence.strip_prefix('[').and_then(|it| it.strip_suffix('H'));
                        let place = place.unwrap_or_else(|| panic!("unknown: {sequence:?}"));
                        let (y, x) = place.split_once(';').unwrap_or(("1", "1"));
                        (row, column) =
                            (y.parse::<usize>().unwrap() - 1, x.parse::<usize>().unwrap() - 1);
                    }
                }
            }
            '\r' => column = 0,
            '\n' => row += 1,
            _ => {
                lines.resize(lines.len().max(row + 1), Vec::new());
                let line = &mut lines[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = next;
                column += 1;
            }
        }
    }
    lines.iter().map(|line| line.iter().collect::<String>().trim_end().to_owned()).collect()
}
