//! Draws tables for people: columns are aligned, also with wide characters, and cut to the width of
//! a terminal.

use std::io::{self, Write};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::rows::Column;

/// Width to which a column is cut before whole columns are hidden.
const COLUMN_WIDTH_MIN: usize = 8;
/// Width of the frame around the values of a column: `| ` and a space.
const FRAME_WIDTH: usize = 3;
const NULL: &str = "NULL";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

/// The screen on which a table is shown.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Screen {
    /// Width of the terminal; `None` for files and pipes, where nothing is cut.
    pub(super) width: Option<usize>,
    /// Whether nulls are dimmed.
    pub(super) has_color: bool,
}

/// Texts of a row; `None` is null.
pub(super) type TextRow = Vec<Option<String>>;

/// A table that is written in parts.
pub(super) struct Table {
    screen: Screen,
    columns: Vec<Column>,
    /// Width of each shown column.
    widths: Vec<usize>,
    is_started: bool,
    has_cut_values: bool,
}

impl Table {
    pub(super) fn new(columns: Vec<Column>, screen: Screen) -> Self {
        Self {
            screen,
            columns,
            widths: vec![],
            is_started: false,
            has_cut_values: false,
        }
    }

    /// Writes rows. The first call sets the widths, from its rows and the names of the columns.
    pub(super) fn write(&mut self, rows: &[TextRow], out: &mut dyn Write) -> io::Result<()> {
        let rows: Vec<TextRow> = rows.iter().map(|row| self.printable(row)).collect();
        if !self.is_started {
            self.is_started = true;
            let natural = natural_widths(&self.columns, &rows);
            self.widths = match self.screen.width {
                Some(available) => fit_widths(&natural, available),
                None => natural,
            };
            let names: TextRow = self.columns.iter().map(|c| Some(c.name.clone())).collect();
            self.write_border(out)?;
            self.write_row(&self.printable(&names), out)?;
            self.write_border(out)?;
        } else if self.screen.width.is_none() {
            let natural = natural_widths(&self.columns, &rows);
            let widths = self.widths.iter().zip(natural);
            self.widths = widths.map(|(old, new)| new.max(*old)).collect();
        }
        for row in &rows {
            let is_cut = |(text, width): (&Option<String>, &usize)| text_width(text) > *width;
            self.has_cut_values |= row.iter().zip(&self.widths).any(is_cut);
            self.write_row(row, out)?;
        }
        Ok(())
    }

    /// Writes the last border. Returns a description of what the terminal did not show.
    pub(super) fn finish(mut self, out: &mut dyn Write) -> io::Result<Option<String>> {
        if !self.is_started {
            self.write(&[], out)?;
        }
        self.write_border(out)?;
        let hidden = self.columns.len() - self.widths.len();
        Ok(match (hidden, self.has_cut_values) {
            (0, false) => None,
            (0, true) => Some("values are cut to the terminal".to_owned()),
            (hidden, _) => Some(format!(
                "{hidden} of {} columns do not fit the terminal; \\format vertical shows them",
                self.columns.len()
            )),
        })
    }

    /// Escapes control characters and line breaks, which a terminal would act on.
    fn printable(&self, row: &TextRow) -> TextRow {
        if self.screen.width.is_none() {
            return row.clone();
        }
        let escape = |text: &String| match text.contains(char::is_control) {
            false => text.clone(),
            true => text
                .chars()
                .map(|c| match c.is_control() {
                    true => c.escape_default().to_string(),
                    false => c.to_string(),
                })
                .collect(),
        };
        row.iter().map(|text| text.as_ref().map(escape)).collect()
    }

    fn has_hidden_columns(&self) -> bool {
        self.widths.len() < self.columns.len()
    }

    fn write_border(&self, out: &mut dyn Write) -> io::Result<()> {
        let dashes: Vec<String> = self
            .widths
            .iter()
            .map(|width| "-".repeat(width + FRAME_WIDTH - 1))
            .collect();
        let end = if self.has_hidden_columns() { "---" } else { "" };
        writeln!(out, "+{}+{end}", dashes.join("+"))
    }

    /// Writes a row, on as many lines as its longest value has.
    fn write_row(&self, row: &TextRow, out: &mut dyn Write) -> io::Result<()> {
        let values = || row.iter().zip(&self.widths).zip(&self.columns);
        let lines = row.iter().flatten().map(|text| text.split('\n').count());
        for line in 0..lines.max().unwrap_or(1) {
            for ((text, width), column) in values() {
                let part = match text {
                    Some(text) => text.split('\n').nth(line).unwrap_or_default(),
                    None if line == 0 => NULL,
                    None => "",
                };
                let part = cut(part, *width);
                let padding = " ".repeat(width.saturating_sub(part.width()));
                let part = match text.is_none() && self.screen.has_color {
                    true => format!("{DIM}{part}{RESET}"),
                    false => part,
                };
                match column.is_number {
                    true => write!(out, "| {padding}{part} ")?,
                    false => write!(out, "| {part}{padding} ")?,
                }
            }
            let end = if self.has_hidden_columns() {
                " …"
            } else {
                ""
            };
            let start = if self.widths.is_empty() { "|" } else { "" };
            writeln!(out, "{start}|{end}")?;
        }
        Ok(())
    }
}

