import functools
import types

import pytest

from data_builders import common, distributing, limits, preparing
from dmsrl_jax.data import corpora
from dmsrl_jax.errors import InputError


def make(item):
    if item < 0:
        raise InputError(f'{item} is bad')
    return str(item), {'value': item}


def locked(item):
    raise limits.LockedError('wrong password')


def builder(**changes):
    known = {'workers': 0, 'beam': False, 'options': {}, 'drops': common.Drops()}
    return types.SimpleNamespace(**known | changes)


class TestExamples:
    @pytest.mark.parametrize('workers', [0, 1])
    def test_in_order(self, workers):
        made = distributing.examples(builder(workers=workers), 'train', range(40), make)
        assert list(made) == [(str(i), {'value': i}) for i in range(40)]

    @pytest.mark.parametrize('workers', [0, 1])
    def test_bad_one_is_an_error_or_a_drop(self, workers):
        items = [1, -2, 3]
        with pytest.raises(InputError, match=r'-2 is bad \(--set on_corrupt=drop leaves it out'):
            list(distributing.examples(builder(workers=workers), 'train', items, make))
        dropping = builder(workers=workers, options={'on_corrupt': 'drop'})
        made = distributing.examples(dropping, 'train', items, make, name='number {}'.format)
        assert [key for key, _ in made] == ['1', '3']
        assert dropping.drops.as_dict() == {
            'corrupt image': {'count': 1, 'examples': ['number -2']}
        }

    @pytest.mark.parametrize('workers', [0, 1])
    def test_a_wrong_password_is_no_corrupt_image(self, workers):
        dropping = builder(workers=workers, options={'on_corrupt': 'drop'})
        with pytest.raises(limits.LockedError, match='wrong password'):
            list(distributing.examples(dropping, 'train', [1, 2], locked))

    def test_nothing_left(self):
        with pytest.raises(InputError, match="no image is left in split 'test'"):
            list(distributing.examples(builder(), 'test', [], make))


class TestPrepare:
    NAME = 'synthetic_faces/wild'

    def test_workers_give_the_same_corpus(self, tmp_path):
        options = preparing.typed_options(self.NAME, {'train': '20', 'test': '3', 'size': '32'})
        built = []
        for workers in (0, 1):
            data_dir = tmp_path / str(workers)
            preparing.prepare(self.NAME, options, data_dir=data_dir, workers=workers)
            built.append(corpora.load(self.NAME, 'all', data_dir=data_dir))
        assert [built[0][i] for i in range(23)] == [built[1][i] for i in range(23)]


class TestBeam:
    def test_what_does_not_go_together(self, tmp_path):
        prepare = functools.partial(
            preparing.prepare, data_dir=tmp_path, beam='runner=DirectRunner'
        )
        from dmsrl_jax.data import faces

        pytest.importorskip('cv2', reason='needs the packages of the extra align')
        options = preparing.typed_options(TestPrepare.NAME, {})
        with pytest.raises(InputError, match='--align and --beam_pipeline_options do not go'):
            prepare(TestPrepare.NAME, options, align=faces.Settings())

    def test_not_installed(self, monkeypatch):
        import sys

        monkeypatch.setitem(sys.modules, 'apache_beam', None)
        monkeypatch.setitem(sys.modules, 'apache_beam.options', None)
        with pytest.raises(InputError, match='needs Apache Beam: pip install apache-beam'):
            distributing.beam_config('runner=DirectRunner')

    def test_builds_the_same_corpus(self, tmp_path):
        pytest.importorskip('apache_beam', reason='needs apache-beam, which is not in the extras')
        options = preparing.typed_options(
            TestPrepare.NAME, {'train': '20', 'test': '3', 'size': '32'}
        )
        built = []
        for beam in ('', 'runner=DirectRunner,direct_num_workers=1'):
            data_dir = tmp_path / f'beam{bool(beam)}'
            preparing.prepare(TestPrepare.NAME, options, data_dir=data_dir, beam=beam)
            built.append(corpora.load(TestPrepare.NAME, 'all', data_dir=data_dir))
        assert [built[0][i] for i in range(23)] == [built[1][i] for i in range(23)]
