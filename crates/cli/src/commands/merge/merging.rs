//! Many ordered streams into one.
//!
//! Guarantees: in the order of key and rank. A file is open only while its lines may be next, so files of different
//! times need few descriptors. If more are due than descriptors or memory permit, some of the open ones are merged into
//! a run first.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, VecDeque};
use std::io;

use crate::commands::merge::feed::Feed;
use crate::commands::merge::key::Key;
use crate::commands::merge::plan::Plan;
use crate::commands::merge::spill::{RunReader, RunWriter, Spill};
use crate::commands::merge::streams::{Lines, Ordered, Pending, Stream, What, rank};
use crate::commands::merge::survey::Known;
use crate::commands::merge::window::Window;

/// Where the lines go.
pub(crate) trait Sink<K> {
    /// Takes a piece of a line. The next one is of the same line until a piece ends with a newline.
    fn put(&mut self, key: K, rank: u64, piece: &[u8]) -> io::Result<()>;
}

impl<K: Key> Sink<K> for RunWriter<'_, K> {
    #[inline]
    fn put(&mut self, key: K, rank: u64, piece: &[u8]) -> io::Result<()> {
        RunWriter::put(self, key, rank, piece)
    }
}

/// Key, rank, and the place of the stream among the open ones.
type Heap<K> = BinaryHeap<Reverse<(K, u64, usize)>>;

/// The merge, with what is open.
pub(crate) struct Merging<'a, K> {
    plan: &'a Plan,
    spill: &'a Spill,
    known: &'a [Known<K>],
    /// In the order in which they may be due.
    pending: VecDeque<Pending<K>>,
    open: Vec<Option<Stream<'a, K>>>,
    heap: Heap<K>,
    buffer_bytes: usize,
    /// Memory of all open streams.
    taken: usize,
}

impl<'a, K: Key> Merging<'a, K> {
    pub(crate) fn new(
        plan: &'a Plan,
        spill: &'a Spill,
        known: &'a [Known<K>],
        mut pending: Vec<Pending<K>>,
    ) -> Self {
        pending.sort_by_key(|pending| pending.first);
        let buffer_bytes = plan.buffer_bytes(pending.len());
        let (open, heap, pending) = (Vec::new(), BinaryHeap::new(), pending.into());
        Merging { plan, spill, known, pending, open, heap, buffer_bytes, taken: 0 }
    }

    /// Puts all lines into the sink.
    pub(crate) fn run(mut self, sink: &mut impl Sink<K>) -> io::Result<()> {
        loop {
            self.open_due()?;
            let limit = self.pending.front().map(|pending| pending.first);
            if !drain(&mut self.heap, &mut self.open, self.plan, limit, &mut self.taken, sink)? {
                return Ok(());
            }
        }
    }

    /// Opens what may have the next line.
    fn open_due(&mut self) -> io::Result<()> {
        while let Some(next) = self.pending.front() {
            let is_due =
                self.heap.peek().is_none_or(|Reverse((key, rank, _))| next.first <= (*key, *rank));
            if !is_due {
                break;
            }
            let cost = self.cost(&next.what);
            if self.heap.len() >= self.plan.fan_in
                || (self.taken + cost > self.plan.memory && self.heap.len() > 1)
            {
                self.collapse()?;
                continue;
            }
            if let Some(Pending { what, .. }) = self.pending.pop_front() {
                let lines = self.lines(&what)?;
                if let Some(lines) = lines {
                    self.push(Stream { lines, bytes: cost })?;
                }
            }
        }
        Ok(())
    }

    fn cost(&self, what: &What<K>) -> usize {
        match what {
            What::Run(_) => self.buffer_bytes,
            What::File(at) => {
                let window = if self.plan.window > Some(0) { 2 * self.buffer_bytes } else { 0 };
                self.buffer_bytes + self.known[*at].decoder_bytes + window
            }
        }
    }

    /// `None` for a file that can't be opened any more, which is told.
    fn lines(&self, what: &What<K>) -> io::Result<Option<Lines<'a, K>>> {
        let at = match what {
            What::Run(run) => {
                let reader = RunReader::new(self.spill, run, self.buffer_bytes);
                return Ok(Some(Lines::Run(Box::new(reader))));
            }
            What::File(at) => *at,
        };
        let known: &'a Known<K> = &self.known[at];
        let feed = Feed::open(
            &known.path,
            self.plan.window_log,
            self.buffer_bytes,
            known.finder.clone(),
            known.first,
        );
        let feed = match feed {
            Ok(feed) => feed,
            Err(error) => {
                self.plan.outcome.failed(&known.path, format_args!("open: {error}"));
                return Ok(None);
            }
        };
        let (path, rank) = (known.path.as_path(), rank(known.source, 0));
        Ok(Some(match self.plan.window {
            // What may wait for nothing need not be copied.
            Some(window) if window > 0 => {
                let window = Window::new(feed, window, 2 * self.buffer_bytes);
                Lines::Windowed(Box::new(window), path, rank)
            }
            _ => Lines::Sorted(Box::new(Ordered::new(feed, path, rank))),
        }))
    }

    /// Takes a stream in, unless it is empty.
    fn push(&mut self, mut stream: Stream<'a, K>) -> io::Result<()> {
        if !stream.next(&self.plan.outcome)? {
            return Ok(());
        }
        let (key, rank) = stream.head();
        let at = self.open.iter().position(Option::is_none).unwrap_or(self.open.len());
        self.taken += stream.bytes;
        self.heap.push(Reverse((key, rank, at)));
        if at == self.open.len() {
            self.open.push(Some(stream));
        } else {
            self.open[at] = Some(stream);
        }
        Ok(())
    }

    /// Merges half of what is open, the shortest, into one run, which takes its place.
    fn collapse(&mut self) -> io::Result<()> {
        let mut heads: Vec<_> = std::mem::take(&mut self.heap).into_vec();
        let left = |at: usize| self.open[at].as_ref().map_or(0, Stream::left);
        heads.sort_by_key(|Reverse((_, _, at))| left(*at));
        let rest = heads.split_off((heads.len() / 2).max(2).min(heads.len()));
        let mut some = Heap::from(heads);
        self.heap = Heap::from(rest);
        let mut writer = self.spill.begin_last::<K>()?;
        drain(&mut some, &mut self.open, self.plan, None, &mut self.taken, &mut writer)?;
        let Some(run) = writer.finish()? else { return Ok(()) };
        let reader = RunReader::new(self.spill, &run, self.buffer_bytes);
        let lines = Lines::Run(Box::new(reader));
        self.push(Stream { lines, bytes: self.buffer_bytes })
    }
}

/// Moves lines in order until one is not before `limit`. Returns false when all are through.
fn drain<K: Key>(
    heap: &mut Heap<K>,
    open: &mut [Option<Stream<'_, K>>],
    plan: &Plan,
    limit: Option<(K, u64)>,
    taken: &mut usize,
    sink: &mut impl Sink<K>,
) -> io::Result<bool> {
    while let Some(mut top) = heap.peek_mut() {
        let Reverse((key, rank, at)) = *top;
        if limit.is_some_and(|limit| limit <= (key, rank)) {
            return Ok(true);
        }
        let Some(stream) = &mut open[at] else {
            PeekMut::pop(top);
            continue;
        };
        sink.put(key, rank, stream.piece())?;
        if stream.next(&plan.outcome)? {
            let (key, rank) = stream.head();
            *top = Reverse((key, rank, at));
        } else {
            *taken -= stream.bytes;
            open[at] = None;
            PeekMut::pop(top);
        }
    }
    Ok(limit.is_some())
}
