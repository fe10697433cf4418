//! A service that logs, and answers Prometheus with the writer's metrics.
//!
//!     cargo run --manifest-path crates/exporters/Cargo.toml --bin prometheus -- 127.0.0.1:9150
//!     curl http://127.0.0.1:9150/metrics

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use bufferedwriter::{BufferedWriter, Config};
use bufferedwriter_metrics::Sampler;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9150".into());
    let dir =
        std::env::temp_dir().join(format!("bufferedwriter-prometheus-{}", std::process::id()));
    let files = BufferedWriter::new(
        Config::default()
            .path(dir.join("ready"))
            .temp(dir.join("unfinished"))
            .create_dirs(true)
            .forced(Duration::from_secs(1)),
    )?;
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let mut sampler = Sampler::new().label("writer", "access");
    let service = files.clone();
    thread::spawn(move || serve(&service));

    let listener = TcpListener::bind(address)?;
    println!("http://{}/metrics, files in {}", listener.local_addr()?, dir.display());
    for request in listener.incoming() {
        // What holds now, whenever Prometheus asks.
        sampler.sample(&files);
        if let Err(error) = answer(request?, &metrics) {
            eprintln!("a request failed: {error}");
        }
    }
    Ok(())
}

/// What the service does all day.
fn serve(files: &BufferedWriter) {
    for request in 0_u64.. {
        // A refused line is counted, and the metrics tell.
        let _ =
            files.record(|line| writeln!(line, "GET /{request} 200").map_err(|_| std::fmt::Error));
        thread::sleep(Duration::from_millis(1));
    }
}

fn answer(mut stream: TcpStream, metrics: &PrometheusHandle) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut head = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while head.read_line(&mut line)? > 2 {
        line.clear();
    }
    let page = metrics.render();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    )
}
