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

fn collect(dir: &Path, key: &str, files: &mut BTreeMap<String, Vec<u8>>) {
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

/// The destination that all tests have, at this proxy.
pub fn destination(proxy: &Proxy) -> Destination {
    let mut access = Access::default();
    access.allow_http = true;
    access.endpoint = Some(proxy.endpoint());
    access.region = Some("us-east-1".to_owned());
    // Without credentials, clients would ask a cloud's service for some.
    assert!(std::env::var_os("AWS_ACCESS_KEY_ID").is_some(), "set by .cargo/config.toml");
    Destination::open("s3://bucket/logs", &access).unwrap()
}
