"""Spark as a peer, in local mode: `spark_peer.py FOLDER TABLE…`."""

import os
import sys

from pyspark.sql import SparkSession

from protocol import serve

folder, tables = sys.argv[1], sys.argv[2:]
cores = len(os.sched_getaffinity(0))
builder = SparkSession.builder.master(f"local[{cores}]").appName("tpch")
# As Spark advises for few cores: one shuffle partition per core instead of 200. The rest are defaults.
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
serve(lambda sql: len(spark.sql(sql).collect()))
