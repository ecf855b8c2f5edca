"""CK+ in folders by class: CK+48, and the crops of the AGRA benchmark."""

import pytest

from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import EXPRESSIONS

WORDS = {'anger': 5, 'disgust': 2, 'fear': 1, 'happy': 3, 'sadness': 4, 'surprise': 0}
AGRA = {'Surprised': 0, 'Fear': 1, 'Disgust': 2, 'Happy': 3, 'Sad': 4, 'Anger': 5, 'Neutral': 6}


def ck48_files():
    names = [
        f'CK+48/{word}/S{10 + i % 4:03d}_00{i}_000000{frame}.png'
        for i, word in enumerate([*WORDS, 'contempt'])
        for frame in (17, 18, 19)
    ]
    return dict.fromkeys(names) | {'CK+48/anger/Thumbs.db': 'x'}


@pytest.fixture(scope='module')
def ck48(layouts, tmp_path_factory):
    root = tmp_path_factory.mktemp('ck48')
    layouts.plant(root / 'raw', ck48_files())
    return layouts.build('ck_plus/ck48', root / 'raw', root / 'out')


class TestCk48:
    def test_labels_and_names_of_the_frames(self, ck48):
        assert ck48.labels() == {
            f'S{10 + i % 4:03d}/00{i}/S{10 + i % 4:03d}_00{i}_000000{frame}.png': label
            for i, label in enumerate(WORDS.values())
            for frame in (17, 18, 19)
        }
        assert ck48.drops() == {'label contempt': 3}

    def test_the_archive_as_sent(self, layouts, ck48, tmp_path):
        layouts.pack(tmp_path / 'raw/CK+48.zip', ck48_files())
        built = layouts.build('ck_plus/ck48', tmp_path / 'raw', tmp_path / 'out')
        assert built.labels() == ck48.labels()

    def test_no_person_is_in_both_parts(self, ck48):
        people = [{row['subject'] for row in part.values()} for part in ck48.records.values()]
        assert set.union(*people) == {'S010', 'S011', 'S012', 'S013'}
        assert not set.intersection(*people)

    def test_crops_in_two_formats_count_once(self, layouts, ck48, tmp_path):
        copies = {name.replace('.png', '.jpg').replace('+48', '48') for name in ck48_files()}
        files = ck48_files() | dict.fromkeys(copies - ck48_files().keys())
        files['other/fear/S010_000_00000017.bmp'] = None  # it is anger elsewhere
        raw = layouts.plant(tmp_path / 'raw', files)
        built = layouts.build('ck_plus/ck48', raw, tmp_path / 'out')
        expected = ck48.labels()
        del expected['S010/000/S010_000_00000017.png']
        assert built.labels() == expected
        assert built.drops() == {'label contempt': 3, 'listed with different labels': 2}

    def test_counts_and_features(self, ck48):
        counts = ck48.counts()
        assert counts['all images'] == (18, 927, True)
        assert counts['images of contempt'] == (3, 54, True)
        assert counts['all happiness'] == (3, 207, True)
        row = ck48.all['S010/000/S010_000_00000017.png']
        assert row['sequence'] == 'S010/000'
        assert (row['action_units'] == -1).all()


def test_agra(layouts, tmp_path):
    top = 'CK+_Emotion/{0}/CK+_{0}_crop/{1}'
    names = [top.format(part, word) for part in ('Train', 'Val') for word in AGRA]
    files = {f'{name}/S010_004_0000001{i % 10}.png': None for i, name in enumerate(names)}
    files['CK+_Emotion/Val/CK+_Val_crop/Sad/another.png'] = None
    files['CK+_Emotion/Val/CK+_Val_crop/landmark_5/Sad/another.txt'] = '1 2'
    raw = layouts.plant(tmp_path / 'raw', files)
    built = layouts.build('ck_plus/agra', raw, tmp_path / 'out')
    assert list(built.records) == ['train', 'validation']
    assert sorted(built.labels('train').values()) == list(range(7))
    assert built.labels('validation')['Val/sadness/another.png'] == 4
    assert built.all['Val/sadness/another.png']['subject'] == ''
    assert built.all['Train/surprise/S010_004_00000010.png']['subject'] == 'S010'
    assert built.counts()['validation images'] == (8, 129, False)


def test_one_form_is_not_the_other(layouts, tmp_path):
    raw = layouts.plant(tmp_path / 'raw', {'CK+48/anger/S010_004_00000017.png': None})
    for protocol, message in (('peak1', '<subject>/<number>'), ('agra', r'CK\+_<part>_crop/')):
        with pytest.raises(InputError, match=f'found no file like {message}'):
            layouts.build(f'ck_plus/{protocol}', raw, tmp_path / 'out')


def test_other_words_for_the_classes(layouts, tmp_path):
    words = {'Surprise': 0, 'Angry': 5, 'happiness': 3, 'Neutral': 6}
    files = {
        f'CK+_Train_crop/{word}/S010_004_0000001{i}.png': None
        for i, word in enumerate([*words, 'Contempt', 'Hapy'])
    }
    files['CK+_Val_crop/Sad/S011_004_00000011.png'] = None
    built = layouts.build('ck_plus/agra', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out')
    found = {row['file']: row['label'] for row in built.records['train'].values()}
    assert sorted(found.values()) == sorted(words.values())
    assert found == {
        f'Train/{EXPRESSIONS[label]}/S010_004_0000001{i}.png': label
        for i, label in enumerate(words.values())
    }
    assert built.drops() == {
        'label contempt': 1,
        "in a folder 'Hapy', which is no expression": 1,
    }
