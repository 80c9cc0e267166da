//! Encodes a scan of text files as part of a plan: the options by postcard, the files by
//! DataFusion's protobuf.

use std::any::Any;
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result, internal_datafusion_err};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_datasource::file_scan_config::FileScanConfigBuilder;
use datafusion_proto::physical_plan::from_proto::{
    parse_protobuf_file_scan_config, parse_table_schema_from_proto,
};
use datafusion_proto::physical_plan::to_proto::serialize_file_scan_config;
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::FileScanExecConf;
use faisca_planner::NodeTag;
use prost::Message;
use serde::{Deserialize, Serialize};

use super::source::{TextFileSource, TextFormat};
use super::text::compression_type;

#[derive(Serialize, Deserialize)]
struct TextScan {
    format: TextFormat,
    /// The files and the schema, as DataFusion's protobuf.
    files: Vec<u8>,
}

/// Encodes `node` if it is a scan of text files. Returns whether it is.
pub(crate) fn encode(
    node: &Arc<dyn ExecutionPlan>,
    buf: &mut Vec<u8>,
    codec: &dyn PhysicalExtensionCodec,
    converter: &dyn PhysicalProtoConverterExtension,
) -> Result<bool> {
    let config = node.downcast_ref::<DataSourceExec>().and_then(|scan| {
        (scan.data_source().as_ref() as &dyn Any).downcast_ref::<FileScanConfig>()
    });
    let Some(config) = config else {
        return Ok(false);
    };
    let Some(source) = config.file_source.downcast_ref::<TextFileSource>() else {
        return Ok(false);
    };
    let files = serialize_file_scan_config(config, codec, converter)?.encode_to_vec();
    let scan = TextScan {
        format: source.format.clone(),
        files,
    };
    NodeTag::TextScan.write(buf);
    buf.extend(postcard::to_stdvec(&scan).map_err(|e| DataFusionError::External(Box::new(e)))?);
    Ok(true)
}

/// Decodes a scan of text files.
///
/// # Errors
/// If the bytes are no such scan, which would be a bug.
pub(crate) fn decode(
    buf: &[u8],
    ctx: &PhysicalPlanDecodeContext<'_>,
    converter: &dyn PhysicalProtoConverterExtension,
) -> Result<Arc<dyn ExecutionPlan>> {
    let scan: TextScan = postcard::from_bytes(buf)
        .map_err(|e| internal_datafusion_err!("encoded scan of text: {e}"))?;
    let proto = FileScanExecConf::decode(scan.files.as_slice())
        .map_err(|e| internal_datafusion_err!("encoded scan of text: {e}"))?;
    let compression = compression_type(scan.format.compression());
    let source = Arc::new(TextFileSource::new(
        parse_table_schema_from_proto(&proto)?,
        scan.format,
    ));
    let config = parse_protobuf_file_scan_config(&proto, ctx, converter, source)?;
    let config = FileScanConfigBuilder::from(config)
        .with_file_compression_type(compression)
        .build();
    Ok(DataSourceExec::from_data_source(config))
}
