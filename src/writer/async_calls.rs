//! The calls that wait as futures, for any executor: they hold no thread.
//!
//! Guarantees: a future does nothing before its first poll. One that is dropped leaves no waker
//! behind. A record is accepted in the poll that returns `Ok`, and in no other. Wakers are called
//! while nothing is held. Refuses what the blocking calls refuse.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::accept::{self, Sent, append};
use crate::base::oneshot::Oneshot;
use crate::base::sync::Arc;
use crate::base::thread::spawn;
use crate::memory::message::Message;
use crate::memory::tasks::Wait;
use crate::report::close::{CloseError, CloseReport, Reason};
use crate::report::error::{FlushError, SendError, WriteError};
use crate::writer::BufferedWriter;
use crate::writer::close::THREAD;
use crate::writer::inner::Inner;
use crate::writer::producer::Producer;
use crate::writer::thread_slots::{cached, with_slot};

type Closed = Result<CloseReport, CloseError>;

impl BufferedWriter {
    /// Accepts a record like [`write`](Self::write). If no memory is free, it waits for some without
    /// holding the thread. It works on any executor.
    ///
    /// Memory goes to the tasks that have waited longest, but a `write` or a first try of another
    /// task may be quicker. A task whose record is larger than a chunk ([`Config::size`]) may wait
    /// for long while others take each chunk.
    ///
    /// # Cancel safety
    /// The record is accepted if the future returned `Ok`, and only then. A future that is dropped
    /// before leaves nothing behind: the record is neither accepted nor counted as refused, and
    /// another task gets its turn. So `tokio::time::timeout` around it is fine.
    ///
    /// ```
    /// # use bufferedwriter::{BufferedWriter, Config};
    /// # let dir = std::env::temp_dir().join(format!("bw-doc-async-{}", std::process::id()));
    /// # let config = Config::default().path(&dir).temp(&dir).create_dirs(true);
    /// # fn block_on<F: Future>(future: F) -> F::Output {
    /// #     let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    /// #     let mut future = std::pin::pin!(future);
    /// #     loop {
    /// #         if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
    /// #             return value;
    /// #         }
    /// #         std::thread::yield_now();
    /// #     }
    /// # }
    /// # block_on(async {
    /// let writer = BufferedWriter::new(config)?;
    /// writer.write_async(b"it waits for memory only\n").await?;
    /// writer.flush_async().await?;
    /// let report = writer.close_async(std::time::Duration::from_secs(5)).await?;
    /// assert_eq!(report.written.records, 1);
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of `write`. [`WriteError::Full`] only on one of the writer's own threads, in the `Drop`
    /// of a message, since a wait there could be for itself. The call does not wait for room on the
    /// disk: [`WriteError::DiskGuard`] is returned at once. Tasks that wait when the writer is closed
    /// get [`WriteError::Closed`].
    ///
    /// [`Config::size`]: crate::Config::size
    pub async fn write_async(&self, record: &[u8]) -> Result<(), WriteError> {
        if let Some(result) = self.write_when_free(record) {
            return result;
        }
        if self.handle.patience(Duration::MAX).is_zero() {
            return self.write(record);
        }
        let shared = &self.handle.shared;
        shared.wake_busy();
        let mut wait = Wait::new(shared, record.len());
        poll_fn(|context| wait.poll(context, || self.write_when_free(record))).await
    }

    /// `None` if no memory is free.
    #[inline]
    fn write_when_free(&self, record: &[u8]) -> Option<Result<(), WriteError>> {
        let slot = cached(self.id);
        // SAFETY: as in `write`.
        if slot.is_some_and(|slot| unsafe { append::try_write(&*slot, record) }) {
            return Some(Ok(()));
        }
        with_slot(self.id, &self.handle, |slot| match slot {
            Some(mut slot) => accept::write_when_free(&mut slot, record),
            None => Some(Err(self.handle.shared.slots.refuse(record.len()))),
        })
    }

