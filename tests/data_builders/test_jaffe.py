import io

import numpy as np
import pytest
from PIL import Image

from dmsrl_jax.errors import InputError

LABELS = {
    'KA.AN1.39.tiff': 5, 'KA.DI2.43.tiff': 2, 'KL.FE1.174.tiff': 1, 'KM.HA4.7.tiff': 3,
    'NA.NE3.203.tiff': 6, 'UY.SA1.143.tiff': 4, 'YM.SU2.62.TIFF': 0, 'NE.AN1.1.tiff': 5,
}  # fmt: skip
README = """The Japanese Female Facial Expression Database

 N  HAP  SAD  SUR  ANG  DIS  FEA  PIC
 1 2.87 2.52 2.10 1.97 1.97 2.06 NA-NE3
 2 4.90 1.10 1.20 1.30 1.40 1.50 KM-HA4
60 women rated each of these on five
caf\xe9 3
"""


@pytest.fixture(scope='module')
def files(layouts):
    faces = {
        f'jaffe/{name}': layouts.draw(name, label, kind='TIFF', mode='L')
        for name, label in LABELS.items()
    }
    junk = {'jaffe/.DS_Store': 'x', 'jaffe/KA.XX1.1.tiff': 'x', 'jaffe/notes.tiff.txt': 'x'}
    return faces | junk | {'jaffe/README': README.encode('latin-1')}


@pytest.fixture(scope='module')
def built(layouts, files, tmp_path_factory):
    root = tmp_path_factory.mktemp('jaffe')
    layouts.pack(root / 'raw/jaffedbase.zip', files | {'__MACOSX/jaffe/._KA.AN1.39.tiff': 'x'})
    return layouts.build('jaffe', root / 'raw', root / 'out')


def test_labels_come_from_the_second_part_of_the_name(built):
    assert built.labels() == LABELS
    assert {name: row['subject'] for name, row in built.all.items()} == {
        name: name[:2] for name in LABELS
    }
    assert built.drops() == {}


def test_split_by_person(built):
    people = [{row['subject'] for row in part.values()} for part in built.records.values()]
    assert list(built.records) == ['train', 'test']
    assert not people[0] & people[1]
    assert len(people[1]) == 1


def test_tiff_becomes_png_without_loss(built, files):
    row = built.all['KM.HA4.7.tiff']
    stored = Image.open(io.BytesIO(row['image']))
    assert (stored.format, stored.mode) == ('PNG', 'L')
    original = Image.open(io.BytesIO(files['jaffe/KM.HA4.7.tiff']))
    np.testing.assert_array_equal(np.asarray(stored), np.asarray(original))


def test_ratings_in_canonical_order(built):
    ratings = built.all['KM.HA4.7.tiff']['ratings']
    np.testing.assert_allclose(ratings, [1.2, 1.5, 1.4, 4.9, 1.1, 1.3], rtol=1e-6)
    assert not built.all['KA.AN1.39.tiff']['ratings'].any()


def test_counts(built):
    counts = built.counts()
    assert counts['all images'] == (8, 213, True)
    assert counts['subjects'] == (7, 10, True)
    assert counts['all fear'] == (1, 32, False)
    assert sum(expected for what, (_, expected, sure) in counts.items() if not sure) == 213


def test_folder_gives_the_same(built, layouts, files, tmp_path):
    again = layouts.build('jaffe', layouts.plant(tmp_path / 'raw/w', files), tmp_path / 'out')
    assert [list(part) for part in again.records.values()] == [
        list(part) for part in built.records.values()
    ]
    assert all(row['image'] == built.all[name]['image'] for name, row in again.all.items())


@pytest.mark.parametrize('kind', ['png', 'jpg'])
def test_copies_in_other_formats(layouts, files, tmp_path, kind):
    faces = {f'jaffe/{name.rpartition(".")[0]}.{kind}': None for name in LABELS}
    raw = layouts.plant(tmp_path / 'raw', faces)
    labels = {f'{name.rpartition(".")[0]}.{kind}': label for name, label in LABELS.items()}
    assert layouts.build('jaffe', raw, tmp_path / 'out').labels() == labels
    layouts.plant(raw, files)
    assert layouts.build('jaffe', raw, tmp_path / 'out').labels() == LABELS


def test_a_picture_in_two_formats_is_one(layouts, tmp_path):
    files = {'KA.AN1.39.png': None, 'ka.an1.39.tif': None, 'KA.AN1.39.tiff': None}
    files |= {'KL.FE1.174.png': None, 'KM.HA4.7.tif': None}
    raw = layouts.plant(tmp_path / 'raw', files)
    built = layouts.build('jaffe', raw, tmp_path / 'out')
    assert built.labels() == {'KA.AN1.39.tiff': 5, 'KL.FE1.174.png': 1, 'KM.HA4.7.tif': 3}


def test_the_readme_of_another_corpus(layouts, files, tmp_path):
    raw = layouts.plant(tmp_path / 'raw', files | {'README': 'notes', 'KDEF/README': 'x'})
    built = layouts.build('jaffe', raw, tmp_path / 'out')
    assert built.all['KM.HA4.7.tiff']['ratings'].any()


def test_other_folder(layouts, tmp_path):
    raw = layouts.plant(tmp_path / 'raw', {'jaffe/1.png': None})
    with pytest.raises(InputError, match=r'jaffe needs jaffedbase\.zip.*holds jaffe/'):
        layouts.build('jaffe', raw, tmp_path / 'out')
