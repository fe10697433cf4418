//! The layout of crash-proof memory, byte for byte, as `docs/design/crash-proof.md` has it; and what is read of memories
//! that are made by hand.

use crate::base::checksum::fnv1a;
use crate::file::state_file::decode::Unreadable;
use crate::file::state_file::format::WorkerEntry;
use crate::memory::crash_image::Layout;
use crate::naming::{Stamp, TempId};
use crate::recovery::memory_image::{MemoryImage, Unfiled};
use crate::report::stats::{Count, Watermark};
use crate::tests::recovery::fuzz;
use crate::tests::recovery::images::{ARENA, BYTES, CHUNK_WORDS, Image, LAYOUT, LEN, mark, names};

/// Where the parts of the workers begin.
const WORKERS: usize = 8192;

impl Image {
    fn listed(&mut self, worker: usize, next_good: u64, entries: &[(u64, u64)]) -> &mut Self {
        let part = WORKERS + 8192 * worker;
        self.put(part + 56, entries.len() as u64);
        for word in 0..3 {
            self.put(part + 64 + 8 * word, next_good);
        }
        for (at, &(chunk, filed)) in entries.iter().enumerate() {
            self.put(part + 128 + 16 * at, chunk).put(part + 128 + 16 * at + 8, filed);
        }
        self
    }

    fn read(&self) -> Result<MemoryImage, Unreadable> {
        fuzz::read_memory(self.0.clone(), &names())
    }

    fn unfiled(&self) -> (Vec<(u32, usize, usize)>, u64) {
        let memory = self.read().unwrap();
        let part = |part: &Unfiled| (part.chunk, part.from, part.to);
        (memory.unfiled.iter().map(part).collect(), memory.damaged)
    }
}

#[test]
fn the_header_is_these_bytes() {
    let header = Layout { codec: 9, ..LAYOUT }.header(names().instance, names().pid);
    assert_eq!(header.len(), 4096);
    let mut expected = b"BUFWMEM\0".to_vec();
    expected.extend(2_u32.to_ne_bytes());
    expected.extend(0x0102_0304_u32.to_ne_bytes());
    expected.extend(5_u32.to_ne_bytes());
    expected.extend(2_u32.to_ne_bytes());
    expected.extend(100_u64.to_ne_bytes());
    expected.extend((LEN as u64).to_ne_bytes());
    expected.extend(0x1122_3344_5566_7788_u64.to_ne_bytes());
    expected.extend(77_u32.to_ne_bytes());
    expected.extend(0o640_u32.to_ne_bytes());
    expected.extend(9_u32.to_ne_bytes());
    assert_eq!(expected.len(), 60);
    assert_eq!(header[..60], expected);
    assert!(header[60..4088].iter().all(|&byte| byte == 0));
    assert_eq!(header[4088..], fnv1a(&header[..4088]).to_ne_bytes());
    if cfg!(target_endian = "little") {
        assert_eq!(header[8..16], [2, 0, 0, 0, 4, 3, 2, 1]);
        // A change of it is a change of the version.
        assert_eq!(fnv1a(&header[..4088]), 0x7291_18b0_e5bc_ea6e);
    }
}

/// A flight recorder has another version and nothing else; its headers of chunks count what was overwritten.
#[test]
fn a_recorder_counts_in_the_headers_of_chunks() {
    let records = Layout { records: true, ..LAYOUT };
    let [with, without] = [records, LAYOUT].map(|it| it.header(names().instance, names().pid));
    assert_eq!(
        (&with[8..12], &without[8..12]),
        (&3_u32.to_ne_bytes()[..], &2_u32.to_ne_bytes()[..])
    );
    assert_eq!((&with[..8], &with[12..4088]), (&without[..8], &without[12..4088]));
    let mut image = Image::of(records);
    // Chunk 1: pair 0 counts 3 records of 40 bytes, pair 1 will count 5 of 90.
    let header = ARENA + 128;
    image.put(header + 88, 3).put(header + 96, 40).put(header + 104, 5).put(header + 112, 90);
    for (overwriting, committed, expected) in [
        (0, 10, (3, 40)),
        // The other pair is complete, and the chunk is not taken over yet.
        (2, 10, (3, 40)),
        // It is.
        (2, 0, (5, 90)),
        (1, 0, (5, 90)),
        (1, 10, (5, 90)),
        (3, 10, (5, 90)),
        (3, 0, (3, 40)),
    ] {
        image.chunk(1, 1, 2, committed, 0).put(header + 120, overwriting);
        if committed == 0 {
            image.put(header, 0);
        }
        let memory = image.read().unwrap();
        let expected = Count::new(expected.0, expected.1);
        assert_eq!(memory.overwritten, expected, "{overwriting} {committed}");
        assert_eq!(memory.layout, records);
    }
    // Sums of a hostile memory.
    image.put(header + 104, u64::MAX).put(header + 128 + 88, u64::MAX);
    assert_eq!(image.read().unwrap().overwritten.records, u64::MAX);
    // Other writers have no such counts, whatever stands there.
    let mut other = Image::new();
    other.put(header + 88, 3);
    assert_eq!(other.read().unwrap().overwritten, Count::ZERO);
}

