//! Statistics and health of a [`BufferedWriter`](bufferedwriter::BufferedWriter) as metrics, over the facade of the crate
//! [metrics](https://docs.rs/metrics). So they reach Prometheus, StatsD, OpenTelemetry, or whatever exporter the
//! program installs.
//!
//! A [`Sampler`] reads a writer and reports what it read:
//!
//! ```
//! use bufferedwriter::{BufferedWriter, Config};
//! use bufferedwriter_metrics::Sampler;
//!
//! # let dir = std::env::temp_dir().join(format!("bw-metrics-doc-{}", std::process::id()));
//! let files = BufferedWriter::new(Config::default().path(&dir).create_dirs(true))?;
//! let mut sampler = Sampler::new().label("writer", "access");
//!
//! files.write(b"GET / 200\n")?;
//! sampler.sample(&files); // once in some seconds, or whenever metrics are asked for
//! # files.close(std::time::Duration::from_secs(5))?;
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Nothing runs by itself: the program calls [`sample`](Sampler::sample) on a thread or a task of its own, at its
//! own pace, or just before an exporter answers. [`METRICS`] is the table of all names, units and meanings, and the
//! guide has it as text. `dashboards/grafana.json` of this crate is a dashboard for Grafana over Prometheus.

#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod exposition;
mod reading;
mod sampler;
mod table;

pub use exposition::{Exposed, begin, exposition, sample};
pub use reading::{Reading, Value};
pub use sampler::Sampler;
pub use table::{Kind, METRICS, Metric};
