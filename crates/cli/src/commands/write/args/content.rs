//! What files hold beside lines, and how they come onto the disk.

use bufferedwriter::{Compression, Config, Durability, Io};
use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::commands::values::{Bytes, bytes};

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "What files hold")]
pub(super) struct Content {
    /// gzip or zstd, and perhaps a :LEVEL
    ///
    /// Gzip has levels 0 to 9, without one 6; zstd -7 to 19, without one 3. File names end with .gz or .zst; sizes
    /// of files are those on the disk.
    #[arg(long = "compress", alias = "compression", value_name = "CODEC", default_value = "none")]
    compression: Compression,

    /// First line of each file, such as the names of columns [default: none]
    ///
    /// It gets a newline if it has none, and is not counted as a line. After `@`, a file that holds the bytes,
    /// which are taken as they are; at most 4096 bytes.
    #[arg(long, value_name = "TEXT|@FILE", value_parser = OsStringValueParser::new().try_map(bytes), hide_short_help = true)]
    header: Option<Bytes>,

    /// Last line of each file, as with --header [default: none]
    #[arg(long, value_name = "TEXT|@FILE", value_parser = OsStringValueParser::new().try_map(bytes), hide_short_help = true)]
    footer: Option<Bytes>,

    /// Whether files are synced to the disk before they count as written: none, file
    ///
    /// none: the system writes back when it likes. file: a file and its name are on the disk before its lines
    /// count as written.
    #[arg(long, value_name = "WHEN", default_value = "none", hide_short_help = true)]
    durability: Durability,

    /// Whether files bypass the system's page cache: auto, direct, buffered
    ///
    /// auto: where that pays, with files of 1 MiB or more and memory for large writes. direct: if the file system
    /// can do that. buffered: never.
    #[arg(long, value_name = "HOW", default_value = "auto", hide_short_help = true)]
    io: Io,
}

impl Content {
    pub(super) fn compresses(&self) -> bool {
        self.compression != Compression::None
    }

    pub(super) fn apply(&self, config: Config) -> Config {
        config
            .compression(self.compression)
            .header(in_each_file(&self.header))
            .footer(in_each_file(&self.footer))
            .durability(self.durability)
            .io(self.io)
    }
}

fn in_each_file(bytes: &Option<Bytes>) -> &[u8] {
    bytes.as_ref().map_or(&[], |bytes| &bytes.0)
}
