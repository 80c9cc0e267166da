//! Checks that the rows of an append can be read together with the files that stay in the folder.
//!
//! A catalog stores the columns of its tables. Without a catalog, only the files do, and a file
//! with incompatible columns makes the whole folder unreadable.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::prelude::SessionContext;
use faisca_executor::storage::known_scheme;
use faisca_planner::manifest::{FileFormat, PartitionOverwrite, SaveMode, Source, Write};
use faisca_spark::types::name_of;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use crate::error::{Error, Result};
use crate::input::drift::{TypeRule, widen};
use crate::input::formats::{Expected, compression_of, file_format};
use crate::input::listing::Commits;
use crate::visibility::is_visible;

/// Maximum number of files that are compared with the new rows. More would delay each append to a
/// folder with many files, and files that were compared when they were added have the same columns.
const FILES_COMPARED_MAX: usize = 16;

/// Compares the columns of a write with those of the files that it keeps. `read_as` is the source
/// with whose options the folder is read.
///
/// Returns the columns that must be cast to the wider types of the files. Otherwise, readers that
/// apply the type of one file to all files would fail.
///
/// # Errors
/// Returns an error if old and new files could not be read together. It names the column, both
/// types and what to do.
pub(super) async fn check_append(
    context: &SessionContext,
    columns: &Schema,
    write: &Write,
    read_as: &Source,
) -> Result<WiderTypes> {
    let mut wider = WiderTypes::new();
    let keeps_files =
        write.mode == SaveMode::Append || write.partition_overwrite == PartitionOverwrite::Dynamic;
    if write.catalog.is_some() || !keeps_files {
        return Ok(wider);
    }
    // A folder that does not exist or cannot be listed is reported when the write begins.
    let Ok(present) = list_some(context, &write.path).await else {
        return Ok(wider);
    };
    let differs = |source| Error::IncompatibleFiles {
        path: write.path.clone(),
        source,
    };
    let added = file_columns(columns, &write.partition_by);
    for file in &present.files {
        let name = format!("/{}", file.location);
        check_format_and_keys(&present.prefix, &file.location, write)
            .map_err(|mismatch| differs(mismatch.into()))?;
        let format = file_format(
            read_as,
            compression_of(read_as, &file.location),
            Expected::default(),
        )?;
        let state = context.state();
        let file_schema = format.infer_schema(&state, &present.store, std::slice::from_ref(file));
        let file_schema = file_schema
            .await
            .map_err(|e| Error::from(e).at(name.clone()))?;
        let has_names = write.format != FileFormat::Csv || read_as.header != Some(false);
        if write.format == FileFormat::Parquet {
            wider.extend(wider_types(&file_schema, &added));
        }
        let difference = match has_names {
            true => difference(write.format, &file_schema, &added, &name),
            false => width_difference(&file_schema, &added, &name),
        };
        if let Some(problem) = difference {
            return Err(differs(problem.into()));
        }
    }
    Ok(wider)
}

/// The types to which columns are cast before they are written, by name.
pub(super) type WiderTypes = BTreeMap<String, DataType>;

/// Data files that exist in the folder before the write.
struct PresentFiles {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    files: Vec<ObjectMeta>,
}

/// Lists some of the data files below a folder.
async fn list_some(context: &SessionContext, path: &str) -> Result<PresentFiles> {
    let path = known_scheme(path);
    let url = ListingTableUrl::parse(format!("{}/", path.trim_end_matches('/')))?;
    let store = context.runtime_env().object_store(&url)?;
    let prefix = url.prefix().clone();
    let objects: Vec<ObjectMeta> = store
        .list(Some(&prefix))
        .try_collect()
        .await
        .map_err(datafusion::common::DataFusionError::from)?;
    let commits = Commits::read(&store, &prefix, &objects).await?;
    let is_data = |meta: &ObjectMeta| {
        let key = &meta.location;
        meta.size > 0 && is_visible(&prefix, key) && commits.shows(key)
    };
    let files = objects.into_iter().filter(is_data);
    let files = files.take(FILES_COMPARED_MAX).collect();
    Ok(PresentFiles {
        store,
        prefix,
        files,
    })
}

/// Compares the format and the partition keys of an existing file, by its path, with those of a
/// write.
fn check_format_and_keys(prefix: &Path, file: &Path, write: &Write) -> Result<(), Mismatch> {
    let name = file.filename().unwrap_or_default().to_lowercase();
    let ending = name.split('.').find_map(|part| match part {
        "parquet" => Some(FileFormat::Parquet),
        "csv" => Some(FileFormat::Csv),
        "json" | "ndjson" | "jsonl" => Some(FileFormat::Ndjson),
        _ => None,
    });
    if let Some(present_format) = ending.filter(|present_format| *present_format != write.format) {
        return Err(Mismatch::Format {
            file: file.clone(),
            present: present_format,
            written: write.format,
        });
    }
    let parts = file.prefix_match(prefix).into_iter().flatten();
    let keys: Vec<String> = parts
        .filter_map(|part| Some(part.as_ref().split_once('=')?.0.to_lowercase()))
        .collect();
    let added: Vec<String> = write
        .partition_by
        .iter()
        .map(|k| k.to_lowercase())
        .collect();
    if keys == added {
        return Ok(());
    }
    Err(Mismatch::Keys {
        file: file.clone(),
        present: keys,
        written: added,
    })
}

