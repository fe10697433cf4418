//! All jobs that a child can be asked for, by kind. The measures know only their own.

use std::io;

use super::child::{self, Job};
use super::{http, landed, quiet, startup, sustained};

/// The child's side: does the job of this kind and prints the answer.
pub fn run(kind: &str, json: &str) -> io::Result<()> {
    match kind {
        sustained::Job::KIND => child::run::<sustained::Job>(json),
        landed::Job::KIND => child::run::<landed::Job>(json),
        http::Job::KIND => child::run::<http::Job>(json),
        quiet::Job::KIND => child::run::<quiet::Job>(json),
        startup::idle::Job::KIND => child::run::<startup::idle::Job>(json),
        startup::crowd::Job::KIND => child::run::<startup::crowd::Job>(json),
        _ => Err(io::Error::other(format!("no such job: {kind}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_job_is_an_error() {
        let error = run("nothing", "{}").unwrap_err();
        assert_eq!(error.to_string(), "no such job: nothing");
        let error = run(landed::Job::KIND, "{}").unwrap_err();
        assert!(error.to_string().contains("missing field"), "{error}");
    }
}
