//! How long the program reads, and what it says.

use std::net::SocketAddr;
use std::time::Duration;

use bufferedwriter::text::duration;
use clap::ValueEnum;

/// Whether something for terminals is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal
    Auto,
    Always,
    Never,
}

use crate::commands::write::metrics::address;

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "The end, and what is said")]
pub(super) struct Ending {
    /// Read to the end of the input, whatever signals come
    ///
    /// As `s6-log -p` does. That is --grace without limit, for servers whose old processes still write into the pipe
    /// after a reload. A second signal gives up at once.
    #[arg(long)]
    pub(super) until_eof: bool,

    /// Keep named pipes open when their last writer closes them, until a signal
    #[arg(long, hide_short_help = true)]
    pub(super) keep_open: bool,

    /// How long to read on after SIGTERM or SIGINT while the input is a pipe or a socket
    ///
    /// Until its end, so that the last words of the programs that write into it are not lost; 0 = only to the end
    /// of the line.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration, hide_short_help = true)]
    pub(super) grace: Duration,

    /// Ignore SIGINT (Ctrl-C), as `tee -i` does
    ///
    /// The input then ends with the programs that write into it.
    #[arg(long, short, hide_short_help = true)]
    pub(super) ignore_interrupts: bool,

    /// Time limit for publishing what was read, once the reading has ended; 0 = give up at once
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration, hide_short_help = true)]
    pub(super) deadline: Duration,

    /// Serve metrics for Prometheus over HTTP, at /metrics: a port of 127.0.0.1, or an IP address with a port
    ///
    /// There is neither encryption nor a password. Port 0 = one that is free, which is told.
    #[arg(long, value_name = "ADDRESS", value_parser = address, hide_short_help = true)]
    pub(super) metrics: Option<SocketAddr>,

    /// Print the summary as JSON on standard output
    ///
    /// It is one object. No progress is drawn.
    #[arg(long)]
    pub(super) json: bool,

    /// Whether progress is drawn on standard error: auto, always, never
    ///
    /// auto: on a terminal, unless the lines are typed there, or --quiet or --json is given.
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        hide_short_help = true
    )]
    pub(super) progress: When,

    /// Tell of inputs, signals, files and commands too
    #[arg(long, short)]
    pub(super) verbose: bool,

    /// Print no progress and no summary, only errors
    #[arg(long, short)]
    pub(super) quiet: bool,
}
