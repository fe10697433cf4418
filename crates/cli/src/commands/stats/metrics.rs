//! Writers as metrics, in the text format of Prometheus.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use bufferedwriter::{Health, InstanceStats, Stats};
use bufferedwriter_metrics::{Exposed, Kind, begin, exposition, sample};

use crate::commands::stats::id::id;

/// Name and meaning.
const UP: (&str, &str) = ("bufferedwriter_up", "Whether the writer lives");

type Labels = Vec<(String, String)>;

fn labels(prefix: &std::ffi::OsStr, path: &Path, writer: String) -> Labels {
    let label = |name: &str, value: String| (name.to_owned(), value);
    vec![
        label("prefix", prefix.to_string_lossy().into_owned()),
        label("path", path.to_string_lossy().into_owned()),
        label("writer", writer),
    ]
}

fn labelled(labels: &Labels, stats: Stats, health: Health) -> Exposed {
    let exposed = Exposed::new(stats, health);
    labels.iter().fold(exposed, |exposed, (name, value)| exposed.label(name, value))
}

/// The metrics of a writer of this process.
pub(crate) fn of_writer(
    stats: Stats,
    health: Health,
    prefix: &std::ffi::OsStr,
    path: &Path,
) -> String {
    let labels = labels(prefix, path, std::process::id().to_string());
    let mut text = String::new();
    begin(&mut text, UP.0, Kind::Gauge, UP.1);
    sample(&mut text, UP.0, &labels, None, "1");
    text + &exposition(&[labelled(&labels, stats, health)])
}

/// All these writers.
pub(super) fn text(found: &[InstanceStats]) -> String {
    let of = |it: &InstanceStats| labels(&it.prefix, &it.path, id(it));
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&InstanceStats) -> Option<String>| {
        let mut values = found.iter().filter_map(|it| Some((of(it), value(it)?))).peekable();
        if values.peek().is_some() {
            begin(&mut text, name, Kind::Gauge, help);
        }
        values.for_each(|(labels, value)| sample(&mut text, name, &labels, None, &value));
    };
    let up = |it: &InstanceStats| Some(u8::from(it.is_alive).to_string());
    gauge(UP.0, UP.1, &up);
    gauge("bufferedwriter_start_time_seconds", "When the writer was started, since 1970", &|it| {
        it.last_refresh.as_ref().map(|told| seconds(told.started))
    });
    gauge("bufferedwriter_refresh_time_seconds", "When the writer counted, since 1970", &|it| {
        it.last_refresh.as_ref().map(|told| seconds(told.refreshed))
    });
    let told = found.iter().filter_map(|it| Some((it, it.last_refresh.clone()?)));
    let exposed: Vec<Exposed> =
        told.map(|(it, told)| labelled(&of(it), told.stats, told.health)).collect();
    text + &exposition(&exposed)
}

fn seconds(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64().to_string()
}
