//! Promise: each number of `Stats` and `Health` reaches the program's recorder under the name that the guide has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bufferedwriter::{BufferedWriter, Config};
use bufferedwriter_metrics::{Kind, METRICS, Sampler};
use bufferedwriter_testkit::dir::TestDir;
use bufferedwriter_testkit::wait::until;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString,
    Unit,
};

const DEADLINE: Duration = Duration::from_secs(20);

/// What was reported last, by name and labels.
#[derive(Clone, Default)]
struct Seen {
    values: Arc<Mutex<BTreeMap<String, f64>>>,
    described: Arc<Mutex<BTreeMap<String, (Unit, String)>>>,
}

struct Cell {
    seen: Seen,
    key: String,
}

impl Cell {
    fn of(seen: &Seen, key: &Key) -> Arc<Self> {
        let labels: Vec<_> = key.labels().map(|l| format!("{}={}", l.key(), l.value())).collect();
        Arc::new(Cell {
            seen: seen.clone(),
            key: format!("{}{{{}}}", key.name(), labels.join(",")),
        })
    }

    fn change(&self, change: impl Fn(&mut f64)) {
        change(self.seen.values.lock().unwrap().entry(self.key.clone()).or_default());
    }
}

impl CounterFn for Cell {
    fn increment(&self, value: u64) {
        self.change(|old| *old += value as f64);
    }

    fn absolute(&self, value: u64) {
        self.change(|old| *old = value as f64);
    }
}

impl GaugeFn for Cell {
    fn increment(&self, value: f64) {
        self.change(|old| *old += value);
    }

    fn decrement(&self, value: f64) {
        self.change(|old| *old -= value);
    }

    fn set(&self, value: f64) {
        self.change(|old| *old = value);
    }
}

impl Seen {
    fn describe(&self, key: KeyName, unit: Option<Unit>, help: SharedString) {
        let all = (unit.expect("a unit"), help.to_string());
        self.described.lock().unwrap().insert(key.as_str().to_owned(), all);
    }

    /// Samples, and returns the names with their labels and values.
    fn sample(&self, sampler: &mut Sampler, files: &BufferedWriter) -> BTreeMap<String, f64> {
        metrics::with_local_recorder(self, || sampler.sample(files));
        self.values.lock().unwrap().clone()
    }
}

