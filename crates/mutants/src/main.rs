//! Which changes of the library do its tests notice? All mutants are in one build, and a variable says which of them
//! is active. `scripts/mutants` builds and runs this, from the root of the repository.
//!
//! The exit code is 0 if nine in ten were noticed. `SLOW=4` lets tests take longer on a busy machine.

mod build;
mod cage;
mod failure;
mod find;
mod memo;
mod mutant;
mod options;
mod record;
mod rewrite;
mod session;
mod suite;
mod tree;
mod trial;

use std::env;
use std::process::ExitCode;

use failure::Failure;
use options::Options;
use session::Session;
use tree::Tree;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("mutants: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<ExitCode, Failure> {
    let options = Options::parse(env::args().skip(1))?;
    let root = env::current_dir().map_err(|error| error.to_string())?;
    let work = root.join(&options.work);
    let tree = Tree::read(&root, &work.join("tree"))?;
    if options.list {
        for mutant in tree.mutants() {
            println!("{}{}", mutant.name, if mutant.is_choosable { "" } else { " (not tried)" });
        }
        return Ok(ExitCode::SUCCESS);
    }
    let summary = Session::new(options, work, tree)?.run()?;
    print!("{summary}");
    Ok(ExitCode::from(u8::from(!summary.is_enough())))
}