#[test]
fn everything_is_where_the_document_says() {
    use crate::memory::crash_image::{ChunkWord, WorkerWord, WriterWord};
    let at = LAYOUT;
    assert_eq!(at.bytes(), Some(LEN));
    assert_eq!((at.word_at(WriterWord::Closed), at.word_at(WriterWord::Salvaged)), (4096, 4104));
    let words = [ChunkWord::Producer, ChunkWord::Lease, ChunkWord::Filed, ChunkWord::Part];
    assert_eq!(words.map(|word| at.chunk_word_at(0, word)), [4160, 4168, 4176, 4184]);
    assert_eq!(at.chunk_word_at(4, ChunkWord::Part), 4160 + 4 * 32 + 24);
    let works = [
        WorkerWord::Stamp,
        WorkerWord::Seq,
        WorkerWord::GoodLen,
        WorkerWord::GoodRecords,
        WorkerWord::GoodBytes,
        WorkerWord::LostRecords,
        WorkerWord::LostBytes,
        WorkerWord::Listed,
        WorkerWord::NextLen,
        WorkerWord::NextRecords,
        WorkerWord::NextBytes,
        WorkerWord::GoodChecksum,
        WorkerWord::NextChecksum,
    ];
    let found = works.map(|word| at.worker_word_at(0, word) - 8192);
    assert_eq!(found, [0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96]);
    assert_eq!(at.worker_word_at(1, WorkerWord::Stamp), 16_384);
    assert_eq!((at.entry_at(0, 0), at.entry_at(1, 503)), (8192 + 128, 16_384 + 128 + 503 * 16));
    assert_eq!(crate::memory::crash_image::LIST_MAX, 504);
    assert_eq!(at.arena_at(), ARENA);
    assert_eq!((at.byte_at(0, 0), at.byte_at(4, 99)), (BYTES, BYTES + 4 * 128 + 99));
    // 127 chunks fill the page of words but for 64 bytes less; one more begins the next.
    let many =
        |chunks| Layout { chunks, size: 8192, workers: 8, mode: 0o600, codec: 0, records: false };
    assert_eq!((many(126).worker_at(0), many(127).worker_at(0)), (8192, 12_288));
    assert_eq!(many(1032).arena_at(), 40_960 + 65_536);
    assert_eq!(many(1032).bytes(), Some(106_496 + 135_168 + 1032 * 8192));
}

#[test]
fn committed_bytes_come_by_producer_and_lease() {
    let mut image = Image::new();
    image.chunk(0, 2, 1, 10, 0).chunk(1, 1, 9, 20, 0).chunk(2, 1, 3, 100, 0).chunk(4, 2, 0, 5, 0);
    assert_eq!(image.unfiled(), (vec![(2, 0, 100), (1, 0, 20), (4, 0, 5), (0, 0, 10)], 0));
    assert_eq!(image.read().unwrap().layout, LAYOUT);
}

#[test]
fn what_is_filed_is_no_run() {
    let mut image = Image::new();
    image.chunk(0, 1, 1, 50, 50).chunk(1, 1, 2, 50, 30).chunk(2, 1, 3, 0, 0);
    assert_eq!(image.unfiled(), (vec![(1, 30, 50)], 0));
    // A chunk that is being freed: the length goes first.
    image.chunk(1, 1, 2, 0, 30);
    assert_eq!(image.unfiled(), (vec![], 0));
}

