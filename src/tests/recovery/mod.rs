//! Tests of recoveries: scenes on a real file system, hostile files, the layout byte for byte; and the fuzzer's door.

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod counters;
pub mod fuzz;
#[cfg(test)]
mod hostile_journal;
#[cfg(test)]
mod hostile_memory;
#[cfg(test)]
mod hostile_state;
pub(crate) mod images;
pub(crate) mod journals;
#[cfg(test)]
mod layout;
#[cfg(test)]
mod scenes;
