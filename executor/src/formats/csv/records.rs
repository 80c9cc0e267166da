//! Splits text into records: the only place that knows delimiters, quotes, line breaks and
//! comments.
//!
//! Inference, header checks and scans all read through [`Records`], so they cannot disagree about
//! where a record ends. It reads from chunks of any size and keeps a record that is not complete.

use std::borrow::Cow;

use self::field_ends::FieldEnds;
use super::error::CsvError;
use crate::protocol::CsvReadOptions;

mod field_ends;

/// Longest record in bytes. A quote that is never closed must not fill the memory.
const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Where a chunk of text stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// At the first byte of the file, where a byte order mark may be.
    File,
    /// At the first byte of a later line.
    Line,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first byte of a record.
    Record,
    /// Before the first byte of a field.
    Field,
    /// In a field without quotes, or in one whose closing quote was not its last character.
    Plain,
    Quoted,
    /// After a quote in a quoted field: the field ends, or the quote is doubled.
    QuoteInQuoted,
    /// After the escape character in a quoted field.
    Escaped,
    Comment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Quoted,
    /// Quoted, with doubled quotes or escapes that are still to be removed.
    QuotedWithEscapes,
}

/// Where a field is in the buffer. Small, because there is one for each field of a file.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
    form: Form,
}

/// The fields of a record, which [`Records`] keeps until text is added.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    first_span: usize,
    /// Number of fields.
    pub(super) width: usize,
}

/// One value as the file spells it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    pub(super) is_quoted: bool,
}

/// Splits text into records, one at a time.
#[derive(Debug)]
pub(super) struct Records {
    delimiter: u8,
    quote: u8,
    escape: Option<u8>,
    comment: Option<u8>,
    multi_line: bool,
    /// Number of columns, once it is known. Where it is 1, an empty line is a null and not a gap.
    columns: Option<usize>,
    buffer: Vec<u8>,
    /// First byte of the current record.
    start: usize,
    /// Next byte to look at.
    position: usize,
    /// The buffer up to here is valid UTF-8.
    validated: usize,
    at_end: bool,
    may_have_mark: bool,
    state: State,
    form: Form,
    field_start: usize,
    /// The fields of the records that were read since text was last added.
    spans: Vec<Span>,
    /// First span of the current record.
    first_span: usize,
    field_ends: FieldEnds,
    /// Whether the last byte was `\r`, which takes a `\n` with it.
    after_return: bool,
    /// Line of the next byte, from 1.
    next_line: u64,
    /// Line on which the current record begins.
    line: u64,
    /// Whether the current record has a quote that is not closed where it must be.
    unclosed: bool,
}

impl Records {
    /// Reads text that begins at `start`; `columns` is the width of a record, if it is known.
    pub(super) fn new(options: &CsvReadOptions, start: Start, columns: Option<usize>) -> Self {
        Self {
            delimiter: options.delimiter,
            quote: options.quote,
            escape: options.escape,
            comment: options.comment,
            multi_line: options.multi_line,
            columns,
            buffer: vec![],
            start: 0,
            position: 0,
            validated: 0,
            at_end: false,
            may_have_mark: start == Start::File,
            state: State::Record,
            form: Form::Plain,
            field_start: 0,
            spans: vec![],
            first_span: 0,
            field_ends: FieldEnds::new(options.delimiter),
            after_return: false,
            next_line: 1,
            line: 1,
            unclosed: false,
        }
    }