#[test]
fn a_chain_is_one_record_whatever_way_it_goes() {
    let mut image = Image::new();
    image.chunk(3, 1, 1, 100, 0).chunk(1, 0, 0, 100, 0).chunk(4, 0, 0, 7, 0).chain(&[3, 1, 4]);
    image.chunk(0, 1, 2, 9, 0);
    let whole = vec![(3, 0, 100), (1, 0, 100), (4, 0, 7), (0, 0, 9)];
    assert_eq!(image.unfiled(), (whole, 0));
    // Filed as a whole.
    let mut filed = image.clone();
    filed.put(CHUNK_WORDS + 32 * 3 + 16, 100);
    assert_eq!(filed.unfiled(), (vec![(0, 0, 9)], 0));
    // Not committed yet, or freed: the head alone says so.
    let mut begun = image.clone();
    begun.put(ARENA + 128 * 3, 0);
    assert_eq!(begun.unfiled(), (vec![(0, 0, 9)], 0));
}

#[test]
fn a_list_holds_from_the_moment_it_is_listed() {
    let mut image = Image::new();
    image.chunk(0, 1, 1, 50, 10).chunk(1, 1, 2, 50, 0).chunk(2, 1, 3, 50, 0);
    image.chunk(3, 2, 1, 100, 0).chunk(4, 0, 0, 1, 0).chain(&[3, 4]);
    image.put(WORKERS, 8).put(WORKERS + 8, 3);
    image.put(WORKERS + 16, 70).put(WORKERS + 24, 70).put(WORKERS + 32, 70);
    let entries = [(0, 40), (0, 50), (3, 100), (1, 20)];
    image.listed(0, 330, &entries);
    // Not yet: the number of entries is stored last.
    let mut before = image.clone();
    before.put(WORKERS + 56, 0);
    let (runs, _) = before.unfiled();
    assert_eq!(runs, [(0, 10, 50), (1, 0, 50), (2, 0, 50), (3, 0, 100), (4, 0, 1)]);
    let temp = Some(TempId { stamp: Stamp(8), seq: 3 });
    assert_eq!(
        before.read().unwrap().entries[0],
        WorkerEntry { temp, good: mark(70), synced: mark(70) }
    );
    let holds = (vec![(1, 20, 50), (2, 0, 50)], 0);
    assert_eq!(image.unfiled(), holds);
    assert_eq!(
        image.read().unwrap().entries[0],
        WorkerEntry { temp, good: mark(330), synced: mark(330) }
    );
    // In the middle of going through it, and after.
    image.put(WORKERS + 16, 330).put(WORKERS + 24, 330).put(WORKERS + 32, 330);
    image.put(CHUNK_WORDS + 16, 50);
    assert_eq!(image.unfiled(), holds);
    image.put(CHUNK_WORDS + 32 * 3 + 16, 100).put(CHUNK_WORDS + 32 + 16, 20).put(WORKERS + 56, 0);
    assert_eq!(image.unfiled(), holds);
    assert_eq!(image.read().unwrap().entries[1], WorkerEntry::default());
}

#[test]
fn words_of_the_writer_and_losses() {
    let mut image = Image::new();
    image.chunk(0, 1, 1, 50, 0).put(WORKERS, 8).put(WORKERS + 16, 70);
    image.put(WORKERS + 40, 3).put(WORKERS + 48, 30).put(WORKERS + 8192 + 40, 4);
    let memory = image.read().unwrap();
    assert_eq!((memory.is_closed, memory.salvaged, memory.lost), (false, None, Count::new(7, 30)));
    image.put(4104, 99);
    assert_eq!(image.read().unwrap().salvaged, Some(Stamp(99)));
    image.put(4096, 1);
    let memory = image.read().unwrap();
    assert!(memory.is_closed && memory.unfiled.is_empty());
    assert_eq!(memory.entries[0].good, Watermark::ZERO);
    // Counts that overflow are no reason to die.
    image.put(WORKERS + 40, u64::MAX);
    assert_eq!(image.read().unwrap().lost.records, u64::MAX);
}