/// How the path of an existing file differs from those that a write creates.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Mismatch {
    #[error(
        "/{file} is {}, the write is {}; write the same format",
        present.name(),
        written.name()
    )]
    Format {
        file: Path,
        present: FileFormat,
        written: FileFormat,
    },
    #[error(
        "/{file} is partitioned by {}, the write by {}; set partitionBy to the columns of the file",
        list_columns(present),
        list_columns(written)
    )]
    Keys {
        file: Path,
        present: Vec<String>,
        written: Vec<String>,
    },
}

fn list_columns(names: &[String]) -> String {
    match names {
        [] => "no columns".to_owned(),
        names => names.join(", "),
    }
}

/// Returns the columns that the files have: all but the partition columns.
fn file_columns(columns: &Schema, partition_by: &[String]) -> Schema {
    let is_key = |field: &FieldRef| {
        partition_by
            .iter()
            .any(|key| key.eq_ignore_ascii_case(field.name()))
    };
    let columns = columns.fields().iter().filter(|&field| !is_key(field));
    Schema::new(columns.cloned().collect::<Vec<_>>())
}

/// Describes the first difference that prevents readers from reading `file`, with the columns
/// `present`, together with files with the columns `added`; `None` if there is none.
fn difference(format: FileFormat, present: &Schema, added: &Schema, file: &str) -> Option<String> {
    for field in added.fields() {
        let name = field.name();
        let Some(known) = find(present, name) else {
            // Every CSV file of a table must have the same columns; in other formats they may
            // differ.
            if format == FileFormat::Csv {
                return Some(format!("{file} has no column `{name}`; leave it out"));
            }
            continue;
        };
        if !are_readable_together(format, known.data_type(), field.data_type()) {
            let (known, new) = (sql_name(known.data_type()), sql_name(field.data_type()));
            return Some(format!(
                "the column `{name}` is {new}, but {known} in {file}; select cast({name} AS {known})"
            ));
        }
    }
    let missing = present
        .fields()
        .iter()
        .find(|field| find(added, field.name()).is_none());
    missing.filter(|_| format == FileFormat::Csv).map(|field| {
        format!(
            "{file} has the column `{}`; add it to the query",
            field.name()
        )
    })
}

/// Describes a different number of columns. CSV files without headers have no names to compare.
fn width_difference(present: &Schema, added: &Schema, file: &str) -> Option<String> {
    let (present, added) = (present.fields().len(), added.fields().len());
    let differs = present != added;
    differs.then(|| format!("{file} has {present} columns, the rows have {added}"))
}

fn find<'a>(schema: &'a Schema, name: &str) -> Option<&'a Field> {
    let mut fields = schema.fields().iter();
    fields
        .find(|field| field.name().to_lowercase() == name.to_lowercase())
        .map(AsRef::as_ref)
}

fn are_readable_together(format: FileFormat, present: &DataType, added: &DataType) -> bool {
    match format {
        FileFormat::Parquet => normalize(present) == normalize(added) || holds(present, added),
        // CSV has no types; readers infer them from the values of all files.
        FileFormat::Csv => true,
        FileFormat::Ndjson => match (JsonKind::from_type(present), JsonKind::from_type(added)) {
            (Some(present), Some(added)) => present == added,
            _ => true,
        },
    }
}

/// Returns true if `present` holds every value of `added`, and neither is nested.
fn holds(present: &DataType, added: &DataType) -> bool {
    let present = normalize(present);
    if let (DataType::Timestamp(_, Some(_)), DataType::Date32) = (&present, added) {
        // A date is the instant at which it begins in the session's zone.
        return true;
    }
    !present.is_nested() && widen(&present, &normalize(added), TypeRule::Lossless) == Some(present)
}

/// Returns the columns of `added` whose types are narrower than in a file, with the types of the
/// file.
fn wider_types(present: &Schema, added: &Schema) -> WiderTypes {
    let wider = added.fields().iter().filter_map(|field| {
        let known = find(present, field.name())?.data_type();
        let is_wider =
            normalize(known) != normalize(field.data_type()) && holds(known, field.data_type());
        is_wider.then(|| (field.name().clone(), normalize(known)))
    });
    wider.collect()
}

