//! Promise: each option that is data can be read from a file or the environment, by the name of its setter. What is
//! written is read as the same options. A wrong key or value is refused, and the error says where and why.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use bufferedwriter::{Boundary, Compression, Config, CrashProof, Durability, Io};
use proptest::collection::btree_map;
use proptest::prelude::*;
use proptest::sample::select;

use crate::support::not_unicode;

/// The options, as their debug output has them: `Config` can't be compared, since closures can't.
fn shown(config: &Config) -> String {
    format!("{config:?}")
}

fn toml_error(text: &str) -> String {
    toml::from_str::<Config>(text).expect_err(text).to_string()
}

fn json_error(text: &str) -> String {
    serde_json::from_str::<Config>(text).expect_err(text).to_string()
}

/// As people write it.
const FILE: &str = r#"
size = "64 KiB"
queue_size = 7
workers = "3"
path = "/var/log/app"
temp = "/var/log/.app"
create_dirs = true
prefix = "access_"
extension = "ndjson"
mode = "0640"
file_size = "8KB"
file_age = "1m30s"
forced = 0
rotate_at = "15m"
time_zone = "Asia/Kathmandu"
partition = "app={app}/dt=%F"
durability = "file"
io = "buffered"
compression = "zstd:3"
header = "time,line\n"
footer = "end\n"
crash_proof = "auto"
populate = "true"
recorder = "64MiB"
dump_on_close = true
min_free = "1GiB"
max_total = 10000
retain_bytes = "10 GB"
retain_files = 20
retain_age = "30 days"
retain_unacknowledged = false
latest = "/var/log/current"
manifest = "/var/log/app.ndjson"
give_up_after = "2m"
recover = false
start_on_full_disk = true
drop_timeout = "500ms"

[partition_value]
app = "shop"
"#;

fn as_set_in_code() -> Config {
    Config::default()
        .size(64 << 10)
        .recorder(bufferedwriter::Recorder::Last(64 << 20))
        .dump_on_close(true)
        .queue_size(7)
        .workers(3)
        .path("/var/log/app")
        .temp("/var/log/.app")
        .create_dirs(true)
        .prefix("access_")
        .extension("ndjson")
        .mode(0o640)
        .file_size(8000)
        .file_age(Duration::from_secs(90))
        .forced(Duration::ZERO)
        .rotate_at(Boundary::Minutes(15))
        .time_zone("Asia/Kathmandu")
        .partition("app={app}/dt=%F")
        .partition_value("app", "shop")
        .durability(Durability::File)
        .io(Io::Buffered)
        .compression(Compression::Zstd(3))
        .header("time,line\n")
        .footer("end\n")
        .crash_proof(CrashProof::Auto)
        .populate(true)
        .min_free(1 << 30)
        .max_total(10_000)
        .retain_bytes(10_000_000_000)
        .retain_files(20)
        .retain_age(Duration::from_secs(30 * 86_400))
        .retain_unacknowledged(false)
        .latest("/var/log/current")
        .manifest("/var/log/app.ndjson")
        .give_up_after(Duration::from_secs(120))
        .recover(false)
        .start_on_full_disk(true)
        .drop_timeout(Duration::from_millis(500))
}

#[test]
fn a_file_says_what_setters_say() {
    let config: Config = toml::from_str(FILE).unwrap();
    assert_eq!(shown(&config), shown(&as_set_in_code()));
    // So this test has them all.
    let table: toml::Table = FILE.parse().unwrap();
    assert!(Config::keys().all(|key| table.contains_key(key)));
}

