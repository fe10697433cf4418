"""One engine counts the records, bytes and partitions of each codec: for scripts/fleet.

fleet.py watch STORE CODEC DIR: DuckDB over the store, until DIR/CODEC/over is there. No count ever falls.
fleet.py ENGINE STORE DIR: once. All counts equal the manifests of the writers.
"""

import glob
import json
import os
import sys
import time

ENDS = {"none": "json", "gzip": "json.gz", "zstd": "json.zst"}


def accounts(work, codec):
    """(records, bytes, records by host) by the manifests, where each file has one line."""
    hosts, total = {}, 0
    for path in glob.glob(f"{work}/{codec}/*/manifest"):
        for line in map(json.loads, open(path)):
            host = line["partition"]["host"]
            hosts[host] = hosts.get(host, 0) + line["records"]
            total += line["record_bytes"]
    return sum(hosts.values()), total, hosts


def duckdb_connection(store):
    import duckdb
    import duckdb_extension_httpfs

    con = duckdb.connect()
    extension = glob.glob(os.path.dirname(duckdb_extension_httpfs.__file__) + "/**/httpfs.duckdb_extension", recursive=True)[0]
    con.execute(f"LOAD '{extension}'")
    con.execute(f"""CREATE SECRET (TYPE s3, KEY_ID 'x', SECRET 'x', REGION 'us-east-1', ENDPOINT '{store}',
        URL_STYLE 'path', USE_SSL false)""")
    return con


def by_duckdb(store, work, codec, con=None):
    con = con or duckdb_connection(store)
    rows = con.execute(f"""SELECT host, count(*), sum(len), count(DISTINCT id)
        FROM read_json('s3://bucket/{codec}/*/*/*.{ENDS[codec]}', hive_partitioning = true,
            columns = {{id: 'VARCHAR', len: 'BIGINT'}}, format = 'newline_delimited')
        GROUP BY host""").fetchall()
    return rows


def by_datafusion(store, work, codec):
    from datafusion import SessionContext, object_store
    import pyarrow

    con = SessionContext()
    s3 = object_store.AmazonS3(bucket_name="bucket", region="us-east-1", access_key_id="x", secret_access_key="x",
                               endpoint=f"http://{store}", allow_http=True)
    con.register_object_store("s3://", s3, "bucket")
    compression = {"none": "UNCOMPRESSED", "gzip": "GZIP", "zstd": "ZSTD"}[codec]
    con.sql(f"""CREATE EXTERNAL TABLE t (id VARCHAR, len BIGINT, dt VARCHAR, host VARCHAR) STORED AS JSON
        PARTITIONED BY (dt, host) LOCATION 's3://bucket/{codec}/'
        OPTIONS ('format.compression' '{compression}')""").collect()
    table = con.sql("SELECT host, count(*) AS n, sum(len) AS b, count(DISTINCT id) AS d FROM t GROUP BY host")
    return [(row["host"], row["n"], row["b"], row["d"]) for row in table.to_pylist()]


def by_chdb(store, work, codec):
    import chdb

    text = chdb.query(f"""SELECT host, count(), sum(len), uniqExact(id)
        FROM file('{work}/lake/{codec}/*/*/*.{ENDS[codec]}', 'JSONEachRow', 'id String, len UInt64, host String')
        GROUP BY host SETTINGS use_hive_partitioning = 1""", "JSONCompactEachRow").bytes().decode()
    return [(h, int(n), int(b), int(d)) for h, n, b, d in map(json.loads, text.splitlines())]


def by_spark(spark, work, codec):
    table = spark.read.schema("id string, len bigint, dt string, host string").json(f"{work}/lake/{codec}")
    sums = {"len": "sum", "*": "count"}
    both = table.groupBy("host").agg(sums).collect()
    distinct = {row["host"]: row["count"] for row in table.select("host", "id").distinct().groupBy("host").count().collect()}
    return [(row["host"], row["count(1)"], row["sum(len)"], distinct[row["host"]]) for row in both]


def sessions(engine):
    """A function (store, work, codec), which shares one session."""
    if engine == "pyspark":
        from pyspark.sql import SparkSession

        master = os.environ.get("SPARK_MASTER", "local-cluster[2,1,1024]")
        builder = SparkSession.builder.master(master).config("spark.ui.enabled", "false")
        builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.sql.shuffle.partitions", "4")
        spark = builder.config("spark.log.level", "ERROR").getOrCreate()
        return lambda store, work, codec: by_spark(spark, work, codec)
    if engine == "pysail":
        from pysail.spark import SparkConnectServer
        from pyspark.sql import SparkSession

        server = SparkConnectServer()
        server.start()
        spark = SparkSession.builder.remote(f"sc://localhost:{server.listening_address[1]}").getOrCreate()
        # The server ends with its last name.
        return lambda store, work, codec, _=server: by_spark(spark, work, codec)
    return {"duckdb": by_duckdb, "datafusion": by_datafusion, "chdb": by_chdb}[engine]


def watch(store, codec, work):
    con, seen, is_over = duckdb_connection(store), [], False
    while True:
        is_over = is_over or os.path.exists(f"{work}/{codec}/over")
        try:
            rows = by_duckdb(store, work, codec, con)
        except Exception as error:
            if "No files found" not in str(error):
                raise
            rows = []
        found, distinct = sum(row[1] for row in rows), sum(row[3] for row in rows)
        assert found == distinct, f"{found} records, {distinct} different ones"
        assert not seen or found >= seen[-1], f"{found} records after {seen[-1]}"
        seen.append(found)
        if is_over:
            break
        time.sleep(0.05)
    records = accounts(work, codec)[0]
    assert seen[-1] == records, f"{seen[-1]} records, the manifests have {records}"
    print(f"fleet: {codec}: DuckDB over S3 counted {len(seen)} times meanwhile, {len(set(seen))} different counts, none fell")


def main():
    if sys.argv[1] == "watch":
        return watch(*sys.argv[2:])
    engine, store, work = sys.argv[1:]
    count = sessions(engine)
    for codec in ENDS:
        records, total, hosts = accounts(work, codec)
        began = time.time()
        rows = count(store, work, codec)
        found = {row[0]: row[1] for row in rows}
        assert found == hosts, f"{engine}, {codec}: {found}, the manifests have {hosts}"
        assert sum(row[2] for row in rows) == total, f"{engine}, {codec}: bytes of {rows}, not {total}"
        assert sum(row[3] for row in rows) == records, f"{engine}, {codec}: {rows}: a record is there twice"
        print(f"fleet: {codec}: {engine} counts {records} records, {total} bytes, {len(hosts)} partitions; {time.time() - began:.1f} s")
    if engine in ("pyspark", "pysail"):
        os._exit(0)


main()
