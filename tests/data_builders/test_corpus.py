"""What all builders of licensed corpora share, seen on RAF-DB and on all of them."""

import inspect
import pathlib
import pickle
import re

import numpy as np
import pytest

from data_builders import corpus, preparing, trees
from data_builders.raf_db import raf_db_dataset_builder as raf_db
from dmsrl_jax.data import corpora, pipeline
from dmsrl_jax.errors import InputError

DOCS = pathlib.Path(__file__).parents[2] / 'docs' / 'corpora.md'
LICENSED = [
    name for name in corpora.registered() if hasattr(corpora.builder_module(name).Builder, 'COUNTS')
]
NAMES = ['train_00001', 'train_00002', 'train_00003', 'train_00004', 'test_0001', 'test_0002']


def faces(last=None):
    files = {f'Image/aligned/{name}_aligned.jpg': None for name in NAMES}
    files['Image/aligned/test_0002_aligned.jpg'] = last
    listed = ''.join(f'{name}.jpg {1 + i % 7}\n' for i, name in enumerate(NAMES))
    return files | {'EmoLabel/list_patition_label.txt': listed + 'train_00001.jpg 1\n'}


@pytest.fixture(scope='module')
def built(layouts, tmp_path_factory):
    root = tmp_path_factory.mktemp('raf')
    return layouts.build('raf_db', layouts.plant(root / 'raw', faces()), root / 'out')


def test_a_name_counts_once(built):
    assert built.drops() == {'listed again': 1}
    assert built.labels()['train_00001.jpg'] == 0