/// Normalizes a type: removes differences that readers ignore.
fn normalize(data_type: &DataType) -> DataType {
    let nested = |field: &FieldRef| {
        let field = field.as_ref().clone();
        let data_type = normalize(field.data_type());
        // The names of list items differ from writer to writer.
        Arc::new(Field::new("item", data_type, true))
    };
    match data_type {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::Dictionary(_, values) => normalize(values),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::FixedSizeList(item, _) => DataType::List(nested(item)),
        DataType::Struct(fields) => {
            let field =
                |field: &FieldRef| Field::new(field.name(), normalize(field.data_type()), true);
            DataType::Struct(fields.iter().map(field).collect())
        }
        DataType::Map(entries, _) => DataType::Map(nested(entries), false),
        other => other.clone(),
    }
}

/// Kind of a JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JsonKind {
    Boolean,
    Number,
    Text,
    Array,
    Object,
}

impl JsonKind {
    /// Returns the kind of the values of a type, or `None` if all are null.
    fn from_type(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Null => return None,
            DataType::Boolean => Self::Boolean,
            DataType::Struct(_) | DataType::Map(..) => Self::Object,
            DataType::Dictionary(_, values) => return Self::from_type(values),
            nested if nested.is_nested() => Self::Array,
            number if number.is_numeric() => Self::Number,
            _ => Self::Text,
        })
    }
}

fn sql_name(data_type: &DataType) -> String {
    name_of(data_type).to_uppercase()
}

#[cfg(test)]
mod tests {
    use faisca_spark::types::instant_type;

    use super::*;

    fn schema(columns: &[(&str, DataType)]) -> Schema {
        let fields = columns
            .iter()
            .map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
        Schema::new(fields.collect::<Vec<_>>())
    }

    #[test]
    fn a_difference_names_the_column_both_types_and_what_to_do() {
        let present = schema(&[("a", DataType::Int32), ("b", DataType::Utf8)]);
        let difference_to = |format, columns: &[(&str, DataType)]| {
            difference(format, &present, &schema(columns), "x")
        };
        let text = [("A", DataType::Utf8), ("b", DataType::LargeUtf8)];
        assert_eq!(
            difference_to(FileFormat::Parquet, &text).unwrap(),
            "the column `A` is STRING, but INT in x; select cast(A AS INT)"
        );
        assert!(
            difference_to(FileFormat::Ndjson, &text)
                .unwrap()
                .contains("but INT")
        );
        assert_eq!(difference_to(FileFormat::Csv, &text), None);
        let fewer = [("b", DataType::Utf8View)];
        assert_eq!(difference_to(FileFormat::Parquet, &fewer), None);
        assert!(
            difference_to(FileFormat::Csv, &fewer)
                .unwrap()
                .contains("has the column `a`")
        );
        let more = [
            ("a", DataType::Int32),
            ("b", DataType::Utf8),
            ("c", DataType::Int8),
        ];
        assert_eq!(difference_to(FileFormat::Parquet, &more), None);
        assert!(
            difference_to(FileFormat::Csv, &more)
                .unwrap()
                .contains("no column `c`")
        );
    }

    #[test]
    fn narrower_numbers_and_dates_are_written_as_the_files_have_them() {
        use DataType::{Date32, Decimal128, Float32, Float64, Int32, Int64, Utf8, Utf8View};
        let wall_clock = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
        let instant = instant_type();
        let decimal = Decimal128(12, 2);
        for (present, added, expected) in [
            (Int64, Int32, Some(Int64)),
            (Float64, Float32, Some(Float64)),
            (decimal.clone(), Decimal128(5, 1), Some(decimal)),
            (wall_clock.clone(), Date32, Some(wall_clock)),
            (instant.clone(), Date32, Some(instant)),
            (Utf8, Utf8View, None),
        ] {
            let (present, added) = (schema(&[("a", present)]), schema(&[("A", added)]));
            assert_eq!(difference(FileFormat::Parquet, &present, &added, "x"), None);
            assert_eq!(wider_types(&present, &added).get("A"), expected.as_ref());
        }
        for (present, added) in [(Int32, Int64), (Float64, Int64), (Utf8, Int32)] {
            let (present, added) = (schema(&[("a", present)]), schema(&[("a", added)]));
            let difference = difference(FileFormat::Parquet, &present, &added, "x");
            assert!(difference.unwrap().contains("select cast(a AS "));
        }
    }

    #[test]
    fn format_and_partition_keys_must_be_those_of_the_folder() {
        let write = |keys: &[&str]| Write {
            partition_by: keys.iter().map(|&key| key.to_owned()).collect(),
            ..Write::to("out")
        };
        let check = |file: &str, keys: &[&str]| {
            check_format_and_keys(&Path::from("out"), &Path::from(file), &write(keys))
        };
        assert_eq!(check("out/k=1/a.parquet", &["K"]), Ok(()));
        let refused = |file, keys: &[&str]| check(file, keys).unwrap_err().to_string();
        assert!(refused("out/a.parquet", &["k"]).contains("partitionBy"));
        assert!(refused("out/k=1/a.parquet", &[]).contains("partitioned by k"));
        assert!(refused("out/a.csv.gz", &[]).contains("is CSV"));
    }
}
