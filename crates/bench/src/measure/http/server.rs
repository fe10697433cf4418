//! A hyper server on one thread that answers each request with the same small body and logs it.
//!
//! Guarantees: it listens on the loopback interface only and ends when it is told to.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use futures_util::stream::{FuturesUnordered, StreamExt};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::access::Formatter;
use crate::subject::Writer;

const BODY: &[u8] = &[b'.'; 512];

/// What all connections share: the thread's writer, if there is a subject, and counts.
pub struct Log<'a> {
    writer: Option<Box<dyn Writer + 'a>>,
    formatter: Formatter,
    pub requests: u64,
    pub refused: u64,
}

impl<'a> Log<'a> {
    pub fn new(writer: Option<Box<dyn Writer + 'a>>) -> Self {
        Log { writer, formatter: Formatter::default(), requests: 0, refused: 0 }
    }

    fn request(&mut self, peer: SocketAddr, request: &Request<Incoming>) {
        self.requests += 1;
        if let Some(writer) = &mut self.writer {
            let line = self.formatter.line(peer, request, StatusCode::OK, BODY.len());
            self.refused += u64::from(!writer.write(line));
        }
    }
}

/// Serves until `stop` is sent or dropped; first calls `ready` with the port.
pub fn serve<'a>(
    log: Log<'a>,
    stop: oneshot::Receiver<()>,
    ready: &mut dyn FnMut(u16) -> io::Result<()>,
) -> io::Result<Log<'a>> {
    let log = RefCell::new(log);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        ready(listener.local_addr()?.port())?;
        accept(&listener, &log, stop).await
    })?;
    Ok(log.into_inner())
}

async fn accept(
    listener: &TcpListener,
    log: &RefCell<Log<'_>>,
    mut stop: oneshot::Receiver<()>,
) -> io::Result<()> {
    // One task polls all connections, since a spawned task could not borrow the log.
    let mut connections = FuturesUnordered::new();
    loop {
        tokio::select! {
            _ = &mut stop => return Ok(()),
            accepted = listener.accept() => {
                let (stream, peer) = accepted?;
                connections.push(serve_one(stream, peer, log));
            }
            Some(()) = connections.next() => {}
        }
    }
}

async fn serve_one(stream: TcpStream, peer: SocketAddr, log: &RefCell<Log<'_>>) {
    // An error makes the connection slower or ends it, which shows in the client's result.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: Request<Incoming>| {
        log.borrow_mut().request(peer, &request);
        async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(BODY)))) }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
