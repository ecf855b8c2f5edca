import io

import numpy as np
import pytest
from PIL import Image

from data_builders.fer_plus import votes
from data_builders.synthetic_faces.render import render_encoded
from dmsrl_jax.errors import InputError

HEADER = (
    'Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF'
)
BLACK = ' '.join(['0'] * 2304)
# votes, Usage, name, label by the majority rule, label by arg-max (a text is the reason to drop);
# names do not follow the rows, and one occurs twice
ROWS = [
    ('4,0,0,1,3,2,0,0,0,0', 'Training', 'fer0000000.png', 'no majority', 6),
    ('0,10,0,0,0,0,0,0,0,0', 'Training', 'fer0000001.png', 3, 3),
    ('0,0,0,0,0,0,0,0,0,10', 'Training', '', 'not a face', 'not a face'),
    ('1,1,1,1,1,5,0,0,0,0', 'Training', 'fer0006953.png', 2, 2),
    ('0,0,6,0,0,0,4,0,0,0', 'Training', 'fer0000007.png', 0, 0),
    ('1,1,1,1,1,1,1,1,1,1', 'Training', 'fer0000008.png', 'no majority', 6),
    ('0,0,0,5,5,0,0,0,0,0', 'PublicTest', 'fer0006953.png', 'no majority', 4),
    ('2,0,0,0,0,0,7,0,0,0', 'PublicTest', 'fer0000020.png', 1, 1),  # nine votes
    ('0,0,0,0,0,0,0,8,2,0', 'PublicTest', 'fer0000021.png', 'label contempt', 'label contempt'),
    ('1,0,0,0,0,0,0,0,9,0', 'PrivateTest', 'fer0000022.png', 'label unknown', 'label unknown'),
    ('1,0,0,0,8,0,0,0,1,0', 'PrivateTest', 'fer0000023.png', 5, 5),
    ('0,0,0,0,0,0,0,0,0,10', 'PrivateTest', '', 'not a face', 'not a face'),  # black
]
SPLITS = {'Training': 'train', 'PublicTest': 'validation', 'PrivateTest': 'test'}


def pixels(i):
    face, _ = render_encoded(i % 7, 'studio', size=48, subject_seed=i, sample_seed=0)
    values = np.asarray(Image.open(io.BytesIO(face)).convert('L')).reshape(-1)
    return BLACK if i == len(ROWS) - 1 else ' '.join(map(str, values))


def pictures(end='\n', header='emotion,pixels,Usage'):
    rows = [f'0,{pixels(i)},{row[1]}' for i, row in enumerate(ROWS)]
    if header == 'emotion, Usage, pixels':
        rows = [f'0,{row[1]},{pixels(i)}' for i, row in enumerate(ROWS)]
    return end.join([header, *rows, ''])


def voted(rows=ROWS, end='\n', header=HEADER):
    return end.join([header, *(f'{usage},{name},{given}' for given, usage, name, *_ in rows), ''])


def both(**changes):
    return {'fer2013.csv': pictures(), 'FERPlus-master/fer2013new.csv': voted()} | changes


@pytest.fixture(scope='module')
def majority(layouts, tmp_path_factory):
    root = tmp_path_factory.mktemp('ferplus')
    layouts.pack(root / 'raw/fer2013.tar.gz', {'fer2013/fer2013.csv': pictures('\r\n')})
    files = {'FERPlus-master/fer2013new.csv': voted(), 'FERPlus-master/.DS_Store': 'x'}
    layouts.plant(root / 'raw', files)
    return layouts.build('fer_plus', root / 'raw', root / 'out')


def expected(column, usage):
    return {
        f'fer_{i + 2}.png': row[column]
        for i, row in enumerate(ROWS)
        if row[1] == usage and isinstance(row[column], int)
    }


