//! The TPC-H tables as Parquet, by the `tpchgen` crate.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator,
    PartSuppGenerator, RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow,
    RecordBatchIterator, RegionArrow, SupplierArrow,
};

/// The eight tables; each becomes a folder.
pub const TPCH_TABLES: [&str; 8] = [
    "nation", "region", "part", "supplier", "partsupp", "customer", "orders", "lineitem",
];

/// Files that the large tables are split into.
const FILES_PER_TABLE: i32 = 4;

/// Writes all tables below `folder`, Snappy-compressed.
///
/// # Errors
/// If the folder cannot be written.
pub fn tpch(folder: &Path, scale: f64) -> io::Result<()> {
    let mut work: Vec<(&str, i32, i32)> = vec![];
    for table in TPCH_TABLES.iter().rev() {
        let files = if matches!(*table, "nation" | "region" | "supplier") {
            1
        } else {
            FILES_PER_TABLE
        };
        work.extend((1..=files).map(|part| (*table, part, files)));
    }
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    while let Some((table, part, parts)) =
                        work.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        write(folder, table, scale, *part, *parts)?;
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|w| {
            w.join()
                .unwrap_or_else(|_| Err(io::Error::other("a generator thread panicked")))
        })
    })
}

fn write(folder: &Path, table: &str, scale: f64, part: i32, parts: i32) -> io::Result<()> {
    let batches: Box<dyn RecordBatchIterator> = match table {
        "nation" => Box::new(NationArrow::new(NationGenerator::new(scale, part, parts))),
        "region" => Box::new(RegionArrow::new(RegionGenerator::new(scale, part, parts))),
        "part" => Box::new(PartArrow::new(PartGenerator::new(scale, part, parts))),
        "supplier" => Box::new(SupplierArrow::new(SupplierGenerator::new(
            scale, part, parts,
        ))),
        "partsupp" => Box::new(PartSuppArrow::new(PartSuppGenerator::new(
            scale, part, parts,
        ))),
        "customer" => Box::new(CustomerArrow::new(CustomerGenerator::new(
            scale, part, parts,
        ))),
        "orders" => Box::new(OrderArrow::new(OrderGenerator::new(scale, part, parts))),
        _ => Box::new(LineItemArrow::new(LineItemGenerator::new(
            scale, part, parts,
        ))),
    };
    let folder = folder.join(table);
    fs::create_dir_all(&folder)?;
    let partial = folder.join(format!(".{part}.partial"));
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .build();
    let mut writer = ArrowWriter::try_new(
        File::create(&partial)?,
        Arc::clone(batches.schema()),
        Some(properties),
    )?;
    for batch in batches {
        writer.write(&batch)?;
    }
    writer.close()?;
    fs::rename(partial, folder.join(format!("{table}-{part}.parquet")))
}
