import importlib.util
import io

import numpy as np
import pytest
from PIL import Image

from data_builders import limits, video
from data_builders.mmi import clips
from dmsrl_jax.errors import InputError

pytest.importorskip('av')
HEIGHT, WIDTH, LENGTH = 48, 64, 9
# session: subject and clip, emotion (None: no such tag), view, AU-coded
SESSIONS = {
    1: ('S001-001', 6, 0, False),
    2: ('S001-002', 1, 0, True),
    10: ('S003-010', 4, 2, True),
    11: ('S003-011', 2, 1, False),  # a profile
    12: ('S005-001', 9, 0, True),  # bored, sleepy or the like
    13: ('S005-002', None, 0, True),
    14: ('S006-001', 3, 0, True),  # two frames only
    501: ('S007-001', 5, 2, False),
}
KEPT = {1: 0, 2: 5, 10: 3, 501: 4}


def face(layouts, name):
    data = layouts.draw(name, size=(WIDTH // 2, HEIGHT))
    return np.asarray(Image.open(io.BytesIO(data)).convert('RGB'))


def frame(layouts, session, number):
    """Upright, lying on its side, or two views of which the profile is half a face."""
    _, _, view, coded = SESSIONS[session]
    front = face(layouts, str(session))
    symmetric = np.concatenate([front[:, : WIDTH // 4], front[:, : WIDTH // 4][:, ::-1]], axis=1)
    profile = np.full_like(front, 20)
    profile[10:40, : WIDTH // 4] = front[10:40, : WIDTH // 4]
    if view == 2:
        both = [profile, symmetric] if session == 501 else [symmetric, profile]
        picture = np.concatenate(both, axis=1)
    else:
        wide = Image.fromarray(front).resize((HEIGHT, WIDTH) if not coded else (WIDTH, HEIGHT))
        picture = np.asarray(wide) if coded else np.rot90(np.asarray(wide), 1)
    return np.clip(picture.astype(int) + 3 * number, 0, 255).astype(np.uint8)


def tree(layouts):
    files = {}
    for session, (sid, emotion, view, coded) in SESSIONS.items():
        top = f'mmi-facial-expression-database_download_2012-01-01_10_00_00/Sessions/{session}/'
        length = 2 if session == 14 else LENGTH
        pictures = [frame(layouts, session, n) for n in range(length)]
        files[f'{top}{sid}.avi'] = layouts.film(pictures)
        tag = '' if emotion is None else f'<Metatag Name="Emotion" Value="{emotion}"/>'
        files[f'{top}{sid}.xml'] = (
            f'<?xml version="1.0"?>\r\n<Metadata><Metatag Name="Age" Value="30"/>{tag}</Metadata>'
        )
        notes = f'<annotation filename="{sid}-oao_aucs.xml"/>' if coded else ''
        files[f'{top}session.xml'] = (
            f'<session xmlns="x"><subject id="1"/><track view="{view}" filename="{sid}.avi">'
            f'<annotation filename="{sid}.xml"/>{notes}</track></session>'
        )
        if coded:
            files[f'{top}{sid}-oao_aucs.xml'] = (
                '<ActionUnits><ActionUnit Number="12"/><ActionUnit Number="25"/>'
                '<ActionUnit Number="46L"/></ActionUnits>'
            )
        files |= {f'{top}{sid}_mic.wav': 'x', f'{top}Thumbs.db': 'x'}
    return files | {'other/Sessions/77/S009-001.jpg': None}


@pytest.fixture(scope='module')
def raw(layouts, tmp_path_factory):
    return layouts.plant(tmp_path_factory.mktemp('mmi'), tree(layouts))


@pytest.fixture(scope='module')
def built(layouts, raw, tmp_path_factory):
    return layouts.build('mmi', raw, tmp_path_factory.mktemp('out'))


def file(session, number):
    return f'{session}/{SESSIONS[session][0]}.avi#{number}'


def test_frames_of_the_middle_and_the_first_one(built):
    expected = {}
    for session, label in KEPT.items():
        expected |= {file(session, 0): 6} | {file(session, n): label for n in (3, 4, 5)}
    assert built.report['corpus'] == 'mmi/peak3_neutral'
    assert built.labels() == expected


def test_drops(built):
    assert built.report['drops'] == {
        'profile view': {'count': 1, 'examples': ['11/S003-011.avi']},
        'emotion 9, not one of the six': {'count': 1, 'examples': ['12/S005-001.avi']},
        'clip without an emotion': {'count': 1, 'examples': ['13/S005-002.avi']},
        'sequence with too few frames': {'count': 1, 'examples': ['14/S006-001.avi']},
    }


def test_split_by_person(built):
    people = [{row['subject'] for row in part.values()} for part in built.records.values()]
    assert set.union(*people) == {'S001', 'S003', 'S007'}
    assert not people[0] & people[1]


def close(layouts, row, expected):
    found = layouts.pixels(row)
    assert found.shape == expected.shape
    return np.abs(found.astype(int) - expected).mean() < 6  # the clip is compressed


@pytest.mark.parametrize('number', [0, 4])
def test_clips_that_lie_on_their_side_are_turned(built, layouts, number):
    upright = np.rot90(frame(layouts, 1, number), -1)
    assert close(layouts, built.all[file(1, number)], upright)
    assert upright.shape == (WIDTH, HEIGHT, 3)


def test_coded_clips_are_not_turned(built, layouts):
    assert close(layouts, built.all[file(2, 5)], frame(layouts, 2, 5))


@pytest.mark.parametrize(('session', 'side'), [(10, slice(0, 32)), (501, slice(32, 64))])
def test_frontal_half_of_two_views(built, layouts, session, side):
    assert close(layouts, built.all[file(session, 3)], frame(layouts, session, 3)[:, side])


def test_options(layouts, raw, tmp_path):
    options = {'turn': 'never', 'frontal': 'right'}
    built = layouts.build('mmi/peak3', raw, tmp_path, **options)
    assert len(built.all) == 12
    assert close(layouts, built.all[file(1, 3)], frame(layouts, 1, 3))
    assert close(layouts, built.all[file(10, 3)], frame(layouts, 10, 3)[:, 32:])


def test_action_units_of_the_clip(built):
    coded, other = (built.all[file(session, 4)]['action_units'] for session in (2, 1))
    assert np.flatnonzero(coded).tolist() == [12, 25]
    assert (other == -1).all()


def test_counts(built):
    assert built.counts() == {
        'labelled clips': (7, 236, False),
        'subjects': (3, 32, False),
        'all images': (16, 704, False),
    }


def test_from_an_archive(layouts, built, tmp_path):
    keep = ('/1/', '/10/')
    files = {name: data for name, data in tree(layouts).items() if any(k in name for k in keep)}
    layouts.pack(tmp_path / 'raw/mmi.zip', files)
    again = layouts.build('mmi', tmp_path / 'raw', tmp_path / 'out')
    assert len(again.all) == 8
    assert all(row['image'] == built.all[name]['image'] for name, row in again.all.items())


def test_upper_case_names(layouts, built, tmp_path):
    files = {n.upper(): data for n, data in tree(layouts).items() if '/10/' in n or '/1/' in n}
    again = layouts.build('mmi', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out')
    assert again.labels() == {
        file(session, n).upper(): label
        for session in (1, 10)
        for n, label in ((0, 6), *((n, KEPT[session]) for n in (3, 4, 5)))
    }
    for name in (file(1, 4), file(10, 3)):  # turned, and half of two views
        assert again.all[name.upper()]['image'] == built.all[name]['image']
    assert again.all[file(10, 4).upper()]['action_units'][25] == 1


class TestMistakes:
    def test_corrupt_clips_can_be_left_out(self, layouts, tmp_path, monkeypatch):
        files = {n: data for n, data in tree(layouts).items() if '/1/' in n or '/2/' in n}
        (place,) = [n for n in files if n.endswith('/1/S001-001.avi')]
        raw = layouts.plant(tmp_path / 'raw', files | {place: 'RIFFxxxx'})
        with pytest.raises(InputError, match=r'S001-001\.avi.*on_corrupt=drop leaves it out'):
            layouts.build('mmi', raw, tmp_path / 'out')
        built = layouts.build('mmi', raw, tmp_path / 'out', on_corrupt='drop')
        assert built.report['drops'] == {
            'corrupt clip': {'count': 1, 'examples': ['1/S001-001.avi']}
        }
        assert sorted(built.labels()) == [file(2, n) for n in (0, 3, 4, 5)]
        monkeypatch.setattr(importlib.util, 'find_spec', lambda _: None)
        with pytest.raises(InputError, match='reading video needs PyAV or OpenCV'):
            layouts.build('mmi', raw, tmp_path / 'out', on_corrupt='drop')

    def test_a_wrong_password_is_no_corrupt_clip(self, layouts, raw, tmp_path, monkeypatch):
        def locked(path):
            raise limits.LockedError('wrong password')

        monkeypatch.setattr(video, 'count', locked)
        with pytest.raises(limits.LockedError, match='wrong password'):
            layouts.build('mmi', raw, tmp_path / 'out', on_corrupt='drop')

    def test_choices(self, layouts, tmp_path):
        with pytest.raises(InputError, match="turn='no' must be one of auto, never, always"):
            layouts.build('mmi', tmp_path, tmp_path / 'out', turn='no')

    @pytest.mark.parametrize(
        ('name', 'content', 'message'),
        [
            ('S001-001.xml', '<Metadata>', r'S001-001\.xml is not XML'),
            ('S001-001.xml', '<a><Metatag Name="Emotion" Value="joy"/></a>', "Emotion is 'joy'"),
            ('S001-001.avi', 'RIFFxxxx', r'cannot decode video .*S001-001\.avi'),
        ],
    )
    def test_bad_file_is_named(self, layouts, tmp_path, name, content, message):
        files = {n: data for n, data in tree(layouts).items() if '/1/' in n}
        (place,) = [n for n in files if n.endswith(name)]
        raw = layouts.plant(tmp_path / 'raw', files | {place: content})
        with pytest.raises(InputError, match=message):
            layouts.build('mmi', raw, tmp_path / 'out')

    @pytest.mark.parametrize(
        ('end', 'kept'), [('002.xml', [1]), ('session.xml', [1]), ('-oao_aucs.xml', [1, 2])]
    )
    def test_bad_files_can_be_left_out(self, layouts, tmp_path, end, kept):
        files = {n: data for n, data in tree(layouts).items() if '/1/' in n or '/2/' in n}
        (place,) = [n for n in files if '/2/' in n and n.endswith(end)]
        raw = layouts.plant(tmp_path / 'raw', files | {place: '<a>'})
        with pytest.raises(InputError, match=r'is not XML.*on_corrupt=drop leaves it out'):
            layouts.build('mmi', raw, tmp_path / 'out')
        built = layouts.build('mmi', raw, tmp_path / 'out', on_corrupt='drop')
        assert built.report['drops'] == {
            'corrupt file beside an image': {'count': 1, 'examples': [place]}
        }
        assert sorted(built.labels()) == [file(s, n) for s in kept for n in (0, 3, 4, 5)]
        assert all((row['action_units'] == -1).all() for row in built.all.values())

    def test_no_session_file(self, layouts, tmp_path):
        files = {n: data for n, data in tree(layouts).items() if '/1/' in n or '/2/' in n}
        files = {n: data for n, data in files.items() if '/1/session.xml' not in n}
        built = layouts.build('mmi', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out')
        assert built.drops() == {'no session.xml beside the clip': 1}


def test_frontal_side_of_blank_halves():
    assert clips.frontal_side(np.zeros((10, 20, 3), np.uint8)) == 'left'


def test_clips_in_no_folder_of_a_session(layouts, tmp_path):
    raw = layouts.plant(tmp_path / 'raw', {'MMI/S001-001.avi': 'x'})
    with pytest.raises(InputError, match=r'MMI/S001-001\.avi must lie in a folder named by the nu'):
        layouts.build('mmi', raw, tmp_path / 'out')
