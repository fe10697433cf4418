//! Brings finished files of [`bufferedwriter`] to an object store, each once.
//!
//! Guarantees: an object is created, never overwritten. A file counts as shipped, and is deleted if that was asked for,
//! only after the object's length and checksum were compared with the file's. What was not shipped is told.
//! Refuses: names that are not those of finished files, symbolic links, credentials in an address.
//!
//! Flow: `source` (finished files) -> `shipper` (oldest first, in parallel, again after errors) -> `store` (create, then
//! compare). `pace` decides when, `journal` remembers what, `report` tells.
//!
//! ```
//! use std::time::Duration;
//! use bufferedwriter_ship::{Config, Destination, Shipper};
//!
//! let dir = std::env::temp_dir().join("bufferedwriter-ship-hello");
//! std::fs::create_dir_all(&dir)?;
//! let memory = Destination::open("memory:///logs", &Default::default())?;
//! let report = Shipper::new(Config::new(&dir), memory)?.drain(Duration::from_secs(5));
//! assert!(report.is_complete());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(missing_docs)]
#![deny(unsafe_code)]

mod config;
mod journal;
mod pace;
mod report;
mod shipper;
mod source;
mod store;

pub use config::{After, Config};
pub use report::{Conflict, Error, Left, Report, Stats};
pub use shipper::running::{Acknowledger, Running};
pub use shipper::{Shipper, Until};
pub use store::{Access, Destination};
