import numpy as np
import pytest

from dmsrl_jax.errors import InputError

# subject, sequence: code, frames there are; codes of CK+, 2 is contempt, None has no label file
SEQUENCES = {
    ('S005', '001'): (3, [1, 2, 3, 4, 5]),
    ('S010', '002'): (7, [1, 2, 4, 7, 8, 9]),  # gaps in the numbers
    ('S010', '006'): (1, [1, 2, 3, 4]),
    ('S011', '001'): (None, [1, 2, 3, 4]),
    ('S055', '003'): (2, [1, 2, 3, 4]),
    ('S501', '001'): (5, [1, 2, 3, 4]),
    ('S502', '001'): (6, [1, 2, 3, 4]),
    ('S503', '001'): (4, [1, 2, 3]),  # too short for four different frames
}
CANONICAL = {3: 2, 7: 0, 1: 5, 5: 3, 6: 4, 4: 1}


def name(key, frame):
    return f'{key[0]}/{key[1]}/{key[0]}_{key[1]}_{frame:08d}'


def images():
    files = {
        f'cohn-kanade-images/{name(key, frame)}.png': None
        for key, (_, frames) in SEQUENCES.items()
        for frame in frames
    }
    first = 'cohn-kanade-images/S010/006/S010_006_00000001.png'
    return files | {
        first[:-4] + '.PNG': files.pop(first),
        'cohn-kanade-images/S005/.DS_Store': 'x',
        'cohn-kanade-images/S005/001/.DS_Store': 'x',
    }


def labels():
    files = {
        f'Emotion/{name(key, frames[-1])}_emotion.txt': f'   {code}.0000000e+00\r\n'
        for key, (code, frames) in SEQUENCES.items()
        if code is not None
    }
    return files | {'Emotion/S011/001/.DS_Store': 'x'}


def extras():
    landmarks = ''.join(f'   {x}.5000000e+00   1.0000000e+00\n' for x in range(68))
    return {
        'FACS/S005/001/S005_001_00000005_facs.txt': (
            '   9.0000000e+00   4.0000000e+00\n   1.7000000e+01   0.0000000e+00\n'
        ),
        'Landmarks/S005/001/S005_001_00000005_landmarks.txt': landmarks,
    }


def expected(peaks, neutral):
    """What the protocol keeps: owners' name to canonical label."""
    found = {}
    for key, (code, frames) in SEQUENCES.items():
        if code not in CANONICAL or len(frames) < peaks + neutral:
            continue
        if neutral:
            found[f'{name(key, frames[0])}.png'] = 6
        found |= {f'{name(key, frame)}.png': CANONICAL[code] for frame in frames[-peaks:]}
    if neutral:
        found['S010/006/S010_006_00000001.PNG'] = found.pop('S010/006/S010_006_00000001.png')
    return found


@pytest.fixture(scope='module')
def raw(layouts, tmp_path_factory):
    files = images() | labels() | extras()
    return layouts.plant(tmp_path_factory.mktemp('ck'), {f'CK+/{k}': v for k, v in files.items()})


@pytest.fixture(scope='module')
def built(layouts, raw, tmp_path_factory):
    return layouts.build('ck_plus', raw, tmp_path_factory.mktemp('out'))


class TestPeak3Neutral:
    def test_frames_and_labels(self, built):
        assert built.report['corpus'] == 'ck_plus/peak3_neutral'
        assert built.labels() == expected(3, True)
        assert len(built.all) == 20

    def test_drops(self, built):
        assert built.report['drops'] == {
            'sequence without an emotion': {'count': 1, 'examples': ['S011/001']},
            'label contempt': {'count': 1, 'examples': ['S055/003']},
            'sequence with too few frames': {'count': 1, 'examples': ['S503/001']},
        }

    def test_split_is_by_person_and_ours(self, built):
        people = {
            split: {row['subject'] for row in rows.values()}
            for split, rows in built.records.items()
        }
        assert people['train'] | people['test'] == {'S005', 'S010', 'S501', 'S502'}
        assert not people['train'] & people['test']
        assert len(people['test']) == 1
        assert built.report['split_note'].startswith('our own: no person is in both parts')
        assert all(row['subject'] == file[:4] for file, row in built.all.items())

    def test_action_units_belong_to_the_peak(self, built):
        peak = built.all['S005/001/S005_001_00000005.png']['action_units']
        assert {int(unit): int(peak[unit]) for unit in np.flatnonzero(peak >= 0)} == {9: 4, 17: 0}
        for other in ('S005/001/S005_001_00000001.png', 'S010/002/S010_002_00000009.png'):
            assert (built.all[other]['action_units'] == -1).all()
        assert built.all['S010/002/S010_002_00000007.png']['sequence'] == 'S010/002'

    def test_counts(self, built):
        counts = built.counts()
        assert counts['all images'] == (20, 1236, True)
        assert counts['all neutral'] == (5, 309, True)
        assert counts['all surprise'] == (3, 249, True)
        assert counts['sequences'] == (8, 593, True)
        assert counts['labelled sequences'] == (7, 327, True)
        assert counts['subjects'] == (7, 123, True)


