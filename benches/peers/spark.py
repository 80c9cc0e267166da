"""Spark as a peer, in local mode: `spark.py FOLDER TABLE…`, told a query a line as JSON, answers `seconds rows` a line."""

import json
import os
import sys
import time

from pyspark.sql import SparkSession

folder, tables = sys.argv[1], sys.argv[2:]
cores = len(os.sched_getaffinity(0))
builder = SparkSession.builder.master(f"local[{cores}]").appName("tpch")
# Spark's own advice for few cores: partitions by cores, not 200; the rest are its defaults.
settings = {
    "spark.driver.memory": os.environ.get("FAISCA_SPARK_MEMORY", "12g"),
    "spark.sql.shuffle.partitions": str(cores),
    "spark.ui.enabled": "false",
    "spark.log.level": "ERROR",
}
for key, value in settings.items():
    builder = builder.config(key, value)
spark = builder.getOrCreate()
for table in tables:
    spark.read.parquet(f"{folder}/{table}/").createOrReplaceTempView(table)
for line in sys.stdin:
    started = time.perf_counter()
    try:
        rows = len(spark.sql(json.loads(line)).collect())
        print(time.perf_counter() - started, rows, flush=True)
    except Exception as error:  # The suite tells it beside the query.
        print("error", str(error).replace("\n", " ")[:300], flush=True)
