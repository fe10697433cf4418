//! Encodes a state file. `format.rs` has the layout.
//!
//! Refuses: a header that does not fit.

use crate::base::checksum::fnv1a;
use crate::base::sys::names;
use crate::file::state_file::format::{
    CHECKSUM_BYTES, CHECKSUMS_AT, ENTRY_BYTES, FileLayout, Header, MAGIC, MEMORY_ID_AT, TEXTS_AT,
    VERSION, WorkerEntry,
};
use crate::report::stats::Watermark;

/// `None` if the header does not fit, such as with a path of more than 4096 bytes and long affixes.
pub(crate) fn header(boot_id: [u8; 16], header: &Header) -> Option<Vec<u8>> {
    let Header { path, memory, names, codec, layout, workers, slot_bytes } = header;
    let (dir, (device, inode)) = match memory {
        Some(memory) => (memory.path.as_os_str(), memory.id),
        None => Default::default(),
    };
    let [path, prefix, extension, dir] =
        [path.as_os_str(), &names.prefix, &names.extension, dir].map(names::bytes);
    let FileLayout { partition, time_zone, header, footer } = layout;
    let more = [partition.as_bytes(), time_zone.as_bytes(), header, footer];
    let texts = [&[path, prefix, extension, dir], &more[..]].concat().concat();
    let len = |text: &[u8]| u16::try_from(text.len()).ok().map(u16::to_le_bytes);
    let fields: [&[u8]; 17] = [
        &MAGIC,
        &VERSION.to_le_bytes(),
        &u32::try_from(*workers).ok()?.to_le_bytes(),
        &boot_id,
        &names.instance.to_le_bytes(),
        &names.pid.to_le_bytes(),
        &u32::try_from(path.len()).ok()?.to_le_bytes(),
        &len(prefix)?,
        &len(extension)?,
        &len(dir)?,
        &[0; 2],
        &codec.to_le_bytes(),
        &len(more[0])?,
        &len(more[1])?,
        &len(more[2])?,
        &len(more[3])?,
        &u32::try_from(*slot_bytes).ok()?.to_le_bytes(),
    ];
    let mut bytes = fields.concat();
    debug_assert_eq!(bytes.len(), TEXTS_AT);
    bytes.extend(texts);
    if bytes.len() > MEMORY_ID_AT {
        return None;
    }
    bytes.resize(MEMORY_ID_AT, 0);
    bytes.extend([device, inode].into_iter().flat_map(u64::to_le_bytes));
    bytes.extend(fnv1a(&bytes).to_le_bytes());
    Some(bytes)
}

/// One worker's entry.
pub(crate) fn entry(generation: u64, entry: WorkerEntry) -> [u8; ENTRY_BYTES] {
    let WorkerEntry { temp, good, synced } = entry;
    let (stamp, seq) = temp.map_or((0, 0), |temp| (temp.stamp.0, temp.seq));
    let of = |mark: Watermark| [mark.len, mark.count.records, mark.count.bytes];
    let numbers = [generation, stamp, seq].into_iter().chain(of(good)).chain(of(synced));
    let mut bytes = [0; ENTRY_BYTES];
    for (at, number) in numbers.enumerate() {
        bytes[8 * at..][..8].copy_from_slice(&number.to_le_bytes());
    }
    for (at, checksum) in [good.checksum, synced.checksum].into_iter().enumerate() {
        bytes[CHECKSUMS_AT + 4 * at..][..4].copy_from_slice(&checksum.to_le_bytes());
    }
    let (body, checksum) = bytes.split_at_mut(ENTRY_BYTES - CHECKSUM_BYTES);
    checksum.copy_from_slice(&fnv1a(body).to_le_bytes());
    bytes
}
