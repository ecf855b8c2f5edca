import io

import numpy as np
import pytest
from PIL import Image

from data_builders.afe import afe_dataset_builder as afe
from dmsrl_jax.errors import InputError

BOX = '4 6 14 26'  # left, top, right, bottom
OLDER = 'Asian_Facial_Expression/AsianMovie_0725_0730/'
# codes of the older form that are kept, and their canonical labels
KEPT = {0: 6, 1: 3, 3: 0, 4: 4, 5: 2, 6: 1, 9: 5}
# codes 0..6 of the newer form: anger, disgust, fear, happiness, neutral, sadness, surprise
NEWER = [5, 2, 1, 3, 6, 4, 0]


def picture(layouts, name):
    return layouts.draw(name, size=(32, 30), kind='JPEG')


def older_lines():
    """All eleven codes in training, the kept ones in validation and in what else is in total."""
    train = [f'film_{code}.jpg {BOX} {code}' for code in range(11)]
    validation = [f'val_{code}\t4 6\t14 26 {code}' for code in KEPT]  # without extension
    rest = [f'other_{code}.JPG {BOX} {code}' for code in KEPT]
    return train, validation, rest


def older(layouts):
    train, validation, rest = older_lines()
    again = f'film_0.jpg {BOX} 0'
    second = 'film_1.jpg 10 6 20 26.5 9'  # a second face of the frame
    lists = {
        'train_list.txt': '\r\n'.join([*train, again, second, f'gone.jpg {BOX} 1', '']),
        'val_list.txt': '\n'.join(validation),
        'total.txt': '\n'.join([*train, *validation, *rest]),
    }
    names = [line.split()[0] for line in (*train, *validation, *rest)]
    names = [name if '.' in name else f'{name}.jpg' for name in names]
    files = {f'{OLDER}images/{name}': picture(layouts, name) for name in names}
    files |= {f'{OLDER}list/{name}': text for name, text in lists.items()}
    return files | {
        f'{OLDER}annos/landmark_5/film_3.txt': '8 10\n12 10\n10 14\n8 20\n12 20\n',
        f'{OLDER}images/.DS_Store': 'x',
        f'{OLDER}images/._film_0.jpg': 'x',
    }


def newer(layouts, end='\n'):
    files = {}
    for part in ('Train', 'Test'):
        paths = [f'{part.lower()}_film/{i:04d}.jpg' for i in range(7)]
        files |= {
            f'annos/TrainTest/{part}.csv': end.join(f'{p} {BOX} {i}' for i, p in enumerate(paths))
        }
        files |= {f'src/image/{path}': picture(layouts, path) for path in paths}
    return files


@pytest.fixture(scope='module')
def first(layouts, tmp_path_factory):
    root = tmp_path_factory.mktemp('afe')
    layouts.plant(root / 'raw', older(layouts))
    return layouts.build('afe', root / 'raw', root / 'out')


