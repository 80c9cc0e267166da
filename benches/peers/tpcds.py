"""Data, queries and expected results of TPC-DS, by DuckDB's extension: `tpcds.py FOLDER SCALE`.

Writes FOLDER/TABLE/part-0.parquet, FOLDER/queries/qNN.sql, and the result of each query in FOLDER/results/qNN.parquet.
"""

import pathlib
import sys

import duckdb
import duckdb_extension_tpcds

folder, scale = pathlib.Path(sys.argv[1]), float(sys.argv[2])
extension = next(pathlib.Path(duckdb_extension_tpcds.__file__).parent.rglob("*.duckdb_extension"))
(folder / "queries").mkdir(parents=True, exist_ok=True)
(folder / "results").mkdir(exist_ok=True)

file = folder / "generated.duckdb"
file.unlink(missing_ok=True)
database = duckdb.connect(file)
database.load_extension(str(extension))
database.execute(f"CALL dsdgen(sf = {scale})")
tables = [name for (name,) in database.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
for table in tables:
    (folder / table).mkdir(exist_ok=True)
    database.execute(f"COPY {table} TO '{folder / table / 'part-0.parquet'}' (FORMAT parquet)")
queries = database.execute("SELECT query_nr, query FROM tpcds_queries()").fetchall()
database.close()
file.unlink()

database = duckdb.connect()
# As in Spark: with a LIMIT, the place of nulls decides which rows there are.
database.execute("SET default_null_order = 'nulls_first_on_asc_last_on_desc'")
for table in tables:
    database.read_parquet(f"{folder / table}/*.parquet").create_view(table)
for number, text in queries:
    query = text.strip().rstrip(";")
    (folder / "queries" / f"q{number:02}.sql").write_text(query)
    result = database.sql(query)
    # Names may repeat in a result, but not in a file.
    columns = ", ".join(f"c{index}" for index in range(len(result.columns)))
    target = folder / "results" / f"q{number:02}.parquet"
    database.execute(f"COPY (SELECT * FROM ({query}) AS result({columns})) TO '{target}' (FORMAT parquet)")
