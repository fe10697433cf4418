//! What the terminal shows, and where it is scrolled to.
//!
//! Guarantees: any size will do, down to none. Columns that do not fit are cut, and long errors and paths continue on the
//! next line.

use bytesize::ByteSize;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::commands::stats::text::short;
use crate::commands::stats::watch::model::{Counted, Writer};
use crate::commands::stats::watch::rates::Rate;
use crate::sys::Key;

/// Columns of the bar of memory.
const BAR: usize = 20;
/// Columns before the values.
const INDENT: usize = 13;

const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

pub(super) struct View {
    /// Where the writers are looked for.
    dirs: String,
    has_colors: bool,
    writers: Vec<Writer>,
    /// Why there is nothing newer.
    error: Option<String>,
    /// Lines above the first visible one, how many fit, and how many there are.
    offset: usize,
    page: usize,
    total: usize,
}

impl View {
    pub(super) fn new(dirs: String, has_colors: bool) -> Self {
        View { dirs, has_colors, writers: Vec::new(), error: None, offset: 0, page: 0, total: 0 }
    }

    pub(super) fn show(&mut self, writers: Vec<Writer>) {
        (self.writers, self.error) = (writers, None);
    }

    /// What was shown stays.
    pub(super) fn fail(&mut self, error: String) {
        self.error = Some(error);
    }

    pub(super) fn press(&mut self, key: Key) {
        let page = self.page.max(1);
        let to = match key {
            Key::Up => self.offset.saturating_sub(1),
            Key::Down => self.offset + 1,
            Key::PageUp => self.offset.saturating_sub(page),
            Key::PageDown => self.offset + page,
            Key::Top => 0,
            Key::Bottom => usize::MAX,
            _ => self.offset,
        };
        self.offset = to.min(self.last());
    }

