//! The options of a logger as data, as a configuration file has them.

use std::error::Error;
use std::fmt;

use bufferedwriter::{BufferedWriter, CloseGuard, Config};
use log::SetLoggerError;

use crate::line::Format;
use crate::logger::{FilterError, Logger};

/// A logger and its files as data. With the feature `serde` it is read from TOML, JSON, YAML and the like.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("bw-log-config-{}", std::process::id()));
/// let file = r#"
///     filter = "info,app::db=debug"
///     format = "json"
///
///     [files]
///     path = "/var/log/app"
///     forced = "1s"
/// "#;
/// let mut config: bufferedwriter_log::LogConfig = toml::from_str(file)?;
/// config.files = config.files.env("APP_LOG_")?; // and over it the environment
/// # config.files = config.files.path(&dir).create_dirs(true);
/// let guard = config.init()?;
///
/// log::info!(port = 80; "ready");
/// # assert_eq!(guard.close()?.written.records, 1);
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogConfig {
    /// Which records are written, as for [`Logger::filter`]. Default: `"info"`.
    pub filter: String,
    /// What lines look like. Default: text.
    pub format: Format,
    /// Whether the time is written. Default: true.
    pub time: bool,
    /// Whether the target is written. Default: true.
    pub target: bool,
    /// Whether the source file and its line are written. Default: false.
    pub source: bool,
    /// The options of the files, under the names of the setters of [`Config`]. Default: those of `Config`.
    pub files: Config,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            filter: "info".to_owned(),
            format: Format::default(),
            time: true,
            target: true,
            source: false,
            files: Config::default(),
        }
    }
}

impl LogConfig {
    /// A logger with these options over files of yours; [`files`](Self::files) is not used.
    ///
    /// # Errors
    /// A directive of the filter can't be read.
    pub fn logger(&self, files: &BufferedWriter) -> Result<Logger, FilterError> {
        let logger = Logger::new(files, self.format).filter(&self.filter)?;
        let logger = logger.with_target(self.target).with_source(self.source);
        Ok(if self.time { logger } else { logger.without_time() })
    }

    /// Opens the files, makes this the program's logger, and returns the guard that closes the files.
    ///
    /// Let the guard live until the end of `main`, as with [`Logger::init`].
    ///
    /// # Errors
    /// A directive of the filter can't be read, the files can't be [opened](BufferedWriter::new), or the program has
    /// a logger. Then no file is left open.
    pub fn init(self) -> Result<CloseGuard, InitError> {
        // Before a directory is touched.
        crate::logger::parse(&self.filter).map_err(InitError::Filter)?;
        let files = BufferedWriter::new(self.files.clone()).map_err(InitError::Files)?;
        self.logger(&files).map_err(InitError::Filter)?.init().map_err(InitError::Taken)
    }
}

/// Why a [`LogConfig`] did not become the program's logger.
#[derive(Debug)]
#[non_exhaustive]
pub enum InitError {
    /// A directive of the filter can't be read.
    Filter(FilterError),
    /// The files can't be opened.
    Files(bufferedwriter::Error),
    /// The program has a logger.
    Taken(SetLoggerError),
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InitError::Filter(why) => why.fmt(f),
            InitError::Files(why) => write!(f, "open log files: {why}"),
            InitError::Taken(_) => f.write_str("set logger: the program has one"),
        }
    }
}

impl Error for InitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            InitError::Filter(why) => why.source(),
            InitError::Files(why) => Some(why),
            InitError::Taken(why) => Some(why),
        }
    }
}
