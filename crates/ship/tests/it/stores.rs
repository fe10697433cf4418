//! Stores of other kinds: a directory, memory, and whichever server `scripts/ship-stores` has started.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use bufferedwriter_ship::{Access, After, Destination, Report, Shipper};
use futures_util::StreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::Runtime;

use crate::help::{Host, destination, name, runs};
use crate::http::{Forward, Upstream};
use crate::proxy::{Fault, Proxy};

fn once(host: &Host, to: &Destination) -> Report {
    Shipper::new(host.config(), to.clone()).unwrap().once()
}

#[test]
fn a_directory() {
    let host = Host::new();
    let store = host.dir.join("store");
    let address = format!("{}/logs", store.display());
    let to = Destination::open(&address, &Access::default()).unwrap();
    let key = format!("dt=2026-11-30/hour=12/{}", name(3));
    fs::create_dir_all(store.join("logs/dt=2026-11-30/hour=12")).unwrap();
    fs::write(store.join("logs").join(&key), "of somebody else").unwrap();
    let report = once(&host, &to);
    assert_eq!((report.stats.shipped, report.stats.conflicts), (2, 1), "{report:?}");
    assert_eq!(fs::read(store.join("logs").join(&key)).unwrap(), b"of somebody else");
    fs::remove_file(store.join("logs").join(&key)).unwrap();
    let files = host.files();
    let config = host.config().after(After::Delete);
    assert!(Shipper::new(config, to).unwrap().once().is_complete());
    for (key, body) in files {
        assert_eq!(fs::read(store.join(key)).unwrap(), body);
    }
    let unfinished = fs::read_dir(store.join("logs/_unfinished")).unwrap();
    assert_eq!(unfinished.count(), 0);
}

#[test]
fn a_store_of_the_caller() {
    let host = Host::new();
    let store = Arc::new(InMemory::new());
    let to = Destination::of(Arc::clone(&store) as Arc<dyn ObjectStore>, "logs", "mine").unwrap();
    assert_eq!(once(&host, &to).stats.shipped, 3);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (key, body) in host.files() {
        let found = runtime.block_on(async { store.get(&key.into()).await?.bytes().await });
        assert_eq!(found.unwrap(), body);
    }
}

/// Each fault at requests in turn, with a server that is not ours: `BUFFEREDWRITER_SHIP_S3` is its address, as
/// 127.0.0.1:5000, and has a bucket "bucket".
#[test]
fn a_server_of_others() {
    let Ok(address) = std::env::var("BUFFEREDWRITER_SHIP_S3") else {
        println!("skipped: BUFFEREDWRITER_SHIP_S3 is not set; scripts/ship-stores sets it");
        return;
    };
    let server = Arc::new(Forward(address.parse().unwrap()));
    let proxy = Proxy::new(server.clone());
    let (to, direct) = (destination(&proxy), Direct::new(&address));
    // S3 takes no smaller part.
    let part = 5 << 20;
    let (most, mut count, mut done) = (runs(40), 0, BTreeMap::new());
    for nth in 0..most {
        let host = Host::empty();
        // Names of their own, so that all runs have one bucket.
        let partition = format!("run={}-{nth}", std::process::id());
        host.publish(&partition, 1, 100);
        host.publish(&partition, 2, 2 * part + 17);
        let fault = Fault::OF_NETWORK[nth % Fault::OF_NETWORK.len()];
        let at_request = nth % 13;
        proxy.plan(move |at, _| (at == at_request).then_some(fault));
        let config = || host.config().multipart(part as u64).part(part as u64);
        let ship = || Shipper::new(config(), to.clone()).unwrap().once();
        let what = format!("{fault:?} at request {at_request}");
        let report = ship();
        assert!(report.is_complete(), "{what}: {report:?}");
        assert!(ship().is_complete());
        for (key, body) in host.files() {
            assert!(direct.get(&key) == body, "{what}: {key} differs");
        }
        assert_eq!(direct.count(&format!("logs/{partition}")), 2, "{what}");
        let uploads = String::from_utf8(list_uploads(&*server)).unwrap();
        assert_eq!(uploads.matches(&partition).count(), 0, "{what}: {uploads}");
        *done.entry(format!("{fault:?}")).or_insert(0) += 1;
        count += 1;
    }
    println!("runs with {address}: {count}, by kind: {done:?}");
    conflict(&proxy, &direct, &to);
}

/// Neither an upload in one request nor one in parts replaces what is there.
fn conflict(proxy: &Proxy, direct: &Direct, to: &Destination) {
    let host = Host::empty();
    let partition = format!("run={}-conflict", std::process::id());
    let key = |nth| format!("logs/{partition}/{}", name(nth));
    for (nth, bytes) in [(1, 100), (2, 11 << 20)] {
        host.publish(&partition, nth, bytes);
        direct.put(&key(nth), "of somebody else");
    }
    // The questions at the beginning say that nothing is there.
    proxy.plan(|at, request| (at < 2 && request.method == "HEAD").then_some(Fault::Status(404)));
    let config = host.config().multipart(5 << 20).part(5 << 20);
    let report = Shipper::new(config, to.clone()).unwrap().once();
    assert_eq!(report.stats.conflicts, 2, "{report:?} {:#?}", proxy.seen());
    for nth in [1, 2] {
        assert_eq!(direct.get(&key(nth)), b"of somebody else");
    }
}

/// A client of the server without the proxy.
struct Direct {
    store: AmazonS3,
    runtime: Runtime,
}

impl Direct {
    fn new(address: &str) -> Direct {
        let builder = AmazonS3Builder::from_env().with_endpoint(format!("http://{address}"));
        let builder = builder.with_allow_http(true).with_bucket_name("bucket");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Direct { store: builder.build().unwrap(), runtime }
    }

    fn get(&self, key: &str) -> Vec<u8> {
        let bytes = async { self.store.get(&key.into()).await?.bytes().await };
        self.runtime.block_on(bytes).unwrap().to_vec()
    }

    fn put(&self, key: &str, body: &'static str) {
        self.runtime.block_on(self.store.put(&key.into(), body.into())).unwrap();
    }

    fn count(&self, prefix: &str) -> usize {
        let prefix = prefix.into();
        self.runtime.block_on(self.store.list(Some(&prefix)).count())
    }
}

fn list_uploads(server: &dyn Upstream) -> Vec<u8> {
    let headers = vec![("host".to_owned(), "127.0.0.1".to_owned())];
    let (method, target) = ("GET".to_owned(), "/bucket?uploads".to_owned());
    server.answer(&crate::http::Request { method, target, headers, body: Vec::new() }).body
}
