//! How a living instance tells its counters: it refreshes the slots of its state file.
//!
//! Guarantees: what has not changed is not written again. A refresh is one write, over the older slot. It waits for no
//! worker: if one is just making the file, the next refresh does it. An error of the disk stops nothing, and the next
//! refresh tries again.

use std::io::{self, IoSlice};

use crate::base::sync::{Acquire, Arc, try_lock};
use crate::file::state_file::counters::{self, Times};
use crate::file::state_file::format::{ENTRY_BYTES, HEADER_BYTES};
use crate::file::state_file::live::StateFile;
use crate::fs::{FsFile, write_all};

/// The counters in the state file.
pub(crate) struct SlotWriter {
    state: Arc<StateFile>,
    /// The file with its number. `None` while there is none, and after an error.
    file: Option<(Box<dyn FsFile>, u64)>,
    generation: u64,
    /// What the file says.
    written: Vec<u8>,
}

impl SlotWriter {
    pub(crate) fn new(state: Arc<StateFile>) -> Self {
        SlotWriter { state, file: None, generation: counters::FIRST, written: Vec::new() }
    }

    /// Writes what [`counters::body`] has made. Returns whether it was anything new.
    pub(crate) fn refresh(&mut self, times: Times, body: Vec<u8>) -> bool {
        let is_current = self.switch();
        if is_current && body == self.written {
            return false;
        }
        // Without a file nothing will be new once it is made, unless this is forgotten.
        let is_written = self.write(times, &body).is_ok() && self.file.is_some();
        self.written = if is_written { body } else { Vec::new() };
        if !is_written {
            self.file = None;
        }
        true
    }

    /// Switches to the file that was made last. `false` if it was another one.
    fn switch(&mut self) -> bool {
        // Pairs with the Release in `StateFile::make` and `WorkerState::restore`.
        let version = self.state.version.load(Acquire);
        if self.file.as_ref().is_some_and(|(_, known)| *known == version) {
            return true;
        }
        if let Some(current) = try_lock(&self.state.current) {
            let clone = current.as_ref().and_then(|current| current.file.try_clone().ok());
            self.file = clone.map(|file| (file, version));
        }
        false
    }

    fn write(&mut self, times: Times, body: &[u8]) -> io::Result<()> {
        let Some((file, _)) = &mut self.file else { return Ok(()) };
        self.generation += 1;
        let header = &self.state.header;
        let slot = counters::slot(self.generation, times, body);
        let nth = (self.generation % 2) as usize;
        let offset = HEADER_BYTES + header.workers * ENTRY_BYTES + nth * header.slot_bytes;
        write_all(&mut **file, &mut [IoSlice::new(&slot)], offset as u64).1
    }
}
