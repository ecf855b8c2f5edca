import subprocess
import sys

import pytest

from dmsrl_jax.data import faces
from dmsrl_jax.errors import InputError

FACES = [
    faces.Face((1.0, 2.0, 30.5, 40.25), tuple((float(i), i + 0.5) for i in range(5)), 0.75),
    faces.Face((0.123456, 1.0, 2.0, 3.0), None, 1.0),
]


class TestFaceCache:
    def test_gives_back_what_was_put_to_hundredths(self, tmp_path):
        with faces.FaceCache(tmp_path / 'sub' / 'f') as cache:
            cache.put('d', 'p', FACES)
            cache.put('d', 'none', [])
        with faces.FaceCache(tmp_path / 'sub' / 'f') as cache:
            assert cache.get('d', 'p') == [FACES[0], FACES[1]._replace(box=(0.12, 1.0, 2.0, 3.0))]
            assert cache.get('d', 'none') == []
            assert cache.get('d', 'other') is None
            assert cache.get('other', 'p') is None

    def test_last_word_counts(self, tmp_path):
        with faces.FaceCache(tmp_path / 'f') as cache:
            cache.put('d', 'p', FACES)
            cache.put('d', 'p', [])
            cache.flush()
            assert cache.get('d', 'p') == []

    def test_killed_process_leaves_what_was_flushed(self, tmp_path):
        code = f"""
import os
from dmsrl_jax.data import faces
cache = faces.FaceCache({str(tmp_path / 'f')!r})
cache.put('d', 'kept', [])
cache.flush()
cache.put('d', 'lost', [])
os._exit(9)
"""
        done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
        assert done.returncode == 9, done.stderr
        with faces.FaceCache(tmp_path / 'f') as cache:
            assert cache.get('d', 'kept') == []
            assert cache.get('d', 'lost') is None

    def test_writes_now_and_then(self, tmp_path, monkeypatch):
        monkeypatch.setattr('dmsrl_jax.data.faces.cache._COMMIT_SECONDS', -1.0)
        with faces.FaceCache(tmp_path / 'f') as cache:
            cache.put('d', 'p', [])
            assert cache.get('d', 'p') == []

    def test_file_of_another_kind(self, tmp_path):
        (tmp_path / 'f').write_text('no data base, but long enough to be taken for one' * 9)
        with pytest.raises(InputError, match=r'cannot open the list of found faces .*; delete it'):
            faces.FaceCache(tmp_path / 'f')
