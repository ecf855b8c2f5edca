import pathlib
import pickle
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from data_builders import preparing
from dmsrl_jax.data import corpora, images, reading
from dmsrl_jax.errors import InputError, python_command

SIZES = {'train': 20, 'test': 9}


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
    """Two prepared configs of the drawn faces."""
    root = tmp_path_factory.mktemp('corpora')
    for name in ('synthetic_faces/studio', 'synthetic_faces/wild'):
        settings = {split: str(count) for split, count in SIZES.items()} | {'size': '32'}
        options = preparing.typed_options(name, settings)
        preparing.prepare(name, options, data_dir=root)
    return root


def load(data_dir, split, name='synthetic_faces/studio'):
    return corpora.load(name, split, data_dir=data_dir)


def files(corpus):
    return [corpus[i]['file'] for i in range(len(corpus))]


class TestCorpus:
    def test_records(self, data_dir):
        corpus = load(data_dir, 'train')
        assert (corpus.name, corpus.split) == ('synthetic_faces/studio', 'train')
        record = corpus[3]
        assert isinstance(record['image'], bytes)
        assert isinstance(record['label'], int)
        assert isinstance(record['file'], str)
        assert isinstance(record['subject'], str)
        assert images.decode(record['image'], 32).shape == (32, 32, 3)

    def test_index_like_a_sequence(self, data_dir):
        corpus = load(data_dir, 'test')
        assert corpus[-1] == corpus[8]
        assert corpus[np.int64(2)] == corpus[2]
        for index in (9, -10):
            with pytest.raises(IndexError, match=f'has 9 images, asked for number {index}'):
                corpus[index]

    def test_labels_are_those_of_the_records(self, data_dir):
        for split in ('train', 'test', 'all', 'train[50%:]', 'test[2:5]', 'test+train[:-3]'):
            corpus = load(data_dir, split)
            labels = corpus.labels()
            assert labels.dtype == np.int32
            assert labels.tolist() == [corpus[i]['label'] for i in range(len(corpus))]

    def test_the_encoded_image_alone_is_that_of_the_record(self, data_dir):
        for split in ('train', 'train[50%:]', 'test+train[:-3]'):
            corpus = load(data_dir, split)
            for index in (*range(len(corpus)), -1):
                assert corpus.encoded(index) == corpus[index]['image']
        with pytest.raises(IndexError, match='has 26 images, asked for number 26'):
            corpus.encoded(26)

    def test_decoding_reads_images_and_stored_labels_only(self, data_dir, monkeypatch):
        corpus = load(data_dir, 'train')
        records = [corpus[i] for i in (3, 1)]
        monkeypatch.setattr(corpora.Corpus, '__getitem__', None)
        found = reading.OnDemand(corpus, 24).read([3, 1])
        assert found['label'].tolist() == [record['label'] for record in records]
        for image, record in zip(found['image'], records, strict=True):
            np.testing.assert_array_equal(image, images.decode(record['image'], 24))
        monkeypatch.setattr(corpora.Corpus, 'labels', None)
        assert set(reading.OnDemand(corpus, 24, labels=False).read([3])) == {'image'}

    def test_an_image_that_cannot_be_decoded_is_named(self, data_dir, monkeypatch):
        corpus = load(data_dir, 'train')
        broken = {**corpus[2], 'image': b'broken'}
        monkeypatch.setattr(corpora.Corpus, 'encoded', lambda self, index: b'broken')
        monkeypatch.setattr(corpora.Corpus, '__getitem__', lambda self, index: broken)
        with pytest.raises(InputError, match=f"cannot decode image '{broken['file']}'"):
            reading.OnDemand(corpus, 24).read([2])

    def test_labels_without_the_stored_file(self, data_dir, monkeypatch):
        expected = load(data_dir, 'all').labels()
        monkeypatch.setattr(corpora, 'LABELS', 'absent.npz')
        np.testing.assert_array_equal(load(data_dir, 'all').labels(), expected)

    @pytest.mark.parametrize('damage', ['cut', 'text', 'no split', 'too few', 'too many', 'array'])
    def test_damaged_stored_labels_are_read_from_the_records(self, data_dir, tmp_path, damage):
        folder = data_dir / 'synthetic_faces/studio/1.1.0'
        copy = shutil.copytree(folder, tmp_path / 'synthetic_faces/studio/1.1.0')
        path, expected = copy / 'labels.npz', load(data_dir, 'all').labels()
        if damage == 'cut':
            path.write_bytes(path.read_bytes()[:100])
        elif damage == 'text':
            path.write_text('overwritten')
        elif damage == 'array':
            with path.open('wb') as file:
                np.save(file, np.zeros(29, np.int32))
        else:
            wrong = {'train': np.full({'too few': 19}.get(damage, 21), 6, np.int32)}
            wrong |= {} if damage == 'no split' else {'test': np.full(9, 6, np.int32)}
            np.savez(path, **wrong)
        np.testing.assert_array_equal(load(tmp_path, 'all').labels(), expected)

    def test_labels_read_no_record(self, data_dir, monkeypatch):
        corpus = load(data_dir, 'train')
        monkeypatch.setattr(corpora.Corpus, '__getitem__', None)
        assert len(corpus.labels()) == 20

    def test_slices_part_the_split(self, data_dir):
        whole = files(load(data_dir, 'train'))
        first, last = files(load(data_dir, 'train[:90%]')), files(load(data_dir, 'train[90%:]'))
        assert (len(first), len(last)) == (18, 2)
        assert first + last == whole
        assert files(load(data_dir, 'train[2:4]')) == whole[2:4]

    def test_all_joins_the_splits(self, data_dir):
        both = files(load(data_dir, 'train')) + files(load(data_dir, 'test'))
        assert files(load(data_dir, 'all')) == both
        assert len(set(both)) == 29

    @pytest.mark.parametrize(
        ('first', 'second', 'common'),
        [
            ('train', 'test', 0),
            ('all', 'test', 9),
            ('train', 'train', 20),
            ('train[:60%]', 'train[50%:]', 2),
            ('train[:50%]', 'train[50%:]+test', 0),
        ],
    )
    def test_shared_counts_the_images_in_both_splits(self, data_dir, first, second, common):
        assert corpora.shared(load(data_dir, first), load(data_dir, second)) == common

    def test_other_corpora_share_nothing(self, data_dir):
        wild = load(data_dir, 'train', 'synthetic_faces/wild')
        assert corpora.shared(load(data_dir, 'train'), wild) == 0

    def test_pickles_without_open_files(self, data_dir):
        corpus = load(data_dir, 'train')
        corpus[0]
        data = pickle.dumps(corpus)
        assert len(data) < 1000
        copy = pickle.loads(data)
        assert copy[5] == corpus[5]
        assert repr(copy) == "Corpus('synthetic_faces/studio', 'train')"


