//! Lines to batches of the projected columns.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Fields, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use arrow::json::reader::Decoder;
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::listing::PartitionedFile;
use faisca_spark::text::Zone;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;

use super::infer::syntax_error;
use super::lines::{LineError, Lines};
use super::nested_texts::quote_nested;
use super::options::{JsonReadOptions, UnknownFields};
use super::spelling::{has_nested_fields, respell};
use super::texts::{has_zoned_timestamps, may_have_fractions, to_values, with_texts};
use super::unknown_fields::find_unknown_field;
use crate::formats::source::{ScannedColumns, first_byte};
use crate::formats::text::{Chunks, lines_before, read_bytes};

/// A batch ends early once its text has this many bytes.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Opens a file or a byte range. A range has the lines that begin in it, as in DataFusion.
pub(in crate::formats) async fn open(
    options: JsonReadOptions,
    scanned: &ScannedColumns,
    store: Arc<dyn ObjectStore>,
    file: PartitionedFile,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let schema = Arc::new(scanned.file_schema.project(&scanned.projected)?);
    let zone = Zone::parse(&options.time_zone)?;
    let mut decoder = LineDecoder::new(schema, scanned.batch_rows, zone)?;
    if options.unknown_fields == UnknownFields::Refuse {
        decoder.known_fields = Some(scanned.table_schema.fields().clone());
    }
    // An inferred schema has the names of the files, and refuses others.
    decoder.may_respell = options.unknown_fields == UnknownFields::Ignore
        && has_nested_fields(decoder.schema.fields());
    let text = read_bytes(options.compression, &store, &file).await?;
    let located = decode(text, decoder).or_else(move |error| {
        let (store, file, options) = (Arc::clone(&store), file.clone(), options.clone());
        async move {
            match error {
                DecodeError::Line(error) => {
                    let start = first_byte(&file);
                    let before = lines_before(options.compression, &store, &file, start).await;
                    Err(error.with_location(&file.object_meta.location, before))
                }
                DecodeError::Arrow(error) => Err(error.into()),
                DecodeError::Read(error) => Err(error),
            }
        }
    });
    Ok(located.boxed())
}

/// Decodes text batch by batch.
fn decode(
    text: Chunks,
    decoder: LineDecoder,
) -> BoxStream<'static, Result<RecordBatch, DecodeError>> {
    let state = (text, decoder, false);
    futures::stream::try_unfold(state, async |(mut text, mut decoder, mut is_over)| {
        loop {
            if let Some(batch) = decoder.decode(is_over)? {
                return Ok(Some((batch, (text, decoder, is_over))));
            }
            if is_over {
                return Ok(None);
            }
            match text.next().await {
                Some(chunk) => decoder.lines.push(&chunk?)?,
                None => {
                    decoder.lines.end();
                    is_over = true;
                }
            }
        }
    })
    .boxed()
}

