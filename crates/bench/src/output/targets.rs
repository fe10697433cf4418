//! The project's targets, beside what a run reached.
//!
//! Guarantees: a target whose measure is not in the report counts neither as met nor as missed.

use crate::output::table::{Table, number};
use crate::report::{
    LatencyRow, MEMCPY, NEW_CLOSE_DEFAULTS, PRODUCER, Report, SustainedRow, TRACING_APPENDER,
    WRITER, Which,
};

const SMALL: u64 = 8 << 10;
const LARGE: u64 = 64 << 10;

/// One line of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub what: String,
    pub aim: String,
    /// What was reached; `None` if it was not measured.
    pub reached: Option<f64>,
    pub unit: &'static str,
    pub is_met: Option<bool>,
}

impl Target {
    fn at_most(
        what: impl Into<String>,
        limit: f64,
        unit: &'static str,
        reached: Option<f64>,
    ) -> Self {
        let aim =
            if limit == 0.0 { format!("0{unit}") } else { format!("<= {}{unit}", short(limit)) };
        let is_met = reached.map(|reached| reached <= limit);
        Target { what: what.into(), aim, reached, unit, is_met }
    }

    fn below(
        what: impl Into<String>,
        limit: f64,
        unit: &'static str,
        reached: Option<f64>,
    ) -> Self {
        let aim = format!("< {}{unit}", short(limit));
        let is_met = reached.map(|reached| reached < limit);
        Target { what: what.into(), aim, reached, unit, is_met }
    }

    fn at_least(
        what: impl Into<String>,
        limit: f64,
        unit: &'static str,
        reached: Option<f64>,
    ) -> Self {
        let aim = format!(">= {}{unit}", short(limit));
        let is_met = reached.map(|reached| reached >= limit);
        Target { what: what.into(), aim, reached, unit, is_met }
    }
}

/// A limit as text; a fifteenth as a fraction.
fn short(limit: f64) -> String {
    if limit == (1.0 / 15.0) { "1/15".into() } else { limit.to_string() }
}

pub fn table(report: &Report) -> Table {
    let mut table = Table::new("Targets", "measure | target | reached | met").left(2);
    for target in targets(report) {
        let met = match target.is_met {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "-",
        };
        let reached = |value| format!("{}{}", number(value), target.unit);
        let reached = target.reached.map_or("not measured".into(), reached);
        table.row([target.what, target.aim, reached, met.into()]);
    }
    table.note("Instructions of a write are counted by scripts/instructions.");
    table
}

/// All targets, in the order of the measures.
pub fn targets(report: &Report) -> Vec<Target> {
    let mut targets = tight(report);
    targets.extend(latency(report));
    targets.extend(quiet(report));
    targets.extend(disk(report));
    targets.extend(two_threads(report));
    targets.extend(startup(report));
    targets
}

fn tight(report: &Report) -> Vec<Target> {
    let ratio = |subject: &str, buffer: u64, record: u64| {
        let rows = &report.measures.tight.as_ref()?.rows;
        let mut rows = rows.iter().filter(|row| row.subject == subject);
        let row = rows.find(|row| row.buffer_bytes == buffer && row.record_bytes == record)?;
        row.ratio.map(|ratio| ratio.median)
    };
    let limits = [
        (PRODUCER, LARGE, 128, 1.2),
        (PRODUCER, LARGE, 2048, 1.05),
        (PRODUCER, SMALL, 128, 1.6),
        (WRITER, LARGE, 128, 1.5),
        (WRITER, LARGE, 2048, 1.15),
    ];
    let target = |(subject, buffer, record, limit): (&str, u64, u64, f64)| {
        let defaults = if buffer == SMALL { ", default size" } else { "" };
        let what = format!("{subject}, tight loop, {record} bytes{defaults}");
        Target::at_most(what, limit, " x memcpy", ratio(subject, buffer, record))
    };
    limits.map(target).to_vec()
}

