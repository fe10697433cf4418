//! Directories with finished files, shippers of them, and whether each file has its object.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bufferedwriter_ship::{Access, Config, Destination, Report, Shipper};
use bufferedwriter_testkit::dir::TestDir;

use crate::http::Upstream;
use crate::proxy::Proxy;
use crate::s3::S3;

/// Files longer than this go in parts of half of it.
pub const MULTIPART: u64 = 1000;

/// Number of faulty runs that tests try: all of them, or the first ones.
pub fn runs(default: usize) -> usize {
    let set = std::env::var("BUFFEREDWRITER_SHIP_RUNS").ok();
    set.map_or(default, |runs| runs.parse().expect("a number of runs"))
}

/// The name of a finished file, older ones with smaller numbers.
pub fn name(nth: u32) -> String {
    format!("20261130T1200{nth:02}.000000000Z-00000000deadbeef-1-w0-{nth}.log")
}

/// A directory `out` with finished files: two small ones in a partition each, and a large one.
pub struct Host {
    pub dir: TestDir,
}

impl Host {
    pub fn new() -> Host {
        let host = Host { dir: TestDir::new() };
        host.publish("dt=2026-11-30/hour=11", 1, 100);
        host.publish("dt=2026-11-30/hour=12", 2, 2500);
        host.publish("dt=2026-11-30/hour=12", 3, 17);
        host
    }

    pub fn empty() -> Host {
        let host = Host { dir: TestDir::new() };
        fs::create_dir(host.out()).unwrap();
        host
    }

    pub fn out(&self) -> PathBuf {
        self.dir.join("out")
    }

    /// As a writer does: whole, by a rename.
    pub fn publish(&self, partition: &str, nth: u32, bytes: usize) -> PathBuf {
        let dir = self.out().join(partition);
        fs::create_dir_all(&dir).unwrap();
        let (temp, path) = (self.dir.join("temp"), dir.join(name(nth)));
        let line = format!("{nth} {partition}\n");
        fs::write(&temp, line.repeat(bytes.div_ceil(line.len()))).unwrap();
        fs::rename(&temp, &path).unwrap();
        path
    }

    /// For joined objects: a group that goes in one request, one that goes in parts, a file that finds no other one, and
    /// one that is too long.
    pub fn of_small_files() -> Host {
        let host = Host::empty();
        (1..=5).for_each(|nth| drop(host.publish("dt=2026-11-30/hour=11", nth, 150)));
        (6..=7).for_each(|nth| drop(host.publish("dt=2026-11-30/hour=12", nth, 570)));
        host.publish("dt=2026-11-30/hour=13", 8, 10);
        host.publish("dt=2026-11-30/hour=13", 9, 2500);
        host
    }

    /// Joins files of less than 600 bytes.
    pub fn joining(&self) -> Config {
        self.config().compact(600)
    }

    /// Its files, by their keys below a prefix.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(&self.out(), "logs", &mut files);
        files
    }

    pub fn config(&self) -> Config {
        Config::new(self.out())
            .multipart(MULTIPART)
            .part(MULTIPART / 2)
            .backoff_max(Duration::from_millis(1))
            .attempts(50)
    }
}

/// All files below, whatever their names are.
pub fn paths(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { paths(&path) } else { vec![path] }).collect()
}

pub fn collect(dir: &Path, key: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let key = format!("{key}/{}", entry.file_name().to_str().unwrap());
        match entry.file_type().unwrap().is_dir() {
            true => collect(&entry.path(), &key, files),
            false => drop(files.insert(key, fs::read(entry.path()).unwrap())),
        }
    }
}

/// A store in memory behind a proxy.
pub struct Cloud {
    pub s3: Arc<S3>,
    pub proxy: Proxy,
    destination: Destination,
}

impl Cloud {
    pub fn new() -> Cloud {
        let s3 = Arc::new(S3::default());
        let proxy = Proxy::new(Arc::clone(&s3) as Arc<dyn Upstream>);
        let destination = destination(&proxy);
        Cloud { s3, proxy, destination }
    }

