//! A proxy before a store that does each N-th request harm, one kind after the other: `flaky UPSTREAM N`. It prints its
//! address, and at the end of its input how many requests it has seen. For `scripts/fleet`.

#[path = "../tests/it/http.rs"]
mod http;
#[path = "../tests/it/proxy.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod proxy;

use std::io::Read;
use std::sync::Arc;

use http::Forward;
use proxy::{Fault, Proxy};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next =
        |what: &str| arguments.next().unwrap_or_else(|| panic!("flaky UPSTREAM N: no {what}"));
    let upstream = next("UPSTREAM").parse().expect("an address such as 127.0.0.1:5000");
    let every: usize = next("N").parse().expect("a number");
    let proxy = Proxy::new(Arc::new(Forward(upstream)));
    proxy.plan(move |nth, _| {
        let is_hit = nth % every == every - 1;
        is_hit.then(|| Fault::OF_NETWORK[nth / every % Fault::OF_NETWORK.len()])
    });
    println!("{}", proxy.address);
    // Until whoever started it is gone.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    let seen = proxy.seen().len();
    println!("{seen} requests, {} of them met a fault", seen / every);
}
