"""Reads every table of the lake by PySpark's S3 reader, and compares it with the folder of a local run."""

import os
import sys

from pyspark.sql import SparkSession


def rows(frame):
    """Rows as text in any order; floats to six digits, since their sums depend on the order."""
    text = lambda value: f"{value:.6e}" if isinstance(value, float) else str(value)
    return sorted(tuple(map(text, row)) for row in frame.collect())


def main(local, tables, jars):
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").config("spark.jars", jars)
    settings = {
        "endpoint": os.environ["AWS_ENDPOINT_URL_S3"],
        "path.style.access": "true",
        "access.key": os.environ["AWS_ACCESS_KEY_ID"],
        "secret.key": os.environ["AWS_SECRET_ACCESS_KEY"],
        "endpoint.region": os.environ["AWS_REGION"],
    }
    for key, value in settings.items():
        builder = builder.config(f"spark.hadoop.fs.s3a.{key}", value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    for line in open(tables):
        name, location, folder = line.rstrip("\n").split("\t")
        lake = spark.read.parquet(f"s3a://{location}")
        expected = spark.read.parquet(os.path.join(local, folder))
        assert lake.schema == expected.schema, f"{name}: {lake.schema} is not {expected.schema}"
        assert rows(lake) == rows(expected), f"{name} differs from {folder} by PySpark"
        print(f"{name}: equal by PySpark {spark.version}")


main(*sys.argv[1:])
