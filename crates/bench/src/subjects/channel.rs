//! What people write themselves: a bounded channel of vectors, and a thread that writes them to a buffered file.

use std::io::Write;
use std::thread;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::sink::{self, Closing};
use crate::subject::{Running, Setup, Subject, Unavailable, Writer};

pub struct Channel;

impl Subject for Channel {
    fn name(&self) -> &'static str {
        "crossbeam channel"
    }

    fn when_outrun(&self) -> &'static str {
        "refused"
    }

    fn start(&self, setup: &Setup) -> Result<Box<dyn Running>, Unavailable> {
        let (mut out, closing) = sink::open(setup)?;
        let (sender, records) = crossbeam_channel::bounded::<Vec<u8>>(setup.memory_records());
        thread::spawn(move || {
            for record in records {
                if out.write_all(&record).is_err() {
                    // The channel closes, so each further record is refused.
                    return;
                }
            }
        });
        Ok(Box::new(AtWork { sender, closing }))
    }
}

struct AtWork {
    sender: Sender<Vec<u8>>,
    closing: Closing,
}

impl Running for AtWork {
    fn writer(&self) -> Box<dyn Writer + '_> {
        Box::new(Handle { sender: self.sender.clone() })
    }

    /// Does not see the record that the thread is writing, nor what its buffer holds.
    fn settle(&self, timeout: Duration) -> bool {
        sink::wait_until(timeout, || self.sender.is_empty())
    }

    fn finish(self: Box<Self>, timeout: Duration) {
        drop(self.sender);
        self.closing.wait(timeout);
    }
}

struct Handle {
    sender: Sender<Vec<u8>>,
}

impl Writer for Handle {
    #[inline]
    fn write(&mut self, record: &[u8]) -> bool {
        self.sender.try_send(record.to_vec()).is_ok()
    }
}
