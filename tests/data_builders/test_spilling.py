import numpy as np
import pytest

from data_builders import preparing, spilling
from dmsrl_jax.data import corpora

shuffle = pytest.importorskip('tensorflow_datasets.core.shuffle')


def sorted_pairs(folder, pairs, *, memory):
    with spilling.plain_files(memory):
        shuffler = shuffle.Shuffler(folder, 'salt')
        for key, data in pairs:
            shuffler.add(key, data)
        return list(shuffler), shuffler.bucket_lengths


class TestPlainFiles:
    PAIRS = tuple((i, bytes([i % 251]) * (i % 7 * 5000)) for i in range(400))

    def test_same_order_and_content_as_in_memory(self, tmp_path):
        inside, lengths = sorted_pairs(tmp_path, self.PAIRS, memory=1 << 30)
        assert lengths == [400]
        outside, lengths = sorted_pairs(tmp_path, self.PAIRS, memory=1000)
        assert len(lengths) == shuffle.BUCKETS_NUMBER
        assert sum(lengths) == 400
        assert outside == inside
        assert sorted(data for _, data in outside) == sorted(data for _, data in self.PAIRS)

    def test_leaves_no_file(self, tmp_path):
        sorted_pairs(tmp_path, self.PAIRS, memory=1000)
        assert list(tmp_path.iterdir()) == []

    def test_waits_in_memory_before_it_writes(self, tmp_path, monkeypatch):
        monkeypatch.setattr(spilling, 'WAITING', 1 << 30)
        with spilling.plain_files(10):
            shuffler = shuffle.Shuffler(tmp_path, 'salt')
            shuffler.add(1, b'x' * 100)
            shuffler.add(2, b'y' * 100)
            assert list(tmp_path.iterdir()) == []
            assert [data[:1] for _, data in shuffler] in ([b'x', b'y'], [b'y', b'x'])

    def test_same_key_twice_is_still_found(self, tmp_path):
        with pytest.raises(shuffle.DuplicatedKeysError):
            sorted_pairs(tmp_path, [(1, b'a' * 2000), (1, b'b' * 2000)], memory=1000)

    def test_library_is_as_before_even_after_an_error(self):
        before = shuffle._Bucket, shuffle.MAX_MEM_BUFFER_SIZE
        with pytest.raises(KeyError), spilling.plain_files(1):
            raise KeyError(shuffle.MAX_MEM_BUFFER_SIZE)
        assert (shuffle._Bucket, shuffle.MAX_MEM_BUFFER_SIZE) == before


class TestBuild:
    def test_a_build_that_spills_gives_the_same_corpus(self, tmp_path, monkeypatch):
        name = 'synthetic_faces/studio'
        options = preparing.typed_options(name, {'train': '30', 'test': '5', 'size': '32'})
        preparing.prepare(name, options, data_dir=tmp_path / 'memory')
        plain_files = spilling.plain_files
        monkeypatch.setattr(spilling, 'plain_files', lambda: plain_files(1000))
        preparing.prepare(name, options, data_dir=tmp_path / 'files')
        a, b = (corpora.load(name, 'train', data_dir=tmp_path / d) for d in ('memory', 'files'))
        assert [a[i] for i in range(30)] == [b[i] for i in range(30)]
        np.testing.assert_array_equal(a.labels(), b.labels())
