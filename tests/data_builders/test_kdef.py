import io

import pytest
from PIL import Image

from dmsrl_jax.errors import InputError

# AF at the start is series A, female; AF in the middle is afraid
STRAIGHT = {
    'AF01AFS.JPG': 1, 'AF01ANS.JPG': 5, 'BF01AFS.JPG': 1, 'AF02HAS.JPG': 3, 'AM01SAS.JPG': 4,
    'BM01SUS.JPG': 0, 'AM35NES.JPG': 6, 'BM35DIS.JPG': 2,
}  # fmt: skip
ANGLES = {'AF01AFFL.JPG': 1, 'AF01AFHL.JPG': 1, 'AF01SUHR.JPG': 0, 'AM01SAFR.JPG': 4}


def black():
    out = io.BytesIO()
    Image.new('RGB', (24, 30)).save(out, 'JPEG')
    return out.getvalue()


def files():
    names = {f'KDEF/{name[:4]}/{name}': None for name in STRAIGHT | ANGLES}
    more = {
        'KDEF/AF01/AF01SUFR.JPG': black(),  # on the list of black pictures
        'KDEF/BM05/BM05SUFR.JPG': black(),  # not on it
        'KDEF/BM22/BM22DIHL.JPG': b'cut',  # on the list, and broken
        'KDEF/AM31/AM31H.JPG': None,
        'KDEF/AF31/AF31V.JPG': None,
        'KDEF/AF01/Thumbs.db': 'x',
        'AKDEF/FAFFL.JPG': None,
        'AKDEF/MNES.JPG': None,
    }
    return {f'KDEF_and_AKDEF/{name}': data for name, data in (names | more).items()}


@pytest.fixture(scope='module')
def raw(layouts, tmp_path_factory):
    return layouts.plant(tmp_path_factory.mktemp('kdef'), files())


@pytest.fixture(scope='module')
def straight(layouts, raw, tmp_path_factory):
    return layouts.build('kdef', raw, tmp_path_factory.mktemp('out'))


def test_straight_views(straight):
    assert straight.report['corpus'] == 'kdef/straight'
    assert straight.labels() == STRAIGHT
    assert straight.drops() == {}
    row = straight.all['BF01AFS.JPG']
    assert [row[key] for key in ('subject', 'angle', 'series')] == ['F01', 'S', 'B']


def test_the_archive_as_sent(layouts, tmp_path):
    layouts.pack(tmp_path / 'raw/KDEF_and_AKDEF.zip', files())
    assert layouts.build('kdef', tmp_path / 'raw', tmp_path / 'out').labels() == STRAIGHT


@pytest.mark.parametrize('kind', ['png', 'jpeg'])
def test_copies_in_other_formats(layouts, tmp_path, kind):
    faces = {f'KDEF/{name[:4]}/{name[:-3]}{kind}': None for name in STRAIGHT}
    raw = layouts.plant(tmp_path / 'raw', faces)
    labels = {f'{name[:-3]}{kind}': label for name, label in STRAIGHT.items()}
    assert layouts.build('kdef', raw, tmp_path / 'out').labels() == labels
    layouts.plant(raw, files())
    assert layouts.build('kdef', raw, tmp_path / 'out').labels() == STRAIGHT


def test_a_picture_in_two_forms_is_one(layouts, tmp_path):
    files = {'AF01AFS.JPG': None, 'af01afs.jpg': None, 'AF02HAS.JPG': None}
    files |= {'cut/AF01AFS.png': None, 'small/AF01AFS.png': None}
    built = layouts.build('kdef', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out')
    assert built.labels() == {'AF01AFS.JPG': 1, 'AF02HAS.JPG': 3}


def test_a_person_of_both_series_is_in_one_split(straight):
    people = [{row['subject'] for row in part.values()} for part in straight.records.values()]
    assert set.union(*people) == {'F01', 'F02', 'M01', 'M35'}
    assert not people[0] & people[1]


def test_counts(straight):
    counts = straight.counts()
    assert counts['all images'] == (8, 980, True)
    assert counts['all fear'] == (2, 140, True)
    assert counts['subjects'] == (4, 70, True)


def test_all_angles_and_black_pictures(layouts, raw, tmp_path):
    built = layouts.build('kdef/all_angles', raw, tmp_path)
    assert built.labels() == STRAIGHT | ANGLES
    assert built.report['drops'] == {
        'black picture': {'count': 2, 'examples': ['AF01SUFR.JPG', 'BM05SUFR.JPG']},
        'broken picture, known to be so': {'count': 1, 'examples': ['BM22DIHL.JPG']},
    }
    assert built.counts()['pictures'] == (15, 4900, True)


def test_broken_pictures_that_are_not_known_are_an_error(layouts, tmp_path):
    raw = layouts.plant(tmp_path / 'raw', {'KDEF/AF01/AF01ANS.JPG': b'cut'})
    with pytest.raises(InputError, match=r'AF01ANS\.JPG.*on_corrupt=drop'):
        layouts.build('kdef', raw, tmp_path / 'out')
