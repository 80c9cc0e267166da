"""Reads every table that Glue knows by PyArrow and by awswrangler, and compares it with the folder of a local run."""

import os
import sys

import awswrangler as wr
import boto3
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as fs

TABLES = 10


def rows(table):
    """Rows as text in any order; floats to six digits, since their sums depend on the order."""
    text = lambda value: f"{value:.6e}" if isinstance(value, float) else str(value)
    return sorted(tuple(map(text, row.values())) for row in table.to_pylist())


def main(local, tables):
    glue = boto3.client("glue")
    wr.config.s3_endpoint_url = os.environ["AWS_ENDPOINT_URL_S3"]
    wr.config.glue_endpoint_url = os.environ["AWS_ENDPOINT_URL_GLUE"]
    store = fs.S3FileSystem(endpoint_override=os.environ["AWS_ENDPOINT_URL_S3"])
    found = glue.get_tables(DatabaseName="enem")["TableList"]
    assert len(found) == TABLES, [table["Name"] for table in found]
    listed = open(tables, "w")
    for table in found:
        location = table["StorageDescriptor"]["Location"].removeprefix("s3://").rstrip("/")
        lake = ds.dataset(location, filesystem=store).to_table()
        folder = os.path.dirname(location).removeprefix("enem/")
        expected = ds.dataset(os.path.join(local, folder)).to_table()
        columns = [column["Name"] for column in table["StorageDescriptor"]["Columns"]]
        assert columns == [name.lower() for name in lake.schema.names], table["Name"]
        assert rows(lake) == rows(expected), f"{table['Name']} differs from {folder}"
        wrangled = wr.s3.read_parquet_table(database="enem", table=table["Name"])
        wrangled = pa.Table.from_pandas(wrangled, preserve_index=False)
        assert rows(wrangled.rename_columns(lake.schema.names).cast(lake.schema)) == rows(expected), f"{table['Name']} differs by awswrangler"
        print(f"{table['Name']}: {lake.num_rows} rows, equal by PyArrow and awswrangler")
        print(table["Name"], location, folder, sep="\t", file=listed)
    listed.close()


main(*sys.argv[1:])