impl Recorder for Seen {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe(key, unit, help);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe(key, unit, help);
    }

    fn describe_histogram(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        unreachable!("{key:?} is no histogram");
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Cell::of(self, key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Cell::of(self, key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        unreachable!("{key:?} is no histogram");
    }
}

/// Directories of a writer with two workers.
struct Dirs {
    _root: TestDir,
    path: PathBuf,
    temp: PathBuf,
}

impl Dirs {
    fn new() -> Self {
        let root = TestDir::new();
        let (path, temp) = (root.path().join("ready"), root.path().join("unfinished"));
        Dirs { _root: root, path, temp }
    }

    fn config(&self) -> Config {
        Config::default().path(&self.path).temp(&self.temp).create_dirs(true).workers(2)
    }
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[test]
fn a_label_is_there_once() {
    let (dirs, seen) = (Dirs::new(), Seen::default());
    let files = BufferedWriter::new(dirs.config()).unwrap();
    let sampler = Sampler::new().label("worker", "mine").label("writer", "old");
    let values = seen.sample(&mut sampler.label("writer", "new"), &files);
    let has = |key: &str| assert!(values.contains_key(key), "{key}: {values:?}");
    has("bufferedwriter_worker_backlog_chunks{writer=new,worker=1}");
    has("bufferedwriter_accepted_records_total{worker=mine,writer=new}");
}

#[test]
fn what_a_writer_counts_is_reported() {
    let (dirs, seen) = (Dirs::new(), Seen::default());
    let files = BufferedWriter::new(dirs.config()).unwrap();
    let mut sampler = Sampler::new().label("writer", "access");
    files.write(b"12345").unwrap();
    let values = seen.sample(&mut sampler, &files);
    let of = |name: &str| values[&format!("bufferedwriter_{name}")];
    assert_eq!(of("accepted_records_total{writer=access}"), 1.0);
    assert_eq!(of("accepted_bytes_total{writer=access}"), 5.0);
    assert_eq!(of("written_records_total{writer=access}"), 0.0);
    assert_eq!(of("pending_bytes{writer=access}"), 5.0);
    assert_eq!(of("lost_records_total{writer=access,cause=gave_up}"), 0.0);
    assert_eq!(of("worker_backlog_chunks{writer=access,worker=1}"), 0.0);
    assert_eq!(of("healthy{writer=access}"), 1.0);
    // Neither a guard nor a hook.
    assert!(!values.keys().any(|key| key.contains("r_disk_guard") || key.contains("acknowledged")));

    files.close(DEADLINE).unwrap();
    assert!(files.write(b"late").is_err());
    let values = seen.sample(&mut sampler, &files);
    let of = |name: &str| values[&format!("bufferedwriter_{name}")];
    assert_eq!(of("written_bytes_total{writer=access}"), 5.0);
    assert_eq!(of("files_total{writer=access}"), 1.0);
    assert_eq!(of("pending_records{writer=access}"), 0.0);
    assert_eq!(of("refused_records_total{writer=access,cause=closed}"), 1.0);
    assert_eq!(of("refused_bytes_total{writer=access,cause=closed}"), 4.0);
}

#[test]
fn counters_go_on_with_the_next_writer() {
    let (dirs, seen) = (Dirs::new(), Seen::default());
    for records in 1..=3 {
        let files = BufferedWriter::new(dirs.config()).unwrap();
        let mut sampler = Sampler::new();
        files.write(b"record").unwrap();
        let values = seen.sample(&mut sampler, &files);
        // Nothing is counted twice.
        let again = seen.sample(&mut sampler, &files);
        assert_eq!(values["bufferedwriter_accepted_records_total{}"], f64::from(records));
        assert_eq!(again["bufferedwriter_accepted_records_total{}"], f64::from(records));
        files.close(DEADLINE).unwrap();
        let values = seen.sample(&mut sampler, &files);
        assert_eq!(values["bufferedwriter_written_records_total{}"], f64::from(records));
    }
}

#[test]
fn a_writer_with_all_options_reports_all_metrics() {
    let (dirs, seen) = (Dirs::new(), Seen::default());
    let config = dirs
        .config()
        .min_free(1)
        .max_total(1 << 40)
        .retain_files(1)
        .latest(dirs.path.with_file_name("latest"))
        .manifest(dirs.path.with_file_name("manifest"))
        .on_publish(|_| Err("never".into()));
    let files = BufferedWriter::new(config).unwrap();
    let mut sampler = Sampler::new();
    files.write(b"record").unwrap();
    files.flush(DEADLINE).unwrap();
    until("the hook has failed", || {
        seen.sample(&mut sampler, &files)["bufferedwriter_hook_stalled{}"] == 1.0
    });
    let values = seen.sample(&mut sampler, &files);
    assert_eq!(values["bufferedwriter_unacknowledged_files{}"], 1.0);
    assert_eq!(values["bufferedwriter_listed_files_total{}"], 1.0);
    assert_eq!(values["bufferedwriter_healthy{}"], 0.0);
    assert!(values["bufferedwriter_hook_stall_attempts{}"] >= 1.0);
    let names: BTreeSet<&str> = values.keys().map(|key| key.split('{').next().unwrap()).collect();
    let expected: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(names, expected);
    let described = seen.described.lock().unwrap();
    for metric in METRICS {
        assert_eq!(described[metric.name], (metric.unit, metric.help.to_owned()));
    }
    drop(files.close(Duration::ZERO));
}

#[test]
fn a_worker_that_is_held_up_shows_as_such_until_it_goes_on() {
    let (dirs, seen) = (Dirs::new(), Seen::default());
    let files = BufferedWriter::new(dirs.config().forced(Duration::from_millis(1))).unwrap();
    let mut sampler = Sampler::new();
    fs::rename(&dirs.temp, dirs.temp.with_extension("away")).unwrap();
    fs::rename(&dirs.path, dirs.path.with_extension("away")).unwrap();
    files.write(b"record").unwrap();
    let stalled = |values: &BTreeMap<String, f64>| {
        (0..2)
            .map(|worker| values[&format!("bufferedwriter_worker_stalled{{worker={worker}}}")])
            .sum::<f64>()
    };
    until("a worker fails", || stalled(&seen.sample(&mut sampler, &files)) == 1.0);
    let values = seen.sample(&mut sampler, &files);
    let most = |name: &str| {
        let of = |worker| values[&format!("bufferedwriter_worker_stall_{name}{{worker={worker}}}")];
        f64::max(of(0), of(1))
    };
    assert!(most("seconds") > 0.0 && most("attempts") >= 1.0);
    assert_eq!(values["bufferedwriter_healthy{}"], 0.0);
    fs::rename(dirs.temp.with_extension("away"), &dirs.temp).unwrap();
    fs::rename(dirs.path.with_extension("away"), &dirs.path).unwrap();
    until("it goes on", || stalled(&seen.sample(&mut sampler, &files)) == 0.0);
    files.close(DEADLINE).unwrap();
}

/// Where each field is reported, or why not. `Stats` and `Health` themselves are in no list.
const FIELDS: &[(&str, &str)] = &[
    ("Stats::accepted", "accepted_"),
    ("Stats::written", "written_"),
    ("Stats::pending", "pending_"),
    ("Stats::lost", "lost_"),
    ("Stats::overwritten", "overwritten_"),
    ("Stats::refused", "refused_"),
    ("Stats::files", "files_total"),
    ("Stats::files_bytes", "files_bytes_total"),
    ("Stats::memory_bytes", "memory_bytes"),
    ("Stats::memory_bound_bytes", "memory_bound_bytes"),
    ("Stats::temp_dir", "a path"),
    ("Stats::workers", "worker_"),
    ("Stats::disk_guard", "disk_guard_"),
    ("Stats::missing", "missing"),
    ("Stats::publishing", "listed_files_total"),
    ("Stats::retention", "retention_failing"),
    ("Stats::latest_error", "latest_failing"),
    ("WorkerStats::backlog_chunks", "worker_backlog_chunks"),
    ("WorkerStats::temp_file_bytes", "worker_temp_file_bytes"),
    ("WorkerStats::temp_file", "worker_temp_file"),
    ("WorkerStats::temp_file_is_direct", "worker_temp_file_direct"),
    ("WorkerStats::codec_time", "worker_codec_seconds"),
    ("WorkerStats::last_error", "worker_stalled"),
    ("GuardStats::refuses", "disk_guard_refuses"),
    ("GuardStats::free_bytes", "disk_guard_free_bytes"),
    ("GuardStats::total_bytes", "disk_guard_total_bytes"),
    ("GuardStats::measured_at", "disk_guard_age_seconds"),
    ("GuardStats::last_error", "disk_guard_failing"),
    ("RetentionStats::files_deleted", "deleted_files_total"),
    ("RetentionStats::bytes_deleted", "deleted_bytes_total"),
    ("RetentionStats::held_by", "retention_held"),
    ("RetentionStats::last_error", "retention_failing"),
    ("PublishStats::listed", "listed_files_total"),
    ("PublishStats::unlisted", "unlisted_files"),
    ("PublishStats::acknowledged", "acknowledged_files_total"),
    ("PublishStats::gone", "gone_files_total"),
    ("PublishStats::unacknowledged", "unacknowledged_files"),
    ("Missing::locks", "missing"),
    ("Missing::permissions", "missing"),
    ("Health::stalls", "worker_stalled"),
    ("Health::manifest", "manifest_stalled"),
    ("Health::hook", "hook_stalled"),
    ("Stall::worker", "worker_stalled"),
    ("Stall::error", "a text"),
    ("Stall::since", "worker_stall_seconds"),
    ("Stall::lasting", "worker_stall_seconds"),
    ("Stall::attempts", "worker_stall_attempts"),
    ("Stall::held_chunks", "worker_stall_chunks"),
    ("Stall::held_in_file", "worker_stall_file_"),
    ("ManifestStall::error", "a text"),
    ("ManifestStall::since", "manifest_stall_seconds"),
    ("ManifestStall::attempts", "manifest_stall_attempts"),
    ("HookStall::file", "a path"),
    ("HookStall::error", "a text"),
    ("HookStall::since", "hook_stall_seconds"),
    ("HookStall::lasting", "hook_stall_seconds"),
    ("HookStall::attempts", "hook_stall_attempts"),
    ("HookStall::unacknowledged", "unacknowledged_files"),
];

#[test]
fn each_field_has_a_metric() {
    let mut found = BTreeSet::new();
    for file in ["stats.rs", "health.rs", "published.rs"] {
        let text = fs::read_to_string(root().join("src/report").join(file)).unwrap();
        let mut of = "";
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("pub struct ") {
                of = name.split(' ').next().unwrap();
            } else if line == "}" {
                of = "";
            }
            let field = line.strip_prefix("    pub ").and_then(|line| line.split_once(": "));
            if let Some((field, _)) = field.filter(|_| !of.is_empty()) {
                found.insert(format!("{of}::{field}"));
            }
        }
    }
    // These are labels, or are told to the hook and not counted.
    let others = ["Count::", "Lost::", "Refused::", "PublishedFile::", "ErrorEvent::"];
    found.retain(|field| !others.iter().any(|other| field.starts_with(other)));
    let listed: BTreeSet<String> = FIELDS.iter().map(|(field, _)| (*field).to_owned()).collect();
    assert_eq!(found, listed);
    for (field, place) in FIELDS {
        let there =
            METRICS.iter().any(|metric| metric.name["bufferedwriter_".len()..].starts_with(place));
        assert!(there || ["a path", "a text"].contains(place), "{field}: no metric {place}");
    }
}

/// The labels of causes are the fields of the two structures.
#[test]
fn each_cause_has_a_label() {
    let text = fs::read_to_string(root().join("src/report/stats.rs")).unwrap();
    let dirs = Dirs::new();
    let files = BufferedWriter::new(dirs.config()).unwrap();
    for (of, name) in [("Refused", "refused_records_total"), ("Lost", "lost_bytes_total")] {
        let body = text.split(&format!("pub struct {of} {{\n")).nth(1).unwrap();
        let body = body.split("\n}").next().unwrap();
        let fields: Vec<&str> = body
            .lines()
            .filter_map(|line| line.strip_prefix("    pub ")?.strip_suffix(": Count,"))
            .collect();
        let metric = METRICS.iter().find(|metric| metric.name.ends_with(name)).unwrap();
        let readings = metric.read(&files.stats(), &files.health());
        let labels: Vec<_> =
            readings.iter().map(|reading| reading.label.as_deref().unwrap()).collect();
        assert_eq!(labels, fields);
    }
    files.close(DEADLINE).unwrap();
}

#[test]
fn the_guide_has_the_table() {
    let guide = fs::read_to_string(root().join("docs/guide/metrics.md")).unwrap();
    let rows: Vec<&str> =
        guide.lines().filter(|line| line.starts_with("| `bufferedwriter_")).collect();
    let row = |metric: &bufferedwriter_metrics::Metric| {
        let kind = if metric.kind == Kind::Counter { "counter" } else { "gauge" };
        let (unit, label) = (metric.unit.as_str(), metric.label);
        format!("| `{}` | {kind} | {unit} | {label} | {} |", metric.name, metric.help)
    };
    let expected: Vec<String> = METRICS.iter().map(row).collect();
    assert_eq!(rows, expected);
}

#[test]
fn names_end_with_their_units() {
    for metric in METRICS {
        let name = metric.name.strip_suffix("_total");
        assert_eq!(name.is_some(), metric.kind == Kind::Counter, "{}", metric.name);
        let name = name.unwrap_or(metric.name);
        assert_eq!(name.ends_with("_bytes"), metric.unit == Unit::Bytes, "{name}");
        assert_eq!(name.ends_with("_seconds"), metric.unit == Unit::Seconds, "{name}");
    }
}

/// The names of metrics in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let ends = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    text.split(ends).filter(|word| word.starts_with("bufferedwriter_")).collect()
}

#[test]
fn the_dashboard_and_the_guide_name_metrics_that_exist() {
    let known: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    let guide = fs::read_to_string(root().join("docs/guide/metrics.md")).unwrap();
    assert!(names(&guide).is_subset(&known));
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards/grafana.json"));
    let dashboard: serde_json::Value = serde_json::from_str(&text.unwrap()).unwrap();
    let mut named = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let in_panel = names(target["expr"].as_str().unwrap());
            assert!(!in_panel.is_empty(), "{panel}");
            named.extend(in_panel.into_iter().map(str::to_owned));
        }
    }
    let unknown: Vec<_> = named.iter().filter(|name| !known.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(named.len() > 20);
}