fn latency(report: &Report) -> Vec<Target> {
    let row = |subject: &str, which: Which| {
        let rows = &report.measures.latency.as_ref()?.rows;
        let mut rows = rows.iter().filter(|row| row.threads == 1 && row.which == which);
        rows.find(|row| row.subject.contains(subject) && row.buffer_bytes == LARGE)
    };
    let p999 = |subject| row(subject, Which::All).map(|row| row.p999_ns);
    let peer = p999(TRACING_APPENDER);
    let of = |subject: &str| {
        let (all, swap) = (row(subject, Which::All), row(subject, Which::SwapAlone));
        let of_peer = all.and_then(|row| Some(row.p999_ns / peer?));
        let get = |row: Option<&LatencyRow>, get: fn(&LatencyRow) -> Option<f64>| row.and_then(get);
        let what = |what: &str| format!("{subject}, {what}");
        let swap = swap.map(|row| row.p99_ns);
        [
            Target::at_most(what("paced, p99"), 10.0, " x memcpy", get(all, |row| row.ratio_p99)),
            Target::below(what("paced, p99"), 150.0, " ns", all.map(|row| row.p99_ns)),
            Target::at_most(what("paced, p99.9"), 3.0, " x memcpy", get(all, |row| row.ratio_p999)),
            Target::at_most(what("paced, p99.9"), 1.0 / 15.0, " x tracing-appender", of_peer),
            Target::below(what("the swap alone, p99"), 500.0, " ns", swap),
        ]
    };
    [of(PRODUCER), of(WRITER)].concat()
}

fn quiet(report: &Report) -> Vec<Target> {
    let of = |subject: &str| {
        let rows = report.measures.quiet.iter().flat_map(|quiet| &quiet.rows);
        let row = rows.clone().find(|row| row.subject == subject && row.buffer_bytes == LARGE);
        let calls = row.and_then(|row| row.calls_total());
        let faults = row.map(|row| row.faults_minor + row.faults_major);
        [
            Target::at_most(
                format!("{subject}, steady, system calls"),
                0.0,
                "",
                calls.map(|n| n as f64),
            ),
            Target::at_most(
                format!("{subject}, steady, page faults"),
                0.0,
                "",
                faults.map(|n| n as f64),
            ),
        ]
    };
    [of(PRODUCER), of(WRITER)].concat()
}

fn disk(report: &Report) -> Vec<Target> {
    let large = |row: &&SustainedRow| row.buffer_bytes == LARGE;
    let sustained: Vec<&SustainedRow> =
        report.measures.sustained.iter().flat_map(|all| &all.rows).filter(large).collect();
    let at_80 = sustained.iter().filter(|row| (row.fraction_of_disk - 0.8).abs() < 0.005);
    let at_80 = at_80.filter(|row| report.is_ours(&row.subject));
    let missing = at_80.map(|row| row.missing_share() * 100.0).reduce(f64::max);
    let landed = report.measures.landed.iter().flat_map(|landed| &landed.rows);
    let landed = landed.filter(|row| report.is_ours(&row.subject) && row.buffer_bytes == LARGE);
    let page_cache = landed.clone().map(|row| row.page_cache_mib).reduce(f64::max);
    let fastest = landed.filter(|row| row.complete).map(|row| row.synced_fraction_of_disk);
    vec![
        Target::at_most("sustained at 80 % of the disk, refused or lost", 0.0, " %", missing),
        Target::at_least(
            "landed flat out, and on the disk",
            0.9,
            " x disk",
            fastest.reduce(f64::max),
        ),
        Target::at_most("CPU per GB landed", 0.5, " x cheapest peer", cpu(report, &sustained)),
        Target::below("page cache left behind by a flat-out run", 64.0, " MiB", page_cache),
    ]
}

/// The cheapest call of this library against the cheapest peer, at the same load.
fn cpu(report: &Report, rows: &[&SustainedRow]) -> Option<f64> {
    let load = compared_load(report)?;
    Some(cheapest(report, rows, load, true)? / cheapest(report, rows, load, false)?)
}

/// The highest load, as a fraction of the disk's speed, that both a call of this library and a peer took.
pub fn compared_load(report: &Report) -> Option<f64> {
    let rows: Vec<&SustainedRow> =
        report.measures.sustained.iter().flat_map(|sustained| &sustained.rows).collect();
    let both = |load: &f64| [true, false].map(|ours| cheapest(report, &rows, *load, ours));
    let loads = rows.iter().map(|row| row.fraction_of_disk);
    loads.filter(|load| both(load).iter().all(Option::is_some)).reduce(f64::max)
}

fn cheapest(report: &Report, rows: &[&SustainedRow], load: f64, ours: bool) -> Option<f64> {
    let rows = rows.iter().filter(|row| row.fraction_of_disk == load && took_it(row));
    let rows = rows.filter(|row| report.is_ours(&row.subject) == ours && row.subject != MEMCPY);
    rows.filter_map(|row| row.cpu_s_per_gb).reduce(f64::min)
}

