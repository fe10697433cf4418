//! What the project's own tests need, and no user does.

pub mod planted;
