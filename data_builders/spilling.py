"""Lets TFDS put the records of a large split on disk without TensorFlow.

TFDS sorts the records of a split by a hash of their keys: in memory up to 1000 MiB, above that
through a thousand files that it opens with TensorFlow. Here the same files are plain ones, and they
are used from 32 MiB on, so that memory does not grow with the corpus.
"""

import contextlib
import struct
from collections.abc import Iterator
from typing import Any

MEMORY = 32 << 20
# Bytes of each bucket that wait in memory: its file is open only while they are written, since a
# thousand open files are more than most systems allow.
WAITING = 16 << 10
_HEAD = struct.Struct('=16sQ')


@contextlib.contextmanager
def plain_files(memory: int = MEMORY) -> Iterator[None]:
    """While it lasts, TFDS sorts through plain files what takes more than `memory` bytes.

    Args:
        memory: bytes of records of one split that stay in memory.
    """
    from tensorflow_datasets.core import shuffle

    class Bucket(shuffle._Bucket):
        """A file of (key, data) pairs, as the library's own."""

        def __init__(self, path: Any):
            super().__init__(path)
            self._waiting = bytearray()

        def add(self, key: int, data: bytes) -> None:
            self._waiting += _HEAD.pack(key.to_bytes(16, 'big'), len(data)) + data
            self._length += 1
            self._size += len(data)
            if len(self._waiting) > WAITING:
                self.flush()

        def flush(self) -> None:
            if self._waiting:
                with open(self._path, 'ab') as file:
                    file.write(self._waiting)
                self._waiting = bytearray()

        def read_values(self) -> Iterator[tuple[int, bytes]]:
            self.flush()
            if not self._length:
                return
            with open(self._path, 'rb') as file:
                while head := file.read(_HEAD.size):
                    key, size = _HEAD.unpack(head)
                    yield int.from_bytes(key, 'big'), file.read(size)

        def del_file(self) -> None:
            self._path.unlink(missing_ok=True)

    before = shuffle._Bucket, shuffle.MAX_MEM_BUFFER_SIZE
    shuffle._Bucket, shuffle.MAX_MEM_BUFFER_SIZE = Bucket, memory
    try:
        yield
    finally:
        shuffle._Bucket, shuffle.MAX_MEM_BUFFER_SIZE = before
