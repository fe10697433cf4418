//! File names: the one place where they are made and taken apart.
//!
//! ```text
//! visible  {prefix}{20261122T194030.123456789Z}-{instance}-{pid}-w{worker}-{seq}.{extension}
//! temp     .{the same, with the stamp of its creation}.tmp
//! state    .{prefix}{instance}-{pid}.state
//! memory   .{prefix}{instance}-{pid}.memory
//! probe    .{a visible name of the greatest length}.pb1, .pb2
//! aside    .{a visible name}.aside, or the name of a state file and .aside: what a recovery does not trust
//! ```
//!
//! Guarantees: no two stamps of a process are equal, and each is later than all before, even when
//! the wall clock is set back; under one prefix, names sort by their bytes as their stamps do.
//! Affixes are bytes and need not be UTF-8. Only the name that would be made of the parts is taken apart
//! as one: no leading zeros, signs or impossible dates. Refuses: nothing; affixes are checked by `Config`.

pub(crate) mod file_name;
pub(crate) mod names;
pub(crate) mod parse;
pub(crate) mod stamp;

pub(crate) use names::{Names, TempId, aside};
pub(crate) use parse::{Parsed, is_probe, parse, parse_state, parse_temp, temp_extension};
pub(crate) use stamp::Stamp;
