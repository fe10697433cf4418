//! The setters of partitions. `naming/partition.rs` checks them.

use crate::config::Config;

impl Config {
    /// The directory below [`path`](Self::path) in which a file appears, such as
    /// `"dt=%Y-%m-%d/hour=%H"`. Default "" = `path` itself.
    ///
    /// It has codes of strftime for the time, in the [`time_zone`](Self::time_zone). Codes of a day,
    /// an hour or a minute are permitted, such as `%Y`, `%m`, `%d`, `%F`, `%H` and `%M`; `%-d` is
    /// without a leading zero, and `%%` is a percent sign. `{host}` is the machine's name, `{pid}`
    /// the process's id, and `{name}` a [`partition_value`](Self::partition_value).
    ///
    /// A record is in the partition of the time at which it was accepted, or, if it was accepted
    /// within 100 ms of a boundary, of the neighbouring one. For that, files are also published at
    /// the boundaries of the finest code: each day, hour or minute, if
    /// [`rotate_at`](Self::rotate_at) is not finer. What that says of late workers holds here too.
    /// While a file can't be published, it takes records of later partitions.
    ///
    /// Directories are created as they are needed. Each permits to its owner what 0o700 does, and to
    /// others to list it if [`mode`](Self::mode) lets them read files. Links are not followed below
    /// `path`. With [`Durability::File`](crate::Durability::File), the directories are synced up to `path`.
    ///
    /// [`new`](crate::BufferedWriter::new) refuses a template that could lead out of `path`, and one
    /// with a directory that begins with `.` or `_`, since query engines skip those. A directory's
    /// name has at most 255 bytes, all together at most 700. It also refuses a
    /// [`temp`](Self::temp) that is `path`, lies in it, or is on another file system, since engines
    /// would read unfinished files.
    ///
    /// ```
    /// let config = bufferedwriter::Config::default()
    ///     .path("/var/log/app/ready")
    ///     .temp("/var/log/app/unfinished")
    ///     .partition("app={app}/dt=%Y-%m-%d/hour=%H")
    ///     .partition_value("app", "shop");
    /// ```
    pub fn partition(mut self, template: impl Into<String>) -> Self {
        self.files.partition = template.into();
        self
    }

    /// What `{name}` stands for in a [`partition`](Self::partition). Default: no names but `{host}`
    /// and `{pid}`.
    ///
    /// A name has letters, digits and `_`; a value has neither `/` nor control characters. A second
    /// value for a name replaces the first. [`new`](crate::BufferedWriter::new) refuses names that
    /// the template does not have.
    pub fn partition_value(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.files.partition_values.push((name.into(), value.into()));
        self
    }
}
