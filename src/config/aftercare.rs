//! The options of what happens to published files: which stay, and the link to the newest.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::Config;

impl Config {
    /// Bytes of published files that stay; older files are deleted. Default 0 = all stay.
    ///
    /// The oldest files go first, by the time in their names. Files with this
    /// [`prefix`](Self::prefix) and [`extension`](Self::extension) count that belong to the user of
    /// this process, whichever writer made them. Each counts with the disk blocks that it takes.
    /// The newest file stays, however large it is. Temp files don't count, and are never deleted.
    ///
    /// A thread of its own deletes them, in [`new`](crate::BufferedWriter::new) and soon after a
    /// file was published: within a second, or less often where looking takes long, so that it takes
    /// at most 2 % of one processor. 100,000 files take 0.4 s, once in 20 s. The thread has 3 MiB of
    /// memory at most. [`Stats::retention`](crate::Stats::retention) shows what it did, and its
    /// error. An error is tried again with pauses of up to a minute.
    ///
    /// Many processes may retain files in one directory: each file is deleted once.
    ///
    /// ```
    /// use std::time::Duration;
    /// let config = bufferedwriter::Config::default()
    ///     .retain_bytes(10 << 30)
    ///     .retain_age(Duration::from_secs(30 * 86_400));
    /// ```
    pub fn retain_bytes(mut self, bytes: u64) -> Self {
        self.aftercare.retain.bytes = bytes;
        self
    }

    /// Number of published files that stay; older files are deleted. Default 0 = all stay.
    ///
    /// All that [`retain_bytes`](Self::retain_bytes) says holds. With several of these options, a
    /// file is deleted as soon as one of them says so.
    pub fn retain_files(mut self, files: u64) -> Self {
        self.aftercare.retain.files = files;
        self
    }

    /// Age at which published files are deleted, the newest one too. Default 0 = never.
    ///
    /// The age is the time from that in the file's name, which is when it was published, to what
    /// the wall clock shows. So a clock that is set back deletes nothing early. A clock that is set
    /// forth is believed, at the latest after a minute. All that
    /// [`retain_bytes`](Self::retain_bytes) says holds.
    pub fn retain_age(mut self, age: Duration) -> Self {
        self.aftercare.retain.age = age;
        self
    }

    /// Whether files stay until [`on_publish`](Self::on_publish) has acknowledged them, whatever the
    /// other `retain_` options say. Default true.
    ///
    /// A hook that fails for long then lets files pile up, until the disk is full. With false, files
    /// go as if there were no hook. It is still called for each of them, at least once, so it may be
    /// called for a file that is gone. An error for that would be tried again for ever: return `Ok`.
    ///
    /// Without a hook, or without another `retain_` option, this changes nothing.
    ///
    /// ```
    /// // The disk matters more than what the hook does with the files.
    /// let config = bufferedwriter::Config::default()
    ///     .retain_bytes(10 << 30)
    ///     .retain_unacknowledged(false)
    ///     .on_publish(|file| match std::fs::hard_link(&file.path, format!("/archive/{}", file.id)) {
    ///         Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
    ///         done => Ok(done?),
    ///     });
    /// ```
    pub fn retain_unacknowledged(mut self, retain: bool) -> Self {
        self.aftercare.retain.ignores_hook = !retain;
        self
    }

    /// A symbolic link that leads to the newest published file. Default: none.
    ///
    /// It is relative, and replaced at once: who opens it gets the newest file or the one before.
    /// A thread of its own sets it soon after a file became visible, and for the last time in
    /// `close`. With [`retain_age`](Self::retain_age), or if others remove files, it may lead
    /// nowhere.
    ///
    /// Let it lie outside of [`path`](Self::path): engines that list `path` would read that file
    /// twice. Its directory must exist, unless [`create_dirs`](Self::create_dirs) is set. `new`
    /// refuses a path that exists and is no symbolic link, and no such thing is ever replaced.
    /// [`Stats::latest_error`](crate::Stats::latest_error) shows why the link can't be set.
    pub fn latest(mut self, link: impl Into<PathBuf>) -> Self {
        self.aftercare.latest = Some(link.into());
        self
    }
}
