//! Writes JSON, logfmt and timestamps into any [`fmt::Write`](std::fmt::Write), such as the record of a
//! `bufferedwriter`. Nothing is allocated, and nothing is copied twice.
//!
//! The adapters for [tracing](https://docs.rs/bufferedwriter-tracing) and
//! [log](https://docs.rs/bufferedwriter-log) share it. It may serve a service that encodes its own lines:
//!
//! ```
//! use std::fmt::{self, Write};
//! use bufferedwriter_encode::json;
//!
//! fn line(out: &mut impl Write, path: &str, status: u16) -> fmt::Result {
//!     out.write_str("{\"path\":")?;
//!     json::text(out, path)?;
//!     out.write_str(",\"status\":")?;
//!     json::integer(out, status)?;
//!     out.write_str("}\n")
//! }
//!
//! let mut out = String::new();
//! line(&mut out, "/a \"b\"", 200)?;
//! assert_eq!(out, "{\"path\":\"/a \\\"b\\\"\",\"status\":200}\n");
//! # Ok::<(), fmt::Error>(())
//! ```

#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod escape;
pub mod json;
pub mod logfmt;
pub mod stamp;
mod syntax;

pub use syntax::Syntax;
