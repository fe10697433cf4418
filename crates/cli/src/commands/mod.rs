//! The command line: one module for each command, with its options.

pub(crate) mod config;
pub(crate) mod generate;
pub(crate) mod merge;
pub(crate) mod recover;
pub(crate) mod ship;
pub(crate) mod stats;
mod values;
pub(crate) mod verify;
mod walk;
pub(crate) mod write;

use std::ffi::OsString;

use clap::{ColorChoice, Parser, Subcommand, ValueEnum};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "bufferedwriter", version, about, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Colours in help and errors: auto, always, never
    ///
    /// auto: on a terminal, unless NO_COLOR is set.
    // It is taken out before the rest is parsed: see `color`. So this is what help says, and refuses what is wrong.
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        hide_short_help = true
    )]
    color: ColorChoice,
}

/// The commands.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "the program has one of it")]
pub(crate) enum Command {
    Write(write::args::Write),
    Config(config::Config),
    Recover(recover::Recover),
    Merge(merge::args::Merge),
    Verify(verify::Verify),
    Ship(ship::Ship),
    Stats(stats::Stats),
    Generate(generate::Generate),
}

/// Takes `--color` out of these arguments, wherever it stands, unless its value is none.
pub(crate) fn color(args: &mut Vec<OsString>) -> ColorChoice {
    let mut choice = ColorChoice::Auto;
    let mut at = 1;
    while let Some(arg) = args.get(at).filter(|arg| *arg != "--") {
        let (value, words) = match arg.to_str().and_then(|arg| arg.strip_prefix("--color")) {
            Some("") => (args.get(at + 1).and_then(|next| next.to_str()), 2),
            Some(rest) => (rest.strip_prefix('='), 1),
            None => (None, 0),
        };
        match value.and_then(|value| ColorChoice::from_str(value, false).ok()) {
            Some(chosen) => {
                choice = chosen;
                args.drain(at..at + words);
            }
            None => at += 1,
        }
    }
    choice
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_last_color_counts_wherever_it_stands() {
        let said = |words: &[&str]| {
            let mut args: Vec<OsString> = words.iter().map(Into::into).collect();
            let choice = color(&mut args);
            (choice, args.join(" ".as_ref()).into_string().unwrap())
        };
        let expected = |choice, rest: &str| (choice, rest.to_owned());
        for (words, choice, rest) in [
            (&["b", "write"][..], ColorChoice::Auto, "b write"),
            (&["b", "--color", "never", "write"], ColorChoice::Never, "b write"),
            (
                &["b", "write", "--color=never", "--color=always", "x"],
                ColorChoice::Always,
                "b write x",
            ),
            (&["b", "write", "--", "--color=never"], ColorChoice::Auto, "b write -- --color=never"),
            (&["b", "--color=blue"], ColorChoice::Auto, "b --color=blue"),
            (&["b", "--color"], ColorChoice::Auto, "b --color"),
            (&["b", "--colors=never"], ColorChoice::Auto, "b --colors=never"),
        ] {
            assert_eq!(said(words), expected(choice, rest), "{words:?}");
        }
    }
}
