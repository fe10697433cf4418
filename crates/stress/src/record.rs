//! Records that carry their writer's number and id, and show whether they are whole.
//!
//! ```text
//! length u32, writer u32, id u64, then bytes that are computed from the id; little endian
//! ```

use crate::failure::fail;
use crate::random::Random;

/// The bytes of length, writer and id.
pub const HEAD: usize = 16;

/// Makes a record of `len` bytes, at least [`HEAD`], in `buffer`.
pub fn make(buffer: &mut Vec<u8>, writer: u32, id: u64, len: usize) {
    buffer.clear();
    buffer.extend((len as u32).to_le_bytes());
    buffer.extend(writer.to_le_bytes());
    buffer.extend(id.to_le_bytes());
    let mut random = Random::new(id);
    while buffer.len() < len {
        let rest = len - buffer.len();
        buffer.extend(random.next().to_le_bytes().iter().take(rest));
    }
}

/// Calls `each` with id and length of each record in a file of `writer`. Ends the program if one is not whole.
pub fn each(file: &[u8], writer: u32, mut each: impl FnMut(u64, usize)) {
    let mut expected = Vec::new();
    let mut rest = file;
    while !rest.is_empty() {
        let Some((id, len)) = head(rest, writer).filter(|&(_, len)| len <= rest.len()) else {
            fail(&format!("a file of writer {writer} is torn: {} bytes are left", rest.len()));
        };
        make(&mut expected, writer, id, len);
        if rest[..len] != expected {
            fail(&format!("record {id:#x} of writer {writer} is damaged"));
        }
        each(id, len);
        rest = &rest[len..];
    }
}

fn head(bytes: &[u8], writer: u32) -> Option<(u64, usize)> {
    let (len, rest) = bytes.split_first_chunk()?;
    let (owner, rest) = rest.split_first_chunk()?;
    let (id, _) = rest.split_first_chunk()?;
    let len = u32::from_le_bytes(*len) as usize;
    let ours = u32::from_le_bytes(*owner) == writer && len >= HEAD;
    ours.then_some((u64::from_le_bytes(*id), len))
}
