//! A table for the terminal: aligned columns, and numbers short enough to compare.

use std::fmt;

/// Columns of text are aligned left, the others right.
pub struct Table {
    title: String,
    left: usize,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    /// `header` holds the column names, with units, separated by `|`.
    pub fn new(title: impl Into<String>, header: &str) -> Self {
        let header = header.split('|').map(|name| name.trim().to_string()).collect();
        Table { title: title.into(), left: 1, header, rows: Vec::new(), notes: Vec::new() }
    }

    /// The first `columns` columns hold text; one if this is not called.
    pub fn left(mut self, columns: usize) -> Self {
        self.left = columns;
        self
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.header.len(), "{}", self.title);
        self.rows.push(cells);
    }

    /// A line below the table.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = || std::iter::once(&self.header).chain(&self.rows);
        let width = |column| {
            let cells = lines().filter_map(|line: &Vec<String>| line.get(column));
            cells.map(|cell: &String| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        writeln!(f, "\n{}", self.title)?;
        for (number, line) in lines().enumerate() {
            let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                if column < self.left {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
            writeln!(f, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
            if number == 0 {
                let rules: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
                writeln!(f, "  {}", rules.join("  "))?;
            }
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "  {note}"))
    }
}

/// At least three significant digits, with thousands separators: `0.512`, `4.31`, `21.5`, `150`, `63,000`.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        small if small < 0.9995 => format!("{value:.3}"),
        small if small < 9.995 => format!("{value:.2}"),
        small if small < 99.95 => format!("{value:.1}"),
        _ => count(value.round() as u64),
    }
}

/// A whole number with thousands separators.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number, or a dash if it is unknown.
pub fn known(value: Option<f64>) -> String {
    value.map_or("-".into(), number)
}

/// A number with two decimals, or a dash if it is unknown.
pub fn ratio(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.2}"))
}

/// Sizes of buffers and records: `128`, `8 KiB`, `64 MiB`.
pub fn bytes(value: u64) -> String {
    match value {
        mib if mib >= 1 << 20 && mib.is_multiple_of(1 << 20) => format!("{} MiB", mib >> 20),
        kib if kib >= 4 << 10 && kib.is_multiple_of(1 << 10) => format!("{} KiB", kib >> 10),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new("title", "subject | ns");
        table.row(["a".into(), number(4.312)]);
        table.row(["longer name".into(), number(63000.0)]);
        table.note("a note");
        let expected = "\ntitle\n  subject          ns\n  -----------  ------\n  a              4.31\n  \
                        longer name  63,000\n  a note\n";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 0.5, 1.0, 9.999, 21.54, 99.96, 150.4, 1_234_567.0].map(number);
        assert_eq!(texts, ["0", "0.500", "1.00", "10.0", "21.5", "100", "150", "1,234,567"]);
        assert_eq!([128, 8192, 64 << 20].map(bytes), ["128", "8 KiB", "64 MiB"]);
        assert_eq!([0, 999, 1000, 1_000_000].map(count), ["0", "999", "1,000", "1,000,000"]);
        assert_eq!((known(None), ratio(Some(1.234))), ("-".into(), "1.23".into()));
    }
}