#[test]
fn each_setter_but_those_of_closures_has_a_key() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config");
    let mut setters = BTreeSet::new();
    for file in ["mod.rs", "aftercare.rs", "partition.rs", "recorder.rs"] {
        let text = fs::read_to_string(dir.join(file)).unwrap();
        // rustfmt may put `mut self` on a line of its own.
        let text = text.replace("(\n        mut self", "(mut self");
        for line in text.lines().filter_map(|line| line.trim().strip_prefix("pub fn ")) {
            let (name, rest) = line.split_once(['(', '<']).unwrap();
            if rest.contains("mut self") {
                setters.insert(name.to_owned());
            }
        }
    }
    // Replaces the file system, for tests.
    let no_data = ["on_error", "on_publish", "fs"];
    let expected: BTreeSet<String> =
        setters.into_iter().filter(|name| !no_data.contains(&name.as_str())).collect();
    let keys: BTreeSet<String> = Config::keys().map(str::to_owned).collect();
    assert_eq!(keys, expected);
}

#[test]
fn high_throughput_is_the_defaults_with_more_memory() {
    let config = Config::high_throughput();
    let expected = Config::default().size(64 << 10).queue_size(1016);
    assert_eq!(shown(&config), shown(&expected));
    // With pointers of 32 bits what keeps accounts of chunks is smaller.
    let less = u64::from(cfg!(target_pointer_width = "32"));
    assert!((72 - less..=72).contains(&(config.memory_bound() as u64 >> 20)));
    assert!((13 - less..=13).contains(&(Config::default().memory_bound() as u64 >> 20)));
}

#[test]
fn an_empty_file_says_the_defaults() {
    for config in [toml::from_str::<Config>("").unwrap(), serde_json::from_str("{}").unwrap()] {
        assert_eq!(shown(&config), shown(&Config::default()));
    }
}

#[test]
fn what_a_file_leaves_out_is_written_with_its_default() {
    let written = toml::to_string(&Config::default()).unwrap();
    let table: toml::Table = written.parse().unwrap();
    let missing: Vec<_> = Config::keys().filter(|key| !table.contains_key(*key)).collect();
    assert_eq!(missing, ["latest", "manifest", "partition_value"], "{written}");
    for (key, text) in
        [("size", "8KiB"), ("file_size", "64MiB"), ("file_age", "10s"), ("mode", "0600")]
    {
        assert_eq!(table[key].as_str(), Some(text), "{key}");
    }
}

