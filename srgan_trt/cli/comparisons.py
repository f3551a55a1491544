"""`--compare`: of each picture a sheet and a page that show it beside its result."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ..comparison import compare_pictures
from ..errors import PictureError
from ..imaging.addresses import is_address
from ..imaging.encode import check_target
from ..imaging.picture import Picture
from ..imaging.sources import COMPARED, Job
from ..scheduler import Outcome

BESIDE = ""
"""As the folder: the result's own."""
_SUFFIXES = (".png", ".html")


class Comparisons:
    """Those of a run."""

    def __init__(self, folder: str, *, output: str | None, overwrite: bool) -> None:
        """folder: where they go. output: what -o is. Raises PictureError if they do not go together."""
        if folder == BESIDE and output == "-":
            raise PictureError("a result on standard output has no folder: name one with --compare=DIR")
        if folder == BESIDE and output is not None and is_address(output):
            raise PictureError("comparisons are files of this machine: name their folder with --compare=DIR")
        if Path(folder).is_file():
            raise PictureError(
                f"--compare {folder}: that is a file, not a folder: write --compare=DIR, or --compare last"
            )
        self._folder = folder
        self._overwrite = overwrite

    def checked(self, job: Job) -> Job:
        """`job`, with an error if its comparisons cannot be written."""
        if job.error is not None or job.skipped:
            return job
        try:
            for path in self._paths(job):
                check_target(path, overwrite=self._overwrite)
        except PictureError as error:
            return dataclasses.replace(job, error=str(error))
        return job

    def save(self, outcome: Outcome, small: Picture, large: Picture) -> Outcome:
        """Writes both; `outcome`, with an error if that fails."""
        names = (f"bicubic ({small.width} x {small.height})", f"result ({large.width} x {large.height})")
        try:
            comparison = compare_pictures(small, large, names=names)
            for path in self._paths(outcome.job):
                comparison.save(path, overwrite=self._overwrite)
        except PictureError as error:
            return dataclasses.replace(outcome, error=str(error))
        return outcome

    def _paths(self, job: Job) -> list[Path]:
        if isinstance(job.target, Path):
            stem = job.target.stem
            home = job.target.parent if self._folder == BESIDE else Path(self._folder) / job.source.relative.parent
        else:
            stem, home = job.source.relative.stem, Path(self._folder)
        return [home / f"{stem}{COMPARED}{suffix}" for suffix in _SUFFIXES]