class TestBuild:
    def test_majority_is_the_default(self, majority):
        assert majority.report['corpus'] == 'fer_plus/majority'
        for usage, split in SPLITS.items():
            assert majority.labels(split) == expected(3, usage)
        assert majority.drops() == {
            'no majority': 3, 'not a face': 2, 'label contempt': 1, 'label unknown': 1,
        }  # fmt: skip

    def test_argmax(self, layouts, tmp_path):
        raw = layouts.plant(tmp_path / 'raw', both())
        built = layouts.build('fer_plus/argmax', raw, tmp_path / 'out')
        for usage, split in SPLITS.items():
            assert built.labels(split) == expected(4, usage)
        assert built.drops() == {'not a face': 2, 'label contempt': 1, 'label unknown': 1}
        assert built.counts()['train kept, with contempt'] == (5, 28_385, False)
        assert 'all fear' not in built.counts()

    def test_rows_are_joined_by_position(self, majority, layouts):
        record = majority.all['fer_5.png']
        assert record['ferplus_name'] == 'fer0006953.png'
        np.testing.assert_array_equal(record['votes'], [1, 1, 1, 1, 1, 5, 0, 0, 0, 0])
        grey = np.asarray(pixels(3).split(), int).reshape(48, 48)
        np.testing.assert_array_equal(layouts.pixels(record)[..., 0], grey)

    def test_counts(self, majority):
        counts = majority.counts()
        assert counts['rows'] == (12, 35_887, True)
        assert counts['train rows without a name'] == (1, 148, True)
        assert counts['test rows without a name'] == (1, 15, True)
        assert counts['train kept, with contempt'] == (3, 25_045, False)
        assert counts['validation kept, with contempt'] == (2, 3_191, False)
        assert counts['all disgust'] == (1, 157, False)
        kept = sum(n for what, (_, n, _) in counts.items() if what.endswith('with contempt'))
        classes = sum(n for what, (_, n, _) in counts.items() if what.startswith('all '))
        assert kept == classes + 151  # of contempt

    def test_other_form_of_the_pictures(self, layouts, tmp_path):
        files = {
            'icml_face_data.csv': pictures(header='emotion, Usage, pixels'),
            'fer2013new.csv': voted(end='\r\n', header=HEADER.replace(',', ', ')),
        }
        built = layouts.build('fer_plus', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out')
        assert built.labels('train') == expected(3, 'Training')


class TestRules:
    @pytest.mark.parametrize(
        ('numbers', 'majority', 'argmax'),
        [
            ((5, 5, 0, 0, 0, 0, 0, 0, 0, 0), 'no majority', 'neutral'),
            ((0, 4, 4, 0, 0, 0, 0, 0, 0, 2), 'no majority', 'happiness'),
            ((0, 0, 1, 2, 0, 0, 1, 1, 1, 4), 'nf', 'nf'),
            ((1, 0, 1, 1, 4, 0, 0, 0, 1, 2), 'anger', 'anger'),  # 4 of 6 once single ones go
            ((0, 0, 0, 0, 0, 0, 0, 6, 4, 0), 'contempt', 'contempt'),
            ((0, 0, 0, 0, 0, 1, 0, 0, 0, 0), 'no majority', 'disgust'),
            ((0,) * 10, 'no majority', 'no votes'),
        ],
    )
    def test_known_answers(self, numbers, majority, argmax):
        assert votes.majority(numbers) == majority
        assert votes.argmax(numbers) == argmax


def test_votes_and_usage_as_other_programs_write_them(majority, layouts, tmp_path):
    rows = [(f'{given},'.replace(',', '.0,')[:-1], *row) for given, *row in ROWS]
    text = voted(rows).replace('PublicTest', 'publictest')
    files = both(**{'FERPlus-master/fer2013new.csv': text})
    built = layouts.build('fer_plus', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out')
    assert built.labels() == majority.labels()


def test_rows_without_votes_are_left_out(layouts, tmp_path):
    none = ','.join('0' * 10)
    rows = [(none, *ROWS[0][1:]), *ROWS[1:-1], (none, *ROWS[-1][1:])]  # the last one is black
    files = both(**{'FERPlus-master/fer2013new.csv': voted(rows)})
    raw = layouts.plant(tmp_path / 'raw', files)
    built = layouts.build('fer_plus/argmax', raw, tmp_path / 'out')
    assert built.drops()['no votes'] == 2
    assert 'fer_2.png' not in built.all


class TestMistakes:
    @pytest.mark.parametrize(
        ('rows', 'message'),
        [
            (ROWS[:-1], r'fer2013new\.csv ends before row 12, the other one goes on'),
            ([*ROWS, ROWS[-1]], r'fer2013\.csv ends before row 13'),
            ([*ROWS[1:], ROWS[0]], r"is of Training, but .* line 7 of 'PublicTest'"),
            ([*ROWS[:-1], ROWS[10]], r'fer2013\.csv line 13 is black, but has a face by'),
            ([('1,2', 'Training', 'a.png')], r'fer2013new\.csv line 2: 4 cells, expected 12'),
            ([('a' + ROWS[0][0], 'Training', 'a.png')], 'line 2: votes must be numbers, got a4'),
            ([('9' * 10 + ROWS[0][0], 'Training', 'a.png')], r'line 2: 1e\+11 is no code'),
        ],
    )
    def test_files_that_do_not_fit(self, layouts, tmp_path, rows, message):
        files = both(**{'FERPlus-master/fer2013new.csv': voted(rows)})
        raw = layouts.plant(tmp_path / 'raw', files)
        with pytest.raises(InputError, match=message):
            layouts.build('fer_plus', raw, tmp_path / 'out')

    def test_missing_column(self, layouts, tmp_path):
        text = voted(header=HEADER.replace('contempt', 'scorn'))
        raw = layouts.plant(tmp_path / 'raw', both(**{'FERPlus-master/fer2013new.csv': text}))
        with pytest.raises(InputError, match=r'fer2013new\.csv has no column contempt'):
            layouts.build('fer_plus', raw, tmp_path / 'out')

    @pytest.mark.parametrize('name', ['fer2013.csv', 'fer2013new.csv'])
    def test_one_file_alone(self, layouts, tmp_path, name):
        text = pictures() if name == 'fer2013.csv' else voted()
        raw = layouts.plant(tmp_path / 'raw', {name: text})
        with pytest.raises(InputError, match=rf'fer_plus needs fer2013\.csv .* holds {name}'):
            layouts.build('fer_plus', raw, tmp_path / 'out')

    @pytest.mark.parametrize('name', ['label.csv', 'fer0000001.png'])
    def test_pictures_instead_of_rows(self, layouts, tmp_path, name):
        raw = layouts.plant(tmp_path / 'raw', {f'data/FER2013Train/{name}': None})
        message = r'FER2013Train/.*are not read: the faces are read out of fer2013\.csv only'
        with pytest.raises(InputError, match=message):
            layouts.build('fer_plus', raw, tmp_path / 'out')