class TestNames:
    def test_registered(self):
        assert {'fer2013', 'image_list', 'synthetic_faces'} <= set(corpora.registered())

    def test_prepared(self, data_dir):
        found = corpora.prepared(data_dir)
        assert list(found) == ['synthetic_faces/studio', 'synthetic_faces/wild']
        assert found['synthetic_faces/wild'] == data_dir / 'synthetic_faces/wild/1.1.0'

    def test_find_by_the_only_config_or_default(self, tmp_path):
        for name in ('a/only', 'b/default', 'b/other', 'c'):
            (tmp_path / name / '1.0.0').mkdir(parents=True)
            (tmp_path / name / '1.0.0/dataset_info.json').touch()
        for name, full in (('a', 'a/only'), ('b', 'b/default'), ('c', 'c'), ('b/other',) * 2):
            assert corpora.find(name, tmp_path) == (full, tmp_path / full / '1.0.0')

    def test_newest_version_by_number(self, tmp_path):
        for version in ('1.9.0', '1.10.0', '2.0.0'):
            (tmp_path / 'a' / version).mkdir(parents=True)
            if version != '2.0.0':  # incomplete
                (tmp_path / 'a' / version / 'dataset_info.json').touch()
        assert corpora.prepared(tmp_path) == {'a': tmp_path / 'a/1.10.0'}

    def test_default_data_dir(self, monkeypatch):
        monkeypatch.setenv('DMSRL_DATA_DIR', '/some/where')
        assert corpora.default_data_dir() == pathlib.Path('/some/where')
        monkeypatch.delenv('DMSRL_DATA_DIR')
        monkeypatch.setenv('XDG_CACHE_HOME', '/cache')
        assert corpora.default_data_dir() == pathlib.Path('/cache/dmsrl_jax/corpora')

    def test_report(self, data_dir, tmp_path):
        report = corpora.report(data_dir / 'synthetic_faces/wild/1.1.0')
        assert report['splits']['test']['images'] == 9
        assert report['options']['size'] == 32
        assert corpora.report(tmp_path) == {}

    @pytest.mark.parametrize('content', [b'{', b'\xff', b'[1]'])
    def test_a_damaged_report_is_a_warning(self, tmp_path, content, caplog):
        (tmp_path / 'report.json').write_bytes(content)
        assert corpora.report(tmp_path) == {}
        assert re.search(r'report\.json is damaged .*again with --overwrite', caplog.text)