    /// Adds text. To be called when [`Self::advance`] has returned false.
    ///
    /// # Errors
    /// For bytes that are not UTF-8, and for a record that is longer than the limit.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), CsvError> {
        if u32::try_from(self.buffer.len() + chunk.len()).is_err() {
            return Err(CsvError::new(
                self.next_line,
                "more than 4 GiB of text at once".to_owned(),
            ));
        }
        let removed = if self.state == State::Record {
            self.position
        } else {
            self.start
        };
        self.buffer.drain(..removed);
        self.position -= removed;
        self.validated -= removed;
        self.start = self.start.saturating_sub(removed);
        self.field_start = self.field_start.saturating_sub(removed);
        self.spans.drain(..self.first_span);
        self.first_span = 0;
        let shift = offset(removed);
        for span in &mut self.spans {
            span.start = span.start.saturating_sub(shift);
            span.end = span.end.saturating_sub(shift);
        }
        self.buffer.extend_from_slice(chunk);
        self.field_ends.reset();
        self.validate()?;
        if self.position - self.start > RECORD_BYTES_MAX {
            let problem = format!(
                "a record is longer than {} MiB; is a quote not closed?",
                RECORD_BYTES_MAX >> 20
            );
            return Err(CsvError::new(self.line, problem));
        }
        Ok(())
    }

    /// No more text follows.
    ///
    /// # Errors
    /// If the text ends within a character.
    pub(super) fn end(&mut self) -> Result<(), CsvError> {
        self.at_end = true;
        self.validate()
    }

    fn validate(&mut self) -> Result<(), CsvError> {
        match std::str::from_utf8(&self.buffer[self.validated..]) {
            Ok(_) => self.validated = self.buffer.len(),
            Err(error) => {
                self.validated += error.valid_up_to();
                // Without a length, the character may be completed by the next chunk.
                if error.error_len().is_some() || self.at_end {
                    let before = self.buffer.get(self.position..self.validated);
                    let breaks = before
                        .unwrap_or_default()
                        .iter()
                        .filter(|b| **b == b'\n')
                        .count() as u64;
                    return Err(CsvError::encoding(
                        self.next_line + breaks,
                        &self.buffer[self.validated..],
                    ));
                }
            }
        }
        Ok(())
    }

    /// Goes to the next record; false if more text is needed, or none is left.
    ///
    /// # Errors
    /// For a quote that is not closed.
    pub(super) fn advance(&mut self) -> Result<bool, CsvError> {
        if self.state == State::Record {
            self.first_span = self.spans.len();
            self.unclosed = false;
        }
        if self.may_have_mark {
            if self.buffer.len() < BYTE_ORDER_MARK.len() && !self.at_end {
                return Ok(false);
            }
            self.may_have_mark = false;
            if self.buffer.starts_with(BYTE_ORDER_MARK) {
                self.position = BYTE_ORDER_MARK.len();
            }
        }
        while self.position < self.buffer.len() {
            if self.step() {
                return Ok(true);
            }
        }
        if self.at_end && !matches!(self.state, State::Record | State::Comment) {
            self.unclosed |= matches!(self.state, State::Quoted | State::Escaped);
            self.end_field(self.buffer.len());
            self.state = State::Record;
            return Ok(true);
        }
        Ok(false)
    }

    /// Reads on in the current state; true if a record is complete.
    fn step(&mut self) -> bool {
        let byte = self.buffer[self.position];
        match self.state {
            State::Record => return self.begin_record(byte),
            State::Field => self.begin_field(byte),
            State::Plain => return self.read_plain(),
            State::Quoted => return self.read_quoted(),
            State::QuoteInQuoted if byte == self.quote => {
                self.form = Form::QuotedWithEscapes;
                self.state = State::Quoted;
                self.position += 1;
            }
            State::QuoteInQuoted if byte == self.delimiter || is_break(byte) => {
                return self.read_plain();
            }
            // As in Spark and DuckDB, text after a closing quote makes the quotes part of the
            // value.
            State::QuoteInQuoted => {
                self.form = Form::Plain;
                self.field_start -= 1;
                self.state = State::Plain;
            }
            State::Escaped => {
                self.state = State::Quoted;
                if byte != b'\n' {
                    self.position += 1;
                }
            }
            State::Comment => {
                if is_break(byte) {
                    self.end_line(byte);
                    self.state = State::Record;
                } else {
                    self.position += 1;
                }
            }
        }
        false
    }

    fn begin_record(&mut self, byte: u8) -> bool {
        if byte == b'\n' && std::mem::take(&mut self.after_return) {
            self.position += 1;
            return false;
        }
        self.after_return = false;
        self.start = self.position;
        self.line = self.next_line;
        if is_break(byte) {
            self.end_line(byte);
            if self.columns == Some(1) {
                let at = offset(self.position - 1);
                self.spans.push(Span {
                    start: at,
                    end: at,
                    form: Form::Plain,
                });
                return true;
            }
            return false;
        }
        if Some(byte) == self.comment {
            self.state = State::Comment;
        } else {
            self.begin_field(byte);
        }
        false
    }

    fn begin_field(&mut self, byte: u8) {
        if byte == self.quote {
            self.position += 1;
            (self.form, self.state) = (Form::Quoted, State::Quoted);
        } else {
            (self.form, self.state) = (Form::Plain, State::Plain);
        }
        self.field_start = self.position;
    }

    /// Reads to the end of a field, from within it or from its closing quote, and on through the
    /// fields without quotes that follow it. True if the record is complete.
    fn read_plain(&mut self) -> bool {
        loop {
            let Some(end) = self.field_ends.find(&self.buffer, self.position) else {
                self.position = self.buffer.len();
                return false;
            };
            let byte = self.buffer[end];
            self.end_field(end);
            self.position = end;
            if byte != self.delimiter {
                self.end_line(byte);
                self.state = State::Record;
                return true;
            }
            self.position += 1;
            match self.buffer.get(self.position) {
                Some(first) if *first != self.quote => self.begin_field(*first),
                _ => {
                    self.state = State::Field;
                    return false;
                }
            }
        }
    }

    fn read_quoted(&mut self) -> bool {
        let rest = &self.buffer[self.position..];
        let (quote, escape) = (self.quote, self.escape);
        let next = rest
            .iter()
            .position(|b| *b == quote || *b == b'\n' || Some(*b) == escape);
        let Some(length) = next else {
            self.position = self.buffer.len();
            return false;
        };
        self.position += length;
        let byte = self.buffer[self.position];
        if byte == quote {
            self.position += 1;
            self.state = State::QuoteInQuoted;
        } else if byte == b'\n' && self.multi_line {
            self.position += 1;
            self.next_line += 1;
        } else if byte == b'\n' {
            self.unclosed = true;
            self.end_field(self.position);
            self.end_line(byte);
            self.state = State::Record;
            return true;
        } else {
            self.position += 1;
            self.form = Form::QuotedWithEscapes;
            self.state = State::Escaped;
        }
        false
    }

    /// `end` is the byte after the field, which for a closed quoted field has a quote before it.
    fn end_field(&mut self, end: usize) {
        let closing = usize::from(self.state == State::QuoteInQuoted);
        // An empty field at the end of the text was never begun.
        let start = match self.state {
            State::Field => end,
            _ => self.field_start,
        };
        self.spans.push(Span {
            start: offset(start),
            end: offset(end - closing),
            form: match self.state {
                State::Field => Form::Plain,
                _ => self.form,
            },
        });
    }

    fn end_line(&mut self, byte: u8) {
        self.position += 1;
        self.next_line += 1;
        self.after_return = byte == b'\r';
    }

    /// Number of fields of the current record.
    pub(super) fn len(&self) -> usize {
        self.spans.len() - self.first_span
    }

    /// Line on which the current record begins, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Whether the current record ends before its last quote is closed.
    pub(super) fn is_unclosed(&self) -> bool {
        self.unclosed
    }

    /// Sets the width of a record.
    pub(super) fn set_columns(&mut self, columns: usize) {
        self.columns = Some(columns);
    }

    /// The current record, whose fields can be read until text is added.
    pub(super) fn record(&self) -> Record {
        Record {
            first_span: self.first_span,
            width: self.len(),
        }
    }

    /// A field of a record that was read since text was last added.
    #[inline]
    pub(super) fn field_of_record(&self, record: Record, index: usize) -> Option<Field<'_>> {
        if index >= record.width {
            return None;
        }
        let span = self.spans.get(record.first_span + index)?;
        let bytes = &self.buffer[span.start as usize..span.end as usize];
        Some(Field {
            bytes: match span.form {
                Form::QuotedWithEscapes => Cow::Owned(self.unescape(bytes)),
                Form::Plain | Form::Quoted => Cow::Borrowed(bytes),
            },
            is_quoted: span.form != Form::Plain,
        })
    }

    /// A field of the current record.
    pub(super) fn field(&self, index: usize) -> Option<Field<'_>> {
        self.field_of_record(self.record(), index)
    }

    /// All fields of the current record, as text.
    pub(super) fn texts(&self) -> Vec<String> {
        (0..self.len())
            .filter_map(|index| self.field(index))
            .map(|field| String::from_utf8_lossy(&field.bytes).into_owned())
            .collect()
    }

    fn unescape(&self, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes.len());
        let mut rest = bytes.iter();
        while let Some(byte) = rest.next() {
            let is_first_of_two = *byte == self.quote || Some(*byte) == self.escape;
            match is_first_of_two.then(|| rest.next()).flatten() {
                Some(second) => text.push(*second),
                None => text.push(*byte),
            }
        }
        text
    }
}

/// A position in the buffer, which [`Records::push`] keeps shorter than this.
fn offset(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

fn is_break(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

#[cfg(test)]
mod tests;
