import csv

import numpy as np
import pytest
from PIL import Image

from data_builders import preparing
from data_builders.synthetic_faces.render import render
from dmsrl_jax.data import corpora, survey
from dmsrl_jax.expressions import EXPRESSIONS


def write_list(folder, rows):
    """Images and a list of them: rows of (name, label, picture)."""
    folder.mkdir()
    with (folder / 'list.csv').open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['file', 'label'])
        for name, label, picture in rows:
            picture.save(folder / name)
            writer.writerow([name, label])


def face(i):
    return Image.fromarray(render(i % 7, 'studio', size=48, subject_seed=i, sample_seed=i))


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Two small corpora that share pictures: `image_list/a` holds copies within itself, too."""
    root = tmp_path_factory.mktemp('survey')
    rows = [(f'{i}.png', EXPRESSIONS[i % 7], face(i)) for i in range(8)]
    rows += [('again.jpg', EXPRESSIONS[0], face(0).resize((64, 64)))]
    rows += [('other_label.bmp', EXPRESSIONS[3], face(1).convert('L').point(lambda v: v // 2))]
    write_list(root / 'a', rows)
    write_list(root / 'b', [('x.png', 'fear', face(5)), ('y.png', 'fear', face(20))])
    for name in 'ab':
        options = preparing.typed_options('image_list', {'test_fraction': '0'})
        preparing.prepare(
            f'image_list/{name}', options, data_dir=root / 'data', manual_dir=root / name
        )
    return root / 'data'


class TestSurvey:
    @pytest.mark.parametrize('workers', [0, 1])
    def test_looks_at_every_image(self, data, workers):
        found = survey.survey('image_list/a', data_dir=data, workers=workers)
        corpus = corpora.load('image_list/a', 'train', data_dir=data)
        assert found.splits == {'train': 10}
        assert len(found) == 10
        assert found.files == [corpus[i]['file'] for i in range(10)]
        np.testing.assert_array_equal(found.labels, corpus.labels())
        np.testing.assert_array_equal(found.index, np.arange(10))
        sizes = dict(zip(found.files, found.sizes.tolist(), strict=True))
        assert sizes['0.png'] == [48, 48]
        assert sizes['again.jpg'] == [64, 64]
        grey = dict(zip(found.files, found.grey.tolist(), strict=True))
        assert grey['other_label.bmp'] is True
        assert grey['0.png'] is False
        assert found.where(0) == f'train/{found.files[0]}'

    def test_splits_follow_one_another(self, tiny_data):
        found = survey.survey('synthetic_faces/studio', data_dir=tiny_data)
        assert dict(found.splits) == {'test': 28, 'train': 64}
        expected = [split for split, count in found.splits.items() for _ in range(count)]
        assert [found.split_of(i) for i in range(92)] == expected
        assert [file.split('/')[1] for file in found.files] == expected


class TestCopies:
    def test_within(self, data):
        found = survey.survey('image_list/a', data_dir=data)
        copies = survey.copies(found)
        pairs = {frozenset((found.files[a], found.files[b])) for a, b in copies.pairs}
        assert pairs == {
            frozenset(('0.png', 'again.jpg')),
            frozenset(('1.png', 'other_label.bmp')),
        }
        assert copies.table == {('train', 'train'): (2, 1, 0)}

    def test_across(self, data):
        a, b = (survey.survey(f'image_list/{n}', data_dir=data) for n in 'ab')
        copies = survey.copies(a, b)
        assert [(a.files[i], b.files[j]) for i, j in copies.pairs] == [('5.png', 'x.png')]
        # Identical files, labelled anger in the one and fear in the other.
        assert copies.table == {('train', 'train'): (1, 1, 1)}