fn text_width(text: &Option<String>) -> usize {
    let text = text.as_deref().unwrap_or(NULL);
    text.split('\n')
        .map(UnicodeWidthStr::width)
        .max()
        .unwrap_or(0)
}

fn natural_widths(columns: &[Column], rows: &[TextRow]) -> Vec<usize> {
    let mut widths: Vec<usize> = columns.iter().map(|c| c.name.width()).collect();
    for row in rows {
        for (width, text) in widths.iter_mut().zip(row) {
            *width = text_width(text).max(*width);
        }
    }
    widths
}

/// Returns the widths of the columns that fit: the widest are cut first, then the last ones are
/// hidden.
fn fit_widths(natural: &[usize], available: usize) -> Vec<usize> {
    let total = |widths: &[usize], limit: usize| -> usize {
        widths
            .iter()
            .map(|width| width.min(&limit) + FRAME_WIDTH)
            .sum::<usize>()
            + 1
    };
    for shown in (1..=natural.len()).rev() {
        let widths = &natural[..shown];
        let mark = if shown < natural.len() {
            FRAME_WIDTH
        } else {
            0
        };
        let width_min = if shown > 1 { COLUMN_WIDTH_MIN } else { 1 };
        let widest = widths.iter().max().copied().unwrap_or(0).max(width_min);
        let limit = (width_min..=widest.min(available.max(width_min)))
            .rev()
            .find(|limit| total(widths, *limit) + mark <= available);
        if let Some(limit) = limit {
            return widths.iter().map(|width| *width.min(&limit)).collect();
        }
    }
    natural.iter().take(1).map(|width| *width.min(&1)).collect()
}

/// Cuts a text to a width. A cut text ends with `…`.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 1;
    let kept = text.chars().take_while(|c| {
        used += c.width().unwrap_or(0);
        used <= width
    });
    kept.chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(names: &[(&str, bool)], rows: &[&[Option<&str>]], screen: Screen) -> String {
        let columns = names.iter().map(|(name, is_number)| Column {
            name: (*name).to_owned(),
            is_number: *is_number,
        });
        let rows: Vec<TextRow> = rows
            .iter()
            .map(|row| row.iter().map(|text| text.map(str::to_owned)).collect())
            .collect();
        let mut table = Table::new(columns.collect(), screen);
        let mut out = vec![];
        table.write(&rows, &mut out).unwrap();
        let note = table.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap() + &note.unwrap_or_default()
    }

    #[test]
    fn wide_characters_numbers_and_nulls_are_aligned() {
        let rows: &[&[_]] = &[&[Some("東京"), Some("1")], &[None, Some("1234")]];
        let expected = "+------+------+\n| city |    n |\n+------+------+\n| 東京 |    1 |\n| NULL | 1234 |\n+------+------+\n";
        assert_eq!(
            table(&[("city", false), ("n", true)], rows, Screen::default()),
            expected
        );
    }

    #[test]
    fn a_table_without_rows_or_columns_has_its_borders() {
        let expected = "+---+\n| a |\n+---+\n+---+\n";
        assert_eq!(table(&[("a", false)], &[], Screen::default()), expected);
        assert_eq!(
            table(&[], &[&[]], Screen::default()),
            "++\n||\n++\n||\n++\n"
        );
    }

    #[test]
    fn a_terminal_gets_whole_lines_within_its_width() {
        let screen = Screen {
            width: Some(24),
            has_color: false,
        };
        let row: &[_] = &[Some("a long value of text\nin two lines"), Some("1")];
        let shown = table(&[("first", false), ("n", true)], &[row], screen);
        assert!(shown.contains("| a long value of… | 1 |\n"), "{shown}");
        assert!(shown.ends_with("values are cut to the terminal"), "{shown}");
        assert!(shown.lines().all(|line| line.width() <= 30), "{shown}");
    }

    #[test]
    fn the_widest_columns_are_cut_first_and_the_last_are_hidden() {
        assert_eq!(fit_widths(&[3, 30, 20], 100), [3, 30, 20]);
        assert_eq!(fit_widths(&[3, 30, 20], 53), [3, 20, 20]);
        assert_eq!(fit_widths(&[10, 10, 10, 10], 30), [10, 10]);
        assert_eq!(fit_widths(&[50], 20), [16]);
        assert_eq!(fit_widths(&[], 20), [0; 0]);
    }

    #[test]
    fn a_cut_text_ends_with_a_mark() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("東京都", 4), "東…");
        assert_eq!(cut("abc", 3), "abc");
    }
}
