//! The benchmarks' command line: which measures, of which subjects, into which files.
//!
//! Tables go to standard output, progress to standard error.

use std::path::PathBuf;
use std::process::ExitCode;

use bufferedwriter_bench::bench::Bench;
use bufferedwriter_bench::measure::child;
use bufferedwriter_bench::report::{Described, Report};
use bufferedwriter_bench::{machine, measure, show};
use clap::{Parser, Subcommand};

/// What a write costs its caller, beside the alternatives, and what becomes of the records.
///
/// All subjects of a run go through the same workload, in turn, and are compared within the run. The
/// results are printed as tables; --json and --plots write them to files.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Directory on the disk to measure: a directory for the run is made in it and removed in the end
    #[arg(long, global = true, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,

    /// Only subjects whose names contain one of these, and memcpy, with which all are compared
    #[arg(long, global = true, value_name = "A,B", value_delimiter = ',')]
    subjects: Vec<String>,

    /// A short run, to see that all works; its figures say little
    #[arg(long, global = true)]
    quick: bool,

    /// Bytes that `tight` writes between two pauses, in KiB. Memory that comes back is in the caches as far
    /// as it fits there
    #[arg(long, global = true, value_name = "KIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(64..=4096))]
    round: u64,

    /// Write the results to this file, as JSON
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write plots into this directory, as SVG
    #[arg(long, global = true, value_name = "DIR")]
    plots: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Cost of an accepted write in a loop where nothing is refused; two threads against one
    Tight,
    /// Latency of single calls in paced bursts, with 1, 2 and 64 threads; fast path and swap apart
    Latency,
    /// System calls and page faults of the writing thread in steady state
    Quiet,
    /// Start and end, an idle writer, thousands of threads with a record each
    Startup,
    /// All measures
    All,
    /// Tables and plots again, from results that --json wrote
    Plot { file: PathBuf },
    /// What the program asks itself in a process of its own
    #[command(hide = true, name = child::SUBCOMMAND)]
    Child { task: String },
}

type Measure = fn(&Bench, &mut Report);

/// What a subcommand measures, in order.
fn measures(command: &Command) -> Vec<Measure> {
    let tight = [measure::tight::run as Measure, measure::two_threads::run];
    let latency = [measure::latency::run as Measure];
    let quiet = [measure::quiet::run as Measure];
    let startup = [measure::startup::run as Measure];
    match command {
        Command::Tight => tight.to_vec(),
        Command::Latency => latency.to_vec(),
        Command::Quiet => quiet.to_vec(),
        Command::Startup => startup.to_vec(),
        Command::All => [&tight[..], &latency, &quiet, &startup].concat(),
        Command::Plot { .. } | Command::Child { .. } => Vec::new(),
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bufferedwriter-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> std::io::Result<()> {
    if let Command::Child { task } = &cli.command {
        return child::answer(task);
    }
    if let Command::Plot { file } = &cli.command {
        return output(cli, &Report::read_json(file)?);
    }
    let mut bench = Bench::new(&cli.dir, &cli.subjects, cli.quick)?;
    bench.round_bytes = (cli.round as usize) << 10;
    let mut report = Report {
        machine: machine::machine(bench.dir()),
        date: machine::date(),
        commit: machine::commit(),
        command: machine::command(),
        versions: machine::versions(),
        subjects: bench.subjects.iter().map(|subject| Described::of(&**subject)).collect(),
        ..Report::default()
    };
    for measure in measures(&cli.command) {
        measure(&bench, &mut report);
    }
    output(cli, &report)
}

fn output(cli: &Cli, report: &Report) -> std::io::Result<()> {
    for table in show::tables(report) {
        print!("{table}");
    }
    if let Some(path) = &cli.json {
        report.write_json(path)?;
    }
    Ok(())
}
