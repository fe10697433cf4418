//! The benchmarks' command line: which measures, of which subjects, into which files.
//!
//! Tables or JSON go to standard output, progress to standard error.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bufferedwriter_bench::bench::Bench;
use bufferedwriter_bench::measure::{self, child, http, jobs, landed, sustained};
use bufferedwriter_bench::output::{plot, tables};
use bufferedwriter_bench::report::Report;
use bufferedwriter_bench::system::machine;
use clap::{Parser, Subcommand};

/// What a write costs its caller, beside the alternatives, and what becomes of the records.
///
/// All subjects of a run go through the same workload, in turn, and are compared within the run. The
/// results are printed as tables; --json and --plots write them as JSON and as SVG.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Directory on the disk to measure; the run makes a directory in it and removes it at the end
    #[arg(long, global = true, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,

    /// Only subjects whose names contain one of these, and memcpy, the reference
    #[arg(long, global = true, value_name = "A,B", value_delimiter = ',')]
    subjects: Vec<String>,

    /// A short run, to see that everything works; its figures mean little
    #[arg(long, global = true)]
    quick: bool,

    /// KiB that `tight` writes between two pauses: the memory that it writes to again and again
    #[arg(long, global = true, value_name = "KIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(64..=4096))]
    round: u64,

    /// Write the results to this file as JSON, from which `plot` makes tables and plots again; `-`: print them
    /// in place of the tables
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
    /// The same load for all, at fractions of the disk's own speed
    Sustained(sustained::Options),
    /// Records as fast as possible until they are in files, which are then checked
    Landed(landed::Options),
    /// An HTTP server that logs a line for each request, against one that does not
    Http(http::Options),
    /// All measures
    All,
    /// Tables and plots again, from a file that --json wrote
    Plot { file: PathBuf },
    /// A job that this program runs itself for
    #[command(name = child::SUBCOMMAND, hide = true)]
    Child { kind: String, job: String },
}

/// What a subcommand measures, in order.
fn measure(command: &Command, bench: &Bench, report: &mut Report) {
    match command {
        Command::Tight => {
            measure::tight::run(bench, report);
            measure::two_threads::run(bench, report);
        }
        Command::Latency => measure::latency::run(bench, report),
        Command::Quiet => measure::quiet::run(bench, report),
        Command::Startup => measure::startup::run(bench, report),
        Command::Sustained(options) => sustained::run(bench, report, options),
        Command::Landed(options) => landed::run(bench, report, options),
        Command::Http(options) => http::run(bench, report, options),
        Command::All => {
            let small = [Command::Tight, Command::Latency, Command::Quiet, Command::Startup];
            small.iter().for_each(|command| measure(command, bench, report));
            sustained::run(bench, report, &sustained::Options::default());
            landed::run(bench, report, &landed::Options::default());
            http::run(bench, report, &http::Options::default());
        }
        Command::Plot { .. } | Command::Child { .. } => {}
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader, `head` for example, has closed the pipe.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bufferedwriter-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> io::Result<()> {
    if let Command::Child { kind, job } = &cli.command {
        return jobs::run(kind, job);
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
        subjects: bench.described(),
        ..Report::default()
    };
    measure(&cli.command, &bench, &mut report);
    output(cli, &report)
}

/// Files first: whoever reads the tables may close the pipe early.
fn output(cli: &Cli, report: &Report) -> io::Result<()> {
    let to_stdout = cli.json.as_deref() == Some(Path::new("-"));
    if let Some(path) = cli.json.as_deref().filter(|_| !to_stdout) {
        report.write_json(File::create(path)?)?;
    }
    if let Some(dir) = &cli.plots {
        plot::write(report, dir)?;
    }
    let mut out = io::stdout().lock();
    if to_stdout {
        return report.write_json(out);
    }
    tables::tables(report).iter().try_for_each(|table| write!(out, "{table}"))?;
    out.flush()
}