/// Whether it lost or refused less than one record in a hundred, and its callers reached the offered load.
pub fn took_it(row: &SustainedRow) -> bool {
    row.missing_share() < 0.01 && kept_up(row)
}

/// Whether its callers reached the offered load.
pub fn kept_up(row: &SustainedRow) -> bool {
    row.reached_mb_per_s >= 0.95 * row.offered_mb_per_s
}

fn two_threads(report: &Report) -> Vec<Target> {
    let of = |subject: &str| {
        let mut rows = report.measures.two_threads.iter().flat_map(|two| &two.rows);
        let row = rows.find(|row| row.subject == subject && row.buffer_bytes == LARGE);
        let ratio = row.and_then(|row| row.ratio).map(|ratio| ratio.median);
        Target::at_most(format!("{subject}, two threads against one"), 1.1, " x", ratio)
    };
    [PRODUCER, WRITER].map(of).to_vec()
}

fn startup(report: &Report) -> Vec<Target> {
    let startup = report.measures.startup.as_ref();
    let idle = startup.and_then(|startup| startup.idle);
    let wakeups = idle.map(|idle| (idle.wakeups_fresh + idle.wakeups_after_traffic) as f64);
    let mib = idle.map(|idle| idle.with_kib.saturating_sub(idle.without_kib) as f64 / 1024.0);
    let rows = startup.iter().flat_map(|startup| &startup.new_close);
    let mut rows = rows.filter(|row| row.subject == NEW_CLOSE_DEFAULTS);
    let new_close = rows.next().map(|row| row.median_ms);
    vec![
        Target::at_most("idle writer, wake-ups", 0.0, "", wakeups),
        Target::below("idle writer, resident memory", 1.0, " MiB", mib),
        Target::below("new + close, defaults", 3.0, " ms", new_close),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Described, Sustained, Tight, TightRow};
    use crate::stats;

    #[test]
    fn what_was_not_measured_is_not_met() {
        let targets = targets(&Report::default());
        assert!(targets.iter().all(|target| target.is_met.is_none() && target.reached.is_none()));
        assert!(table(&Report::default()).to_string().contains("not measured"));
    }

    #[test]
    fn the_right_row_is_compared_with_its_limit() {
        let row = |buffer_bytes, ratio| TightRow {
            subject: PRODUCER.into(),
            buffer_bytes,
            memory_bytes: 0,
            record_bytes: 128,
            ns: Some(3.0),
            ratio: stats::spread(vec![ratio]),
            crash_proof: None,
            rounds: 1,
            rounds_thrown_away: 0,
        };
        let mut report = Report::default();
        let rows = vec![row(LARGE, 1.3), row(SMALL, 1.3)];
        report.measures.tight = Some(Tight { rows, ..Tight::default() });
        let met: Vec<_> = tight(&report).iter().map(|target| target.is_met).collect();
        assert_eq!(met, [Some(false), None, Some(true), None, None]);
    }

    #[test]
    fn processor_time_is_compared_at_a_load_that_both_took() {
        let row = |subject: &str, fraction_of_disk, refused_records, cpu| SustainedRow {
            subject: subject.into(),
            buffer_bytes: LARGE,
            fraction_of_disk,
            accepted_records: 100,
            refused_records,
            offered_mb_per_s: 100.0,
            reached_mb_per_s: 99.0,
            cpu_s_per_gb: Some(cpu),
            ..SustainedRow::default()
        };
        let ours = |name: &str, ours| Described {
            name: name.into(),
            when_outrun: String::new(),
            ours,
            lands: true,
        };
        let rows = vec![
            row("peer", 0.5, 0, 1.0),
            row("peer", 0.8, 50, 0.1),
            row(PRODUCER, 0.5, 0, 0.4),
            row(PRODUCER, 0.8, 0, 0.4),
        ];
        let subjects = vec![ours("peer", false), ours(PRODUCER, true)];
        let mut report = Report { subjects, ..Report::default() };
        report.measures.sustained = Some(Sustained { rows, ..Sustained::default() });
        let reached: Vec<_> = disk(&report).iter().map(|target| target.reached).collect();
        assert_eq!(reached, [Some(0.0), None, Some(0.4), None]);
    }
}
