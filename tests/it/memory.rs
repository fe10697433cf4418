//! Promise: memory comes back. After a flush there are only the producers' own chunks; after a close not even those
//! count for much. There is never more than the bound.

use std::thread;

use bufferedwriter::{BufferedWriter, Durability};

use crate::support::{BOUND, Tally, WriterDir, close, record, stats};

#[test]
fn comes_back_after_flush_and_close() {
    for durability in [Durability::None, Durability::File] {
        let dir = WriterDir::new();
        let (size, threads) = (256, 4);
        let config = dir.config().size(size).queue_size(100).workers(3).durability(durability);
        let bound = config.memory_bound();
        let writer = BufferedWriter::new(config).unwrap();
        assert_eq!(stats(&writer).memory_bytes, 0);
        for round in 0..3_u32 {
            thread::scope(|scope| {
                for producer in 0..threads {
                    let writer = &writer;
                    scope.spawn(move || {
                        let mut own = writer.producer();
                        let mut buffer = Vec::new();
                        for seq in 0..200 {
                            let len = if seq % 10 == 0 { 2000 } else { 100 };
                            record(&mut buffer, producer, round * 200 + seq, len);
                            own.write_timeout(&buffer, BOUND).unwrap();
                            assert!(stats(writer).memory_bytes <= 103 * size);
                        }
                    });
                }
            });
            writer.flush(BOUND).unwrap();
            let now = stats(&writer);
            assert!(now.memory_bytes <= threads as usize * size, "{now:?}");
            assert!(now.workers.iter().all(|worker| worker.backlog_chunks == 0), "{now:?}");
            assert!(now.workers.iter().all(|worker| worker.temp_file.is_none()), "{now:?}");
            assert_eq!(now.memory_bound_bytes, bound);
        }
        close(&writer);
        assert!(stats(&writer).memory_bytes <= threads as usize * size);
        Tally::of(&dir).assert_ranges(&(0..threads).map(|p| (p, 600)).collect::<Vec<_>>());
        dir.assert_clean();
    }
}
