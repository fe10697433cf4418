//! The report as tables: one or more for each measure, and one for the targets.

use std::cmp::Reverse;

use crate::output::table::{Table, bytes, count, known, number, ratio};
use crate::output::targets;
use crate::report::{
    Http, Landed, Latency, LatencyRow, Quiet, Report, Spread, Startup, Sustained, SustainedRow,
    Tight, TwoThreads, Which,
};

/// All tables, in the order of the measures.
pub fn tables(report: &Report) -> Vec<Table> {
    let measures = &report.measures;
    let mut tables = vec![run(report)];
    tables.extend(measures.tight.iter().flat_map(tight));
    tables.extend(measures.two_threads.as_ref().map(two_threads));
    tables.extend(measures.latency.iter().flat_map(latency));
    tables.extend(measures.quiet.as_ref().map(quiet));
    tables.extend(measures.startup.iter().flat_map(startup));
    tables.extend(measures.sustained.as_ref().map(|found| sustained(report, found)));
    tables.extend(measures.landed.as_ref().map(landed));
    tables.extend(measures.http.as_ref().map(http));
    tables.extend(skipped(report));
    tables.push(targets::table(report));
    tables
}

fn run(report: &Report) -> Table {
    let machine = &report.machine;
    let mut table = Table::new("Run", " | ").left(2);
    let mut line = |name: &str, value: String| table.row([name.into(), value]);
    line(
        "machine",
        format!("{}, {} cores, {} MiB", machine.cpu, machine.cores, machine.memory_mib),
    );
    line("kernel", machine.kernel.clone());
    line("file system", machine.file_system.clone());
    if let Some(speed) = machine.disk_mb_per_s {
        line("disk, direct", format!("{} MB/s", number(speed)));
    }
    line("date", report.date.clone());
    if let Some(commit) = &report.commit {
        let dirty = if commit.dirty { ", with changes" } else { "" };
        line("commit", format!("{}{dirty}", commit.hash));
    }
    line("command", report.command.clone());
    table
}

fn tight(tight: &Tight) -> Vec<Table> {
    let mut sizes: Vec<u64> = tight.rows.iter().map(|row| row.record_bytes).collect();
    sizes.dedup();
    let header = "subject | buffers | ns | x memcpy | quartiles | rounds | thrown away";
    let of_size = |size: u64| {
        let title = format!("Cost of an accepted write in a tight loop, records of {size} bytes");
        let mut table = Table::new(title, header);
        for row in tight.rows.iter().filter(|row| row.record_bytes == size) {
            table.row([
                row.subject.clone(),
                bytes(row.buffer_bytes),
                known(row.ns),
                ratio(row.ratio.map(|ratio| ratio.median)),
                quartiles(row.ratio),
                count(row.rounds),
                count(row.rounds_thrown_away),
            ]);
        }
        for row in tight.rows.iter().filter(|row| row.record_bytes == size) {
            if let Some(Spread { median, low, high }) = row.crash_proof {
                let (subject, buffers) = (&row.subject, bytes(row.buffer_bytes));
                table.note(format!(
                    "{subject}, {buffers}: {median:.3} ({low:.2} to {high:.2}) times the same call without."
                ));
            }
        }
        table.note(format!(
            "Rounds of {}; medians over {} repetitions. Rounds with refusals were thrown away.",
            bytes(tight.round_bytes),
            tight.repetitions
        ));
        table
    };
    sizes.into_iter().map(of_size).collect()
}

fn quartiles(spread: Option<Spread>) -> String {
    spread.map_or("-".into(), |spread| format!("{:.2} to {:.2}", spread.low, spread.high))
}

fn two_threads(two: &TwoThreads) -> Table {
    let header = "subject | buffers | one, ns | two, ns | ratio | quartiles | rounds";
    let title = format!("Two threads against one, records of {} bytes", two.record_bytes);
    let mut table = Table::new(title, header);
    for row in &two.rows {
        table.row([
            row.subject.clone(),
            bytes(row.buffer_bytes),
            known(row.one_ns),
            known(row.two_ns),
            ratio(row.ratio.map(|ratio| ratio.median)),
            quartiles(row.ratio),
            count(row.rounds),
        ]);
    }
    table
}

