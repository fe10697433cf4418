//! One worker's entry in the state file of a living instance.
//!
//! Guarantees: a worker changes only its own entry, through its own file handle, so a worker that
//! hangs there holds up no other. If the file is removed, or the program has closed its descriptor,
//! a worker makes or opens another, and the other workers switch to that.

use std::io::{self, IoSlice};
use std::path::Path;

use crate::base::sync::{Acquire, Arc, Release, lock, try_lock};
use crate::file::state_file::encode;
use crate::file::state_file::format::{ENTRY_BYTES, HEADER_BYTES, WorkerEntry};
use crate::file::state_file::live::{Current, StateFile};
use crate::fs::{Facts, Fs, FsFile, is_lost_descriptor, write_all};
use crate::naming::TempId;
use crate::report::error::Error;
use crate::report::stats::Watermark;

/// The state file with this inode, opened and locked again. `None` if that is not possible.
fn reopened(fs: &dyn Fs, state: &Path, inode: (u64, u64)) -> Option<Box<dyn FsFile>> {
    let mut file = fs.open(state).ok()?;
    let is_ours = |facts: Facts| facts.id == inode;
    // Check the name after the lock: until then a recovery may remove the file.
    file.try_lock().ok()?;
    let named = fs.facts(state).ok()??;
    (is_ours(named) && file.facts().is_ok_and(is_ours)).then_some(file)
}

/// One worker's entry in the state file.
pub(crate) struct WorkerState {
    shared: Arc<StateFile>,
    /// `None` while there is no state file.
    file: Option<Box<dyn FsFile>>,
    /// The number of `file`.
    version: u64,
    offset: u64,
    generation: u64,
}

impl WorkerState {
    /// Returns one for each worker, in order.
    pub(crate) fn all(state: &Arc<StateFile>) -> Result<Vec<Self>, Error> {
        let (current, version) = (lock(&state.current), state.version.load(Acquire));
        let new = |worker| {
            let file = current.as_ref().map(|current| current.file.try_clone()).transpose();
            let file = file.map_err(|e| Error::io("open", &state.path, e))?;
            let offset = (HEADER_BYTES + worker * ENTRY_BYTES) as u64;
            Ok(WorkerState { shared: state.clone(), file, version, offset, generation: 0 })
        };
        (0..state.header.workers).map(new).collect()
    }

    /// Records which temp file the worker has, how far it holds whole records, and how far it is
    /// synced. One write.
    pub(crate) fn set(
        &mut self,
        fs: &dyn Fs,
        temp: Option<TempId>,
        good: Watermark,
        synced: Watermark,
    ) -> Result<(), Error> {
        // Pairs with the Release in `restore`.
        if self.shared.version.load(Acquire) != self.version {
            let shared = self.shared.clone();
            if let Some(current) = try_lock(&shared.current) {
                self.switch(current.as_ref());
            }
        }
        self.generation += 1;
        let entry = encode::entry(self.generation, WorkerEntry { temp, good, synced });
        let written = match self.write(&entry) {
            Err(error) if is_lost_descriptor(&error) => {
                self.open_again(fs);
                self.write(&entry)
            }
            written => written,
        };
        written.map_err(|e| Error::io("write", &self.shared.path, e))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        write_all(&mut **file, &mut [IoSlice::new(bytes)], self.offset).1
    }

    /// Opens and locks the file again, after the program has closed its descriptors, and with them
    /// the lock. If another worker is about to, or a recovery was faster, it does nothing.
    fn open_again(&mut self, fs: &dyn Fs) {
        let shared = self.shared.clone();
        let Some(mut current) = try_lock(&shared.current) else { return };
        let is_lost =
            |current: &Current| current.file.facts().is_err_and(|error| is_lost_descriptor(&error));
        if let Some(current) = current.as_mut().filter(|current| is_lost(current)) {
            if let Some(file) = reopened(fs, &shared.path, current.inode) {
                current.file = file;
                shared.version.store(shared.version.load(Acquire) + 1, Release);
            }
        }
        self.switch(current.as_ref());
    }

    /// Makes another state file if the name is gone, such as when its directory was removed and
    /// made again. If another worker is about to, it does nothing: no worker waits for another. A
    /// failure is retried the next time.
    pub(crate) fn restore(&mut self, fs: &dyn Fs) {
        if lock(&self.shared.missing).locks {
            return;
        }
        self.open_again(fs);
        let shared = self.shared.clone();
        let Some(mut current) = try_lock(&shared.current) else { return };
        // A file of another instance under this name stays: it is not ours to remove.
        if let Ok(None) = fs.facts(&shared.path) {
            let made = Current::create(fs, &shared);
            let Ok((Some(made), _)) = made else { return };
            let is_named = |old: &Current| old.file.facts().is_ok_and(|facts| facts.links > 0);
            if let Some(old) = current.replace(made).filter(is_named) {
                lock(&shared.former).push(old.file);
            }
            // No other thread changes it: the lock is held.
            shared.version.store(shared.version.load(Acquire) + 1, Release);
        }
        self.switch(current.as_ref());
    }

