//! An access log for axum: a layer of tower that writes one line a request.
//!
//! `record` formats the line in the writer's memory, so a request pays no allocation and no system
//! call for it, and waits for nothing. When the memory is full, the line is dropped and counted: a
//! log must not slow a server down. `write_async` would wait instead.
//!
//! At SIGTERM or Ctrl-C axum serves what it has begun, and then `close_async` publishes the rest.
//!
//! `cargo run --bin axum` serves on port 3000 and writes to the directory `bufferedwriter-axum` in the
//! system's temp directory. With `-- DIR 100` it serves 100 requests of its own and ends.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::get;
use bufferedwriter::{BufferedWriter, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tower::{Layer, Service};

/// How long the end may take on a disk that hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// Logs each request that passes.
#[derive(Clone)]
struct AccessLog(BufferedWriter);

impl<S> Layer<S> for AccessLog {
    type Service = Logged<S>;
    fn layer(&self, inner: S) -> Logged<S> {
        Logged { inner, log: self.0.clone() }
    }
}

#[derive(Clone)]
struct Logged<S> {
    inner: S,
    log: BufferedWriter,
}

impl<S> Service<Request> for Logged<S>
where
    S: Service<Request, Response = Response>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (began, log) = (Instant::now(), self.log.clone());
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = response.await?;
            let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            // Refused while the memory is full, and counted: the report at the end tells.
            let _ = log.record(|line| {
                let (status, micros) = (response.status().as_u16(), began.elapsed().as_micros());
                writeln!(line, "{} {method} {uri} {status} {micros}us", time.as_millis())
            });
            Ok(response)
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let directory = arguments
        .next()
        .map_or_else(|| std::env::temp_dir().join("bufferedwriter-axum"), PathBuf::from);
    let requests = arguments.next().map(|n| n.to_string_lossy().parse()).transpose()?;
    let config = Config::default()
        .path(directory.join("ready"))
        .temp(directory.join("unfinished"))
        .create_dirs(true)
        .prefix("access_");
    let log = BufferedWriter::new(config)?;

    let app = Router::new().route("/", get(|| async { "hello\n" })).layer(AccessLog(log.clone()));
    // Any free port for requests of its own.
    let listener =
        TcpListener::bind(("127.0.0.1", if requests.is_some() { 0 } else { 3000 })).await?;
    let address = listener.local_addr()?;
    eprintln!("http://{address}/");
    let end = async move {
        match requests {
            Some(requests) => {
                if let Err(error) = visit(address, requests).await {
                    eprintln!("{error}");
                }
            }
            None => asked_to_end().await,
        }
    };
    axum::serve(listener, app).with_graceful_shutdown(end).await?;

    // No handle is in use any more, or what they write from now on is refused.
    let report = log.close_async(PATIENCE).await?;
    println!("{} lines in {} files", report.written.records, report.files);
    if !report.refused.total().is_zero() {
        eprintln!("{} lines were dropped", report.refused.total().records);
    }
    Ok(())
}

async fn asked_to_end() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Makes requests, half of which lead nowhere.
async fn visit(address: std::net::SocketAddr, requests: u32) -> std::io::Result<()> {
    for number in 0..requests {
        let path = if number % 2 == 0 { String::from("/") } else { format!("/missing/{number}") };
        let mut stream = TcpStream::connect(address).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_end(&mut Vec::new()).await?;
    }
    Ok(())
}
