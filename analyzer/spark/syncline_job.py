"""`syncline archive` over more runs than one machine reads: Apache Spark hands them out, the same program measures them.

    list      the files below ROOT, by Spark; which belong to one run, and which runs are new or changed
    measure   the files of a run go to one task, which calls `syncline archive` on them in its scratch space
    publish   a new generation of the tables: what is kept of the one before, and what was measured

A generation is a folder of the same tables as those of an archive, and of two more:

    OUT/generation-000007/{runs,measurements,…,results}/dataplane=…/scenario=…/*.parquet
                          places/   path below ROOT, stamp, program, run_id, reason
                          failed/   path, reason
                          complete.json   written last: without it the generation is none

Readers take the last generation that is complete. Nothing that is complete is changed; the one before stays until the next pass, so
that whoever reads it can end. A job that is killed leaves a folder that nobody reads, which the next one removes.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import io
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import SparkFiles, TaskContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

TABLES = ("facts", "measurements", "episodes", "requests", "queries", "findings", "losses", "results", "runs")
MARKS = ("manifest.json", "capture.toml")
"""A folder with one of these is a run, with all that is below it: a bundle, a capture."""
ARCHIVES = r"(?i)\.(tar|tar\.(gz|bz2|xz|zst|lz4)|tgz|tbz2?|txz|zip)$"
"""A file of such a name is a run by itself, where no run is around it."""
INDEX = "archive.json"
"""A folder with this holds what runs gave, and no run."""
COMPLETE = "complete.json"
WORK = "work"
"""What the tasks gave, until it is in the tables: a row a run, and in the column of each table the file that `syncline` wrote."""
TEXTS = ("place", "stamp", "run_id", "reason", "dataplane", "scenario")
WORK_SCHEMA = ", ".join([f"{name} string" for name in TEXTS] + [f"{name} binary" for name in TABLES])
PLACES_SCHEMA = "path string, stamp string, program string, run_id string, reason string"
SHOWN = 20


class Place(NamedTuple):
    """Where a run lies, and what was there: a row of the table `places`."""

    path: str
    """Below ROOT."""
    stamp: str | None
    """Of its files when they were read; none where they are to be read again whatever they are."""
    program: str
    """SHA-256 of the program that measured it: another one may measure otherwise."""
    run_id: str | None
    reason: str | None
    """Why it could not be read."""


@dataclass(frozen=True)
class Task:
    """What a task must know to measure a run."""

    binary: str
    """Name of the program among the files of the job."""
    memory: str
    """`--memory` of the program."""
    root_name: str
    """Name of the folder ROOT: a run that is ROOT itself is called by it."""
    attempts: int
    """How often Spark tries a task."""


class Storage:
    """The file system of a URI, as Spark reaches it (s3a, hdfs, file, …): for the driver, and for small things only."""

    def __init__(self, spark: SparkSession, uri: str) -> None:
        self._jvm = spark.sparkContext._jvm
        path = self._jvm.org.apache.hadoop.fs.Path(uri)
        self._system = path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())
        self.uri: str = self._system.makeQualified(path).toString().rstrip("/")

    def _path(self, below: str) -> Any:
        path = self._jvm.org.apache.hadoop.fs.Path(self.uri)
        return self._jvm.org.apache.hadoop.fs.Path(path, below) if below else path

    def names(self) -> list[str]:
        """Names of what lies in the folder; none where it is not there."""
        if not self.exists(""):
            return []
        return sorted(one.getPath().getName() for one in self._system.listStatus(self._path("")))

    def exists(self, below: str) -> bool:
        return bool(self._system.exists(self._path(below)))

    def is_folder(self) -> bool:
        return self.exists("") and bool(self._system.getFileStatus(self._path("")).isDirectory())

    def count(self) -> int:
        """Files below the folder, whatever they are called."""
        return int(self._system.getContentSummary(self._path("")).getFileCount())

    def files(self) -> Iterator[str]:
        """Paths of all files below the folder, one by one: slow."""
        listed = self._system.listFiles(self._path(""), True)
        while listed.hasNext():
            yield listed.next().getPath().toString()[len(self.uri) + 1 :]

    def unencoded(self, uri: str) -> str:
        """Path below the folder of a URI as Spark lists it."""
        return str(self._jvm.org.apache.hadoop.fs.Path(self._jvm.java.net.URI(uri)).toString())[len(self.uri) + 1 :]

    def state(self, below: str) -> tuple[int, int] | None:
        """Length of a file, and when it was written (µs since 1970); none where it is gone."""
        if not self.exists(below):
            return None
        state = self._system.getFileStatus(self._path(below))
        return int(state.getLen()), int(state.getModificationTime()) * 1000

    def write(self, below: str, text: str) -> None:
        """Writes a file that is not there yet."""
        stream = self._system.create(self._path(below), False)
        stream.write(bytearray(text.encode()))
        stream.close()

    def remove(self, below: str) -> None:
        self._system.delete(self._path(below), True)


# ---------------------------------------------------------------- list


def scanned(spark: SparkSession, folders: list[str], contents: bool) -> DataFrame:
    """Files below folders, as Spark's readers see them.

    Of contents that are wanted, a file that is gone or cannot be read gives no row: whoever wants them counts them.
    """
    escaped = ["".join("\\" + letter if letter in "\\{}[]*?" else letter for letter in folder) for folder in folders]
    reader = spark.read.format("binaryFile").option("recursiveFileLookup", True)
    return reader.option("ignoreMissingFiles", True).option("ignoreCorruptFiles", contents).load(escaped)


def empty_files(found: DataFrame, paths: Any, root: Storage) -> DataFrame:
    """Files without content, as of [`listed`]. They are among the `paths` that Spark found, but its readers give no row of them."""
    spark = found.sparkSession
    rows = found.select(F.input_file_name().alias("uri"))
    empty = []
    if rows.count() < len(paths):
        # One text for all of them: a call for each would take minutes.
        uris = spark.sparkContext._jvm.org.apache.hadoop.util.StringUtils.join("\n", paths).split("\n")
        names = spark.createDataFrame(((uri,) for uri in uris), "uri string", verifySchema=False)
        for row in names.join(rows, "uri", "left_anti").collect():
            file = root.unencoded(row.uri)
            state = root.state(file)
            # What was gone or written to since is another run when it is fetched, and is noticed then.
            if state is not None and state[0] == 0:
                empty.append((file, *state))
    return spark.createDataFrame(empty, "file string, length long, modified long").withColumn("content", F.lit(bytearray()))


def listed(found: DataFrame, root: str, empty: DataFrame) -> DataFrame:
    """Of files, and of those that are `empty`: `file` (path below the root), `length`, `modified` (µs since 1970), `content`."""
    columns = [
        F.col("path").substr(F.lit(len(root) + 2), F.length("path")).alias("file"),
        F.col("length"),
        F.unix_micros("modificationTime").alias("modified"),
        F.col("content"),
    ]
    return found.select(columns).unionByName(empty)


def folder_of(file: str) -> Any:
    """The folder that a file lies in; empty for the root."""
    return F.regexp_replace(file, r"(^|/)[^/]*$", "")


def placed(files: DataFrame) -> tuple[DataFrame, DataFrame]:
    """The files with the `place` of their run (its path below the root, `.` for the root), and those that belong to none.

    Of marked folders within each other the outermost is the run. What a file without a mark has in it is not looked at: a folder
    that only the contents of its files make a capture is none here, unlike for `syncline archive`.
    """
    name = F.element_at(F.split("file", "/"), -1)
    marked = files.where(name.isin(*MARKS, INDEX)).groupBy(folder_of("file").alias("folder"))
    marked = marked.agg(F.max(name.isin(*MARKS)).alias("is_run"))
    parts = F.slice(F.split("file", "/"), 1, F.size(F.split("file", "/")) - 1)
    around = F.transform(F.sequence(F.lit(0), F.size(parts)), lambda i: F.array_join(F.slice(parts, 1, i), "/"))
    within = files.select("file", F.posexplode(around).alias("depth", "folder")).join(marked, "folder")
    owner = within.groupBy("file").agg(F.min_by(F.struct("folder", "is_run"), "depth").alias("owner"))
    found = files.join(owner, "file", "left")
    own = F.when(F.col("owner").isNull() & F.col("file").rlike(ARCHIVES), F.col("file"))
    own = F.when(F.col("owner.is_run"), F.when(F.col("owner.folder") == "", F.lit(".")).otherwise(F.col("owner.folder"))).otherwise(own)
    loose = found.where(F.col("owner").isNull() & ~F.col("file").rlike(ARCHIVES)).select("file")
    return found.withColumn("place", own).where("place is not null").select("place", "file", "length", "modified"), loose


def stamp_line(file: Any, length: Any, modified: Any) -> Any:
    """What a file adds to the stamp of its run, in Spark's terms; [`stamp`] has the same in Python's."""
    return F.concat_ws("\t", file, length.cast("string"), modified.cast("string"))


def stamp(files: list[tuple[str, int, int]]) -> str:
    """SHA-256 over the names, sizes and times of the files of a run."""
    lines = sorted("\t".join(map(str, file)) for file in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def stamped(files: DataFrame) -> DataFrame:
    """A row a run: `place`, `stamp`, number of `files`, bytes of the largest."""
    line = stamp_line(F.col("file"), F.col("length"), F.col("modified"))
    return files.groupBy("place").agg(
        F.sha2(F.concat_ws("\n", F.sort_array(F.collect_list(line))), 256).alias("stamp"),
        F.count("*").alias("files"),
        F.max("length").alias("largest"),
    )


def passed_over(storage: Storage, listed: int, runs: Collection[str]) -> dict[str, str]:
    """Runs with files that Spark's readers pass over, and why they cannot be measured here: without those files they would be others.

    Names that begin with a dot are no runs of `syncline archive` either, but within a run they count.
    """
    found: dict[str, str] = {}
    for file in storage.files() if storage.count() != listed else ():
        parts = file.split("/")
        odd = [part for part in parts if part[0] in "._"]
        around = [".", *("/".join(parts[:end]) for end in range(1, len(parts)))]
        inside = next((place for place in around if place in runs), None)
        if odd and (inside or not odd[0].startswith(".")):
            why = f"{file}: Spark's readers pass over names that begin with `_` or `.`: rename it, or pack the run as a tar"
            found.setdefault(inside or file, why)
    return found


# ---------------------------------------------------------------- measure


def failure(place: str, stamp: str | None, reason: str) -> dict[str, Any]:
    """What is known of a run that could not be read. Without a stamp the next pass tries again."""
    return {"place": place, "stamp": stamp, "reason": reason}


def tables_of(place: str, stamp: str, out: Path) -> dict[str, Any]:
    """What a run gave, from the archive that it was measured into."""
    index = json.loads((out / INDEX).read_text())
    if not index["runs"]:
        return failure(place, stamp, "nothing in it is a capture that is read")
    if len(index["parts"]) != 1 or len(index["runs"]) != 1:
        raise RuntimeError(f"expected one run, `syncline archive` found {len(index['runs'])}")
    (run_id,), (part,) = index["runs"], index["parts"].values()
    found = {path.parts[-4]: path.read_bytes() for path in out.glob("*/dataplane=*/scenario=*/part-*.parquet")}
    if set(found) != set(TABLES):
        raise RuntimeError(f"expected the tables {', '.join(TABLES)}, `syncline archive` wrote {', '.join(sorted(found))}")
    header = {"run_id": run_id, "dataplane": part["dataplane"], "scenario": part["scenario"]}
    return {"place": place, "stamp": stamp} | header | found


def measured(task: Task, place: str, stamp: str, scratch: Path) -> dict[str, Any]:
    """Calls `syncline archive` on a run that lies at its path below `scratch/ROOT`.

    A run that it cannot read costs itself. If the program itself ends otherwise (killed for its memory, a full disk), Spark tries the
    task again, elsewhere as a rule; the last time the run is listed as one that cannot be read.
    """
    root, out = scratch / "in" / task.root_name, scratch / "out"
    command = [SparkFiles.get(task.binary), "archive", str(root), "--out", str(out), "--jobs", "1", "--memory", task.memory]
    ended = subprocess.run([*command, "--format", "json"], capture_output=True, text=True, check=False)
    try:
        if ended.returncode not in (0, 2):
            raise RuntimeError(f"syncline ended with {ended.returncode}: {ended.stderr.strip()[-2000:]}")
        summary = json.loads(ended.stdout)
        if summary["failed"]:
            reasons = "; ".join(one["reason"] for one in summary["failed"])
            return failure(place, stamp, reasons.replace(f"{root}/", "").replace(str(root), "."))
        return tables_of(place, stamp, out)
    except (RuntimeError, ValueError, KeyError) as error:
        context = TaskContext.get()
        if context is None or context.attemptNumber() + 1 < task.attempts:
            raise
        return failure(place, None, str(error))


def whole_runs(batches: Iterator[pa.RecordBatch], task: Task) -> Iterator[dict[str, Any]]:
    """Writes the files of one run after another into scratch space, and measures each when it is whole.

    The files come sorted by run. Only one run lies on the disk at a time, only one file in memory.
    """
    place, expected, files, scratch = None, 0, [], None

    def end() -> dict[str, Any]:
        if len(files) != expected:
            return failure(place, None, f"{len(files)} of {expected} files could be fetched: it is being changed, or cannot be read")
        return measured(task, place, stamp(files), scratch)

    try:
        for batch in batches:
            for row in batch.to_pylist():
                if row["place"] != place:
                    if place is not None:
                        yield end()
                        shutil.rmtree(scratch)
                    place, expected, files = row["place"], row["files"], []
                    # Spark's scratch space: the working folder of an executor goes with it.
                    scratch = Path(tempfile.mkdtemp(prefix="syncline-", dir=os.environ.get("SPARK_LOCAL_DIRS", "").split(",")[0] or None))
                path = scratch / "in" / task.root_name / row["file"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(row["content"])
                os.utime(path, ns=(row["modified"] * 1000,) * 2)
                files.append((row["file"], row["length"], row["modified"]))
        if place is not None:
            yield end()
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def measuring(task: Task) -> Any:
    """The function that Spark calls on the files of some runs; it gives rows of [`WORK_SCHEMA`]."""
    schema = pa.schema([(name, pa.string()) for name in TEXTS] + [(name, pa.binary()) for name in TABLES])

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for one in whole_runs(batches, task):
            yield pa.RecordBatch.from_pylist([one], schema=schema)

    return work


def fetched(spark: SparkSession, root: str, todo: dict[str, int], empty: DataFrame) -> DataFrame:
    """The files of the runs to be measured, each with the `place` of its run and how many `files` that has."""
    folders = [root if place == "." else f"{root}/{place}" for place in todo]
    found = listed(scanned(spark, folders, contents=True), root, empty)
    # A run lies so many folders deep: one small join a depth, instead of one of all files.
    depths = sorted({depth_of(place) for place in todo})
    known = F.broadcast(spark.createDataFrame(list(todo.items()), "place string, files long"))
    for depth in depths:
        key = F.lit(".") if depth == 0 else F.array_join(F.slice(F.split("file", "/"), 1, depth), "/")
        at = known.select(F.struct("place", "files").alias(f"at_{depth}"))
        found = found.join(at, key == F.col(f"at_{depth}.place"), "left")
    run = F.coalesce(*(F.col(f"at_{depth}") for depth in depths))
    found = found.select(run["place"].alias("place"), run["files"].alias("files"), "file", "length", "modified", "content")
    return found.where("place is not null")


def depth_of(place: str) -> int:
    """How many folders deep a run lies below the root."""
    return 0 if place == "." else place.count("/") + 1


def measure(files: DataFrame, runs: int, arguments: argparse.Namespace, root: str, work: str) -> DataFrame:
    """Measures runs, and writes what each gave once: the tables are made of that, and an executor that is lost costs its own runs."""
    spark = files.sparkSession
    spark.sparkContext.addFile(arguments.binary)
    attempts = int(spark.conf.get("spark.task.maxFailures", "4"))
    task = Task(os.path.basename(arguments.binary), arguments.memory, root.rsplit("/", 1)[1] or "runs", attempts)
    tasks = -(-runs // arguments.runs_per_task)
    # One file at a time goes to Python.
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", 1)
    of_runs = files.repartition(tasks, "place").sortWithinPartitions("place", "file")
    of_runs.mapInArrow(measuring(task), WORK_SCHEMA).write.parquet(work)
    return read(spark, work, WORK_SCHEMA)


# ---------------------------------------------------------------- publish


def generations(storage: Storage) -> tuple[list[str], list[str]]:
    """Generations that are complete, and those that are not, in their order."""
    all_of = [name for name in storage.names() if name.startswith("generation-")]
    complete = [name for name in all_of if storage.exists(f"{name}/{COMPLETE}")]
    return complete, [name for name in all_of if name not in complete]


def unpacked(packed: DataFrame, table: str, example: bytes) -> DataFrame:
    """The rows of a table, of the files that the tasks gave; its columns are those of one of these files."""
    partition = ("dataplane", "scenario")
    plain = pq.read_schema(io.BytesIO(example)).remove_metadata()
    schema = pa.schema([*plain, *(pa.field(key, pa.string()) for key in partition)])

    def rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for one in batch.to_pylist():
                read = pq.ParquetFile(io.BytesIO(one["rows"])).read()
                for key in partition:
                    read = read.append_column(key, pa.array([one[key]] * len(read), pa.string()))
                yield from read.cast(schema).to_batches()

    return packed.select(*partition, F.col(table).alias("rows")).mapInArrow(rows, from_arrow_schema(schema))


def save(rows: DataFrame, uri: str) -> None:
    """Writes a table, in files of a convenient size whatever the number of tasks."""
    rows = rows.sparkSession.sql("SELECT /*+ REBALANCE(dataplane, scenario) */ * FROM {rows}", rows=rows)
    rows = rows.sortWithinPartitions("dataplane", "scenario", "run_id")
    rows.write.partitionBy("dataplane", "scenario").option("compression", "zstd").mode("append").parquet(uri)


def read(spark: SparkSession, uri: str, schema: str | None = None) -> DataFrame:
    """A table. Its partition columns are texts whatever they look like."""
    reader = spark.read if schema is None else spark.read.schema(schema)
    return reader.parquet(uri)


def tables(spark: SparkSession, old: str | None, new: str, work: DataFrame | None, kept: set[str], winners: dict[str, str]) -> None:
    """Writes the tables of a generation: of the one before the runs `kept`, and the measured ones of `winners` (run, place)."""
    known = Storage(spark, old).names() if old and kept else []
    ids = F.broadcast(spark.createDataFrame([(one,) for one in sorted(kept)], "run_id string"))
    packed, example = None, None
    if work is not None and winners:
        packed = work.join(F.broadcast(spark.createDataFrame(sorted(winners.items()), "run_id string, place string")), ["run_id", "place"])
        example = packed.head()
    for table in TABLES:
        parts = []
        if table in known:
            parts.append(read(spark, f"{old}/{table}").join(ids, "run_id", "left_semi"))
        if packed is not None and example is not None:
            parts.append(unpacked(packed, table, bytes(example[table])))
        if parts:
            save(functools.reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), parts), f"{new}/{table}")


def publish(spark: SparkSession, out: Storage, name: str, base: str | None, places: list[Place], summary: dict[str, Any]) -> None:
    """Ends a generation, and removes those that nobody needs any more."""
    new = f"{out.uri}/{name}"
    places = sorted(places, key=lambda one: one.path)
    failed = [(one.path, one.reason) for one in places if one.reason is not None]
    for rows, schema, table in ((places, PLACES_SCHEMA, "places"), (failed, "path string, reason string", "failed")):
        spark.createDataFrame(rows, schema).coalesce(1).write.option("compression", "zstd").parquet(f"{new}/{table}")
    held = {one.run_id for one in places if one.run_id is not None}
    runs = [row.run_id for row in read(spark, f"{new}/runs").select("run_id").collect()] if out.exists(f"{name}/runs") else []
    if sorted(runs) != sorted(held):
        raise SystemExit(f"{new}: the tables have {len(runs)} runs, the places {len(held)}: a defect; nothing was published")
    complete, _ = generations(out)
    if (complete[-1] if complete else None) != base:
        raise SystemExit(f"{out.uri}: another job wrote {complete[-1]} meanwhile; one at a time")
    summary |= {"runs": len(held), "failed": len(failed)}
    out.remove(f"{name}/{WORK}")
    out.write(f"{name}/{COMPLETE}", json.dumps(summary, indent=2) + "\n")
    for earlier in complete[:-1]:
        out.remove(earlier)


# ---------------------------------------------------------------- the job


def run(spark: SparkSession, arguments: argparse.Namespace) -> dict[str, Any]:
    """Brings the tables below `--out` up to date; what was done. Of a run the driver holds one line."""
    begun = time.monotonic()
    root, out = Storage(spark, arguments.root), Storage(spark, arguments.out)
    if not root.is_folder():
        raise SystemExit(f"{arguments.root}: expected a folder of runs")
    if f"{out.uri}/".startswith(f"{root.uri}/"):
        raise SystemExit(f"{arguments.out}: lies below {arguments.root}: its tables would be listed as runs' files")
    complete, broken_off = generations(out)
    for name in broken_off:
        out.remove(name)
    base = complete[-1] if complete else None
    program = hashlib.sha256(Path(arguments.binary).read_bytes()).hexdigest()

    # Spark counts a file as 4 MiB at least: 32 a task, and tasks by the hundred thousand.
    spark.conf.set("spark.sql.files.openCostInBytes", 64 << 10)
    scan = scanned(spark, [root.uri], contents=False)
    paths = scan._jdf.inputFiles()
    empty = empty_files(scan, paths, root)
    files = listed(scan, root.uri, empty).drop("content").cache()
    of_runs, loose = placed(files)
    found = {row.place: row for row in stamped(of_runs).collect()}
    hidden = passed_over(root, len(paths), found)
    rows = read(spark, f"{out.uri}/{base}/places", PLACES_SCHEMA).collect() if base else []
    earlier = {row.path: Place(*row) for row in rows}
    same = {path for path, one in earlier.items() if path in found and (found[path].stamp, program) == (one.stamp, one.program)}
    same -= set(hidden)
    # Places that are gone stay, as for `syncline archive` without --prune.
    gone = set(earlier) - set(found) - set(hidden)
    new_ones = [one for path, one in found.items() if path not in same and path not in hidden]
    todo = {one.place: one.files for one in new_ones if one.largest <= arguments.largest}
    large = {one.place: f"a file of {one.largest} bytes: --largest is {arguments.largest}" for one in new_ones if one.place not in todo}
    unread = [Place(path, None, program, None, why) for path, why in (hidden | large).items()]
    summary: dict[str, Any] = {
        "opened": len(todo),
        "unchanged": sum(earlier[path].run_id is not None for path in same),
        "gone": len(gone),
        "not_of_a_run": {"files": loose.count(), "first": [row.file for row in loose.orderBy("file").limit(SHOWN).collect()]},
    }
    kept = [earlier[path] for path in same | gone]
    if base and not todo and set(earlier.values()) == {*kept, *unread}:
        return {"generation": f"{out.uri}/{base}", "new_generation": False, **summary, "seconds": time.monotonic() - begun}

    name = f"generation-{int(base.rsplit('-', 1)[1]) + 1 if base else 1:06}"
    new = f"{out.uri}/{name}"
    work = None
    if todo:
        work = measure(fetched(spark, root.uri, todo, empty), len(todo), arguments, root.uri, f"{new}/{WORK}")
    gave = work.select("place", "stamp", "run_id", "reason").collect() if work is not None else []
    kept_ids = {one.run_id for one in kept if one.run_id is not None}
    # Two places with one run give it once: from where it is already, else from the first.
    firsts = sorted((row.place, row.run_id) for row in gave if row.run_id is not None and row.run_id not in kept_ids)
    winners = {run_id: place for place, run_id in reversed(firsts)}
    tables(spark, f"{out.uri}/{base}" if base else None, new, work, kept_ids, winners)
    summary |= {"generation": new, "new_generation": True}
    measured_now = [Place(row.place, row.stamp, program, row.run_id, row.reason) for row in gave]
    publish(spark, out, name, base, kept + measured_now + unread, summary)
    return {**summary, "seconds": time.monotonic() - begun}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", metavar="ROOT", help="folder of runs, as a URI: file://, hdfs://, s3a://")
    parser.add_argument("--out", required=True, metavar="URI", help="folder of the tables; made, or brought up to date")
    parser.add_argument("--binary", required=True, metavar="FILE", help="the program `syncline`, for the executors' system")
    parser.add_argument("--runs-per-task", type=int, default=8, metavar="N", help="runs of a task, about [default: 8]")
    parser.add_argument("--memory", default="1G", metavar="SIZE", help="memory of `syncline`, beside the executor's [default: 1G]")
    parser.add_argument("--largest", type=int, default=256 << 20, metavar="BYTES", help="largest file that goes through Spark")
    return parser


def main() -> None:
    """Reads the command line, and prints what was done as JSON."""
    arguments = parser().parse_args()
    spark = SparkSession.builder.appName("syncline archive").config("spark.sql.sources.partitionColumnTypeInference.enabled", False)
    session = spark.getOrCreate()
    try:
        print(json.dumps(run(session, arguments), indent=2))
    finally:
        session.stop()


if __name__ == "__main__":
    main()