/// Why a text cannot be decoded.
#[derive(Debug, thiserror::Error)]
enum DecodeError {
    /// A line is wrong.
    #[error(transparent)]
    Line(#[from] LineError),
    /// Arrow cannot build the batch.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// The text cannot be read.
    #[error(transparent)]
    Read(#[from] DataFusionError),
}

struct LineDecoder {
    lines: Lines,
    decoder: Decoder,
    /// Reads numbers and timestamps as texts; absent if the schema has none.
    texts: Option<Decoder>,
    /// Whether timestamps have to be read as texts, because they are in another zone than UTC.
    is_zoned: bool,
    zone: Zone,
    schema: SchemaRef,
    /// The fields that lines may have; absent if all others are ignored.
    known_fields: Option<Fields>,
    /// Whether objects and arrays in columns of text are quoted. They are rare, so that this begins
    /// with the first one.
    quotes_nested: bool,
    /// Whether nested fields are found without regard to the case of their names.
    may_respell: bool,
    batch_rows: usize,
    /// The lines of the batch, to find the one that Arrow refuses: it does not tell.
    text: String,
    ends: Vec<(usize, u64)>,
}

impl LineDecoder {
    fn new(schema: SchemaRef, batch_rows: usize, zone: Zone) -> Result<Self, ArrowError> {
        Ok(Self {
            lines: Lines::default(),
            decoder: decoder(&schema, batch_rows)?,
            texts: with_texts(&schema, zone)
                .map(|texts| decoder(&texts, batch_rows))
                .transpose()?,
            is_zoned: has_zoned_timestamps(schema.fields(), zone),
            zone,
            schema,
            known_fields: None,
            quotes_nested: false,
            may_respell: false,
            batch_rows,
            text: String::new(),
            ends: vec![],
        })
    }

    /// The next full batch, or the last one; `None` if it needs more text, or none is left.
    fn decode(&mut self, is_over: bool) -> Result<Option<RecordBatch>, DecodeError> {
        while let Some((line, number)) = self.lines.next()? {
            if let Some(fields) = &self.known_fields
                && let Some(field) = find_unknown_field(line, fields)
            {
                return Err(unknown_field(number, &field).into());
            }
            let columns = self.schema.fields();
            let line = match self.may_respell {
                true => respell(line, columns),
                false => Cow::Borrowed(line),
            };
            match self.quotes_nested {
                true => self.text.push_str(&quote_nested(&line, columns)),
                false => self.text.push_str(&line),
            }
            self.ends.push((self.text.len(), number));
            if self.ends.len() >= self.batch_rows || self.text.len() >= BATCH_BYTES_MAX {
                return self.flush();
            }
        }
        match is_over && !self.ends.is_empty() {
            true => self.flush(),
            false => Ok(None),
        }
    }

    fn flush(&mut self) -> Result<Option<RecordBatch>, DecodeError> {
        let mut batch = self.build();
        if batch.is_err() && !self.quotes_nested && self.quote_nested_texts()? {
            batch = self.build();
        }
        if let Err(error) = batch {
            return Err(self.find_refused(error));
        }
        self.text.clear();
        self.ends.clear();
        Ok(batch?)
    }

    /// Quotes the nested values in columns of text, in this batch and all others. Returns whether
    /// this batch had any.
    fn quote_nested_texts(&mut self) -> Result<bool, ArrowError> {
        let (mut text, mut ends, mut start) = (String::new(), vec![], 0);
        for (end, number) in &self.ends {
            text.push_str(&quote_nested(&self.text[start..*end], self.schema.fields()));
            ends.push((text.len(), *number));
            start = *end;
        }
        if text.len() == self.text.len() {
            return Ok(false);
        }
        // The decoders still hold the lines that were refused.
        let fresh = Self::new(Arc::clone(&self.schema), self.batch_rows, self.zone)?;
        (self.decoder, self.texts) = (fresh.decoder, fresh.texts);
        (self.text, self.ends, self.quotes_nested) = (text, ends, true);
        Ok(true)
    }

    fn build(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        let texts = self.texts.as_mut();
        if let Some(texts) = texts.filter(|_| self.is_zoned || may_have_fractions(&self.text)) {
            let batch = decode_lines(texts, &self.text, &self.ends)?;
            let values = batch.map(|batch| to_values(&batch, &self.schema, self.zone));
            return values.transpose();
        }
        decode_lines(&mut self.decoder, &self.text, &self.ends)
    }

    /// Decodes line by line to find the first one that is refused.
    fn find_refused(&self, error: ArrowError) -> DecodeError {
        let mut single = match Self::new(Arc::clone(&self.schema), 1, self.zone) {
            Ok(single) => single,
            Err(error) => return error.into(),
        };
        let mut start = 0;
        for (end, number) in &self.ends {
            let line = &self.text[start..*end];
            start = *end;
            if let Err(error) = serde_json::from_str::<serde_json::Value>(line) {
                return syntax_error(*number, &error).into();
            }
            single.text = line.to_owned();
            single.ends = vec![(line.len(), *number)];
            if let Err(error) = single.build() {
                let text = error.to_string();
                let problem = text.trim_start_matches("Json error: ");
                return LineError {
                    line: *number,
                    problem: problem.to_owned(),
                }
                .into();
            }
        }
        error.into()
    }
}

fn unknown_field(line: u64, field: &str) -> LineError {
    LineError {
        line,
        problem: format!(
            "the field `{field}` is in no row from which the columns were inferred; give a \
             schema, which may leave it out, or set inferRows to 0 to infer from all rows"
        ),
    }
}

/// Decodes lines, given by their ends in `text`, to one batch.
fn decode_lines(
    decoder: &mut Decoder,
    text: &str,
    ends: &[(usize, u64)],
) -> Result<Option<RecordBatch>, ArrowError> {
    let mut start = 0;
    for (index, (end, _)) in ends.iter().enumerate() {
        let line = &text.as_bytes()[start..*end];
        let read = decoder.decode(line)?;
        start = *end;
        // A line may not hold more or less than one object: a cut between lines would not see it.
        let is_one =
            read == line.len() && decoder.len() == index + 1 && !decoder.has_partial_record();
        if !is_one {
            let problem = "each line must have one complete object".to_owned();
            return Err(ArrowError::JsonError(problem));
        }
    }
    decoder.flush()
}

/// Numbers and booleans are text where the column is.
fn decoder(schema: &SchemaRef, batch_rows: usize) -> Result<Decoder, ArrowError> {
    ReaderBuilder::new(Arc::clone(schema))
        .with_batch_size(batch_rows)
        .with_coerce_primitive(true)
        .build_decoder()
}
