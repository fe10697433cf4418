//! Who makes a flight recorder dump: a signal, and a panic.
//!
//! - A thread waits for SIGUSR1, as a byte in a pipe, since a handler itself may do next to nothing. It dumps and
//!   keeps, so that the next signal brings the same records and newer ones.
//! - A panic hook dumps, with a deadline: it runs also where a panic aborts, in the thread that panics.
//!
//! `cargo run --example dumps` sends itself the signal, panics in a thread, and shows what came of both.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bufferedwriter::{BufferedWriter, Config, DumpOptions, Recorder};
use signal_hook::consts::SIGUSR1;
use signal_hook::iterator::Signals;

/// How long a panic may wait for a disk that hangs.
const PATIENCE: Duration = Duration::from_secs(2);

fn dump_on_signal(recorder: BufferedWriter) -> Result<(), Box<dyn Error>> {
    let mut signals = Signals::new([SIGUSR1])?;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            if let Err(error) = recorder.dump(DumpOptions::default().keep(true)) {
                eprintln!("{error}");
            }
        }
    });
    Ok(())
}

fn dump_on_panic(recorder: BufferedWriter) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let _ = recorder.record(|line| writeln!(line, "{panic}"));
        if let Err(error) = recorder.dump(DumpOptions::default().timeout(PATIENCE)) {
            eprintln!("{error}");
        }
        before(panic);
    }));
}

fn main() -> Result<(), Box<dyn Error>> {
    let name = format!("bufferedwriter-dumps-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    let config = Config::default()
        .path(directory.join("ready"))
        .temp(directory.join("unfinished"))
        .create_dirs(true)
        .recorder(Recorder::Last(1 << 20));
    let recorder = BufferedWriter::new(config)?;
    dump_on_signal(recorder.clone())?;
    dump_on_panic(recorder.clone());

    (0..100).try_for_each(|number| recorder.record(|line| writeln!(line, "request {number}")))?;
    signal_hook::low_level::raise(SIGUSR1)?;
    let began = Instant::now();
    while recorder.stats().files == 0 {
        if began.elapsed() > PATIENCE {
            return Err("the signal brings no file".into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let of_signal = lines(&directory)?;

    let panics = std::thread::spawn(|| panic!("on purpose"));
    if panics.join().is_ok() || recorder.stats().written.records < 101 {
        return Err("the panic brings no file".into());
    }
    let of_both = lines(&directory)?;
    if of_signal != 100 || of_both < 201 {
        return Err(format!("{of_signal} lines, then {of_both}").into());
    }
    println!(
        "on the signal: 100 lines, which stay in memory; on the panic: {} lines",
        of_both - 100
    );
    recorder.close(PATIENCE)?;
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

/// Lines in all files.
fn lines(directory: &std::path::Path) -> std::io::Result<usize> {
    let files = std::fs::read_dir(directory.join("ready"))?;
    let files: Vec<PathBuf> = files.map(|file| Ok(file?.path())).collect::<std::io::Result<_>>()?;
    files.iter().try_fold(0, |sum, file| Ok(sum + std::fs::read_to_string(file)?.lines().count()))
}
