import pytest

from data_builders.oulu_casia import oulu_casia_dataset_builder as oulu_casia
from dmsrl_jax.errors import InputError

LABELS = {'Anger': 5, 'Disgust': 2, 'Fear': 1, 'Happiness': 3, 'Sadness': 4, 'Surprise': 0}
PEOPLE = ('P001', 'P012', 'P080')


def frames(person):
    return range(5 if person == 'P001' else 7)


def tree(top, camera='VL', light='Strong'):
    files = {
        f'{top}{camera}/{light}/{person}/{word}/{frame:03d}.jpeg': None
        for person in PEOPLE
        for word in LABELS
        for frame in frames(person)
    }
    return files | {
        f'{top}{camera}/{light}/P001/Anger/Thumbs.db': 'x',
        f'{top}{camera}/{light}/P001/Anger/P001_label.txt': '1',
    }


def expected(top, peaks_only=False):
    found = {}
    for person in PEOPLE:
        for word, label in LABELS.items():
            *_, a, b, c = frames(person)
            codes = {a: label, b: label, c: label} | ({} if peaks_only else {0: 6})
            found |= {f'{top}/{person}/{word}/{n:03d}.jpeg': code for n, code in codes.items()}
    return found


@pytest.fixture(scope='module')
def raw(layouts, tmp_path_factory):
    files = tree('B_OriginalImg/B_OriginalImg/OriginalImg/')
    # a sequence that is too short, another camera, another light, the owners' crops
    short = 'B_OriginalImg/B_OriginalImg/OriginalImg/VL/Strong/P002/Fear/00'
    files |= {f'{short}{n}.jpeg': None for n in range(3)}
    few = {f'/P001/Anger/00{n}.jpeg': None for n in range(4)}
    files |= {f'OriginalImg/NI/Weak{name}': None for name in few}
    files |= {f'PreProcess_Img/VL_Acropped/Strong{name}': None for name in few}
    files |= {'PreProcess_Img/change_log.txt': 'x'}
    return layouts.plant(tmp_path_factory.mktemp('oulu'), files)


@pytest.fixture(scope='module')
def built(layouts, raw, tmp_path_factory):
    return layouts.build('oulu_casia', raw, tmp_path_factory.mktemp('out'))


def test_frames_and_labels(built):
    assert built.report['corpus'] == 'oulu_casia/vl_strong_peak3_neutral'
    assert built.labels() == expected('VL/Strong')
    assert built.drops() == {'sequence with too few frames': 1}
    row = built.all['VL/Strong/P012/Fear/006.jpeg']
    assert (row['subject'], row['sequence']) == ('P012', 'P012/Fear')


def test_split_by_person(built):
    people = [{row['subject'] for row in part.values()} for part in built.records.values()]
    assert set.union(*people) == set(PEOPLE)
    assert not people[0] & people[1]


def test_counts(built):
    counts = built.counts()
    assert counts['all images'] == (72, 1920, False)
    assert counts['all neutral'] == (18, 480, False)
    assert counts['all anger'] == (9, 240, False)
    assert counts['sequences'] == (19, 480, False)
    assert counts['subjects'] == (3, 80, True)


@pytest.mark.parametrize(
    ('protocol', 'names'),
    [
        ('ni_weak_peak3', {f'NI/Weak/P001/Anger/00{n}.jpeg': 5 for n in (1, 2, 3)}),
        (
            'vl_strong_peak3_cropped',
            {f'VL_Acropped/Strong/P001/Anger/00{n}.jpeg': 5 for n in (1, 2, 3)},
        ),
    ],
)
def test_other_protocols(layouts, raw, tmp_path, protocol, names):
    assert layouts.build(f'oulu_casia/{protocol}', raw, tmp_path).labels() == names


def test_zip_without_the_wrapping_folder(layouts, tmp_path):
    layouts.pack(tmp_path / 'raw/B_OriginalImg.zip', tree('B_OriginalImg/'))
    built = layouts.build('oulu_casia/vl_strong_peak3', tmp_path / 'raw', tmp_path / 'out')
    assert built.labels() == expected('VL/Strong', peaks_only=True)


def test_without_the_first_frame_there_is_no_neutral(layouts, tmp_path):
    files = {f'VL/Strong/P00{p}/Fear/00{n}.jpeg': None for p in (1, 2) for n in range(9)}
    for frame in range(3):
        del files[f'VL/Strong/P001/Fear/00{frame}.jpeg']
    built = layouts.build('oulu_casia', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out')
    assert [file for file, label in built.labels().items() if label == 6] == [
        'VL/Strong/P002/Fear/000.jpeg'
    ]
    assert len(built.all) == 7
    assert built.report['drops'] == {
        'neutral of a sequence whose first frames are missing': {
            'count': 1, 'examples': ['P001/Fear'],
        }
    }  # fmt: skip


def test_all_protocols_have_a_description():
    assert len(oulu_casia.PROTOCOLS) == 24
    assert oulu_casia.PROTOCOLS['ni_dark_peak3_cropped'] == (
        "near infrared, dark, last 3 frames, no neutral: 480 x 3 = 1,440 images; owners' crops"
    )


def test_protocol_that_is_not_there(layouts, raw, tmp_path):
    with pytest.raises(
        InputError, match=r'no file like NI/Dark/<subject>/<expression>/<frame>\.jpg'
    ):
        layouts.build('oulu_casia/ni_dark_peak3', raw, tmp_path)


def test_other_words_for_the_classes(layouts, tmp_path):
    words = {'Angry': 5, 'Happy': 3, 'Bored': None}
    files = {f'VL/Strong/P001/{w}/{n:03d}.jpeg': None for w in words for n in range(5)}
    built = layouts.build('oulu_casia', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out')
    assert {name.split('/')[3]: label for name, label in built.labels().items() if label != 6} == {
        'Angry': 5,
        'Happy': 3,
    }
    assert built.drops() == {"in a folder 'Bored', which is no expression": 1}


def test_two_files_of_one_frame_are_refused(layouts, tmp_path):
    files = tree('OriginalImg/') | {'aligned/VL/Strong/P001/Fear/000.png': None}
    raw = layouts.plant(tmp_path / 'raw', files)
    with pytest.raises(InputError, match=r'Fear/000\.jpeg and aligned/.*/000\.png are one frame'):
        layouts.build('oulu_casia', raw, tmp_path / 'out')
