//! The system's news of new files: inotify. Where there is none, or too little of it, listing again stands in.

use std::path::{Path, PathBuf};

/// What is new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// A name, below the directory, that appeared. It may be a file of ours, or a directory.
    Name(PathBuf),
    /// Names were missed: list everything.
    Missed,
}

#[cfg(target_os = "linux")]
mod system {
    use super::*;
    use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
    use std::collections::HashMap;
    use std::ffi::OsStr;
    use std::mem::MaybeUninit;
    use std::os::fd::OwnedFd;
    use std::os::unix::ffi::OsStrExt;
    use tokio::io::unix::AsyncFd;

    /// Watches directories. The default watches nothing. Without inotify, as where its limits are used up, it never tells anything.
    #[derive(Default)]
    pub(crate) struct Watch {
        fd: Option<AsyncFd<OwnedFd>>,
        dirs: HashMap<i32, PathBuf>,
        is_partial: bool,
    }

    impl Watch {
        /// Within a runtime.
        pub(crate) fn new() -> Watch {
            let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok();
            // SAFETY: the descriptor is owned, and nobody closes or replaces it while it is registered.
            #[allow(unsafe_code, reason = "tokio has no safe way")]
            let fd = fd.and_then(|fd| unsafe { AsyncFd::register(fd) }.ok());
            Watch { is_partial: fd.is_none(), fd, dirs: HashMap::new() }
        }

        /// Whether some directory is not watched, so that only listing shows its files.
        pub(crate) fn is_partial(&self) -> bool {
            self.is_partial
        }

        /// Before it is listed, so that nothing comes between.
        pub(crate) fn add(&mut self, from: &Path, dir: &Path) {
            let Some(fd) = &self.fd else { return };
            let flags = WatchFlags::MOVED_TO | WatchFlags::CREATE | WatchFlags::ONLYDIR;
            match inotify::add_watch(fd.get_ref(), from.join(dir), flags) {
                Ok(watch) => drop(self.dirs.insert(watch, dir.to_owned())),
                Err(_) => self.is_partial = true,
            }
        }

        /// Returns once there is something.
        pub(crate) async fn next(&mut self) -> Vec<News> {
            let Watch { fd: Some(fd), dirs, .. } = self else {
                return std::future::pending().await;
            };
            loop {
                let Ok(mut ready) = fd.readable().await else { return vec![News::Missed] };
                let mut buffer = [MaybeUninit::uninit(); 16 << 10];
                let mut reader = inotify::Reader::new(fd.get_ref(), &mut buffer);
                let mut news = Vec::new();
                loop {
                    match reader.next() {
                        Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => {
                            news.push(News::Missed);
                        }
                        Ok(event) if event.events().contains(ReadFlags::IGNORED) => {
                            dirs.remove(&event.wd());
                        }
                        Ok(event) => {
                            let name =
                                event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                            if let (Some(dir), Some(name)) = (dirs.get(&event.wd()), name) {
                                news.push(News::Name(dir.join(name)));
                            }
                        }
                        Err(_) => {
                            ready.clear_ready();
                            break;
                        }
                    }
                    if reader.is_buffer_empty() {
                        break;
                    }
                }
                if !news.is_empty() {
                    return news;
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::*;

    /// There is none here.
    #[derive(Default)]
    pub(crate) struct Watch;

    impl Watch {
        pub(crate) fn new() -> Watch {
            Watch
        }

        pub(crate) fn is_partial(&self) -> bool {
            true
        }

        pub(crate) fn add(&mut self, _: &Path, _: &Path) {}

        pub(crate) async fn next(&mut self) -> Vec<News> {
            std::future::pending().await
        }
    }
}

pub(crate) use system::Watch;