fn latency(latency: &Latency) -> Vec<Table> {
    let mut threads: Vec<u64> = latency.rows.iter().map(|row| row.threads).collect();
    threads.sort_unstable();
    threads.dedup();
    let around = |row: &LatencyRow| matches!(row.which, Which::FastAroundSwap | Which::SwapAlone);
    let mut tables: Vec<Table> = Vec::new();
    for threads in threads {
        let plural = if threads == 1 { "" } else { "s" };
        let title = format!(
            "Latency of a write in bursts of {}, {threads} thread{plural}, ns",
            latency.burst_records
        );
        let of_threads = latency.rows.iter().filter(|row| row.threads == threads && !around(row));
        tables.push(percentiles(title, of_threads));
    }
    if latency.rows.iter().any(around) {
        let title = "Latency of a write in bursts around a swap, 1 thread, ns".into();
        tables.push(percentiles(title, latency.rows.iter().filter(|row| around(row))));
    }
    if let Some(table) = tables.last_mut() {
        table.note(format!(
            "Records of {} bytes, pauses of {} to {} us. Subtracted for the clock: {} ns; its steps: {} ns.",
            latency.record_bytes,
            latency.pause_us_min,
            latency.pause_us_max,
            number(latency.timer_overhead_ns),
            number(latency.timer_step_ns),
        ));
    }
    tables
}

fn percentiles<'a>(title: String, rows: impl Iterator<Item = &'a LatencyRow>) -> Table {
    let header = "subject | buffers | writes | p50 | p90 | p99 | p99.9 | p99.99 | max | \
        p99 x memcpy | p99.9 x memcpy | count | refused";
    let mut table = Table::new(title, header).left(3);
    for row in rows {
        let which = match row.which {
            Which::All => "all",
            Which::Fast | Which::FastAroundSwap => "fast path",
            Which::Swap | Which::SwapAlone => "swap",
        };
        let ns = [row.p50_ns, row.p90_ns, row.p99_ns, row.p999_ns, row.p9999_ns, row.max_ns];
        let mut cells = vec![row.subject.clone(), bytes(row.buffer_bytes), which.into()];
        cells.extend(ns.map(|ns| count(ns.round() as u64)));
        cells.extend([ratio(row.ratio_p99), ratio(row.ratio_p999)]);
        cells.extend([count(row.writes), count(row.refused)]);
        table.row(cells);
    }
    table
}

fn quiet(quiet: &Quiet) -> Table {
    let title = format!(
        "What the kernel does for a writing thread, {} records/s of {} bytes",
        count(quiet.records_per_s),
        quiet.record_bytes
    );
    let header = "subject | buffers | writes | system calls | faults | major | gave up CPU | \
        lost CPU | refused | calls";
    let mut table = Table::new(title, header);
    for row in &quiet.rows {
        let named = row.calls.iter().flatten().map(|(name, count)| format!("{name} {count}"));
        let about = if row.is_extrapolated { "about " } else { "" };
        table.row([
            row.subject.clone(),
            bytes(row.buffer_bytes),
            count(row.writes),
            row.calls_total().map_or("-".into(), |calls| format!("{about}{}", count(calls))),
            count(row.faults_minor),
            count(row.faults_major),
            count(row.switches_voluntary),
            count(row.switches_involuntary),
            count(row.refused),
            named.collect::<Vec<_>>().join(", "),
        ]);
    }
    table.note(
        "Lost CPU: another thread of this machine, not always of this process, took the processor.",
    );
    table
}

fn startup(startup: &Startup) -> Vec<Table> {
    let mut start = Table::new("Start and end", "subject | median, ms | p90, ms | max, ms | runs");
    for row in &startup.new_close {
        let ms = [row.median_ms, row.p90_ms, row.max_ms].map(number);
        start.row([row.subject.clone()].into_iter().chain(ms).chain([count(row.runs)]));
    }
    let mut tables = vec![start];
    if let Some(idle) = &startup.idle {
        let header = " | with | without | difference";
        let mut table = Table::new("An idle writer with the defaults, KiB", header);
        let pairs = [
            ("resident", idle.with_kib, idle.without_kib),
            ("private", idle.private_with_kib, idle.private_without_kib),
        ];
        for (name, with, without) in pairs {
            table.row([
                name.into(),
                count(with),
                count(without),
                count(with.saturating_sub(without)),
            ]);
        }
        table.note(format!(
            "Wake-ups of its {} threads in {} s: {} before the first write, {} after traffic.",
            idle.threads,
            number(idle.seconds),
            idle.wakeups_fresh,
            idle.wakeups_after_traffic
        ));
        tables.push(table);
    }
    let header = "subject | threads | at once | seconds | landed | offered again | peak, MiB";
    let mut crowd = Table::new("Threads that each write one record", header);
    for row in &startup.crowd {
        crowd.row([
            row.subject.clone(),
            count(row.threads),
            count(row.alive),
            number(row.seconds),
            row.landed_records.map_or("-".into(), count),
            count(row.retried),
            number(row.peak_memory_mib),
        ]);
    }
    tables.push(crowd);
    tables
}

