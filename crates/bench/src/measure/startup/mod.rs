//! Measure 7: what it costs to have a writer: `new` and `close`, an idle one, and thousands of threads
//! that each write one record.

pub mod crowd;
pub mod idle;
mod new_close;

use crate::bench::Bench;
use crate::report::{Report, Startup};

pub fn run(bench: &Bench, report: &mut Report) {
    eprintln!("startup: start and end");
    let new_close = new_close::measure(bench, report);
    eprintln!("startup: an idle writer");
    let idle = match idle::measure(bench) {
        Ok(idle) => Some(idle),
        Err(error) => {
            report.skip("startup", "idle writer", &error.to_string());
            None
        }
    };
    let crowd = crowd::measure(bench, report);
    report.measures.startup = Some(Startup { new_close, idle, crowd });
}
