//! The limit: the bytes, of a length that is known at run time only, into a ring of 64 KiB, and nothing
//! else. They land nowhere.

use std::time::Duration;

use crate::subject::{Running, Setup, Subject, Unavailable, Writer};

const RING_BYTES: usize = 64 << 10;

/// Where the allocator happens to put the ring must not decide how fast the limit is.
#[repr(align(4096))]
struct Aligned([u8; RING_BYTES]);

pub struct Memcpy;

impl Subject for Memcpy {
    fn name(&self) -> &'static str {
        "memcpy"
    }

    fn when_outrun(&self) -> &'static str {
        "-"
    }

    fn lands(&self) -> bool {
        false
    }

    fn start(&self, _: &Setup) -> Result<Box<dyn Running>, Unavailable> {
        Ok(Box::new(Memcpy))
    }
}

impl Running for Memcpy {
    fn writer(&self) -> Box<dyn Writer + '_> {
        Box::new(Ring { bytes: Box::new(Aligned([0; RING_BYTES])), at: 0 })
    }

    fn settle(&self, _: Duration) -> bool {
        true
    }

    fn finish(self: Box<Self>, _: Duration) {}
}

struct Ring {
    bytes: Box<Aligned>,
    at: usize,
}

impl Writer for Ring {
    #[inline]
    fn write(&mut self, record: &[u8]) -> bool {
        if self.at + record.len() > RING_BYTES {
            self.at = 0;
        }
        // SAFETY: `record` fits between `at` and the end of the ring.
        unsafe {
            let to = self.bytes.0.as_mut_ptr().add(self.at);
            std::ptr::copy_nonoverlapping(record.as_ptr(), to, record.len());
        }
        std::hint::black_box(&mut self.bytes);
        self.at += record.len();
        true
    }
}
