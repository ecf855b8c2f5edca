import io

import numpy as np
import pytest
from PIL import Image

from data_builders.expw import expw_dataset_builder as expw
from dmsrl_jax.errors import InputError

# canonical labels of anger, disgust, fear, happiness, sadness, surprise, neutral
CANONICAL = [5, 2, 1, 3, 4, 0, 6]
# every picture has two faces; the names are search words, not labels
PICTURES = [f'{word}_actor_{i}.jpg' for word in ('angry', 'happy') for i in range(7)]
BOX = '6 4 14 26'  # top, left, right, bottom


def code(picture, face):
    return (picture + 3 * face) % 7


def lines():
    return [
        f'{name} {face} {BOX} {20 + face}.5 {code(i, face)}'
        for i, name in enumerate(PICTURES)
        for face in (0, 1)
    ]


LABELS = {
    f'{name}#{face}': CANONICAL[code(i, face)] for i, name in enumerate(PICTURES) for face in (0, 1)
}


def images(layouts, where):
    return {f'{where}{name}': layouts.draw(name, size=(32, 30), kind='JPEG') for name in PICTURES}


@pytest.fixture(scope='module')
def built(layouts, tmp_path_factory):
    root = tmp_path_factory.mktemp('expw')
    text = '\r\n'.join([*lines(), 'gone_1.jpg 0 1 1 9 9 3.5 6', lines()[5], ''])
    files = images(layouts, 'data/image/origin/') | {
        'data/label/label.lst': text,
        'data/image/origin/Thumbs.db': 'x',
        'data/image/origin/._angry_actor_0.jpg': 'x',
    }
    layouts.plant(root / 'raw/wrap', files)
    return layouts.build('expw', root / 'raw', root / 'out')


def test_labels_and_drops(built):
    assert built.report['corpus'] == 'expw/default'
    assert built.labels() == LABELS
    assert built.report['drops'] == {
        'listed, but there is no such file': {'count': 1, 'examples': ['gone_1.jpg#0']},
        'listed again': {'count': 1, 'examples': ['angry_actor_2.jpg#1']},
    }


def test_the_box_is_top_left_right_bottom(built, layouts):
    whole = images(layouts, '')['angry_actor_0.jpg']
    # rows 6 to 26 and columns 4 to 14, and a tenth of 20 and 10 more on each side
    crop = Image.open(io.BytesIO(whole)).convert('RGB').crop((3, 4, 15, 28))
    face = layouts.pixels(built.all['angry_actor_0.jpg#0']).astype(int)
    assert face.shape == (24, 12, 3)
    assert np.abs(face - np.asarray(crop).astype(int)).mean() < 3  # compressed once more


def test_faces_of_one_picture_stay_together(built):
    parts = [{file.partition('#')[0] for file in rows} for rows in built.records.values()]
    assert set(built.records) == {'train', 'test'}
    assert not parts[0] & parts[1]
    assert {len(rows) for rows in built.records.values()} == {6, 22}
    assert 'the persons are not known' in built.report['split_note']


def test_counts_are_those_of_the_list(built):
    counts = built.counts()
    assert counts['listed faces'] == (30, 91_793, True)
    assert counts['listed neutral'] == (5, 34_883, True)
    assert sum(n for what, (_, n, _) in counts.items() if what != 'listed faces') == 91_793


def test_confidence(built):
    found = [built.all[f'happy_actor_3.jpg#{face}']['confidence'] for face in (0, 1)]
    assert found == [20.5, 21.5]


def test_archive_without_the_upper_level(layouts, tmp_path):
    layouts.pack(tmp_path / 'raw/image/origin.zip', images(layouts, 'origin/'))
    layouts.plant(tmp_path / 'raw', {'label/label.lst': '\n'.join(lines())})
    assert layouts.build('expw', tmp_path / 'raw', tmp_path / 'out').labels() == LABELS


def test_boxes_leave_the_picture(layouts, tmp_path):
    text = f'{PICTURES[0]} 0 -7 -3 40 50 9.5 3\n{PICTURES[1]} 0 90 90 99 99 9.5 3\n'
    text += f'{PICTURES[2]} 0 1 1 9 9 9 0\n'
    raw = layouts.plant(tmp_path / 'raw', images(layouts, 'origin/') | {'label.lst': text})
    with pytest.raises(InputError, match=rf'{PICTURES[1]}: the box .* lies outside of its'):
        layouts.build('expw', raw, tmp_path / 'out')
    made = layouts.build('expw', raw, tmp_path / 'out', on_corrupt='drop', test_fraction=0)
    assert made.drops() == {'corrupt image': 1}
    assert layouts.pixels(made.all[f'{PICTURES[0]}#0']).shape == (30, 32, 3)


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        # the benchmark's list: no confidence, ten landmark numbers
        ('a.jpg 0 28 113 226 141 0 1 2 3 4 5 6 7 8 9 10', '17 columns, expected 8 .*expw/agra'),
        ('a.jpg 0 28 113 226 141 0', r'label\.lst line 2: 7 columns, expected 8'),
        ('a.jpg 0 28 113 226 141 22.9 7', 'line 2: label 7 is out of range'),
        ('a.jpg 0 28 left 226 141 22.9 1', "line 2: could not convert string to float: 'left'"),
    ],
)
def test_bad_lines_are_named(layouts, tmp_path, line, message):
    files = images(layouts, 'origin/') | {'label.lst': f'{lines()[0]}\n{line}\n'}
    raw = layouts.plant(tmp_path / 'raw', files)
    with pytest.raises(InputError, match=message):
        layouts.build('expw', raw, tmp_path / 'out')


