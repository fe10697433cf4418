//! Writers come and go under threads that come and go: for sanitizers, and for soaks.
//!
//! Guarantees: every record that a caller was told is accepted is in exactly one visible file of its
//! writer, whole, and the report agrees; a closed writer accepts nothing and says `Closed`, an open
//! one never says so. The first thing that is not so ends the program with exit code 1. There is no
//! test harness and no std mutex in its own hand-over: ThreadSanitizer would stumble over them.

mod account;
mod args;
mod held;
mod mailbox;
mod round;
mod seat;
mod visible;

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use bufferedwriter_stress::{failure, message, random, record};

use account::Account;
use args::Args;
use failure::expect;
use seat::{Counts, Seat};
use visible::Directory;

fn main() {
    let args = Args::parse();
    let began = Instant::now();
    let directory = Directory::new(args.dir.as_deref());
    let accounts = account::open(args.writers);
    let mailboxes = mailbox::set_up(args.threads);
    let seats: Vec<_> = mailboxes
        .iter()
        .zip(0..)
        .map(|(mailbox, number)| {
            let spawned = std::thread::Builder::new()
                .name(format!("seat-{number}"))
                .spawn(move || seat::keep(Seat::new(number, mailbox)));
            expect("start a thread", spawned)
        })
        .collect();
    let mut written = 0;
    for (number, account) in (0..).zip(accounts) {
        written += round::run(number, account, mailboxes, &directory);
    }
    mailbox::END.store(true, Relaxed);
    let mut counts = Counts::default();
    for seat in seats {
        counts += seat.join().unwrap_or_else(|_| failure::fail("a thread panicked"));
    }
    // Nobody was told of a record after its writer's accounts were compared.
    let told: u64 = accounts.iter().map(Account::records).sum();
    if told != written {
        failure::fail(&format!("{told} records were accepted, {written} written"));
    }
    // Writers that nobody fetched hold no message: each was closed, and all it had is written.
    let messages = message::expect_all_dropped();
    directory.remove();
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
