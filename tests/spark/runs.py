"""Copies of the sample runs whose content is another, so that each is a run of its own."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

import pyarrow as pa

SAMPLES = Path(__file__).resolve().parents[2] / "sample-data"
STATEMENTS = "capture.toml"


def whole(path: Path) -> bytes:
    """The content of a file, unpacked."""
    if path.suffix == ".zst":
        with pa.input_stream(str(path), compression="zstd") as stream:
            return stream.read()
    return path.read_bytes()


def copy(sample: str, to: Path, variant: int = 0, changes: dict[str, str] | None = None) -> Path:
    """Copies a sample run. Each of its captures gets `variant` blank lines at its end; `changes` replaces texts in all files."""
    shutil.copytree(SAMPLES / sample, to)
    for path in sorted(to.rglob("*")):
        if not path.is_file():
            continue
        try:
            before = whole(path)
        except OSError:
            continue  # Some samples end within a file, as captures do.
        content = before if path.name == STATEMENTS else before + b"\n" * variant
        for old, new in (changes or {}).items():
            content = content.replace(old.encode(), new.encode())
        if content == before:
            continue
        if path.suffix == ".zst":
            with pa.output_stream(str(path), compression="zstd") as stream:
                stream.write(content)
        else:
            path.write_bytes(content)
    for path in to.rglob("*"):
        # Of the times of files Hadoop knows whole milliseconds, and a snapshot without a time of its own has that of its file.
        os.utime(path, ns=(path.stat().st_mtime_ns // 1_000_000 * 1_000_000,) * 2)
    return to


def pack(folder: Path) -> Path:
    """Makes a tar of a run, in its place."""
    to = folder.with_name(folder.name + ".tar")
    with tarfile.open(to, "w") as tar:
        tar.add(folder, arcname=folder.name)
    shutil.rmtree(folder)
    return to


def some(root: Path) -> None:
    """Eight places: six runs, one of them packed and one there twice; one that holds nothing that can be read; and a loose file."""
    version = {"1.19.4": "1.18.9", 'name = "cilium-scale-up-1"': 'name = "cilium-1.18"'}
    copy("cilium-scale-up-1", root / "east" / "cilium-scale-up")
    copy("cilium-scale-up-1", root / "east" / "cilium-1.18", 1, version)
    copy("cilium-scale-up-500svc-1", root / "west" / "2026 11" / "cilium 500 [svc]", 2)
    copy("nftables-scale-up-1", root / "west" / "nftables", 1)
    copy("kube-proxy-recorded-restart", root / "east" / "recorded-restart")
    copy("kube-proxy-recorded-restart", root / "west" / "again")
    pack(copy("kube-proxy-recorded-scale-up", root / "west" / "recorded-scale-up", 3))
    (root / "west" / "nftables" / "empty.txt").touch()
    (root / "west" / "notes.txt").write_text("what we did on Tuesday\n")
    broken(root / "east" / "broken")


def broken(folder: Path) -> None:
    """A bundle whose manifest is none."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text("{")