@pytest.mark.parametrize(
    ('protocol', 'peaks', 'neutral'),
    [('peak1', 1, False), ('peak3', 3, False), ('peak1_neutral', 1, True)],
)
def test_other_protocols(layouts, raw, tmp_path, protocol, peaks, neutral):
    built = layouts.build(f'ck_plus/{protocol}', raw, tmp_path)
    assert built.labels() == expected(peaks, neutral)
    full = {'peak1': 309, 'peak3': 927, 'peak1_neutral': 618}[protocol]
    assert built.counts()['all images'][1] == full


def test_frames_of_copies_may_be_jpeg(layouts, tmp_path):
    files = {key[:-4] + '.jpg': data for key, data in images().items() if 'DS_Store' not in key}
    own = f'cohn-kanade-images/{name(("S005", "001"), 5)}.png'  # beside a copy of it
    raw = layouts.plant(tmp_path / 'raw', files | labels() | {own: None})
    built = layouts.build('ck_plus', raw, tmp_path / 'out')
    names = {file[:-4] + '.jpg': label for file, label in expected(3, True).items()}
    names['S005/001/S005_001_00000005.png'] = names.pop('S005/001/S005_001_00000005.jpg')
    assert built.labels() == names


def test_archives_give_the_same(layouts, built, tmp_path):
    layouts.pack(tmp_path / 'raw/extended-cohn-kanade-images.zip', images())
    wrapped = {f'Emotion_labels/{key}': text for key, text in labels().items()}
    layouts.pack(tmp_path / 'raw/Emotion_labels.zip', wrapped)
    again = layouts.build('ck_plus', tmp_path / 'raw', tmp_path / 'out')
    assert {f: row['image'] for f, row in again.all.items()}.keys() == built.all.keys()
    assert again.labels() == built.labels()
    assert [list(part) for part in again.records.values()] == [
        list(part) for part in built.records.values()
    ]
    assert again.drops() == built.drops()


class TestMistakes:
    def test_images_alone_are_not_enough(self, layouts, tmp_path):
        raw = layouts.plant(tmp_path / 'raw', images())
        with pytest.raises(InputError, match=r'found no file like <subject>/<number>/.*_emotion'):
            layouts.build('ck_plus', raw, tmp_path / 'out')

    @pytest.mark.parametrize(
        ('text', 'message'),
        [
            ('', 'expected lines of 1 numbers'),
            ('anger', 'expected numbers'),
            ('8.0', 'label 8 is'),
            ('nan', 'must be a whole number, not nan'),
            ('2.5', r'must be a whole number, not 2\.5'),
        ],
    )
    def test_bad_label_file_is_named(self, layouts, tmp_path, text, message):
        files = images() | labels() | {'Emotion/S005/001/S005_001_00000005_emotion.txt': text}
        raw = layouts.plant(tmp_path / 'raw', files)
        with pytest.raises(InputError, match=message) as error:
            layouts.build('ck_plus', raw, tmp_path / 'out')
        assert 'S005_001_00000005_emotion.txt' in str(error.value)

    @pytest.mark.parametrize('intensity', ['3e9', '1e300'])
    def test_units_beyond_32_bits(self, layouts, tmp_path, intensity):
        files = images() | labels()
        files['FACS/S005/001/S005_001_00000005_facs.txt'] = f'1 2\n4 {intensity}\n'
        raw = layouts.plant(tmp_path / 'raw', files)
        with pytest.raises(InputError, match=r'_facs\.txt: (3e\+09|1e\+300) is no code'):
            layouts.build('ck_plus', raw, tmp_path / 'out')

    @pytest.mark.parametrize(
        ('name', 'text'),
        [
            ('FACS/S005/001/S005_001_00000005_facs.txt', ''),
            ('FACS/S005/001/S005_001_00000005_facs.txt', '1 2\n4\n'),
            ('FACS/S005/001/S005_001_00000005_facs.txt', '1 3e9\n'),
            ('Landmarks/S005/001/S005_001_00000005_landmarks.txt', '1 2\n3 x\n'),
            ('Landmarks/S005/001/S005_001_00000005_landmarks.txt', ''),
            ('Emotion/S005/001/S005_001_00000005_emotion.txt', ''),
        ],
    )
    def test_broken_files_beside_images(self, layouts, tmp_path, name, text):
        raw = layouts.plant(tmp_path / 'raw', images() | labels() | {name: text})
        with pytest.raises(InputError, match=r'on_corrupt=drop leaves it out'):
            layouts.build('ck_plus', raw, tmp_path / 'out')
        built = layouts.build('ck_plus', raw, tmp_path / 'out', on_corrupt='drop')
        assert built.drops()['corrupt file beside an image'] == 1
        kept = expected(3, True)
        if 'emotion' in name:
            kept = {file: code for file, code in kept.items() if 'S005' not in file}
        assert built.labels() == kept
        assert all((row['action_units'] == -1).all() for row in built.all.values())

    def test_strict(self, layouts, raw, tmp_path):
        with pytest.raises(InputError, match=r'sequences: found 8, expected 593; .*--strict'):
            layouts.build('ck_plus', raw, tmp_path, strict=True)
        assert not list(tmp_path.glob('ck_plus/*/*'))


