//! The view on a terminal of memory.

use std::time::Duration;

use bufferedwriter::{Count, PublishStats};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::commands::stats::watch::model::Worker;
use crate::commands::stats::watch::rates::Rates;

fn count(records: u64) -> Count {
    Count { records, bytes: 40 * records }
}

fn writer() -> Writer {
    let rate = |records: f64| Rate { records, bytes: 40.0 * records };
    let mut publishing = PublishStats::default();
    (publishing.listed, publishing.acknowledged, publishing.unacknowledged) = (5, 3, 2);
    let worker = |backlog_chunks, is_held_up| Worker {
        backlog_chunks,
        temp_file_bytes: 1_500_000,
        is_held_up,
    };
    let counted = Counted {
        uptime: Duration::from_millis(9000),
        age: Duration::from_millis(800),
        accepted: count(7000),
        written: count(5000),
        pending: count(1990),
        lost: count(10),
        refused: count(0),
        rates: Some(Rates {
            counts: [rate(700.4), rate(500.0), rate(1.0), rate(0.0)],
            codec: vec![0.25, 1.0],
        }),
        files: 5,
        files_bytes: 12_345,
        memory_bytes: 4_500_000,
        memory_bound_bytes: 9_000_000,
        publishing: Some(publishing),
        workers: vec![worker(3, false), worker(70, true)],
        errors: vec!["worker 1: write /var/log/app/.tmp/.20261130T101500.000000000Z-1e6c4f8e0a0e2895-1667-w1-4.log.tmp: No space left on device (os error 28)".into()],
    };
    Writer {
        name: "access_1e6c4f8e0a0e2895-1667".into(),
        is_alive: true,
        path: "/var/log/app/ready".into(),
        counted: Some(counted),
    }
}

fn silent() -> Writer {
    let path = "/srv/".to_owned() + &"long".repeat(30);
    Writer { name: "old_2-3".into(), is_alive: false, path, counted: None }
}

fn terminal(width: u16, height: u16) -> Terminal<TestBackend> {
    Terminal::new(TestBackend::new(width, height)).unwrap()
}

fn shown(view: &mut View, width: u16, height: u16) -> Vec<String> {
    let mut terminal = terminal(width, height);
    terminal.draw(|frame| view.draw(frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| row(y).trim_end().to_owned()).collect()
}

fn view(has_colors: bool) -> View {
    let mut view = View::new("/var/log/app/.tmp".into(), has_colors);
    view.show(vec![writer(), silent()]);
    view
}

#[test]
fn all_of_a_writer_is_shown() {
    assert_eq!(
        shown(&mut view(true), 80, 24),
        [
            "writers in /var/log/app/.tmp: 1 alive, 1 dead",
            "access_1e6c4f8e0a0e2895-1667  alive  counted 0.8s ago, 9.0s after its start",
            "  files in   /var/log/app/ready",
            "                  records      bytes    records/s      bytes/s",
            "  accepted           7000   280.0 kB          700      28.0 kB",
            "  written            5000   200.0 kB          500      20.0 kB",
            "  pending            1990    79.6 kB",
            "  lost                 10      400 B            1         40 B",
            "  refused               0        0 B            0          0 B",
            "  files      5 published, 12.3 kB on the disk",
            "  told of    5 listed, 3 acknowledged, 2 waiting",
            "  memory     [##########          ] 50 %: 4.5 MB of 9.0 MB",
            "                  backlog  temp file        codec",
            "  worker 0       3 chunks     1.5 MB         25 %",
            "  worker 1      70 chunks     1.5 MB        100 %  held up",
            "  error      worker 1: write /var/log/app/.tmp/.20261130T101500.000000000Z-1e6c4",
            "             f8e0a0e2895-1667-w1-4.log.tmp: No space left on device (os error 28",
            "             )",
            "",
            "old_2-3  dead",
            "  files in   /srv/longlonglonglonglonglonglonglonglonglonglonglonglonglonglonglo",
            "             nglonglonglonglonglonglonglonglonglonglonglonglonglonglong",
            "  tells nothing: it is of an older version, or its file is damaged",
            "q quits",
        ]
    );
}

#[test]
fn a_small_terminal_is_scrolled() {
    let mut view = view(true);
    let small = |view: &mut View| shown(view, 40, 6);
    let first = small(&mut view);
    assert_eq!(first[1], "access_1e6c4f8e0a0e2895-1667  alive  cou");
    assert_eq!(first[5], "q quits; lines 1 to 4 of 27: arrows and");
    for (key, line) in [
        (Key::Down, "  files in   /var/log/app/ready"),
        (Key::Up, &first[1]),
        (Key::Up, &first[1]),
        (Key::PageDown, "  written            5000   200.0 kB"),
        (Key::Bottom, "             onglonglonglonglonglonglong"),
        (Key::PageDown, "             onglonglonglonglonglonglong"),
        (Key::Top, &first[1]),
    ] {
        view.press(key);
        assert_eq!(small(&mut view)[1].trim_end(), line.trim_end(), "{key:?}");
    }
    // Writers that go leave nothing to scroll.
    view.press(Key::Bottom);
    view.show(Vec::new());
    assert!(small(&mut view)[1].starts_with("There are no writers."));
}

#[test]
fn each_size_will_do() {
    let mut view = view(true);
    for width in 0..=90 {
        for height in 0..=30 {
            shown(&mut view, width, height);
            view.press(Key::PageDown);
        }
    }
}

#[test]
fn colours_warn_only_if_they_are_wanted() {
    for has_colors in [true, false] {
        let mut terminal = terminal(80, 30);
        let mut view = view(has_colors);
        terminal.draw(|frame| view.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let at = |x, y| buffer[(x, y)].fg;
        let wanted = |color| if has_colors { color } else { Color::Reset };
        assert_eq!(at(30, 1), wanted(Color::Green), "alive");
        assert_eq!(at(2, 7), wanted(Color::Red), "lost");
        assert_eq!(at(2, 8), Color::Reset, "nothing was refused");
        let coloured = buffer.content().iter().filter(|cell| cell.fg != Color::Reset);
        assert_eq!(coloured.count() > 0, has_colors);
    }
}

#[test]
fn what_can_not_be_read_is_told_above_what_was() {
    let mut view = view(true);
    view.fail("list /var/log/app/.tmp: No such file or directory".into());
    let lines = shown(&mut view, 80, 24);
    assert_eq!(lines[0], "list /var/log/app/.tmp: No such file or directory");
    assert!(lines[1].starts_with("access_"));
    view.show(Vec::new());
    assert_eq!(shown(&mut view, 80, 24)[0], "writers in /var/log/app/.tmp: 0 alive");
}

#[test]
fn rates_that_are_not_known_yet_are_no_zeros() {
    let mut it = writer();
    it.counted.as_mut().unwrap().rates = None;
    let mut view = View::new(String::new(), false);
    view.show(vec![it]);
    let lines = shown(&mut view, 80, 24);
    assert!(lines[4].ends_with("            -            -"), "{}", lines[4]);
    assert!(lines[13].ends_with("-"), "{}", lines[13]);
}