    /// The largest offset that leaves no line blank.
    fn last(&self) -> usize {
        self.total.saturating_sub(self.page)
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let rows = [Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)];
        let [head, body, foot] = Layout::vertical(rows).areas(frame.area());
        let mut lines = self.lines(usize::from(body.width));
        (self.page, self.total) = (usize::from(body.height), lines.len());
        self.offset = self.offset.min(self.last());
        let visible: Vec<Line<'_>> = lines.drain(..).skip(self.offset).take(self.page).collect();
        frame.render_widget(Paragraph::new(self.head()), head);
        frame.render_widget(Paragraph::new(visible), body);
        frame.render_widget(Paragraph::new(self.foot()), foot);
    }

    fn head(&self) -> Line<'static> {
        if let Some(error) = &self.error {
            return Line::styled(error.clone(), self.color(Color::Red).patch(BOLD));
        }
        let alive = self.writers.iter().filter(|it| it.is_alive).count();
        let dead = self.writers.len() - alive;
        let mut text = format!("writers in {}: {alive} alive", self.dirs);
        if dead > 0 {
            text += &format!(", {dead} dead");
        }
        Line::styled(text, Style::new().add_modifier(Modifier::REVERSED))
    }

    fn foot(&self) -> Line<'static> {
        let mut text = "q quits".to_owned();
        if self.total > self.page {
            let (from, to) = (self.offset + 1, self.offset + self.page);
            text += &format!("; lines {from} to {to} of {}: arrows and Page keys", self.total);
        }
        Line::styled(text, DIM)
    }

    fn color(&self, color: Color) -> Style {
        if self.has_colors { Style::new().fg(color) } else { Style::new() }
    }

    fn lines(&self, width: usize) -> Vec<Line<'static>> {
        if self.writers.is_empty() {
            return vec![Line::raw(
                "There are no writers. --temp names the directory of their temp files.",
            )];
        }
        let mut lines = Vec::new();
        for writer in &self.writers {
            if !lines.is_empty() {
                lines.push(Line::default());
            }
            self.writer(writer, width, &mut lines);
        }
        lines
    }

    fn writer(&self, it: &Writer, width: usize, lines: &mut Vec<Line<'static>>) {
        let (life, color) =
            if it.is_alive { ("alive", Color::Green) } else { ("dead", Color::Red) };
        let mut title = vec![
            Span::styled(it.name.clone(), BOLD),
            Span::raw("  "),
            Span::styled(life, self.color(color).patch(BOLD)),
        ];
        if let Some(counted) = &it.counted {
            let (uptime, age) = (short(counted.uptime), short(counted.age));
            title.push(Span::raw(format!("  counted {age} ago, {uptime} after its start")));
        }
        lines.push(title.into());
        lines.extend(wrapped("files in", &it.path, width, Style::new()));
        match &it.counted {
            Some(counted) => self.counted(counted, width, lines),
            None => lines.push(Line::raw(
                "  tells nothing: it is of an older version, or its file is damaged",
            )),
        }
    }

    fn counted(&self, it: &Counted, width: usize, lines: &mut Vec<Line<'static>>) {
        lines.push(Line::styled(
            format!(
                "{:INDENT$}{:>12} {:>10} {:>12} {:>12}",
                "", "records", "bytes", "records/s", "bytes/s"
            ),
            DIM,
        ));
        let rate = |nth: usize| Some(it.rates.as_ref().map(|rates| rates.counts[nth]));
        for (name, count, rate, color) in [
            ("accepted", it.accepted, rate(0), None),
            ("written", it.written, rate(1), None),
            ("pending", it.pending, None, None),
            ("lost", it.lost, rate(2), Some(Color::Red)),
            ("refused", it.refused, rate(3), Some(Color::Yellow)),
        ] {
            let warns = color.filter(|_| !count.is_zero());
            let style = warns.map_or(Style::new(), |color| self.color(color).patch(BOLD));
            let mut text = label(name);
            text += &format!("{:>12} {:>10}", count.records, size(count.bytes));
            if let Some(rate) = rate {
                text += &rates(rate);
            }
            lines.push(Line::styled(text, style));
        }
        let files = format!("{} published, {} on the disk", it.files, size(it.files_bytes));
        lines.push(Line::raw(label("files") + &files));
        if let Some(told) = it.publishing {
            let waiting = told.unlisted + told.unacknowledged;
            let text = format!(
                "{} listed, {} acknowledged, {waiting} waiting",
                told.listed, told.acknowledged
            );
            lines.push(Line::raw(label("told of") + &text));
        }
        lines.push(self.memory(it));
        self.workers(it, lines);
        for error in &it.errors {
            lines.extend(wrapped("error", error, width, self.color(Color::Red).patch(BOLD)));
        }
    }

    fn memory(&self, it: &Counted) -> Line<'static> {
        let (used, bound) = (it.memory_bytes, it.memory_bound_bytes);
        let share = (used as f64 / bound.max(1) as f64).clamp(0.0, 1.0);
        let full = (share * BAR as f64).round() as usize;
        let style = if share > 0.8 { self.color(Color::Yellow) } else { self.color(Color::Cyan) };
        Line::from(vec![
            Span::raw(label("memory") + "["),
            Span::styled("#".repeat(full), style),
            Span::raw(format!(
                "{}] {:.0} %: {} of {}",
                " ".repeat(BAR - full),
                share * 100.0,
                size(used as u64),
                size(bound as u64)
            )),
        ])
    }

    fn workers(&self, it: &Counted, lines: &mut Vec<Line<'static>>) {
        lines.push(Line::styled(
            format!("{:INDENT$}{:>12} {:>10} {:>12}", "", "backlog", "temp file", "codec"),
            DIM,
        ));
        for (nth, worker) in it.workers.iter().enumerate() {
            let share = it.rates.as_ref().and_then(|rates| rates.codec.get(nth));
            let codec = share.map_or("-".to_owned(), |share| format!("{:.0} %", share * 100.0));
            let chunks = format!("{} chunks", worker.backlog_chunks);
            let mut text = label(&format!("worker {nth}"));
            text += &format!("{chunks:>12} {:>10} {codec:>12}", size(worker.temp_file_bytes));
            let mut line = Line::raw(text);
            if worker.is_held_up {
                line.push_span(Span::styled("  held up", self.color(Color::Red).patch(BOLD)));
            }
            lines.push(line);
        }
    }
}

fn label(name: &str) -> String {
    format!("  {name:<11}")
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).display().si().to_string()
}

/// Two columns. Not known yet: `-`.
fn rates(rate: Option<Rate>) -> String {
    let [records, bytes] = rate.map_or(["-".to_owned(), "-".to_owned()], |rate| {
        [format!("{:.0}", rate.records), size(rate.bytes as u64)]
    });
    format!(" {records:>12} {bytes:>12}")
}

/// A text in as many lines as it needs at this width.
fn wrapped(name: &str, text: &str, width: usize, style: Style) -> Vec<Line<'static>> {
    let room = width.saturating_sub(INDENT).max(8);
    let all: Vec<char> = text.chars().collect();
    let part = |(nth, part): (usize, &[char])| {
        let before = label(if nth == 0 { name } else { "" });
        Line::from(vec![Span::raw(before), Span::styled(part.iter().collect::<String>(), style)])
    };
    all.chunks(room).enumerate().map(part).collect()
}

#[cfg(test)]
mod tests;
