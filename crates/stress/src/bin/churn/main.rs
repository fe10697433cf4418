//! Churn: writers come and go while the threads that write to them come and go too. For the sanitizers.
//!
//! Guarantees: each accepted record is in exactly one visible file of its writer, whole, and the report agrees.
//! A closed writer accepts nothing and says `Closed`; an open one never says so. The first broken promise ends
//! the program with exit code 1. The program uses neither the test harness nor a std mutex of its own, since
//! ThreadSanitizer would report both.
//!
//! Layers, each may use those below it:
//!
//! - `main`
//! - `lifecycle`, one writer's life; `caller`, the threads
//! - `checked_handle`
//! - `handoff`, `output_dirs`, `args`
//! - `account`

mod account;
mod args;
mod caller;
mod checked_handle;
mod handoff;
mod lifecycle;
mod output_dirs;

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use bufferedwriter_stress::failure::{expect, fail};
use bufferedwriter_stress::message;

use account::Account;
use args::Args;
use caller::{Caller, Counts};
use output_dirs::OutputDirs;

fn main() {
    let args = Args::parse();
    let began = Instant::now();
    let dirs = OutputDirs::new(args.dir.as_deref());
    let accounts = account::open(args.writers);
    let slots = handoff::slots(args.threads);
    let callers: Vec<_> = slots
        .iter()
        .zip(0..)
        .map(|(slot, number)| {
            let spawned = std::thread::Builder::new()
                .name(format!("caller-{number}"))
                .spawn(move || caller::run(Caller::new(number, slot)));
            expect("start a thread", spawned)
        })
        .collect();
    let mut written = 0;
    for (number, account) in (0..).zip(accounts) {
        written += lifecycle::run(number, account, slots, &dirs);
    }
    handoff::STOP.store(true, Relaxed);
    let mut counts = Counts::default();
    for caller in callers {
        counts += caller.join().unwrap_or_else(|_| fail("a thread panicked"));
    }
    // No record was accepted after its writer's accounts were compared.
    let told: u64 = accounts.iter().map(Account::records).sum();
    if told != written {
        fail(&format!("{told} records were accepted, {written} written"));
    }
    // Writers that no caller took hold no message: each was closed after it had written all.
    let messages = message::expect_all_dropped();
    dirs.remove();
    println!(
        "{} writers, {} threads ({} in all): {told} records accepted, {written} written, \
         {messages} messages sent, refused {} Full, {} Closed, {} TooLarge; {:.1} s",
        args.writers,
        args.threads,
        counts.threads,
        counts.full,
        counts.closed,
        counts.too_large,
        began.elapsed().as_secs_f64()
    );
}
