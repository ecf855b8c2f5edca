import pytest

from dmsrl_jax.data import corpora
from dmsrl_jax.errors import InputError

# canonical labels of anger, disgust, fear, happiness, neutral, sadness, surprise
CANONICAL = [5, 2, 1, 3, 6, 4, 0]
NAMES = [f'{"train" if i < 10 else "added"}_{i:05d}_aligned.jpg' for i in range(14)]
LABELS = {name: CANONICAL[i % 7] for i, name in enumerate(NAMES)}
JUNK = {'RAFall/.DS_Store': 'x', 'RAFall/._train_00001_aligned.jpg': 'x', 'RAFall/Thumbs.db': 'x'}


def listing(end='\n', before=''):
    return ''.join(f'{before}{name} {i % 7}{end}' for i, name in enumerate(NAMES))


def faces(where='RAFall/'):
    return {f'{where}{name}': None for name in NAMES}


@pytest.fixture(scope='module')
def built(layouts, tmp_path_factory):
    """List beside the archive, among the other corpora of the folder in which it circulates."""
    root = tmp_path_factory.mktemp('raf2')
    bundle = root / 'raw/wrap/CDFER-Datasets-LISHAN'
    layouts.pack(bundle / 'RAFall.zip', faces() | JUNK)
    layouts.pack(bundle / 'FER.zip', {f'FER/{NAMES[0]}': None, 'FER/fer_2_aligned.jpg': None})
    layouts.plant(bundle, {'RAFlist.txt': listing('\r\n'), 'FERlist.txt': 'fer_2_aligned.jpg 0\n'})
    return layouts.build('raf_db2', root / 'raw', root / 'out')


def test_labels(built):
    assert built.report['corpus'] == 'raf_db2/default'
    assert built.labels() == LABELS
    assert built.drops() == {}


def test_pictures_are_those_of_its_folder(built, layouts):
    for name in NAMES:
        expected = layouts.draw(f'RAFall/{name}', kind='JPEG')
        assert built.all[name]['image'] == expected


def test_the_split_is_ours(built, layouts, tmp_path):
    sizes = {split: len(rows) for split, rows in built.records.items()}
    assert sizes == {'train': 11, 'test': 3}
    assert 'our own: the persons are not known' in built.report['split_note']
    assert len(corpora.load('raf_db2', 'all', data_dir=built.folder.parents[2])) == 14
    raw = layouts.plant(tmp_path / 'raw', faces() | {'RAFlist.txt': listing()})
    again = layouts.build('raf_db2', raw, tmp_path / 'out')
    assert set(again.records['test']) == set(built.records['test'])
    other = layouts.build('raf_db2', raw, tmp_path / 'out', split_seed=1, test_fraction=0.5)
    assert len(other.records['test']) == 7


def test_the_number_is_a_range(built):
    assert built.counts()['listed images'] == (14, 14_209, False)
    assert built.report['counts'][0]['most'] == 14_272


@pytest.mark.parametrize(
    ('where', 'list_name', 'before'),
    [
        ('RAFall/', 'RAFall/RAFlist.txt', ''),
        ('a/b/RAFall/aligned/', 'a/b/RAFlist.txt', '/home/somebody/data/RAFall/'),
        ('faces/', 'raflist.txt', 'RAFall\\'),
    ],
)
def test_other_places(layouts, tmp_path, where, list_name, before):
    files = faces(where) | {list_name: listing(before=before)}
    raw = layouts.plant(tmp_path / 'raw', files)
    assert layouts.build('raf_db2', raw, tmp_path / 'out').labels() == LABELS


def test_missing_and_repeated_lines(layouts, tmp_path):
    text = listing() + f'gone.jpg 3\n\n{NAMES[2].upper()} 2\n{NAMES[2]} 2\n'
    raw = layouts.plant(tmp_path / 'raw', faces() | {'RAFlist.txt': text})
    built = layouts.build('raf_db2', raw, tmp_path / 'out')
    assert built.report['drops'] == {
        'listed again': {'count': 2, 'examples': [NAMES[2], NAMES[2]]},
        'listed, but there is no such file': {'count': 1, 'examples': ['gone.jpg']},
    }
    assert built.labels() == LABELS
    assert built.counts()['listed images'][0] == 17


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('a.jpg 7', r'RAFlist\.txt line 1: label 7 is out of range.*3 happiness'),
        ('a.jpg', 'line 1: expected `name code`'),
        ('a.jpg happy', "line 1: expected `name code`, got 'a.jpg happy'"),
    ],
)
def test_bad_lines_are_named(layouts, tmp_path, line, message):
    raw = layouts.plant(tmp_path / 'raw', faces() | {'RAFlist.txt': line})
    with pytest.raises(InputError, match=message):
        layouts.build('raf_db2', raw, tmp_path / 'out')


def test_no_list(layouts, tmp_path):
    raw = layouts.plant(tmp_path / 'raw', faces())
    with pytest.raises(InputError, match=r'raf_db2 needs RAFall\.zip.* holds RAFall/'):
        layouts.build('raf_db2', raw, tmp_path / 'out')
