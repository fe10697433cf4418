//! Sets of options for a purpose.

use crate::config::Config;

/// Bytes of all chunks of [`Config::high_throughput`].
const HIGH_THROUGHPUT_BYTES: usize = 64 << 20;

impl Config {
    /// The defaults, but with chunks of 64 KiB, and 64 MiB of them in all: for loads near the disk's speed.
    ///
    /// The defaults have 8 MiB of chunks. At 2 GB/s that is 4 ms, so a worker that the system stops for longer
    /// makes them refuse records. With eight times as much, bursts and pauses of 30 ms go by. A swap comes after
    /// eight times as many records, so a small record costs less too. [The guide] has figures of both.
    ///
    /// It changes [`size`](Self::size) and [`queue_size`](Self::queue_size) alone, and you may set all else. Other
    /// numbers of [`workers`](Self::workers) leave 63 to 80 MiB.
    ///
    /// ```
    /// let config = bufferedwriter::Config::high_throughput().path("/var/log/app");
    /// assert!(config.memory_bound() < 80 << 20);
    /// ```
    ///
    /// [The guide]: crate::guide::configuration
    pub fn high_throughput() -> Self {
        let mut config = Config::default();
        config.memory.size = 64 << 10;
        config.memory.queue_size =
            HIGH_THROUGHPUT_BYTES / config.memory.size - config.memory.workers;
        config
    }
}
