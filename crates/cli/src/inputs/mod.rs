//! What is read: inputs, and their lines.

pub(crate) mod lines;

pub(crate) use crate::sys::{Input, STDIN, release_stdin};