class TestOlderForm:
    def test_labels_and_splits(self, first):
        assert first.report['corpus'] == 'afe/default'
        train = {f'film_{code}.jpg': label for code, label in KEPT.items()}
        assert first.labels('train') == train | {'film_1.jpg#10,6,20,26.5': 5}
        assert first.labels('validation') == {f'val_{code}': n for code, n in KEPT.items()}
        assert first.labels('test') == {f'other_{code}.JPG': n for code, n in KEPT.items()}

    def test_drops(self, first):
        assert first.report['drops'] == {
            'label other': {'count': 4, 'examples': [f'film_{n}.jpg' for n in (2, 7, 8, 10)]},
            'listed, but there is no such file': {'count': 1, 'examples': ['gone.jpg']},
            'listed again': {'count': 1, 'examples': ['film_0.jpg']},
        }

    def test_counts(self, first):
        counts = first.counts()
        assert counts['train rows'] == (14, 32_757, True)
        assert counts['validation rows'] == (7, 5_464, False)
        assert counts['test rows'] == (7, 16_380, False)
        assert counts['rows'] == (28, 54_601, False)

    def test_cut_by_the_box(self, first, layouts):
        whole = Image.open(io.BytesIO(picture(layouts, 'film_3.jpg'))).convert('RGB')
        face = layouts.pixels(first.all['film_3.jpg']).astype(int)
        expected = np.asarray(whole.crop((3, 4, 15, 28))).astype(int)
        assert face.shape == (24, 12, 3)
        assert np.abs(face - expected).mean() < 3  # compressed once more

    def test_landmarks_go_to_the_aligner(self, layouts, tmp_path):
        from data_builders import trees

        raw = layouts.plant(tmp_path / 'raw', older(layouts))
        builder = afe.make_builder(None, data_dir=tmp_path, manual_dir=raw)
        items = {i.file: i for i in builder.items(trees.Tree(raw, scratch=tmp_path))}
        assert items['film_3.jpg'].points == (8, 10, 12, 10, 10, 14, 8, 20, 12, 20)
        assert items['film_4.jpg'].points == ()

    @pytest.mark.parametrize(('before', 'box'), [('./', BOX), ('', '4.4 5.6 14.0 25.7')])
    def test_faces_written_otherwise_in_the_list_of_all(self, layouts, tmp_path, before, box):
        files = older(layouts)
        lines = files[f'{OLDER}list/total.txt'].split('\n')
        total = '\n'.join(f'{before}{line.replace(BOX, box)}' for line in lines)
        files[f'{OLDER}list/total.txt'] = total
        raw = layouts.plant(tmp_path / 'raw', files)
        built = layouts.build('afe', raw, tmp_path / 'out')
        assert built.labels('test') == {f'other_{code}.JPG': n for code, n in KEPT.items()}
        assert built.counts()['test rows'] == (7, 16_380, False)

    def test_training_list_alone(self, layouts, tmp_path):
        files = older(layouts)
        for name in ('val_list.txt', 'total.txt'):
            del files[f'{OLDER}list/{name}']
        layouts.pack(tmp_path / 'raw/afe.zip', files)
        built = layouts.build('afe', tmp_path / 'raw', tmp_path / 'out')
        assert list(built.records) == ['train']


class TestNewerForm:
    @pytest.mark.parametrize('end', ['\n', '\r\n'])
    def test_labels_and_splits(self, layouts, tmp_path, end):
        raw = layouts.plant(tmp_path / 'raw/a/b', newer(layouts, end))
        built = layouts.build('afe', raw, tmp_path / 'out')
        for part in ('train', 'test'):
            expected = {f'{part}_film/{i:04d}.jpg': label for i, label in enumerate(NEWER)}
            assert built.labels(part) == expected
        assert built.drops() == {}
        assert built.counts() == {'rows': (14, 54_601, False)}

    def test_codes_of_the_older_form_are_refused(self, layouts, tmp_path):
        files = newer(layouts) | {'annos/TrainTest/Test.csv': f'test_film/0001.jpg {BOX} 9\n'}
        raw = layouts.plant(tmp_path / 'raw', files)
        with pytest.raises(InputError, match=r'Test\.csv line 1: label 9 is out of range'):
            layouts.build('afe', raw, tmp_path / 'out')


def test_four_means_two_things(first, layouts, tmp_path):
    raw = layouts.plant(tmp_path / 'raw', newer(layouts))
    second = layouts.build('afe', raw, tmp_path / 'out')
    assert first.labels()['film_4.jpg'] == 4
    assert second.labels()['train_film/0004.jpg'] == 6