    /// Accepts an owned message like [`send`](Self::send). If no memory is free, it waits for some
    /// as [`write_async`](Self::write_async) does: in the same queue, without holding the thread.
    ///
    /// A message that is longer than a chunk waits for as much memory as its length says, and may
    /// wait for long while others take each chunk.
    ///
    /// # Cancel safety
    /// The message is accepted if the future returned `Ok`, and only then. A future that is dropped
    /// before drops the message too, which is neither accepted nor counted as refused. To keep the
    /// message, send an `Arc<[u8]>` and keep a clone.
    ///
    /// ```
    /// # use bufferedwriter::{BufferedWriter, WriteError};
    /// async fn archive(writer: &BufferedWriter, body: Vec<u8>) -> Result<(), WriteError> {
    ///     writer.send_async(body).await.map_err(|refused| refused.kind())
    /// }
    /// ```
    ///
    /// # Errors
    /// Those of `write_async`. The error holds the message.
    pub async fn send_async<M>(&self, message: M) -> Result<(), SendError<M>>
    where
        M: AsRef<[u8]> + Send + 'static,
    {
        let message = self.message(message);
        // SAFETY: the message was made from an `M`.
        unsafe { accept::sent(self.send_when_waited(message).await) }
    }

    async fn send_when_waited(&self, message: Message) -> Sent {
        let message = match self.send_when_free(message) {
            Ok(sent) => return sent,
            Err(message) => message,
        };
        if self.handle.patience(Duration::MAX).is_zero() {
            return self.send_message(message);
        }
        let shared = &self.handle.shared;
        shared.wake_busy();
        let mut wait = Wait::new(shared, message.bytes().len());
        let mut waiting = Some(message);
        poll_fn(|context| wait.poll(context, || retry(&mut waiting, |it| self.send_when_free(it))))
            .await
    }

    /// The message itself if no memory is free.
    fn send_when_free(&self, message: Message) -> Result<Sent, Message> {
        with_slot(self.id, &self.handle, |slot| match slot {
            Some(mut slot) => accept::send_when_free(&mut slot, message),
            None => Ok(Err((self.handle.shared.slots.refuse(message.bytes().len()), message))),
        })
    }

    /// Waits until every record that was accepted before the first poll is in a visible file, like
    /// [`flush`](Self::flush), but without holding the thread.
    ///
    /// It has no timeout of its own, since it knows no timer. While the disk fails, it waits, and
    /// [`health`](Self::health) says for what. Put your executor's timeout around it.
    ///
    /// # Cancel safety
    /// A future that is dropped leaves nothing behind. The flush itself goes on.
    ///
    /// # Errors
    /// [`FlushError::Io`] if records were lost meanwhile. [`FlushError::Closed`] after `close`, and if
    /// a close gives up meanwhile. [`FlushError::OnWorker`] if it is first polled on one of the
    /// writer's own threads, and [`FlushError::Forked`] in a forked child.
    pub async fn flush_async(&self) -> Result<(), FlushError> {
        self.handle.flush_async().await
    }

    /// Refuses further records, publishes everything, and ends the workers, like
    /// [`close`](Self::close), but without holding the thread.
    ///
    /// Call it before the last handle is dropped on an executor's thread. Such a drop closes the
    /// writer too, and blocks the thread for that. After a close it does not block.
    ///
    /// # Cancel safety
    /// The close begins at the first poll, on a thread of the writer, and goes on if the future is
    /// dropped. Its deadline stays. Call `close_async` or `close` again to wait for the end and for
    /// the report. The drop of the last handle waits for it too, for at most
    /// [`Config::drop_timeout`](crate::Config::drop_timeout).
    ///
    /// # Errors
    /// Those of `close`. If the system has no thread to give, this call closes the writer itself and
    /// blocks for up to `timeout`.
    pub async fn close_async(&self, timeout: Duration) -> Closed {
        self.handle.close_async(timeout).await
    }
}

/// Tries once more with the message that waits. `None` if it waits on.
fn retry(
    waiting: &mut Option<Message>,
    send: impl FnOnce(Message) -> Result<Sent, Message>,
) -> Option<Sent> {
    match send(waiting.take()?) {
        Ok(sent) => Some(sent),
        Err(message) => {
            *waiting = Some(message);
            None
        }
    }
}

