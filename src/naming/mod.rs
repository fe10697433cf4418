//! File names. This is the only module that makes and parses them.
//!
//! ```text
//! visible  {prefix}{20261122T194030.123456789Z}-{instance}-{pid}-w{worker}-{seq}.{extension}
//! temp     .{the same, with the stamp of its creation}.tmp
//! state    .{prefix}{instance}-{pid}.state
//! memory   .{prefix}{instance}-{pid}.memory
//! journal  .{prefix}{instance}-{pid}.journal
//! probe    .{a visible name of the greatest length}.pb1, .pb2
//! aside    .{a visible name}.aside, or the name of a state file and .aside: what a recovery does not trust
//! ```
//!
//! Guarantees: no two files have one name, since instance, worker and sequence number differ. Stamps
//! of a process ascend unless the wall clock turns out to have been wrong (see `stamp.rs`). Under
//! one prefix, names sort by their bytes in the order of their stamps. Affixes are bytes and need not be UTF-8. A name parses only if its parts make
//! exactly the same name again: no leading zeros, no signs, no impossible dates. Refuses: nothing;
//! `Config` checks the affixes.

pub(crate) mod file_name;
pub(crate) mod names;
pub(crate) mod parse;
pub(crate) mod partition;
pub(crate) mod stamp;
pub(crate) mod template;
pub(crate) mod zone;

pub(crate) use names::{Names, TempId, aside};
pub(crate) use parse::{
    Parsed, is_probe, parse, parse_journal, parse_state, parse_temp, temp_extension,
};
pub(crate) use partition::Partition;
pub(crate) use stamp::Stamp;
