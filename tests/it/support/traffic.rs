//! The records of one producer in sequence, while something is done to the files of its writer.

use std::path::PathBuf;

use bufferedwriter::{BufferedWriter, Config};

use super::{BOUND, Tally, WriterDir, close, record, stats, until};

/// Records of one producer in sequence, through one worker.
pub struct Traffic {
    pub writer: BufferedWriter,
    pub seq: u32,
}

impl Traffic {
    pub fn new(config: Config) -> Self {
        Traffic { writer: BufferedWriter::new(config.workers(1).size(128)).unwrap(), seq: 0 }
    }

    pub fn write(&mut self, count: u32) {
        let mut buffer = Vec::new();
        for _ in 0..count {
            record(&mut buffer, 1, self.seq, 100);
            self.writer.write(&buffer).unwrap();
            self.seq += 1;
        }
        stats(&self.writer);
    }

    /// Writes records until there are `bytes` more in the temp file. Returns its path.
    pub fn fill(&mut self, bytes: u64) -> PathBuf {
        let wanted = stats(&self.writer).workers[0].temp_file_bytes + bytes;
        let mut buffer = Vec::new();
        // Few at a time, so that there are hardly more than asked for.
        let at_once = (bytes / 10_000).max(1);
        until("the temp file grows", || {
            for _ in 0..at_once {
                record(&mut buffer, 1, self.seq, 100);
                self.writer.write_timeout(&buffer, BOUND).unwrap();
                self.seq += 1;
            }
            stats(&self.writer).workers[0].temp_file_bytes >= wanted
        });
        stats(&self.writer).workers[0].temp_file.clone().unwrap()
    }

    /// All that is sealed is in the temp file.
    pub fn settle(&self) {
        // But for the chunk that the producer has.
        until("what is sealed is written", || {
            let now = stats(&self.writer);
            now.memory_bytes <= 128 && now.workers[0].temp_file_bytes > 0
        });
    }

    /// Everything lands.
    pub fn end(self, dir: &WriterDir) {
        self.writer.flush(BOUND).unwrap();
        close(&self.writer);
        Tally::of(dir).assert_ranges(&[(1, self.seq)]);
        dir.assert_clean();
    }

    /// Closes the writer. What it says of its losses is true: the other records are visible.
    pub fn end_with_losses(self, dir: &WriterDir) -> u64 {
        let report = self.writer.close(BOUND).unwrap();
        assert_eq!(report.accepted.records, u64::from(self.seq));
        assert_eq!(report.accepted, report.written + report.lost.total());
        assert_eq!(report.lost.total(), report.lost.temp_file_damaged);
        assert_eq!(Tally::of(dir).found.records, report.written.records);
        report.lost.total().records
    }
}
