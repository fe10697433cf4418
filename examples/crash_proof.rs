//! A server that is killed and started again under load, and a checker that counts its records: none is
//! missing, none is there twice.
//!
//! The server answers each line that it gets over TCP with `ok` once `write` has taken a record of
//! it. Clients send a line, wait for the answer, and send the next one. The driver kills the server
//! (SIGKILL) every now and then, and starts another one, which publishes what the dead one had in
//! memory. An answer means that the record will be in a file, exactly once. A line whose answer
//! never came may be in one or not, but not in two.
//!
//! `cargo run --example crash_proof`; it takes a few seconds.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, exit};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bufferedwriter::{BufferedWriter, Config, CrashProof, WriteError};

const CLIENTS: u64 = 4;
const KILLS: u32 = 8;
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args[..] {
        [what, directory] if what == "--serve" => serve(Path::new(directory)),
        _ => drive(),
    }
}

/// The server: until it is killed, or told to end.
fn serve(directory: &Path) -> Result<(), Box<dyn Error>> {
    let config = Config::default()
        .path(directory.join("ready"))
        .temp(directory.join("unfinished"))
        .create_dirs(true)
        // Small, so that a death finds records everywhere: in memory, in unfinished files, in finished ones.
        .size(1024)
        .queue_size(100)
        .workers(2)
        .file_size(10_000)
        .file_age(Duration::from_millis(50))
        .crash_proof(CrashProof::Auto);
    let writer = BufferedWriter::new(config)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // Complete when it is there.
    fs::write(directory.join("port.new"), listener.local_addr()?.port().to_string())?;
    fs::rename(directory.join("port.new"), directory.join("port"))?;
    for client in listener.incoming() {
        let (client, writer) = (client?, writer.clone());
        thread::spawn(move || {
            // A client that goes away ends its thread.
            let _ = answer(&client, &writer);
        });
    }
    Ok(())
}

fn answer(client: &TcpStream, writer: &BufferedWriter) -> Result<(), Box<dyn Error>> {
    let (mut lines, mut client) = (BufReader::new(client), client);
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        if line == "end\n" {
            // Waits for the recovery, too.
            let report = writer.close(PATIENCE)?;
            client.write_all(format!("{} records\n", report.written.records).as_bytes())?;
            exit(0);
        }
        let taken = match writer.write(line.as_bytes()) {
            Err(WriteError::Full) => writer.write_timeout(line.as_bytes(), PATIENCE),
            taken => taken,
        };
        client.write_all(if taken.is_ok() { b"ok\n" } else { b"no\n" })?;
        line.clear();
    }
    Ok(())
}

/// What became of a client's lines.
#[derive(Default)]
struct Sent {
    /// Numbers that were answered with `ok`.
    answered: Vec<u64>,
    /// Numbers whose answer never came.
    in_doubt: Vec<u64>,
}

fn drive() -> Result<(), Box<dyn Error>> {
    if !Path::new("/dev/shm").is_dir() {
        println!("skipped: there is no /dev/shm");
        return Ok(());
    }
    let name = format!("bufferedwriter-crash-proof-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    fs::create_dir(&directory)?;
    let (began, over) = (Instant::now(), AtomicBool::new(false));
    let (sent, last) = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (directory, over) = (&directory, &over);
                scope.spawn(move || client(number, directory, over))
            })
            .collect();
        let last = kill_and_restart(&directory);
        over.store(true, Ordering::Release);
        let sent: Vec<Sent> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        (sent, last)
    });
    end(&directory, last?)?;
    let result = check(&directory, &sent);
    let answered: usize = sent.iter().map(|sent| sent.answered.len()).sum();
    let in_doubt: usize = sent.iter().map(|sent| sent.in_doubt.len()).sum();
    let (files, landed) = result?;
    fs::remove_dir_all(&directory)?;
    println!(
        "killed {KILLS} times in {:.1} s: {answered} lines answered, {in_doubt} in doubt; in {files} files: \
         all that were answered, each once, and {landed} of those in doubt",
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Kills servers; the last one lives.
fn kill_and_restart(directory: &Path) -> std::io::Result<Child> {
    let start = || Command::new(std::env::current_exe()?).arg("--serve").arg(directory).spawn();
    let mut server = start()?;
    for kill in 0..KILLS {
        let port = directory.join("port");
        let began = Instant::now();
        while !port.exists() && began.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(150 + 37 * u64::from(kill)));
        let _ = fs::remove_file(port);
        server.kill()?;
        server.wait()?;
        server = start()?;
    }
    // So that there is somebody to answer.
    thread::sleep(Duration::from_millis(300));
    Ok(server)
}

fn connect(directory: &Path) -> Option<TcpStream> {
    let port: u16 = fs::read_to_string(directory.join("port")).ok()?.parse().ok()?;
    TcpStream::connect(("127.0.0.1", port)).ok()
}

/// Sends one line after the other, and never one twice.
fn client(number: u64, directory: &Path, over: &AtomicBool) -> Sent {
    let (mut sent, mut next) = (Sent::default(), 0);
    while !over.load(Ordering::Acquire) {
        let Some(mut server) = connect(directory) else {
            thread::sleep(Duration::from_millis(1));
            continue;
        };
        let Ok(mut answers) = server.try_clone().map(BufReader::new) else { continue };
        while !over.load(Ordering::Acquire) {
            let line = next;
            next += 1;
            let mut answer = String::new();
            let asked = server.write_all(format!("client {number} line {line}\n").as_bytes());
            if asked.and_then(|()| answers.read_line(&mut answer)).is_ok() && answer == "ok\n" {
                sent.answered.push(line);
            } else {
                sent.in_doubt.push(line);
                break;
            }
        }
    }
    sent
}

/// Tells the last server to end.
fn end(directory: &Path, mut server: Child) -> Result<(), Box<dyn Error>> {
    let mut stream = connect(directory).ok_or("the last server does not answer")?;
    stream.write_all(b"end\n")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    if !server.wait()?.success() {
        return Err("the last server failed".into());
    }
    Ok(())
}

/// Each line that was answered is there once, each other one at most once. How many files, and how many lines
/// that were in doubt.
fn check(directory: &Path, sent: &[Sent]) -> Result<(usize, usize), Box<dyn Error>> {
    let mut found: BTreeMap<String, u32> = BTreeMap::new();
    let files: Vec<PathBuf> = fs::read_dir(directory.join("ready"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    for file in &files {
        for line in fs::read_to_string(file)?.lines() {
            *found.entry(line.to_owned()).or_default() += 1;
        }
    }
    let mut landed = 0;
    for (client, sent) in sent.iter().enumerate() {
        let mut take = |line: &u64| found.remove(&format!("client {client} line {line}"));
        for line in &sent.answered {
            match take(line) {
                Some(1) => {}
                times => return Err(format!("client {client} line {line}: {times:?} times").into()),
            }
        }
        for line in &sent.in_doubt {
            match take(line) {
                None => {}
                Some(1) => landed += 1,
                times => return Err(format!("client {client} line {line}: {times:?} times").into()),
            }
        }
    }
    if !found.is_empty() {
        return Err(format!("never sent: {found:?}").into());
    }
    let left = fs::read_dir(directory.join("unfinished"))?.count();
    if left > 0 {
        return Err(format!("{left} unfinished files are left").into());
    }
    Ok((files.len(), landed))
}
