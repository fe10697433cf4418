//! The limit: the bytes, of a length that is known at run time only, into a ring of one buffer, 64 KiB
//! unless a measure says otherwise, and nothing else. They land nowhere.

use std::time::Duration;

use crate::subject::{Running, Setup, Subject, Unavailable, Writer};

/// Memory that begins with a page: where the allocator happens to put it must not decide how fast a limit is.
pub(super) struct Pages(Vec<Page>);

#[derive(Clone)]
#[repr(align(4096))]
struct Page(#[expect(dead_code, reason = "written through a pointer to the first")] [u8; 4096]);

impl Pages {
    pub(super) fn new(bytes: usize) -> Self {
        Pages(vec![Page([0; 4096]); bytes.div_ceil(4096)])
    }

    /// Of all of them, which lie one behind the other.
    #[inline(always)]
    pub(super) fn begin(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }
}

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
        Box::new(Ring { pages: Pages::new(self.ring_bytes), bytes: self.ring_bytes, at: 0 })
    }

    fn settle(&self, _: Duration) -> bool {
        true
    }

    fn finish(self: Box<Self>, _: Duration) {}
}

struct Ring {
    pages: Pages,
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
        // SAFETY: `record` fits between `at` and the end of the ring.
        unsafe {
            let to = self.pages.begin().add(self.at);
            std::ptr::copy_nonoverlapping(record.as_ptr(), to, record.len());
        }
        std::hint::black_box(&mut self.pages);
        self.at += record.len();
        true
    }
}