    /// Switches to the current file. The former one then claims nothing: it may come back, with the
    /// temp file whose records are published elsewhere by then.
    fn switch(&mut self, current: Option<&Current>) {
        let version = self.shared.version.load(Acquire);
        let current = current.filter(|_| version != self.version);
        if let Some(Ok(file)) = current.map(|current| current.file.try_clone()) {
            let empty = encode::entry(self.generation + 1, WorkerEntry::default());
            let _ = self.write(&empty);
            (self.file, self.version) = (Some(file), version);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sys::Errno;
    use crate::file::state_file::format::{FileLayout, Header, MEMORY_ID_AT, MemoryDir, TEXTS_AT};
    use crate::naming::{Names, Stamp};
    use crate::report::stats::Count;
    use crate::tests::fs::faulty::{Answer, Faulty, Op};
    use bufferedwriter_testkit::dir::TestDir;
    use bufferedwriter_testkit::os::{PermissionsExt, removes_open_files};
    use std::ffi::OsString;
    use std::fs::{File, TryLockError, read};
    use std::path::PathBuf;

    const TEMP: Option<TempId> = Some(TempId { stamp: Stamp(0x0102_0304_0506_0708), seq: 9 });

    fn names() -> Names {
        let (prefix, extension) = (OsString::from("pre"), OsString::from("log"));
        Names { prefix, extension, instance: 0x1122_3344_5566_7788, pid: 0xaabb }
    }

    fn description(path: PathBuf) -> Header {
        Header {
            path,
            memory: None,
            names: names(),
            codec: 0x0c0d,
            layout: FileLayout::default(),
            workers: 3,
            slot_bytes: 0,
        }
    }

    fn header(boot: [u8; 16]) -> Vec<u8> {
        encode::header(boot, &description("/var/log".into())).unwrap()
    }

    fn mark(len: u64) -> Watermark {
        Watermark { len, count: Count::new(len / 4, len / 2), checksum: len as u32 }
    }

    fn entry(generation: u64, temp: Option<TempId>, good: u64, synced: u64) -> [u8; ENTRY_BYTES] {
        encode::entry(generation, WorkerEntry { temp, good: mark(good), synced: mark(synced) })
    }

    fn create(fs: &Faulty, dir: &TestDir) -> Result<Arc<StateFile>, Error> {
        let state = StateFile::create(fs, dir.path(), description("/var/log".into()));
        state.map(Arc::new)
    }

    #[test]
    fn the_layout_is_this_byte_for_byte() {
        let boot: [u8; 16] = std::array::from_fn(|i| i as u8 + 0x80);
        let header = header(boot);
        let expected: [&[u8]; 10] = [
            b"BUFWRST\0\x04\0\0\0\x03\0\0\0",
            &boot,
            b"\x88\x77\x66\x55\x44\x33\x22\x11\xbb\xaa\0\0\x08\0\0\0\x03\0\x03\0\0\0\0\0",
            b"\x0d\x0c\0\0",
            &[0; 12],
            b"/var/log",
            b"pre",
            b"log",
            &[0; 16_376 - 86],
            &0xb8e5_5843_4652_6751_u64.to_le_bytes(),
        ];
        // Another program computed the checksums. Not `assert_eq`, which would print 16 KiB.
        assert!(header == expected.concat());
        let memory = MemoryDir { path: "/dev/shm".into(), id: (0x1122, 0x3344) };
        let described = Header { memory: Some(memory), ..description("/var/log".into()) };
        let header = encode::header(boot, &described).unwrap();
        assert_eq!((&header[52..54], &header[86..94]), (&b"\x08\0"[..], &b"/dev/shm"[..]));
        assert_eq!(header[16_360..16_376], *b"\x22\x11\0\0\0\0\0\0\x44\x33\0\0\0\0\0\0");
        header[94..16_360].iter().for_each(|&byte| assert_eq!(byte, 0));
        let layout = FileLayout {
            partition: "dt=%F".into(),
            time_zone: "UTC".into(),
            header: b"head".into(),
            footer: b"to".into(),
        };
        let header = encode::header(boot, &Header { layout, ..described }).unwrap();
        assert_eq!(header[60..72], *b"\x05\0\x03\0\x04\0\x02\0\0\0\0\0");
        assert_eq!(header[94..109], *b"dt=%FUTCheadto\0");

        let expected: [&[u8]; 8] = [
            b"\x02\0\0\0\0\0\0\0",
            b"\x08\x07\x06\x05\x04\x03\x02\x01",
            b"\x09\0\0\0\0\0\0\0",
            b"\x00\x10\0\0\0\0\0\0\x00\x04\0\0\0\0\0\0\x00\x08\0\0\0\0\0\0",
            b"\xff\x0f\0\0\0\0\0\0\xff\x03\0\0\0\0\0\0\xff\x07\0\0\0\0\0\0",
            b"\x00\x10\0\0\xff\x0f\0\0",
            &[0; 40],
            &0x7510_6cd5_4d6f_30ae_u64.to_le_bytes(),
        ];
        assert_eq!(entry(2, TEMP, 4096, 4095).as_slice(), expected.concat());
    }

    #[test]
    fn a_header_that_does_not_fit_is_none() {
        let header_of = |bytes: usize| {
            let path =
                "x".repeat(bytes - TEXTS_AT - names().prefix.len() - names().extension.len());
            encode::header([0; 16], &description(path.into()))
        };
        let most = MEMORY_ID_AT;
        assert_eq!(header_of(most).map(|bytes| bytes.len()), Some(HEADER_BYTES));
        assert_eq!(header_of(most + 1), None);
    }

    #[test]
    fn workers_change_their_own_record_only_and_never_the_length() {
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let state = create(&fs, &dir).unwrap();
        let path = dir.join(names().state());
        assert_eq!(dir.list(), [names().state()]);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        let before = read(&path).unwrap();
        let boot = fs.boot_id().unwrap_or_default();
        let mut expected = header(boot);
        expected.resize(16_384 + 3 * 128, 0);
        assert!(before == expected);

        let mut slots = WorkerState::all(&state).unwrap();
        fs.plan(Op::Write, 1, Answer::Short(10));
        slots[1].set(&fs, TEMP, mark(20), mark(10)).unwrap();
        slots[2].set(&fs, None, mark(0), mark(0)).unwrap();
        slots[2].set(&fs, TEMP, mark(30), mark(0)).unwrap();
        expected[16_512..16_640].copy_from_slice(&entry(1, TEMP, 20, 10));
        expected[16_640..].copy_from_slice(&entry(2, TEMP, 30, 0));
        assert!(read(&path).unwrap() == expected);

        fs.plan(Op::Write, 1, Answer::Error(Errno::IO));
        let error = slots[0].set(&fs, TEMP, mark(1), mark(1)).unwrap_err();
        assert_eq!((error.operation(), error.path()), ("write", Some(&*path)));
    }

    #[test]
    fn the_lock_lasts_as_long_as_any_worker() {
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let state = create(&fs, &dir).unwrap();
        let other = File::open(dir.join(names().state())).unwrap();
        let slots = WorkerState::all(&state).unwrap();
        drop(state);
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(slots);
        other.try_lock().unwrap();
    }

    #[test]
    fn a_recovery_that_was_quicker_gets_an_empty_file_and_we_another() {
        // Wait for the holder of the lock and leave the name to it. Once the name is gone, make
        // another file.
        for (op, fault, creates) in
            [(Op::Lock, Answer::Error(Errno::WOULDBLOCK), 1), (Op::Exists, Answer::Absent, 3)]
        {
            let (fs, dir) = (Faulty::default(), TestDir::new());
            fs.plan(op, 1, fault);
            fs.plan(op, 2, fault);
            let state = create(&fs, &dir).unwrap();
            assert_eq!((fs.calls(Op::Create), dir.list().len()), (creates, 1));
            state.remove(&fs).unwrap();
            state.remove(&fs).unwrap();
            drop(state);
            assert!(dir.list().is_empty());
        }
    }

    #[test]
    fn a_state_file_that_somebody_removed_is_made_anew_and_all_switch_to_it() {
        if !removes_open_files() {
            return;
        }
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let state = create(&fs, &dir).unwrap();
        let path = dir.join(names().state());
        let mut slots = WorkerState::all(&state).unwrap();
        slots[0].restore(&fs);
        assert_eq!(fs.calls(Op::Create), 1, "it is there");
        std::fs::remove_file(&path).unwrap();
        // The first look is at the descriptor, the second at the name.
        for (op, nth) in [(Op::Facts, 2), (Op::Create, 1), (Op::Lock, 1), (Op::Write, 1)] {
            fs.plan(op, nth, Answer::Error(Errno::IO));
            slots[0].restore(&fs);
            assert!(dir.list().is_empty(), "{op:?}");
        }
        slots[0].restore(&fs);
        slots[1].set(&fs, TEMP, mark(20), mark(10)).unwrap();
        slots[2].restore(&fs);
        slots[0].set(&fs, TEMP, mark(30), mark(0)).unwrap();
        slots[2].set(&fs, None, mark(0), mark(0)).unwrap();
        let boot = fs.boot_id().unwrap_or_default();
        let mut expected = header(boot);
        let entries = [entry(1, TEMP, 30, 0), entry(1, TEMP, 20, 10), entry(1, None, 0, 0)];
        entries.iter().for_each(|entry| expected.extend(entry));
        assert!(read(&path).unwrap() == expected);
        let other = File::open(&path).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        // A file of another instance is not replaced.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "another's").unwrap();
        slots[0].restore(&fs);
        assert_eq!(read(&path).unwrap(), b"another's");
    }

    #[test]
    fn workers_switch_to_a_state_file_that_is_made_later() {
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let state = Arc::new(StateFile::none(dir.path(), description("/var/log".into())));
        let mut slots = WorkerState::all(&state).unwrap();
        slots[0].set(&fs, TEMP, mark(20), mark(10)).unwrap();
        assert!(dir.list().is_empty());
        state.make(&fs).unwrap();
        slots[0].set(&fs, TEMP, mark(30), mark(10)).unwrap();
        let bytes = read(dir.join(names().state())).unwrap();
        assert!(bytes[HEADER_BYTES..][..ENTRY_BYTES] == entry(2, TEMP, 30, 10));
        fs.plan(Op::Remove, 1, Answer::Error(Errno::IO));
        assert_eq!(state.remove(&fs).unwrap_err().operation(), "unlink");
        state.remove(&fs).unwrap();
        drop((state, slots));
        assert!(dir.list().is_empty());
    }

    /// With its directory, which may come back.
    #[test]
    fn a_state_file_that_was_moved_keeps_its_lock_and_claims_nothing_any_more() {
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let state = create(&fs, &dir).unwrap();
        let mut slots = WorkerState::all(&state).unwrap();
        slots.iter_mut().for_each(|slot| slot.set(&fs, TEMP, mark(20), mark(10)).unwrap());
        let moved = dir.join("moved");
        std::fs::rename(dir.join(names().state()), &moved).unwrap();
        slots.iter_mut().for_each(|slot| slot.restore(&fs));
        let mut expected = header(fs.boot_id().unwrap_or_default());
        (0..3).for_each(|_| expected.extend(entry(2, None, 0, 0)));
        assert!(read(&moved).unwrap() == expected);
        let lock = || File::open(&moved).unwrap().try_lock();
        assert!(matches!(lock(), Err(TryLockError::WouldBlock)));
        drop((slots, state));
        lock().unwrap();
    }

    #[test]
    fn nobody_waits_for_a_worker_that_hangs_while_it_makes_a_state_file() {
        if !removes_open_files() {
            return;
        }
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let state = create(&fs, &dir).unwrap();
        let mut slots = WorkerState::all(&state).unwrap();
        std::fs::remove_file(dir.join(names().state())).unwrap();
        let hangs = lock(&state.current);
        slots[0].restore(&fs);
        slots[0].set(&fs, TEMP, mark(1), mark(0)).unwrap();
        assert!(dir.list().is_empty());
        drop(hangs);
        slots[0].restore(&fs);
        assert_eq!(dir.list().len(), 1);
    }

    #[test]
    fn what_fails_leaves_nothing_behind() {
        for (op, nth, fault, operation) in [
            (Op::Create, 1, Answer::Error(Errno::ROFS), "create"),
            (Op::Lock, 1, Answer::Error(Errno::IO), "lock"),
            (Op::Exists, 1, Answer::Error(Errno::IO), "lock"),
            (Op::Write, 1, Answer::Error(Errno::NOSPC), "write"),
        ] {
            let (fs, dir) = (Faulty::default(), TestDir::new());
            fs.plan(op, nth, fault);
            let error = create(&fs, &dir).err().unwrap();
            assert_eq!(error.operation(), operation);
            assert_eq!(error.path(), Some(&*dir.join(names().state())));
            assert!(dir.list().is_empty());
        }
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let long = PathBuf::from("/".repeat(HEADER_BYTES));
        assert!(StateFile::create(&fs, dir.path(), description(long)).is_err());
        create(&fs, &dir).unwrap();
        assert_eq!(create(&fs, &dir).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
    }
}