#[test]
fn what_makes_no_sense_is_passed_over_and_counted() {
    let mut good = Image::new();
    good.chunk(0, 1, 1, 50, 0).chunk(1, 1, 2, 60, 0);
    good.chunk(2, 1, 3, 100, 0).chunk(3, 0, 0, 100, 0).chunk(4, 0, 0, 7, 0).chain(&[2, 3, 4]);
    let all = [(0, 0, 50), (1, 0, 60), (2, 0, 100), (3, 0, 100), (4, 0, 7)];
    assert_eq!(good.unfiled(), (all.to_vec(), 0));
    let with = |change: &dyn Fn(&mut Image) -> &mut Image| {
        let mut image = good.clone();
        change(&mut image);
        image.unfiled()
    };
    let second = (all[1..].to_vec(), 1);
    let plain = (all[..2].to_vec(), 1);
    // Longer than a chunk; more of it filed than there is.
    assert_eq!(with(&|image| image.put(ARENA, 101)), second);
    assert_eq!(with(&|image| image.put(CHUNK_WORDS + 16, 51)), second);
    // Chains: out of the arena, into what is no part, into an empty one, in a circle, a part too long.
    assert_eq!(with(&|image| image.put_u32(ARENA + 256 + 20, 7)), plain);
    assert_eq!(with(&|image| image.put_u32(ARENA + 256 + 20, 1)), plain);
    assert_eq!(with(&|image| image.put(ARENA + 512, 0)), plain);
    assert_eq!(with(&|image| image.put_u32(ARENA + 512 + 16, u32::MAX)), plain);
    assert_eq!(with(&|image| image.put_u32(ARENA + 384 + 16, u32::MAX)), plain);
    assert_eq!(with(&|image| image.put(ARENA + 384, 101)), plain);
    assert_eq!(with(&|image| image.put_u32(ARENA + 384 + 16, 77)), plain);
    // Two chains through one chunk: whichever is first.
    let (runs, damaged) = with(&|image| image.put_u32(ARENA + 128 + 20, 4));
    assert_eq!(runs, [(0, 0, 50), (1, 0, 60), (3, 0, 100), (4, 0, 7)]);
    assert_eq!(damaged, 1);
    // Lists: too long, of chunks that there are not.
    let (_, damaged) = with(&|image| image.put(WORKERS + 56, 505));
    assert!(damaged >= 1);
    let (runs, damaged) = with(&|image| image.listed(1, 0, &[(5, 1), (u64::MAX, 1)]));
    assert_eq!((runs, damaged), (all.to_vec(), 2));
}

#[test]
fn headers_that_do_not_fit_are_refused() {
    let refused = |change: &dyn Fn(&mut Image)| {
        let mut image = Image::new();
        change(&mut image);
        image.read().unwrap_err()
    };
    let fixed = |at: usize, word: u32| {
        refused(&|image| {
            image.put_u32(at, word).fix_checksum();
        })
    };
    assert_eq!(refused(&|image| image.0.truncate(4095)), Unreadable::Short);
    assert_eq!(refused(&|image| image.0.truncate(0)), Unreadable::Short);
    assert_eq!(refused(&|image| image.0.truncate(LEN - 1)), Unreadable::Damaged);
    assert_eq!(refused(&|image| image.0.push(0)), Unreadable::Damaged);
    assert_eq!(refused(&|image| image.0[100] = 1), Unreadable::Damaged);
    assert_eq!(fixed(8, 1), Unreadable::Version(1));
    for (at, word) in [
        (0, 0),
        (12, 0x0403_0201),
        (16, 0),
        (16, 64),
        (16, u32::MAX),
        (20, 0),
        (20, 257),
        (24, 0),
        (28, 1),
        (32, 1),
        (36, u32::MAX),
        (40, 1),
        (48, 78),
        (52, 0o1000),
    ] {
        // Words of 64 bits, whose halves stand the other way round on a big-endian machine.
        let is_half = cfg!(target_endian = "big") && (24..48).contains(&at);
        let at = if is_half { at ^ 4 } else { at };
        assert_eq!(fixed(at, word), Unreadable::Damaged, "{at}: {word}");
    }
    assert_eq!(fixed(56, 77), Unreadable::Codec(77));
}
