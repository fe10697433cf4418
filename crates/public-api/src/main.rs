//! Prints what a crate promises its users, an item a line, sorted.
//!
//! Usage: public-api RUSTDOC_JSON. It ends with 3 if the file has another format than this program reads.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

/// What only the documentation has, and traits that only the compiler may name.
const LEFT_OUT: [&str; 4] = [
    "pub mod bufferedwriter::guide",
    "impl core::marker::Freeze for ",
    "impl core::marker::StructuralPartialEq for ",
    "impl core::marker::UnsafeUnpin for ",
];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let path = env::args_os().nth(1).ok_or("usage: public-api RUSTDOC_JSON")?;
    if let Err(other) = check_format(path.as_ref())? {
        eprintln!("rustdoc's JSON has format {other}, not {}", rustdoc_types::FORMAT_VERSION);
        return Ok(ExitCode::from(3));
    }
    // Impls for all types say nothing about this crate. Auto traits are a promise.
    let api = public_api::Builder::from_rustdoc_json(path).omit_blanket_impls(true).build()?;
    for item in api.items().map(ToString::to_string) {
        if !LEFT_OUT.iter().any(|start| item.starts_with(start)) {
            println!("{item}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The format of the file, if it is not the one that is read here.
fn check_format(path: &Path) -> Result<Result<(), String>, Box<dyn Error>> {
    let read: serde_json::Value = serde_json::from_slice(&fs::read(path)?)?;
    let format = &read["format_version"];
    let is_ours = format.as_u64() == Some(rustdoc_types::FORMAT_VERSION.into());
    Ok(if is_ours { Ok(()) } else { Err(format.to_string()) })
}