def test_the_owners_line():
    line = expw.read_line('angry_actor_104.jpg 0 28 113 226 141 22.9362 0', '')
    assert line == ('angry_actor_104.jpg', 0, (113.0, 28.0, 226.0, 141.0), 22.9362, 0, ())


MARKS = '8 9 12 9 10 12 8 15 12 15'


class TestAgra:
    """The lists of the benchmark: box left, top, right, bottom, then the code, then five points."""

    def lists(self):
        rows = [
            f'{name} {face} 4 6 26 14 {code(i, face)} {MARKS}'
            for i, name in enumerate(PICTURES)
            for face in (0, 1)
        ]
        where = 'ExpW/list/Landmarks_5/{}_list_5landmarks.txt'.format
        return {where('train'): '\n'.join(rows[:20]), where('val'): '\n'.join(rows[20:])}

    def test_splits_labels_and_boxes(self, layouts, tmp_path):
        files = images(layouts, 'ExpW/data/image/origin/') | self.lists()
        files |= {'ExpW/data/label/label.lst': '\n'.join(lines())}
        raw = layouts.plant(tmp_path / 'raw', files)
        built = layouts.build('expw/agra', raw, tmp_path / 'out', margin=0.0)
        assert built.labels() == LABELS
        assert {split: len(rows) for split, rows in built.records.items()} == {
            'train': 20,
            'validation': 8,
        }
        row = built.all[f'{PICTURES[0]}#0']
        assert layouts.pixels(row).shape == (8, 22, 3)
        assert row['confidence'] == -1

    @pytest.mark.parametrize(
        ('text', 'message'),
        [
            ('a.jpg 0 4 6 26 14 3', '7 columns, expected 17'),
            ('a.jpg 0 6 4 14 26 22.9 0', 'expected 17 columns'),
            (f'a.jpg 0 4 6 26 14 7 {MARKS}', r'label 7 is out of range'),
        ],
    )
    def test_bad_lines(self, text, message):
        with pytest.raises(InputError, match=f'val line 3: .*{message}'):
            expw.read_agra_line(text, 'val line 3')

    def test_line(self):
        line = expw.read_agra_line(f'a.jpg 1 4 6 26 14 3 {MARKS}', '')
        assert line[:5] == ('a.jpg', 1, (4.0, 6.0, 26.0, 14.0), -1.0, 3)
        assert line.points == tuple(map(float, MARKS.split()))


def test_names_that_differ_in_case_alone(layouts, tmp_path):
    names = ('A.jpg', 'a.jpg')
    pictures = {n: layouts.draw(n, size=(32, 30), kind='JPEG') for n in names}
    files = {f'origin/{n}': content for n, content in pictures.items()}
    files['label.lst'] = 'A.jpg 0 0 0 32 30 9.5 0\na.jpg 0 0 0 32 30 9.5 3\n'
    raw = layouts.plant(tmp_path / 'raw', files)
    built = layouts.build('expw', raw, tmp_path / 'out', margin=0.0, test_fraction=0)
    assert built.labels() == {'A.jpg#0': 5, 'a.jpg#0': 3}
    first, second = (layouts.pixels(built.all[f'{n}#0']) for n in names)
    assert (first != second).any()


@pytest.mark.parametrize(('more', 'count'), [((), 28), (PICTURES[:1], 14)])
def test_the_rest_of_a_moved_folder_is_read_and_copies_are_not(layouts, tmp_path, more, count):
    files = {
        name.replace('origin/happy', 'rest/happy'): data
        for name, data in images(layouts, 'origin/').items()
    }
    files |= {'label.lst': '\n'.join(lines())} | {f'rest/{name}': None for name in more}
    built = layouts.build('expw', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out')
    assert len(built.all) == count
    assert built.drops() == ({'listed, but there is no such file': 14} if more else {})


def test_only_two_pictures_that_are_missed_must_be_alike(layouts, tmp_path):
    files = images(layouts, 'origin/') | {'a/other.jpg': None, 'b/other.jpg': None}
    raw = layouts.plant(tmp_path / 'raw', files | {'label.lst': '\n'.join(lines())})
    assert layouts.build('expw', raw, tmp_path / 'out').labels() == LABELS
    layouts.plant(raw, {'label.lst': '\n'.join([*lines(), f'other.jpg 0 {BOX} 9 0'])})
    with pytest.raises(InputError, match=r'a/other\.jpg and b/other\.jpg .* differ'):
        layouts.build('expw', raw, tmp_path / 'out')
