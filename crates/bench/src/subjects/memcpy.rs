//! The limit: the bytes, of a length that is known at run time only, into a ring of one buffer, 64 KiB
//! unless a measure says otherwise, and nothing else. They land nowhere.

use std::time::Duration;

use crate::subject::{Running, Setup, Subject, Unavailable, Writer};

/// Where the allocator happens to put the ring must not decide how fast the limit is.
#[derive(Clone)]
#[repr(align(4096))]
struct Page(#[expect(dead_code, reason = "written through a pointer to the first")] [u8; 4096]);

pub struct Memcpy;

struct AtWork {
    ring_bytes: usize,
}

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

    fn start(&self, setup: &Setup) -> Result<Box<dyn Running>, Unavailable> {
        Ok(Box::new(AtWork { ring_bytes: setup.buffer_bytes }))
    }
}

impl Running for AtWork {
    fn writer(&self) -> Box<dyn Writer + '_> {
        let pages = vec![Page([0; 4096]); self.ring_bytes.div_ceil(4096)];
        Box::new(Ring { pages, bytes: self.ring_bytes, at: 0 })
    }

    fn settle(&self, _: Duration) -> bool {
        true
    }

    fn finish(self: Box<Self>, _: Duration) {}
}

struct Ring {
    pages: Vec<Page>,
    bytes: usize,
    at: usize,
}

impl Writer for Ring {
    #[inline]
    fn write(&mut self, record: &[u8]) -> bool {
        if self.at + record.len() > self.bytes {
            if record.len() > self.bytes {
                return false;
            }
            self.at = 0;
        }
        // SAFETY: `record` fits between `at` and the end of the ring, whose pages lie one behind the other.
        unsafe {
            let to = self.pages.as_mut_ptr().cast::<u8>().add(self.at);
            std::ptr::copy_nonoverlapping(record.as_ptr(), to, record.len());
        }
        std::hint::black_box(&mut self.pages);
        self.at += record.len();
        true
    }
}