/// How many futures of `write_async` and `send_async` wait for memory, and how many of `flush_async` for workers.
#[doc(hidden)]
pub fn waiting_tasks(writer: &BufferedWriter) -> (u64, usize) {
    (writer.handle.shared.pool.waiting_tasks(), writer.handle.control.waiting_tasks())
}

impl Producer {
    /// Accepts a record and waits for memory without holding the thread, like
    /// [`BufferedWriter::write_async`].
    ///
    /// # Cancel safety
    /// As there.
    ///
    /// # Errors
    /// Those of `BufferedWriter::write_async`.
    pub async fn write_async(&mut self, record: &[u8]) -> Result<(), WriteError> {
        if let Some(result) = self.write_when_free(record) {
            return result;
        }
        if self.handle.patience(Duration::MAX).is_zero() {
            return self.write(record);
        }
        let shared = self.handle.shared.clone();
        shared.wake_busy();
        let mut wait = Wait::new(&shared, record.len());
        poll_fn(|context| wait.poll(context, || self.write_when_free(record))).await
    }

    /// Accepts an owned message and waits for memory without holding the thread, like
    /// [`BufferedWriter::send_async`].
    ///
    /// # Cancel safety
    /// As there.
    ///
    /// # Errors
    /// Those of `BufferedWriter::send_async`.
    pub async fn send_async<M>(&mut self, message: M) -> Result<(), SendError<M>>
    where
        M: AsRef<[u8]> + Send + 'static,
    {
        let message = self.message(message);
        // SAFETY: the message was made from an `M`.
        unsafe { accept::sent(self.send_when_waited(message).await) }
    }

    async fn send_when_waited(&mut self, message: Message) -> Sent {
        let message = match self.send_when_free(message) {
            Ok(sent) => return sent,
            Err(message) => message,
        };
        if self.handle.patience(Duration::MAX).is_zero() {
            return self.send_message(message);
        }
        let shared = self.handle.shared.clone();
        shared.wake_busy();
        let mut wait = Wait::new(&shared, message.bytes().len());
        let mut waiting = Some(message);
        poll_fn(|context| wait.poll(context, || retry(&mut waiting, |it| self.send_when_free(it))))
            .await
    }

    /// The message itself if no memory is free.
    fn send_when_free(&mut self, message: Message) -> Result<Sent, Message> {
        match self.slot() {
            Some(mut slot) => accept::send_when_free(&mut slot, message),
            None => Ok(Err((self.refuse(message.bytes().len()), message))),
        }
    }

    /// `None` if no memory is free.
    #[inline]
    fn write_when_free(&mut self, record: &[u8]) -> Option<Result<(), WriteError>> {
        if self.try_write(record) {
            return Some(Ok(()));
        }
        match self.slot() {
            Some(mut slot) => accept::write_when_free(&mut slot, record),
            None => Some(Err(self.refuse(record.len()))),
        }
    }
}

impl Inner {
    /// Closes on another thread, since the disk may hang and a deadline needs a clock.
    async fn close_async(&self, timeout: Duration) -> Closed {
        self.may_close()?;
        let deadline = Instant::now().checked_add(timeout);
        let answer = Arc::new(Oneshot::new());
        let (core, result) = (self.core.clone(), answer.clone());
        if spawn(THREAD, move || result.set(core.close_until(deadline))).is_err() {
            return self.core.close_until(deadline);
        }
        let task = CloseTask { inner: self, answer };
        poll_fn(|context| task.poll(context)).await
    }
}

/// A task that waits for a close. Its drop leaves no trace, and the close goes on.
struct CloseTask<'a> {
    inner: &'a Inner,
    answer: Arc<Oneshot<Closed>>,
}

impl CloseTask<'_> {
    fn poll(&self, context: &mut Context<'_>) -> Poll<Closed> {
        if self.inner.is_forked() {
            return Poll::Ready(Err(CloseError { report: Box::default(), reason: Reason::Forked }));
        }
        self.answer.poll(context)
    }
}

impl Drop for CloseTask<'_> {
    fn drop(&mut self) {
        // A child takes no lock.
        if !self.inner.is_forked() {
            self.answer.forget();
        }
    }
}