#[test]
fn an_unknown_key_is_refused_where_it_stands_with_the_one_that_was_meant() {
    let error = toml_error("size = 1\nworker = 4\n");
    assert!(error.contains("line 2, column 1"), "{error}");
    assert!(error.contains("unknown key `worker`, did you mean `workers`?"), "{error}");
    let error = json_error(r#"{"size": 1, "queue-size": 4}"#);
    assert!(
        error.starts_with("unknown key `queue-size`, did you mean `queue_size`? at line 1"),
        "{error}"
    );
    assert_eq!(
        toml_error("on_publish = \"true\"").lines().last(),
        Some("unknown key `on_publish`: it is a closure, which the program sets")
    );
    assert!(toml_error("speed = 1").ends_with("unknown key `speed`\n"));
    assert!(json_error(r#"{"size": 1, "size": 2}"#).starts_with("key `size` is given twice"));
}

#[test]
fn a_wrong_value_is_refused_where_it_stands_with_its_key() {
    let error = toml_error("workers = 4\nsize = \"64 apples\"\n");
    assert!(error.contains("line 2, column 8"), "{error}");
    assert!(
        error.contains("size = \"64 apples\": not a size, such as 8192, 8KB or 64KiB"),
        "{error}"
    );
    for (text, message) in [
        (
            r#"{"forced": 5}"#,
            "forced = \"5\": not a duration with a unit, such as 100ms, 5s or 1m30s",
        ),
        (
            r#"{"forced": "5"}"#,
            "forced = \"5\": not a duration with a unit, such as 100ms, 5s or 1m30s",
        ),
        (r#"{"mode": 640}"#, "mode = \"640\": must be octal text in quotes, such as \"0640\""),
        (r#"{"size": -1}"#, "size = \"-1\": not a size"),
        (r#"{"size": 1.5}"#, "size = \"1.5\": not a whole number of bytes"),
        (r#"{"size": true}"#, "size: must be text, in quotes"),
        (r#"{"workers": "four"}"#, "workers = \"four\": not a whole number, such as 8"),
        (r#"{"workers": -4}"#, "workers = \"-4\": not a whole number, such as 8"),
        (r#"{"populate": 1}"#, "populate = \"1\": not true or false"),
        (r#"{"populate": "yes"}"#, "populate = \"yes\": not true or false"),
        (r#"{"path": null}"#, "path: has no value"),
        (r#"{"prefix": 2026}"#, "prefix = \"2026\": must be text, in quotes"),
        (r#"{"io": "fast"}"#, "io = \"fast\": not one of auto, direct, buffered"),
        (r#"{"durability": "disk"}"#, "durability = \"disk\": not one of none, file"),
        (
            r#"{"compression": "zstd:x"}"#,
            "compression = \"zstd:x\": the level of a codec is a whole number",
        ),
        (r#"{"crash_proof": "atuo"}"#, "crash_proof = \"atuo\": not one of off, auto"),
        (r#"{"rotate_at": "week"}"#, "rotate_at = \"week\": not a boundary"),
        (r#"{"partition_value": "a=b"}"#, "partition_value = \"a=b\": needs a name"),
        (r#"{"partition_value": {"app": 5}}"#, "partition_value.app: must be text, in quotes"),
        (r#"{"partition_value": {"a": "x", "a": "y"}}"#, "key `partition_value.a` is given twice"),
        (
            r#"{"partition_value": {"a": "x"}, "partition_value.a": "y"}"#,
            "key `partition_value.a` is given twice",
        ),
        (
            r#"{"partition_value.a": "x", "partition_value": {"a": "y"}}"#,
            "key `partition_value.a` is given twice",
        ),
        (
            r#"{"header": [1, 2]}"#,
            "invalid type: sequence, expected a text, a number, true or false for `header`",
        ),
        (r#"{"path": {"a": "b"}}"#, "path: must be text, not a table"),
        ("[]", "invalid type: sequence, expected a table of options"),
    ] {
        let error = json_error(text);
        assert!(error.starts_with(message), "{text}: {error}");
        assert!(error.contains(" at line 1 column "), "{text}: {error}");
    }
}

#[test]
fn a_range_is_checked_by_new() {
    let config = toml::from_str::<Config>("workers = 0").unwrap();
    let error = bufferedwriter::BufferedWriter::new(config).expect_err("no workers");
    assert_eq!(error.to_string(), "option workers is 0; permitted: 1 to 256");
}

#[test]
fn null_and_the_empty_text_are_no_path_where_there_may_be_none() {
    for text in [r#"{"latest": null, "manifest": null}"#, r#"{"latest": "", "manifest": ""}"#] {
        let config = serde_json::from_str::<Config>(text).unwrap();
        assert_eq!(shown(&config), shown(&Config::default()), "{text}");
    }
}

#[test]
fn off_is_a_word_or_a_flag() {
    // A reader of YAML makes a flag of the word.
    for (text, expected) in [
        (r#"{"crash_proof": false}"#, CrashProof::Off),
        (r#"{"crash_proof": "off"}"#, CrashProof::Off),
        (r#"{"crash_proof": true}"#, CrashProof::Auto),
        (r#"{"crash_proof": "/mem"}"#, CrashProof::Dir("/mem".into())),
    ] {
        let config = serde_json::from_str::<Config>(text).unwrap();
        assert_eq!(shown(&config), shown(&Config::default().crash_proof(expected)), "{text}");
    }
}

#[test]
fn the_environment_changes_what_it_names_and_nothing_else() {
    let vars = [
        ("LOG_QUEUE_SIZE", "7"),
        ("LOG_FORCED", "1s"),
        ("LOG_CREATE_DIRS", "true"),
        ("LOG_LATEST", ""),
        ("LOG_PARTITION_VALUE_App", "a=b,c"),
        ("LOGS", "x"),
        ("HOME", "/root"),
    ];
    let file = || toml::from_str::<Config>(FILE).unwrap();
    let config = file().vars("LOG_", vars).unwrap();
    let expected =
        file().latest("/l").queue_size(7).forced(Duration::from_secs(1)).create_dirs(true);
    let expected = expected.partition_value("App", "a=b,c").set("latest", "").unwrap();
    assert_eq!(shown(&config), shown(&expected));
    assert_eq!(config.get("partition_value.App").unwrap(), "a=b,c");
    assert!(config.get("partition_value").is_none() && config.get("worker").is_none());
    // A later value of a name takes the place of the first.
    let config = file().vars("LOG_", [("LOG_PARTITION_VALUE_app", "blog")]).unwrap();
    assert!(shown(&config).contains(r#"partition_values: [("app", "blog")]"#), "{config:?}");
}

#[test]
fn an_error_of_the_environment_names_the_variable() {
    for (name, value, message) in [
        ("LOG_WORKER", "4", "LOG_WORKER: unknown key `worker`, did you mean `workers`?"),
        ("LOG_WORKERS", "four", "LOG_WORKERS = \"four\": not a whole number, such as 8"),
        ("LOG_", "x", "LOG_: unknown key ``"),
        (
            "LOG_PARTITION_VALUE",
            "app",
            "LOG_PARTITION_VALUE = \"app\": needs a name, as in partition_value.app, or a table of names",
        ),
    ] {
        let error = Config::default().vars("LOG_", [(name, value)]).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
    let error = Config::default().set("size", "64 apples").unwrap_err();
    assert_eq!(error.to_string(), "size = \"64 apples\": not a size, such as 8192, 8KB or 64KiB");
    assert_eq!(error.operation(), "size");
}

#[test]
fn no_variable_of_the_prefix_is_passed_over() {
    let error = |names: &[std::ffi::OsString]| {
        let vars = names.iter().map(|name| (name.clone(), "7"));
        Config::default().vars("LOG_", vars).unwrap_err().to_string()
    };
    let odd = not_unicode("LOG_WORKERS");
    assert_eq!(
        error(std::slice::from_ref(&odd)),
        format!("{odd:?}: the variable's name is not Unicode")
    );
    let twins = "LOG_WORKERS and LOG_workers are variables of the same option";
    assert_eq!(error(&["LOG_workers".into(), "LOG_WORKERS".into()]), twins);
    let twins =
        "LOG_PARTITION_VALUE_app and LOG_partition_value_app are variables of the same option";
    assert_eq!(error(&["LOG_PARTITION_VALUE_app".into(), "LOG_partition_value_app".into()]), twins);
    // Names that differ in case are two, and other prefixes are not looked at.
    let vars =
        ["LOG_PARTITION_VALUE_app", "LOG_PARTITION_VALUE_APP"].map(|name| (name.into(), "7"));
    let other = (not_unicode("LOGS_"), "7");
    let config = Config::default().vars("LOG_", vars.into_iter().chain([other])).unwrap();
    assert_eq!(config.get("partition_value.APP"), config.get("partition_value.app"));
}

#[test]
fn names_from_the_environment_may_be_any_bytes() {
    let odd = not_unicode("a");
    let names = ["path", "temp", "prefix", "extension"];
    let vars = names.map(|name| (format!("LOG_{}", name.to_uppercase()), odd.clone()));
    let config = Config::default().vars("LOG_", vars).unwrap();
    let expected = Config::default().path(&odd).temp(&odd).prefix(&odd).extension(&odd);
    assert_eq!(shown(&config), shown(&expected));
    let error = toml::to_string(&config).expect_err("TOML is UTF-8").to_string();
    assert!(error.contains(&format!("path: {odd:?} is not UTF-8")), "{error}");
}

prop_compose! {
    /// Any memory and files.
    fn parts()(
        size in any::<usize>(),
        queue_size in any::<usize>(),
        workers in 0..1000_usize,
        crash_proof in select(vec![CrashProof::Off, CrashProof::Auto, CrashProof::Dir("/a b".into())]),
        flags in any::<[bool; 5]>(),
        texts in any::<[String; 8]>(),
        mode in any::<u32>(),
        choices in (select(vec![Io::Auto, Io::Direct, Io::Buffered]), select(vec![Durability::None, Durability::File])),
        compression in prop_oneof![
            Just(Compression::None),
            any::<u32>().prop_map(Compression::Gzip),
            any::<i32>().prop_map(Compression::Zstd),
        ],
        boundary in prop_oneof![
            Just(Boundary::Never),
            Just(Boundary::Day),
            any::<u32>().prop_map(Boundary::Minutes),
            any::<u32>().prop_map(Boundary::Hours),
        ],
    ) -> Config {
        let [path, temp, prefix, extension, time_zone, partition, header, footer] = texts;
        let [populate, create_dirs, recover, on_full_disk, _] = flags;
        Config::default()
            .size(size)
            .queue_size(queue_size)
            .workers(workers)
            .crash_proof(crash_proof)
            .populate(populate)
            .create_dirs(create_dirs)
            .recover(recover)
            .start_on_full_disk(on_full_disk)
            .path(path)
            .temp(temp)
            .prefix(prefix)
            .extension(extension)
            .time_zone(time_zone)
            .partition(partition)
            .header(header)
            .footer(footer)
            .mode(mode)
            .io(choices.0)
            .durability(choices.1)
            .compression(compression)
            .rotate_at(boundary)
    }
}

prop_compose! {
    /// Any options that are data.
    fn configs()(
        config in parts(),
        sizes in any::<[u64; 5]>(),
        shift in 0..64_u32,
        times in any::<[Duration; 5]>(),
        // An empty path is refused by `check`, and here means none.
        paths in any::<[Option<String>; 2]>(),
        values in btree_map(any::<String>(), any::<String>(), 0..3),
    ) -> Config {
        let [min_free, max_total, bytes, files, file_size] = sizes.map(|size| size >> shift << (shift / 2));
        let [forced, file_age, age, give_up, drop] = times;
        let config = config
            .min_free(min_free)
            .max_total(max_total)
            .retain_bytes(bytes)
            .retain_files(files)
            .file_size(file_size)
            .forced(forced)
            .file_age(file_age)
            .retain_age(age)
            .give_up_after(give_up)
            .drop_timeout(drop);
        let config = values.into_iter().fold(config, |config, (name, value)| config.partition_value(name, value));
        let [latest, manifest] = paths.map(|path| path.filter(|path| !path.is_empty()));
        let config = latest.into_iter().fold(config, Config::latest);
        manifest.into_iter().fold(config, Config::manifest)
    }
}

/// Each value as a text, in variables of the environment.
fn variables(config: &Config) -> BTreeMap<String, String> {
    let text = |value: &serde_json::Value| value.as_str().map_or(value.to_string(), str::to_owned);
    let serde_json::Value::Object(options) = serde_json::to_value(config).unwrap() else {
        panic!("a table");
    };
    let mut vars = BTreeMap::new();
    for (key, value) in &options {
        let name = format!("LOG_{}", key.to_uppercase());
        match value.as_object() {
            Some(parts) => vars
                .extend(parts.iter().map(|(part, value)| (format!("{name}_{part}"), text(value)))),
            None => drop(vars.insert(name, text(value))),
        }
    }
    vars
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_written_is_read_as_the_same_options(config in configs()) {
        let json = serde_json::to_string(&config).unwrap();
        prop_assert_eq!(shown(&serde_json::from_str::<Config>(&json).unwrap()), shown(&config));
        let text = toml::to_string(&config).unwrap();
        prop_assert_eq!(shown(&toml::from_str::<Config>(&text).unwrap()), shown(&config));
        let from_vars = Config::default().vars("LOG_", variables(&config)).unwrap();
        prop_assert_eq!(shown(&from_vars), shown(&config));
        for key in Config::keys().filter(|key| *key != "partition_value") {
            let again = config.clone().set(key, config.get(key).unwrap_or_default()).unwrap();
            prop_assert_eq!(shown(&again), shown(&config));
        }
    }
}
