"""Remembers which faces were found in which picture, so that an interrupted run goes on."""

import contextlib
import json
import os
import pathlib
import sqlite3
import time
from collections.abc import Sequence

from dmsrl_jax.data.faces.detection import Face
from dmsrl_jax.errors import InputError

_COMMIT_SECONDS = 2.0
_WAIT_SECONDS = 60.0
_DIGITS = 2


class FaceCache(contextlib.AbstractContextManager['FaceCache']):
    """A file of found faces, by detector and picture; a context manager.

    Every two seconds what was found is written for good, in one transaction: a run that is killed
    loses two seconds, and never leaves half an entry.

    Args:
        path: the file; made if it is not there.

    Raises:
        InputError: it cannot be made, or is no such file.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = pathlib.Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _opened(self.path)
        except (OSError, sqlite3.Error) as error:
            raise InputError(
                f'cannot open the list of found faces {self.path}: {error}; delete it'
            ) from error
        self._new: list[tuple[str, str, str]] = []
        self._written = time.monotonic()

    def get(self, detector: str, picture: str) -> list[Face] | None:
        """What a detector found in a picture; None if it has not looked yet.

        Args:
            detector: its `identity`.
            picture: a key of the picture's content.

        Returns:
            The faces, their coordinates rounded to hundredths of a pixel.
        """
        row = self._file.execute(
            'SELECT found FROM faces WHERE detector = ? AND picture = ?', (detector, picture)
        ).fetchone()
        return row and [_face(values) for values in json.loads(row[0])]

    def put(self, detector: str, picture: str, faces: Sequence[Face]) -> None:
        """Keeps what a detector found in a picture; see `get`."""
        self._new.append((detector, picture, json.dumps([_values(face) for face in faces])))
        if time.monotonic() - self._written > _COMMIT_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Writes what is new."""
        with self._file:
            self._file.execute('BEGIN')
            self._file.executemany('INSERT OR REPLACE INTO faces VALUES (?, ?, ?)', self._new)
        self._new, self._written = [], time.monotonic()

    def __exit__(self, *_: object) -> None:
        """Writes what is new and closes the file."""
        with contextlib.closing(self._file):
            self.flush()


def _opened(path: pathlib.Path) -> sqlite3.Connection:
    file = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)
    try:
        file.execute(
            'CREATE TABLE IF NOT EXISTS faces '
            '(detector TEXT, picture TEXT, found TEXT, PRIMARY KEY (detector, picture)) '
            'WITHOUT ROWID'
        )
    except sqlite3.Error:
        file.close()
        raise
    return file


def _values(face: Face) -> list[float]:
    points = [value for point in face.landmarks or () for value in point]
    return [round(value, _DIGITS) for value in (face.score, *face.box, *points)]


def _face(values: list[float]) -> Face:
    score, left, top, right, bottom, *points = values
    landmarks = tuple(zip(points[::2], points[1::2], strict=True)) or None
    return Face((left, top, right, bottom), landmarks, score)
