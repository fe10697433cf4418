//! All subjects, in the order of the tables.

mod memcpy;
mod ours;

use crate::subject::Subject;

/// All of them.
pub fn all() -> Vec<Box<dyn Subject>> {
    vec![
        Box::new(memcpy::Memcpy),
        Box::new(ours::Ours { way: ours::Way::Producer }),
        Box::new(ours::Ours { way: ours::Way::Writer }),
        Box::new(ours::Ours { way: ours::Way::Record }),
        Box::new(ours::Ours { way: ours::Way::Send }),
    ]
}