def test_names_with_different_labels_are_left_out(layouts, tmp_path):
    files = faces()
    files['EmoLabel/list_patition_label.txt'] += 'train_00002.jpg 4\ntrain_00002.jpg 2\n'
    made = layouts.build('raf_db', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out')
    assert made.drops() == {'listed with different labels': 3, 'listed again': 1}
    assert 'train_00002.jpg' not in made.all


def test_a_split_that_is_there_must_not_be_overlooked(layouts, tmp_path):
    files = faces()
    listed = files['EmoLabel/list_patition_label.txt'].replace('test_', '#_')
    files['EmoLabel/list_patition_label.txt'] = listed
    raw = layouts.plant(tmp_path / 'raw', files)
    with pytest.raises(InputError, match=r'no image of the split test.* there is test_0001_al'):
        layouts.build('raf_db', raw, tmp_path / 'out')
    for name in ('test_0001', 'test_0002'):
        (raw / f'Image/aligned/{name}_aligned.jpg').unlink()
    assert list(layouts.build('raf_db', raw, tmp_path / 'out').records) == ['train']


def test_a_link_that_leads_nowhere_is_named(layouts, tmp_path):
    raw = layouts.plant(tmp_path / 'raw', faces())
    (raw / 'Image/aligned/test_0002_aligned.jpg').unlink()
    (raw / 'Image/aligned/test_0002_aligned.jpg').symlink_to('/nowhere/a.jpg')
    with pytest.raises(InputError, match=r'test_0002_aligned\.jpg, a link to /nowhere/a\.jpg: No'):
        layouts.build('raf_db', raw, tmp_path / 'out')
    again = layouts.build('raf_db', raw, tmp_path / 'out', on_corrupt='drop')
    assert again.drops() == {'listed again': 1, 'corrupt image': 1}


def test_corrupt_images(layouts, tmp_path):
    raw = layouts.plant(tmp_path / 'raw', faces(last=b'no image'))
    with pytest.raises(InputError, match=r'test_0002_aligned\.jpg.*on_corrupt=drop leaves it out'):
        layouts.build('raf_db', raw, tmp_path / 'out')
    again = layouts.build('raf_db', raw, tmp_path / 'out', on_corrupt='drop')
    assert again.drops() == {'listed again': 1, 'corrupt image': 1}
    with pytest.raises(InputError, match="on_corrupt='skip' must be error or drop"):
        layouts.build('raf_db', raw, tmp_path / 'out', on_corrupt='skip')


def test_training_reads_pictures_and_labels_alone(built):
    out = built.folder.parents[2]
    source = corpora.load('raf_db', 'train', data_dir=out)
    everything = corpora.load('raf_db/aligned', 'all', data_dir=out)
    assert len(everything) == 6
    for in_memory in (True, False):
        batches = pipeline.paired_batches(
            source, everything, batch_size=4, size_s=16, seed=0, in_memory=in_memory
        )
        batch = next(batches)
        assert set(batch) == {'image_s', 'label_s', 'image_t'}
        assert batch['image_t'].shape == (4, 16, 16, 3)
        assert sorted(batch['label_s']) == [0, 1, 2, 3]


def test_arrays_come_back_as_arrays(built):
    row = built.all['train_00001.jpg']
    assert isinstance(row['distribution'], np.ndarray)
    assert isinstance(row['gender'], int)


def test_a_password_is_not_kept(layouts, tmp_path):
    raw = layouts.plant(tmp_path / 'raw', faces())
    made = layouts.build('raf_db', raw, tmp_path / 'out', password='geheim')
    assert 'password' not in made.report['options']
    assert not [path for path in made.folder.iterdir() if b'geheim' in path.read_bytes()]


def test_an_archive_that_cannot_be_opened_is_told(layouts, tmp_path):
    raw = layouts.plant(tmp_path / 'raw', faces() | {'Annotation.zip': b'cut'})
    made = layouts.build('raf_db', raw, tmp_path / 'out')
    found = made.report['drops']['archive that could not be opened']
    assert (found['count'], 'Annotation.zip is damaged' in found['examples'][0]) == (1, True)


@pytest.mark.parametrize('name', LICENSED)
class TestEveryBuilder:
    def test_has_its_documents(self, name):
        module = corpora.builder_module(name)
        folder = pathlib.Path(module.__file__).parent
        readme = (folder / 'README.md').read_text()
        for heading in ('## Files', '## How to obtain', '## Command', '## What comes out'):
            assert heading in readme
        assert next(iter(module.PROTOCOLS)) in readme
        assert 'icence' in readme
        assert f'--corpus {name}' in readme
        assert '@' in (folder / 'CITATIONS.bib').read_text()
        assert 'content.data-type.image' in (folder / 'TAGS.txt').read_text()

    def test_stands_in_the_table(self, name):
        text = DOCS.read_text()
        assert f'\n| `{name}` | ' in text
        assert f'--corpus {name}' in text
        assert f'`{next(iter(corpora.builder_module(name).PROTOCOLS))}`' in text

    def test_counts_belong_to_its_protocols(self, name):
        module = corpora.builder_module(name)
        assert set(module.Builder.COUNTS) <= set(module.PROTOCOLS)
        for counts in module.Builder.COUNTS.values():
            assert len({count.what for count in counts}) == len(counts)

    def test_takes_the_usual_options(self, name):
        module = corpora.builder_module(name)
        assert corpus.OPTIONS.keys() <= module.options().keys()
        assert list(inspect.signature(module.make_builder).parameters)[:2] == [
            'config_name', 'data_dir',
        ]  # fmt: skip


class TestManyProcesses:
    def test_the_same_records_with_worker_processes(self, layouts, built, tmp_path):
        layouts.pack(tmp_path / 'raw/basic.tgz', faces())
        options = preparing.typed_options('raf_db', {})
        _, report, _ = preparing.prepare(
            'raf_db', options, data_dir=tmp_path / 'out', manual_dir=tmp_path / 'raw', workers=1
        )
        assert report['drops'] == built.report['drops']
        for split, rows in built.records.items():
            again = corpora.load('raf_db', split, data_dir=tmp_path / 'out')
            assert [again[i]['file'] for i in range(len(again))] == list(rows)
            for i in range(len(again)):
                assert again[i]['image'] == rows[again[i]['file']]['image']
        assert not (tmp_path / 'out/.preparing/raf_db').exists()

    def test_little_travels_with_each_item(self, layouts, tmp_path):
        raw = layouts.plant(tmp_path / 'raw', {f'a/{"x" * 40}{i}.txt': '' for i in range(300)})
        tree = trees.Tree(raw, scratch=tmp_path / 'scratch')
        maker = raf_db.make_builder(None, data_dir=tmp_path, manual_dir=raw, password='')
        assert len(pickle.dumps((maker, tree))) < 2000


def test_whole_pictures_come_with_box_and_landmarks(layouts, tmp_path):
    picture = layouts.draw('a', size=(32, 32))
    raw = layouts.plant(tmp_path / 'raw', {'a.png': picture})
    tree = trees.Tree(raw, scratch=tmp_path)
    maker = raf_db.make_builder('original', data_dir=tmp_path, manual_dir=raw)
    points = tuple(range(10))
    item = corpus.Item('a.png', 3, 'a.png', box=(4, 4, 12, 16), points=points)
    assert 'landmarks' not in maker.example(tree, item)
    maker.whole_pictures = True
    whole = pickle.loads(pickle.dumps(maker)).example(tree, item)
    assert (whole['box'], whole['landmarks'], whole['image']) == (item.box, points, picture)
    whole = maker.example(tree, item._replace(box=None, points=()))
    assert set(whole) == {'image', 'label', 'file', 'subject'}


@pytest.mark.parametrize('side', [float('nan'), float('inf')])
def test_a_box_that_is_not_finite_is_refused(layouts, tmp_path, side):
    raw = layouts.plant(tmp_path / 'raw', {'a.png': None})
    maker = raf_db.make_builder('original', data_dir=tmp_path, manual_dir=raw)
    item = corpus.Item('a.png', 3, 'a.png', box=(4, side, 12, 16))
    for maker.whole_pictures in (False, True):
        with pytest.raises(InputError, match=r'a\.png: the box .* not made of finite numbers'):
            maker.example(trees.Tree(raw, scratch=tmp_path), item)


@pytest.mark.parametrize('margin', [float('nan'), float('inf'), -0.5, 1e308])
def test_a_margin_that_leaves_no_face_is_refused(tmp_path, margin):
    with pytest.raises(
        InputError, match=rf'margin={re.escape(str(margin))} must be a finite number above -0.5'
    ):
        raf_db.make_builder('original', data_dir=tmp_path, margin=margin)


@pytest.mark.parametrize(
    ('name', 'is_one'),
    [
        ('train/1.png', True),
        ('Train_Set.zip', True),
        ('train_00001.jpg', True),
        ('training_log.txt', False),
        ('ValentinesDay_001.png', False),
        ('values.csv', False),
    ],
)
def test_what_begins_like_a_split_and_is_one(name, is_one):
    assert corpus._is_of_split(name) == is_one