fn sustained(report: &Report, sustained: &Sustained) -> Table {
    let title = format!(
        "The same load for {} s, records of {} bytes; the disk takes {} MB/s",
        number(sustained.seconds),
        sustained.record_bytes,
        number(sustained.disk_mb_per_s)
    );
    let header = "subject | buffers | of disk | MB/s | reached | refused, % | lost, % | mean, ns | p99, ns | \
        p99.9, ns | max, ns | CPU s/GB | to sync, s | peak, MiB | page cache, MiB";
    let mut table = Table::new(title, header);
    // In the order of the run, subjects took turns at going first.
    let mut rows: Vec<_> = sustained.rows.iter().collect();
    rows.sort_by(|a, b| {
        let place = |row: &SustainedRow| (report.place(&row.subject), Reverse(row.buffer_bytes));
        a.fraction_of_disk.total_cmp(&b.fraction_of_disk).then_with(|| place(a).cmp(&place(b)))
    });
    for row in rows {
        let offered = (row.accepted_records + row.refused_records).max(1) as f64;
        let percent = |records: u64| number(records as f64 / offered * 100.0);
        table.row([
            row.subject.clone(),
            bytes(row.buffer_bytes),
            ratio(Some(row.fraction_of_disk)),
            number(row.offered_mb_per_s),
            number(row.reached_mb_per_s),
            percent(row.refused_records),
            percent(row.lost_records),
            number(row.mean_ns),
            count(row.p99_ns as u64),
            count(row.p999_ns as u64),
            count(row.max_ns as u64),
            ratio(row.cpu_s_per_gb),
            number(row.sync_s),
            number(row.peak_memory_mib),
            number(row.page_cache_mib),
        ]);
    }
    table.note(format!(
        "The disk afterwards: {} MB/s. memcpy writes no file: its row shows what the load itself costs.",
        number(sustained.disk_mb_per_s_after)
    ));
    table
}

fn landed(landed: &Landed) -> Table {
    let header = "subject | buffers | MB/s | of disk | synced, MB/s | of disk | complete | missing, % | \
        files | seconds | page cache, MiB";
    let title = format!(
        "Landed flat out, records of {} bytes; the disk takes {} MB/s",
        landed.record_bytes,
        number(landed.disk_mb_per_s)
    );
    let mut table = Table::new(title, header);
    for row in &landed.rows {
        let missing = 1.0 - row.landed_records as f64 / row.accepted_records.max(1) as f64;
        table.row([
            row.subject.clone(),
            bytes(row.buffer_bytes),
            number(row.mb_per_s),
            ratio(Some(row.fraction_of_disk)),
            number(row.synced_mb_per_s),
            ratio(Some(row.synced_fraction_of_disk)),
            if row.complete { "yes".into() } else { "NO".into() },
            number(missing * 100.0),
            count(row.files),
            number(row.seconds),
            number(row.page_cache_mib),
        ]);
    }
    table
}

fn http(http: &Http) -> Table {
    let header = "subject | buffers | requests/s | x without | p50, us | p99, us | p99.9, us | \
        x without | CPU us/request | logging | requests | lines landed | refused";
    let title = format!(
        "A server that logs a line a request, {} connections; latencies and CPU at {} requests/s",
        http.connections,
        number(http.paced_requests_per_s)
    );
    let mut table = Table::new(title, header);
    for row in &http.rows {
        table.row([
            row.subject.clone(),
            bytes(row.buffer_bytes),
            number(row.requests_per_s),
            ratio(Some(row.relative_requests)),
            number(row.p50_us),
            number(row.p99_us),
            number(row.p999_us),
            ratio(Some(row.relative_p999)),
            number(row.cpu_us_per_request),
            number(row.cpu_us_of_logging),
            count(row.requests),
            count(row.landed_lines),
            count(row.refused_lines),
        ]);
    }
    table
}

/// What was asked for but could not be measured.
fn skipped(report: &Report) -> Option<Table> {
    let mut table = Table::new("Skipped", "measure | subject | reason").left(3);
    for skipped in &report.skipped {
        table.row([skipped.measure.clone(), skipped.subject.clone(), skipped.reason.clone()]);
    }
    (!report.skipped.is_empty()).then_some(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{HttpRow, LandedRow};

    #[test]
    fn loads_are_sorted_and_columns_fit_their_cells() {
        let row = |subject: &str, fraction_of_disk| SustainedRow {
            subject: subject.into(),
            fraction_of_disk,
            ..SustainedRow::default()
        };
        let mut report = Report::default();
        let rows = vec![row("late", 0.8), row("early", 0.2)];
        report.measures.sustained = Some(Sustained { rows, ..Sustained::default() });
        report.measures.landed =
            Some(Landed { rows: vec![LandedRow::default()], ..Landed::default() });
        report.measures.http = Some(Http { rows: vec![HttpRow::default()], ..Http::default() });
        report.skip("quiet", "somebody", "no reason");
        let text: String = tables(&report).iter().map(|table| table.to_string()).collect();
        assert!(text.find("early").unwrap() < text.find("late").unwrap());
        assert!(text.contains("no reason"));
    }
}
