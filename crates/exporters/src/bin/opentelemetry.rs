//! A writer's metrics as instruments of OpenTelemetry, printed once.
//!
//!     cargo run --manifest-path crates/exporters/Cargo.toml --bin opentelemetry
//!
//! A service takes the exporter of opentelemetry-otlp in place of the one that prints.

use std::error::Error;
use std::time::Duration;

use bufferedwriter::{BufferedWriter, Config};
use bufferedwriter_metrics::{Kind, METRICS, Metric, Reading, Value};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_stdout::MetricExporter;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("bufferedwriter-otel-{}", std::process::id()));
    let config = Config::default().path(&dir).temp(dir.join("unfinished")).create_dirs(true);
    let files = BufferedWriter::new(config)?;

    let reader = PeriodicReader::builder(MetricExporter::default())
        .with_interval(Duration::from_secs(10))
        .build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    instruments(&provider.meter("bufferedwriter"), &files, "access");

    for request in 0..1000 {
        files.write(format!("GET /{request} 200\n").as_bytes())?;
    }
    files.close(Duration::from_secs(5))?;
    // The final counts. The instruments hold the writer until here.
    provider.shutdown()?;
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

/// An instrument for each metric, which reads the writer whenever it is collected.
fn instruments(meter: &Meter, files: &BufferedWriter, name: &'static str) {
    for metric in METRICS {
        let files = files.clone();
        let read = move || metric.read(&files.stats(), &files.health());
        let labels = move |reading: &Reading| labels(metric, reading, name);
        match metric.kind {
            Kind::Counter => {
                let counter = meter.u64_observable_counter(metric.name);
                counter
                    .with_description(metric.help)
                    .with_unit(unit(metric))
                    .with_callback(move |observer| {
                        for reading in read() {
                            if let Value::Counter(count) = reading.value {
                                observer.observe(count, &labels(&reading));
                            }
                        }
                    })
                    .build();
            }
            Kind::Gauge => {
                let gauge = meter.f64_observable_gauge(metric.name);
                gauge
                    .with_description(metric.help)
                    .with_unit(unit(metric))
                    .with_callback(move |observer| {
                        for reading in read() {
                            if let Value::Gauge(level) = reading.value {
                                observer.observe(level, &labels(&reading));
                            }
                        }
                    })
                    .build();
            }
        }
    }
}

fn labels(metric: &Metric, reading: &Reading, name: &'static str) -> Vec<KeyValue> {
    let mut labels = vec![KeyValue::new("writer", name)];
    labels.extend(reading.label.clone().map(|value| KeyValue::new(metric.label, value)));
    labels
}

/// As UCUM has it.
fn unit(metric: &Metric) -> &'static str {
    match metric.unit.as_str() {
        "bytes" => "By",
        "seconds" => "s",
        _ => "1",
    }
}
