"""Owners' layouts with our own faces in them: small pictures, files of any kind, archives."""

import functools
import hashlib
import io
import pathlib
import tarfile
import types
import zipfile
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from data_builders import preparing
from data_builders.synthetic_faces.render import render_encoded
from dmsrl_jax.data import corpora


@functools.cache
def _drawn(label: int) -> Image.Image:
    data, _ = render_encoded(label, 'studio', size=32, subject_seed=label, sample_seed=0)
    return Image.open(io.BytesIO(data)).convert('RGB')


def draw(name: str = '', label: int = 6, size=(24, 24), kind: str = 'PNG', mode: str = 'RGB'):
    """Bytes of a synthetic face, tinted by the name so that no two files are the same."""
    tint = hashlib.blake2b(name.encode(), digest_size=3).digest()
    face = Image.blend(_drawn(label).resize(size), Image.new('RGB', size, tuple(tint)), 0.3)
    out = io.BytesIO()
    face.convert(mode).save(out, kind)
    return out.getvalue()


def plant(root: pathlib.Path, files: dict[str, bytes | str]) -> pathlib.Path:
    """Writes files; text as it is (line ends too), None draws a face as the extension asks for."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_bytes(name, content))
    return root


def _bytes(name, content):
    if content is None:
        kinds = {'.jpg': 'JPEG', '.jpeg': 'JPEG', '.tiff': 'TIFF', '.bmp': 'BMP'}
        kind = kinds.get(pathlib.PurePosixPath(name).suffix.lower(), 'PNG')
        return draw(name, kind=kind)
    return content.encode() if isinstance(content, str) else content


def pack(path: pathlib.Path, files: dict[str, bytes | str]) -> pathlib.Path:
    """Writes the same files into an archive; the kind follows from the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.zip':
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, _bytes(name, content))
        return path
    mode = {'.tar': 'w', '.tgz': 'w:gz', '.gz': 'w:gz', '.bz2': 'w:bz2', '.xz': 'w:xz'}
    mode |= {'.tbz2': 'w:bz2', '.txz': 'w:xz'}
    with tarfile.open(path, mode[path.suffix]) as archive:
        for name, content in files.items():
            data = _bytes(name, content)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def film(pictures, rate: int = 25) -> bytes:
    """An AVI clip (motion JPEG) of arrays uint8 [height, width, 3], even sides."""
    av = pytest.importorskip('av')
    out = io.BytesIO()
    with av.open(out, 'w', format='avi') as container:
        stream = container.add_stream('mjpeg', rate=rate)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = 'yuvj444p'
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format='rgb24')
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return out.getvalue()


class Built(NamedTuple):
    """A prepared corpus: its report, and its records by split and owners' name."""

    folder: pathlib.Path
    report: dict
    records: dict[str, dict[str, dict]]

    @property
    def all(self) -> dict[str, dict]:
        """Records of all splits."""
        return {name: row for part in self.records.values() for name, row in part.items()}

    def labels(self, split: str | None = None) -> dict[str, int]:
        """Owners' name to label."""
        rows = self.all if split is None else self.records[split]
        return {name: row['label'] for name, row in rows.items()}

    def drops(self) -> dict[str, int]:
        """Reason to number."""
        return {reason: found['count'] for reason, found in self.report['drops'].items()}

    def counts(self) -> dict[str, tuple[int, int, bool]]:
        """What to (found, expected, certain)."""
        rows = self.report['counts']
        return {row['what']: (row['found'], row['expected'], row['certain']) for row in rows}


def build(name: str, raw: pathlib.Path, out: pathlib.Path, strict: bool = False, **options):
    """Prepares a corpus from `raw` in `out` and reads all of it."""
    options = preparing.typed_options(name, {key: str(value) for key, value in options.items()})
    folder, report, _ = preparing.prepare(
        name, options, data_dir=out, manual_dir=raw, strict=strict, overwrite=True
    )
    records = {}
    for split in report['splits']:
        rows = corpora.load(report['corpus'], split, data_dir=out)
        records[split] = {row['file']: row for row in map(rows.__getitem__, range(len(rows)))}
        assert len(records[split]) == len(rows)
    return Built(folder, report, records)


def pixels(record: dict) -> np.ndarray:
    """The stored picture as RGB."""
    return np.asarray(Image.open(io.BytesIO(record['image'])).convert('RGB'))


@pytest.fixture(scope='session')
def layouts():
    """`draw`, `film`, `plant`, `pack`, `build` and `pixels` of above."""
    return types.SimpleNamespace(
        draw=draw, film=film, plant=plant, pack=pack, build=build, pixels=pixels
    )
