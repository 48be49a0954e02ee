"""The job of analyzer/spark on two worker processes gives what one machine gives, loses nothing, and opens nothing twice.

Run by tests/spark/run, which installs what is needed. `SYNCLINE` is the program under test.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.dataset
import pyarrow.parquet
import pyspark
from pyspark.sql import SparkSession

import runs

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "analyzer" / "spark"))
import syncline_job

ROOT = Path(__file__).resolve().parents[2]
JOB = ROOT / "analyzer" / "spark" / "syncline_job.py"
SYNCLINE = os.environ["SYNCLINE"]
TABLES = ("runs", "facts", "measurements", "episodes", "requests", "queries", "findings", "losses", "results")
LONGEST = 3600
"""Seconds after which a command is given up: far more than any takes."""
P95 = """
    SELECT runs.cilium, runs.services, count(*) AS runs, min(measurements.p95) AS least, max(measurements.p95) AS greatest
    FROM measurements JOIN runs ON measurements.run_id = runs.run_id
    WHERE measurements.name = 'endpoint_propagation' AND measurements.variant = '' AND measurements.p95 IS NOT NULL
    GROUP BY runs.cilium, runs.services
"""
"""p95 of propagation by Cilium version and number of Services, as any engine reads it."""

os.environ |= {
    "SPARK_HOME": str(Path(pyspark.__file__).parent),
    "PYSPARK_PYTHON": sys.executable,
    "PYSPARK_DRIVER_PYTHON": sys.executable,
    "SPARK_LOCAL_IP": "127.0.0.1",
}
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
SMALL = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.default.parallelism": "2",
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
    # Processes that live for seconds: compiled little.
    "spark.sql.codegen.wholeStage": "false",
    "spark.driver.extraJavaOptions": QUICK,
    "spark.executor.extraJavaOptions": QUICK,
    # However busy the machine is: only what is killed is lost.
    "spark.network.timeout": "1800s",
}


def syncline(*arguments: str | Path, codes: tuple[int, ...] = (0,)) -> str:
    """Calls the program; what it printed."""
    ended = subprocess.run([SYNCLINE, *map(str, arguments)], capture_output=True, text=True, timeout=LONGEST, check=False)
    assert ended.returncode in codes, f"{arguments}: {ended.returncode}\n{ended.stderr}"
    return ended.stdout


def shipped(folder: Path) -> Path:
    """What the job ships as the program: a line that calls it, since with what a debugger needs it has hundreds of megabytes."""
    path = folder / "syncline"
    path.write_text(f"#!/bin/sh\nexec '{SYNCLINE}' \"$@\"\n")
    path.chmod(0o755)
    return path


def submitted(root: Path, out: Path, binary: Path, log: Path) -> subprocess.Popen[str]:
    """Begins the job on two worker processes with an executor of one core each."""
    settings = [f"--conf={key}={value}" for key, value in SMALL.items()]
    command = [Path(os.environ["SPARK_HOME"]) / "bin" / "spark-submit", "--master", "local-cluster[2,1,1024]"]
    command += ["--conf=spark.executor.memory=700m", *settings, JOB, root.as_uri(), "--out", out.as_uri()]
    command += ["--binary", binary, "--runs-per-task", "1", "--memory", "512M"]
    with log.open("w") as file:
        return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=file, text=True)


def family(process: int) -> dict[int, tuple[int, list[str]]]:
    """The processes that a process began, and theirs: parent and command line."""
    found: dict[int, tuple[int, list[str]]] = {}
    for entry in Path("/proc").iterdir():
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            found[int(entry.name)] = (parent, (entry / "cmdline").read_text().split("\0"))
        except (OSError, ValueError, IndexError):
            continue
    kin = {process}
    while more := {one for one, (parent, _) in found.items() if parent in kin} - kin:
        kin |= more
    return {one: found[one] for one in kin if one in found}


def kill_an_executor_at_work(job: subprocess.Popen[str]) -> bool:
    """Kills (-9) the executor that a `syncline archive` of the job runs below; false where none did before the job ended."""
    while job.poll() is None:
        kin = family(job.pid)
        at = next((one for one, (_, line) in kin.items() if line[1:2] == ["archive"]), None)
        while at in kin:
            parent, line = kin[at]
            if any("CoarseGrainedExecutorBackend" in word for word in line):
                os.kill(at, signal.SIGKILL)
                return True
            at = parent
        time.sleep(0.05)
    return False


def rows(tables: Path, name: str) -> list[str]:
    """The rows of a table, each as text, sorted: engines put them in an order of their own."""
    if not (tables / name).is_dir():
        return []
    partition = pyarrow.dataset.partitioning(
        pyarrow.schema([("dataplane", pyarrow.string()), ("scenario", pyarrow.string())]), flavor="hive"
    )
    files = sorted(map(str, (tables / name).glob("*/*/*.parquet")))
    found = pyarrow.dataset.dataset(files, partitioning=partition, partition_base_dir=str(tables / name)).to_table()
    return sorted(repr(sorted(row.items())) for row in found.to_pylist())


def differences(one: Path, other: Path) -> list[str]:
    """Tables whose rows differ, and how."""
    found = []
    for name in TABLES:
        left, right = rows(one, name), rows(other, name)
        if left != right:
            first = next((pair for pair in zip(left, right) if pair[0] != pair[1]), ("", ""))
            found.append(f"{name}: {len(left)} and {len(right)} rows; {first[0][:600]} … {first[1][:600]}")
    return found


class Spark(unittest.TestCase):
    """One archive's life; the steps build on each other."""

    maxDiff = None

    def test_the_job_gives_what_one_machine_gives(self) -> None:
        with tempfile.TemporaryDirectory(prefix="syncline-spark-") as folder:
            self.base = Path(folder)
            self.root, self.out, self.single = self.base / "runs", self.base / "out", self.base / "single"
            self.binary = shipped(self.base)
            runs.some(self.root)
            syncline("archive", self.root, "--out", self.single, codes=(2,))
            first = self.first_pass()
            self.same_report(first)
            self.spark = SparkSession.builder.master("local[2]").config(map=SMALL).getOrCreate()
            try:
                self.spark.sparkContext.addPyFile(str(JOB))
                self.same_answers(first)
                self.second_pass(first)
                self.changed_run()
            finally:
                self.spark.stop()

    def first_pass(self) -> Path:
        """An executor is killed in the middle of it."""
        log = self.base / "first.log"
        # What the executors had: the workers of such a cluster keep it.
        self.addCleanup(shutil.rmtree, Path(os.environ["SPARK_HOME"]) / "work", ignore_errors=True)
        job = submitted(self.root, self.out, self.binary, log)
        self.addCleanup(job.kill)
        self.assertTrue(kill_an_executor_at_work(job), "no executor was seen at work")
        printed, _ = job.communicate(timeout=LONGEST)
        self.assertEqual(job.returncode, 0, log.read_text()[-5000:])
        summary = json.loads(printed)
        self.assertIn("Lost executor", log.read_text())
        self.assertEqual((summary["opened"], summary["runs"], summary["failed"]), (8, 6, 1), summary)
        self.assertEqual(summary["not_of_a_run"], {"files": 1, "first": ["west/notes.txt"]})
        tables = self.out / "generation-000001"
        self.assertEqual(summary["generation"], tables.as_uri().replace("file:///", "file:/"))
        self.assertEqual(differences(self.single, tables), [])
        self.assertIn("empty-file", "".join(rows(tables, "losses")))
        self.a_fault_is_noticed(tables)
        return tables

    def again(self) -> dict[str, Any]:
        """The job once more, without a cluster of its own; what it says that it did."""
        arguments = [self.root.as_uri(), "--out", self.out.as_uri(), "--binary", str(self.binary)]
        return syncline_job.run(self.spark, syncline_job.parser().parse_args(arguments))

    def a_fault_is_noticed(self, tables: Path) -> None:
        """Without one row the comparison above fails."""
        planted = self.base / "planted"
        shutil.copytree(tables, planted)
        path = next(path for path in sorted((planted / "facts").glob("*/*/*.parquet")))
        table = pyarrow.parquet.ParquetFile(path).read()
        pyarrow.parquet.write_table(table.slice(1), path)
        self.assertEqual([text.split(":")[0] for text in differences(self.single, planted)], ["facts"])

    def same_report(self, tables: Path) -> None:
        """The archive that is made of the tables gives the report of the single machine, byte for byte."""
        archive = self.base / "archive"
        syncline("archive", "merge", tables, "--out", archive, codes=(2,))
        self.assertEqual(differences(self.single, archive), [])
        texts = []
        for name in ("single", "archive"):
            # A run could not be read: 2.
            syncline("report", self.base / name, "--formats", "json", "--out", self.base / f"report-{name}", codes=(0, 1, 2))
            texts.append((self.base / f"report-{name}" / "report.json").read_text())
        # Of the single machine places are absolute.
        self.assertEqual(texts[0].replace(f"{self.root}/", ""), texts[1])

    def same_answers(self, tables: Path) -> None:
        """DuckDB, Spark SQL and the report tell the same p95 by Cilium version and number of Services."""
        told = self.told()
        self.assertGreater(len([key for key in told if key[0]]), 2, f"several versions and sizes: {told}")
        for folder in (self.base / "archive", tables):
            with duckdb.connect() as connection:
                for name in ("runs", "measurements"):
                    files = f"read_parquet('{folder}/{name}/*/*/*.parquet', hive_partitioning = true)"
                    connection.execute(f"CREATE VIEW {name} AS SELECT * FROM {files}")
                    self.spark.read.parquet(f"{folder}/{name}").createOrReplaceTempView(name)
                by_duckdb = {tuple(row[:2]): tuple(row[2:]) for row in connection.execute(P95).fetchall()}
            by_spark = {tuple(row[:2]): tuple(row[2:]) for row in self.spark.sql(P95).collect()}
            self.assertEqual(by_duckdb, told)
            self.assertEqual(by_spark, told)

    def told(self) -> dict[tuple[str | None, int | None], tuple[int, float, float]]:
        """The same of the report: runs, least and greatest p95."""
        report = json.loads((self.base / "report-archive" / "report.json").read_text())
        groups = {run["name"]: (run["facts"].get("version/cilium", {}).get("value"), run["services"]) for run in report["runs"]}
        self.assertEqual(len(groups), len(report["runs"]), "names tell the runs apart")
        found: dict[tuple[str | None, int | None], list[float]] = {}
        for one in report["measurements"]:
            if one["name"] == "endpoint_propagation" and one["variant"] == "":
                p95 = one["quantiles"].get("p95", {}).get("value")
                if p95 is not None:
                    found.setdefault(groups[one["run"]], []).append(p95)
        return {key: (len(values), min(values), max(values)) for key, values in found.items()}

    def second_pass(self, tables: Path) -> None:
        """Nothing is new: nothing is opened or written."""
        before = sorted(tables.rglob("*"))
        summary = self.again()
        self.assertEqual((summary["opened"], summary["unchanged"], summary["new_generation"]), (0, 7, False), summary)
        self.assertEqual([path.name for path in self.out.iterdir() if not path.name.startswith(".")], [tables.name])
        self.assertEqual(sorted(tables.rglob("*")), before)

    def changed_run(self) -> None:
        """One run has other content, another place can be read no more: they cost themselves, and their rows are others."""
        shutil.rmtree(self.root / "west" / "nftables")
        runs.copy("nftables-scale-up-1", self.root / "west" / "nftables", 4)
        runs.broken(self.root / "east" / "recorded-restart")
        summary = self.again()
        self.assertEqual((summary["opened"], summary["unchanged"], summary["runs"], summary["failed"]), (2, 5, 6, 2), summary)
        tables = self.out / "generation-000002"
        # Of one machine the run that is there no more stays, and is said.
        syncline("archive", self.root, "--out", self.single, "--prune", codes=(2,))
        self.assertEqual(differences(self.single, tables), [])
        failed = pyarrow.dataset.dataset(tables / "failed", format="parquet").to_table().to_pylist()
        self.assertEqual([one["path"] for one in failed], ["east/broken", "east/recorded-restart"])


if __name__ == "__main__":
    unittest.main(verbosity=2, warnings="ignore")