    /// Empty again, without faults. A new one would cost more: its clients read all certificates of the system.
    pub fn reset(&self) {
        self.proxy.plan(|_, _| None);
        self.s3.clear();
    }

    pub fn destination(&self) -> Destination {
        self.destination.clone()
    }

    pub fn once(&self, config: Config) -> Report {
        Shipper::new(config, self.destination()).unwrap().once()
    }

    /// What engines read.
    pub fn visible(&self) -> BTreeMap<String, Vec<u8>> {
        let objects = self.s3.objects().into_iter().map(|(key, object)| (key, object.body));
        objects.filter(|(key, _)| !key.contains("/_")).collect()
    }

    /// Each record of the files is in one object, once, and nothing was replaced.
    #[track_caller]
    pub fn assert_once(&self, files: &BTreeMap<String, Vec<u8>>, what: &str) {
        assert_holds(&self.visible(), files, what);
        assert_eq!(self.s3.overwritten(), [""; 0], "{what}: overwritten");
    }

    /// And nothing was left unfinished.
    #[track_caller]
    pub fn assert_joined(&self, files: &BTreeMap<String, Vec<u8>>, what: &str) {
        self.assert_once(files, what);
        assert_eq!(self.s3.uploads(), 0, "{what}: unfinished uploads: {:#?}", self.proxy.seen());
    }

    /// Each file has its object, with its bytes.
    #[track_caller]
    pub fn assert_has_bytes(&self, files: &BTreeMap<String, Vec<u8>>, what: &str) {
        let objects = self.s3.objects();
        for (key, body) in files {
            assert!(objects.get(key).is_some_and(|one| one.body == *body), "{what}: {key} differs");
        }
    }

    /// Each file has its object, with its bytes, made once; nothing else is there.
    #[track_caller]
    pub fn assert_has(&self, files: &BTreeMap<String, Vec<u8>>, what: &str) {
        let objects = self.s3.objects();
        let (keys, expected): (Vec<_>, Vec<_>) = (objects.keys().collect(), files.keys().collect());
        assert_eq!(keys, expected, "{what}: {:#?}", self.proxy.seen());
        for (key, body) in files {
            assert!(objects[key].body == *body, "{what}: {key} differs");
        }
        assert_eq!(self.s3.overwritten(), [""; 0], "{what}: overwritten");
        assert_eq!(self.s3.uploads(), 0, "{what}: unfinished uploads: {:#?}", self.proxy.seen());
    }
}

/// Each line of the files is in the objects as often as in the files, in the right partition. An object holds files
/// from their beginning to their end.
#[track_caller]
pub fn assert_holds(
    objects: &BTreeMap<String, Vec<u8>>,
    files: &BTreeMap<String, Vec<u8>>,
    what: &str,
) {
    let lines = |all: &BTreeMap<String, Vec<u8>>| {
        let mut lines = BTreeMap::<(String, String), usize>::new();
        for (key, body) in all {
            let (dir, _) = key.rsplit_once('/').unwrap();
            for line in String::from_utf8(body.clone()).unwrap().split_inclusive('\n') {
                *lines.entry((dir.to_owned(), line.to_owned())).or_default() += 1;
            }
        }
        lines
    };
    let (held, expected) = (lines(objects), lines(files));
    for (line, count) in &expected {
        assert_eq!(held.get(line), Some(count), "{what}: {line:?}: {:?}", objects.keys());
    }
    assert_eq!(held.len(), expected.len(), "{what}: others");
}

/// The destination that all tests have, at this proxy.
pub fn destination(proxy: &Proxy) -> Destination {
    destination_within(proxy, Access::default().timeout)
}

/// With another time for each request.
pub fn destination_within(proxy: &Proxy, timeout: Duration) -> Destination {
    let mut access = Access::default();
    access.timeout = timeout;
    access.allow_http = true;
    access.endpoint = Some(proxy.endpoint());
    access.region = Some("us-east-1".to_owned());
    // Without credentials, clients would ask a cloud's service for some.
    assert!(std::env::var_os("AWS_ACCESS_KEY_ID").is_some(), "set by .cargo/config.toml");
    Destination::open("s3://bucket/logs", &access).unwrap()
}