class TestMistakes:
    def test_missing_says_builder_files_place_and_command(self, tmp_path):
        with pytest.raises(InputError) as error:
            corpora.load('fer2013', 'train', data_dir=tmp_path)
        for part in (
            "corpus 'fer2013' is not prepared",
            str(tmp_path),
            'data_builders/fer2013/README.md',
            'fer2013.csv, icml_face_data.csv',
            'put that in a folder DIR',
            f' {python_command()} experiments/prepare.py --corpus fer2013 --manual_dir DIR',
            f'--data_dir {tmp_path} ',
        ):
            assert part in str(error.value)

    def test_missing_without_files(self, tmp_path):
        with pytest.raises(
            InputError, match=r'Run: \S*python\S* experiments/prepare.py --corpus synth'
        ) as e:
            corpora.load('synthetic_faces/sketch', 'train', data_dir=tmp_path)
        assert 'manual_dir' not in str(e.value)

    def test_ambiguous_name(self, data_dir):
        with pytest.raises(InputError, match=r'synthetic_faces/studio or synthetic_faces/wild'):
            load(data_dir, 'train', 'synthetic_faces')

    def test_unknown_corpus(self, data_dir):
        with pytest.raises(InputError, match="no corpus 'fer2014'; perhaps 'fer2013' is meant"):
            load(data_dir, 'train', 'fer2014')

    @pytest.mark.parametrize('split', ['nope', 'train[a:', 'train[', '', 'train+nope'])
    def test_unknown_split(self, data_dir, split):
        with pytest.raises(InputError, match=r'has no split .*; it has train, test, all'):
            load(data_dir, split)

    def test_empty_split(self, data_dir):
        with pytest.raises(InputError, match='has no images'):
            load(data_dir, 'train[:0]')

    @pytest.mark.parametrize('damage', ['info', 'features', 'records'])
    def test_damaged_corpus(self, tmp_path, damage):
        options = preparing.typed_options('synthetic_faces', {'train': '3', 'test': '2'})
        folder, _, _ = preparing.prepare('synthetic_faces', options, data_dir=tmp_path)
        name = {'info': 'dataset_info.json', 'features': 'features.json'}.get(damage)
        path = folder / name if name else next(folder.glob('*train*'))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 4])
        with pytest.raises(InputError, match=r'is damaged .*--overwrite'):
            load(tmp_path, 'train', 'synthetic_faces')[-1]


def test_import_is_light():
    """No builder library and no jax, since worker processes import this module."""
    code = (
        'import sys, dmsrl_jax.data.corpora\n'
        'print(sorted({"jax", "tensorflow_datasets"} & set(sys.modules)))'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'