class TestMistakes:
    def test_both_forms(self, layouts, tmp_path):
        raw = layouts.plant(tmp_path / 'raw', newer(layouts) | older(layouts))
        with pytest.raises(InputError, match=r'both forms.*train_list\.txt.*Train\.csv'):
            layouts.build('afe', raw, tmp_path / 'out')

    def test_no_lists(self, layouts, tmp_path):
        raw = layouts.plant(tmp_path / 'raw', {'images/a.jpg': None})
        with pytest.raises(InputError, match=r'afe needs list/train_list\.txt.* holds images/'):
            layouts.build('afe', raw, tmp_path / 'out')

    @pytest.mark.parametrize(
        ('line', 'message'),
        [
            ('film_0.jpg,4,6,14,26', 'line 1: expected `name left top right bottom code`'),
            ('film_0.jpg 4 6 14 0', 'line 1: expected `name left top right bottom code`'),
            (f'film_0.jpg {BOX} happy', 'line 1: expected .*happy'),
            (f'film_0.jpg {BOX} 11', 'line 1: label 11 is out of range'),
            ('film_0.jpg 90 90 99 99 0', r'film_0\.jpg: the box .* lies outside'),
        ],
    )
    def test_bad_lines_are_named(self, layouts, tmp_path, line, message):
        files = {'list/train_list.txt': line, 'images/film_0.jpg': None}
        raw = layouts.plant(tmp_path / 'raw', files)
        with pytest.raises(InputError, match=message):
            layouts.build('afe', raw, tmp_path / 'out')

    @pytest.mark.parametrize(
        ('text', 'message'), [('1 2 3', '3 numbers, expected 5 x 2'), ('a b', 'not numbers')]
    )
    def test_bad_landmarks(self, layouts, tmp_path, text, message):
        files = older(layouts) | {f'{OLDER}annos/landmark_5/film_3.txt': text}
        raw = layouts.plant(tmp_path / 'raw', files)
        with pytest.raises(InputError, match=rf'film_3\.txt: {message}.*on_corrupt=drop leaves'):
            layouts.build('afe', raw, tmp_path / 'out')
        built = layouts.build('afe', raw, tmp_path / 'out', on_corrupt='drop')
        whole = layouts.plant(tmp_path / 'whole', older(layouts))
        assert built.labels() == layouts.build('afe', whole, tmp_path / 'other').labels()
        assert built.drops()['corrupt file beside an image'] >= 1


def test_one_face_in_two_lists_with_different_codes_stays_in_the_first(layouts, tmp_path):
    lists = {'train_list.txt': f'a.jpg {BOX} 0', 'total.txt': f'a.jpg {BOX} 1\nb.jpg {BOX} 1'}
    files = {f'list/{name}': text for name, text in lists.items()}
    files |= {f'images/{name}.jpg': picture(layouts, name) for name in 'ab'}
    built = layouts.build('afe', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out')
    assert {split: list(rows) for split, rows in built.records.items()} == {
        'train': ['a.jpg'], 'test': ['b.jpg'],
    }  # fmt: skip
    assert built.drops() == {'listed again': 1}


@pytest.mark.parametrize(
    ('other', 'same'),
    [
        ((0, 0, 10, 10), True),
        ((1, 1, 10, 10), True),
        ((8, 0, 18, 10), False),
        ((0, 0, 3, 3), False),
    ],
)
def test_same_face(other, same):
    assert afe.same_face((0, 0, 10, 10), other) is same
    assert afe.same_face((5, 5, 5, 5), (5, 5, 5, 5))


def test_names_with_blanks_and_other_separators():
    line = afe.read_line('a film/frame 1.jpg 1 2 3 4 5', '')
    assert line == ('a film/frame 1.jpg', (1.0, 2.0, 3.0, 4.0), 5)
    assert line == afe.read_line('a film/frame 1.jpg,1,2,3, 4 ,5', '')
    assert afe.read_line('a,b,c,d,e,f.jpg 1 2 3 4 5', '').name == 'a,b,c,d,e,f.jpg'
    assert [
        afe.stem(afe.read_line(f'{name} 1 2 3 4 5', '').name)
        for name in ('x\\y.JPG', './y.png', 'a.b')
    ] == ['x/y', 'y', 'a.b']
