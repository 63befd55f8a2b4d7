"""The table of a study: a Parquet file, and until it is whole a folder of finished groups beside it."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import torch

import lib_unet_viz
from lib_unet_viz.studies.study import Group, Study
from lib_unet_viz.studies.templates import StudyError
from lib_unet_viz.writing import replacing

if TYPE_CHECKING:
    import pyarrow as pa


class Table:
    """The rows of a study's groups, kept as soon as a group is finished.

    path: the Parquet file that they become. whole: it is there already. Raises StudyError where the path
    holds another study, or a part of this one without the folder of finished groups.
    """

    def __init__(self, study: Study, path: Path) -> None:
        self.study, self.path = study, path
        self.parts = path.with_name(f"{path.name}.parts")
        if path.is_dir() or (path.exists() and _source(path) != study.source):
            raise StudyError(f"{path} is not a table of this study: choose another path")
        head = self.parts / "study.toml"
        if head.exists() and head.read_text(encoding="utf-8") != study.source:
            raise StudyError(f"{self.parts} holds what another study began: choose another path or remove it")
        self.whole = path.exists() and not self.parts.exists()
        if self.whole:
            self._check_whole()
            return
        self.parts.mkdir(parents=True, exist_ok=True)
        _keep(head, study.source)

    def missing(self) -> list[Group]:
        """The groups that are not finished yet; what an interrupted write left is removed."""
        if self.whole:
            return []
        for left in self.parts.glob(".*.part"):
            left.unlink(missing_ok=True)
        return [group for group in self.study.groups() if not self._part(group).exists()]

    def add(self, group: Group, rows: list[dict[str, Any]]) -> None:
        """Keep a group's rows, whole or not at all."""
        _keep(self._part(group), json.dumps(rows, separators=(",", ":")))

    def write(self) -> int:
        """Write the groups that are finished, in the study's order; how many of them. The folder of finished
        groups goes when there are all.
        """
        import pyarrow as pa
        import pyarrow.parquet as parquet

        if self.whole:
            return len(self.study.groups())
        done = [self._part(group) for group in self.study.groups() if self._part(group).exists()]
        rows = [row for part in done for row in json.loads(part.read_text(encoding="utf-8"))]
        table = pa.Table.from_pylist(rows, schema=self._schema())
        with replacing(self.path) as beside:
            parquet.write_table(table, beside, compression="zstd", row_group_size=1 << 20)
        if len(done) == len(self.study.groups()):
            shutil.rmtree(self.parts)
        return len(done)

    def _check_whole(self) -> None:
        import pyarrow.parquet as parquet

        held = parquet.read_table(self.path, columns=["prompt", "seed"]).to_pylist()
        there = {(row["prompt"], row["seed"]) for row in held}
        if len(there) < len(self.study.groups()):
            raise StudyError(
                f"{self.path} holds {len(there)} of {len(self.study.groups())} groups, and {self.parts}, "
                "from which it would go on, is gone: choose another path"
            )

    def _part(self, group: Group) -> Path:
        return self.parts / f"{group.number:06d}.json"

    def _schema(self) -> pa.Schema:
        import pyarrow as pa

        text = pa.dictionary(pa.int32(), pa.string())
        columns = [("prompt", pa.int32()), ("seed", pa.int64()), ("text", text)]
        columns += [(name, text) for name in self.study.columns]
        columns += [(name, text) for name in ("variant", "block", "measure", "of", "at_block")]
        columns += [("head", pa.int16()), ("step", pa.int16()), ("value", pa.float64())]
        metadata = {"study": self.study.source, "versions": json.dumps(versions(), sort_keys=True)}
        return pa.schema(columns, metadata=metadata)


def versions() -> dict[str, str]:
    """What the numbers depend on."""
    return {
        "lib_unet_viz": lib_unet_viz.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "machine": platform.machine(),
    }


def read(path: Path) -> tuple[Study, Iterable[dict[str, Any]]]:
    """A table's study and its rows. Raises StudyError for what is no table of a study."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    source = _source(path)
    if source is None:
        raise StudyError(f"{path} is not a table of a study")
    try:
        return Study.parse(source), parquet.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise StudyError(f"{path} cannot be read: {error}") from None


def versions_of(path: Path) -> dict[str, str]:
    """What a table's numbers were made with."""
    import pyarrow.parquet as parquet

    found: dict[str, str] = json.loads(parquet.read_schema(path).metadata[b"versions"])
    return found


def _source(path: Path) -> str | None:
    """The study's TOML in a table's metadata; None if it is no table of a study."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        metadata = parquet.read_schema(path).metadata or {}
        return metadata[b"study"].decode() if b"study" in metadata else None
    except (pa.ArrowException, UnicodeDecodeError):
        return None


def _keep(path: Path, text: str) -> None:
    with replacing(path, durable=True) as beside:
        beside.write_text(text, encoding="utf-8")