@pytest.mark.parametrize(
    ('begins', 'neutral', 'reason'),
    [
        (3, [3], None),
        (4, [], 'neutral of a sequence whose first frames are missing'),
    ],
)
def test_missing_frames_at_the_beginning(layouts, tmp_path, begins, neutral, reason):
    key = ('S020', '001')
    files = {f'cohn-kanade-images/{name(key, frame)}.png': None for frame in range(begins, 10)}
    files[f'Emotion/{name(key, 9)}_emotion.txt'] = '   5.0000000e+00\n'
    built = layouts.build('ck_plus', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out')
    assert built.labels() == {
        f'{name(key, frame)}.png': 6 if frame in neutral else 3 for frame in (*neutral, 7, 8, 9)
    }
    drops = {} if reason is None else {reason: {'count': 1, 'examples': ['S020/001']}}
    assert built.report['drops'] == drops


def test_a_sequence_without_its_peak(layouts, tmp_path):
    files = images() | labels()
    del files[f'cohn-kanade-images/{name(("S010", "002"), 9)}.png']
    built = layouts.build('ck_plus', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out')
    kept = {file: n for file, n in expected(3, True).items() if 'S010/002' not in file}
    assert built.labels() == kept
    found = built.report['drops']['sequence whose peak frame is missing']
    assert found == {'count': 1, 'examples': ['S010/002']}


def test_frames_behind_the_peak_are_left_out(layouts, tmp_path):
    key = ('S020', '001')
    files = {f'cohn-kanade-images/{name(key, frame)}.png': None for frame in range(1, 8)}
    files[f'Emotion/{name(key, 5)}_emotion.txt'] = '   5.0000000e+00\n'
    built = layouts.build('ck_plus', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out')
    assert built.labels() == {
        f'{name(key, frame)}.png': 6 if frame == 1 else 3 for frame in (1, 3, 4, 5)
    }


def test_faces_cut_out_of_the_frames_beside_them(layouts, tmp_path):
    other = {
        name.replace('cohn-kanade-images', 'cut/a'): content for name, content in images().items()
    }
    other = {name: layouts.draw('cut') for name in other}
    files = {f'frame/{name}': content for name, content in (images() | labels()).items()}
    alone = layouts.build('ck_plus', layouts.plant(tmp_path / 'a', files), tmp_path / 'out')
    both = layouts.build('ck_plus', layouts.plant(tmp_path / 'b', files | other), tmp_path / 'all')
    assert {k: row['image'] for k, row in both.all.items()} == {
        k: row['image'] for k, row in alone.all.items()
    }


def test_two_labels_of_a_sequence_are_refused(layouts, tmp_path):
    second = {'Emotion/S005/001/S005_001_00000004_emotion.txt': '3\n'}
    raw = layouts.plant(tmp_path / 'raw', images() | labels() | second)
    with pytest.raises(
        InputError, match=r'0000004_emotion\.txt and .*0005_emotion\.txt label one s'
    ):
        layouts.build('ck_plus', raw, tmp_path / 'out')


def test_pictures_of_two_downloads(layouts, tmp_path):
    files = images() | labels()
    for there in [file for file in files if 'images/S50' in file]:
        files[there.replace('images/', 'images-2/')] = files.pop(there)
    files['Emotion/S999/001/S999_001_00000009_emotion.txt'] = '1'
    built = layouts.build('ck_plus', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out')
    assert built.labels() == expected(3, True)
    assert built.drops()['emotion of a sequence without pictures'] == 1


@pytest.mark.parametrize(
    ('files', 'message'),
    [
        (
            ('images/S005_001_00000011.png', 'labels/S005_001_00000011_emotion.txt'),
            r'images/S005_001_00000011\.png and the like must lie in folders such as S005/001/; ',
        ),
        (('S005_001_00000011.png',), r'must lie in folders such as S005/001/; '),
        (('ckextended.csv',), r'ckextended\.csv, CK\+ as rows of a CSV file, is not read'),
    ],
)
def test_other_forms_are_named(layouts, tmp_path, files, message):
    raw = layouts.plant(tmp_path / 'raw', dict.fromkeys(files))
    with pytest.raises(InputError, match=message):
        layouts.build('ck_plus', raw, tmp_path / 'out')


def test_crops_by_class_are_no_loose_frames(layouts, tmp_path):
    raw = layouts.plant(tmp_path / 'raw', {'CK+48/anger/S005_001_00000011.png': None})
    with pytest.raises(InputError) as error:
        layouts.build('ck_plus', raw, tmp_path / 'out')
    assert 'must lie in' not in str(error.value)
