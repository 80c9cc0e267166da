//! Encodes [`RecursiveQueryExec`] and [`WorkTableExec`].
//!
//! Both find each other by the query's name, so only names and schemas are sent. A work table does
//! not state which of the query's columns it reads; they are looked up by name.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::work_table::WorkTableExec;
use datafusion_proto::protobuf;
use prost::Message;

use super::external_error;
use crate::physical::expect_children;

pub(super) fn encode_query(query: &RecursiveQueryExec, buf: &mut Vec<u8>) -> Result<()> {
    let schema = encode_schema(&query.schema())?;
    serde_json::to_writer(buf, &(query.name(), query.is_distinct(), schema)).map_err(external_error)
}

pub(super) fn decode_query(
    buf: &[u8],
    inputs: &[Arc<dyn ExecutionPlan>],
) -> Result<Arc<dyn ExecutionPlan>> {
    let (name, is_distinct, schema): (String, bool, Vec<u8>) =
        serde_json::from_slice(buf).map_err(external_error)?;
    // The schema of neither term would do: a column may be nullable in one of them only.
    let schema = decode_schema(&schema)?;
    let [static_term, recursive_term] = expect_children("RecursiveQueryExec", inputs.to_vec())?;
    let recursive_term = recursive_term
        .transform_up(|node| with_columns(node, &name, &schema))
        .data()?;
    Ok(Arc::new(RecursiveQueryExec::try_new(
        name,
        schema,
        static_term,
        recursive_term,
        is_distinct,
    )?))
}

/// Adds the positions of the columns that it reads to a work table of the query.
fn with_columns(
    node: Arc<dyn ExecutionPlan>,
    name: &str,
    schema: &SchemaRef,
) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let Some(table) = node
        .downcast_ref::<WorkTableExec>()
        .filter(|table| table.name() == name)
    else {
        return Ok(Transformed::no(node));
    };
    let table_schema = table.schema();
    if table_schema.fields().len() == schema.fields().len() {
        return Ok(Transformed::no(node));
    }
    let columns = table_schema
        .fields()
        .iter()
        .map(|field| schema.index_of(field.name()));
    let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
    let table = WorkTableExec::new(name.to_owned(), Arc::clone(schema), Some(columns))?;
    Ok(Transformed::yes(Arc::new(table)))
}

pub(super) fn encode_table(table: &WorkTableExec, buf: &mut Vec<u8>) -> Result<()> {
    let schema = encode_schema(&table.schema())?;
    serde_json::to_writer(buf, &(table.name(), schema)).map_err(external_error)
}

pub(super) fn decode_table(buf: &[u8]) -> Result<Arc<dyn ExecutionPlan>> {
    let (name, schema): (String, Vec<u8>) = serde_json::from_slice(buf).map_err(external_error)?;
    let schema = decode_schema(&schema)?;
    Ok(Arc::new(WorkTableExec::new(name, schema, None)?))
}

fn encode_schema(schema: &Schema) -> Result<Vec<u8>> {
    Ok(protobuf::Schema::try_from(schema)?.encode_to_vec())
}

fn decode_schema(bytes: &[u8]) -> Result<SchemaRef> {
    let schema = protobuf::Schema::decode(bytes)
        .map_err(|e| internal_datafusion_err!("encoded schema of a recursive query: {e}"))?;
    Ok(Arc::new(Schema::try_from(&schema)?))
}
