import os

import pytest

from dmsrl_jax.data import corpora
from dmsrl_jax.errors import InputError

LABELS = {
    'Angry': 5, 'Disgust': 2, 'Fear': 1, 'Happy': 3, 'Neutral': 6, 'Sad': 4, 'Surprise': 0,
}  # fmt: skip
FILM = 'Airheads_000519240_0000000'


def pictures(top, numbers, suffix='png'):
    return {f'{top}/{word}/{FILM}{n}.{suffix}': None for word in LABELS for n in numbers}


def expected(part, numbers, suffix='png'):
    return {
        f'{part}/{word}/{FILM}{n}.{suffix}': code for word, code in LABELS.items() for n in numbers
    }


@pytest.fixture(scope='module')
def built(layouts, tmp_path_factory):
    """Train unpacked, the new validation archive, an old one, and the test set."""
    root = tmp_path_factory.mktemp('sfew')
    files = pictures('SFEW_2/Train/Train_Aligned_Faces', (5, 9))
    files |= {'SFEW_2/Train/Train_Aligned_Faces/Angry/Thumbs.db': 'x'}
    files |= {f'SFEW_2/Test/Test_Aligned_Faces/{FILM}7.png': None}
    files |= pictures('SFEW_2/Train/Train', (5,))  # whole frames beside
    files |= {f'SFEW_2/Val/Val_Aligned_Faces/Sad/{FILM}1.png': None}
    layouts.plant(root / 'raw', files)
    new = pictures('Val_Aligned_Faces', (2,))
    layouts.pack(root / 'raw/SFEW_2/Val/Val_Aligned_Faces_new/Val_Aligned_Faces_new.zip', new)
    return layouts.build('sfew', root / 'raw', root / 'out')


def test_labels_and_splits(built):
    assert built.report['corpus'] == 'sfew/aligned'
    assert list(built.records) == ['train', 'validation']
    assert built.labels('train') == expected('Train', (5, 9))
    assert built.labels('validation') == expected('Val', (2,))
    assert built.drops() == {'test set, no labels': 1}


def test_counts_are_not_certain(built):
    assert built.counts() == {
        'train images': (14, 891, False),
        'validation images': (7, 431, False),
    }


def test_the_split_test_is_validation(built):
    out = built.folder.parents[2]
    assert corpora.load('sfew', 'test', data_dir=out).split == 'validation'
    assert len(corpora.load('sfew', 'all', data_dir=out)) == 21
    with pytest.raises(InputError, match=r"no split 'dev'; it has train, validation, all"):
        corpora.load('sfew', 'dev', data_dir=out)


def test_old_validation_archive_alone(layouts, tmp_path):
    layouts.pack(tmp_path / 'raw/Val_Aligned_Faces.zip', pictures('Val_Aligned_Faces', (1,)))
    built = layouts.build('sfew/aligned', tmp_path / 'raw', tmp_path / 'out')
    assert built.labels() == expected('Val', (1,))


def test_of_two_validation_archives_the_new_one_alone(layouts, tmp_path):
    old, new = (pictures('Val_Aligned_Faces', numbers) for numbers in ((1, 2), (2,)))
    layouts.pack(tmp_path / 'raw/Val_Aligned_Faces.zip', dict.fromkeys(old, layouts.draw('old')))
    new = {name: layouts.draw(f'new {name}') for name in new}
    layouts.pack(tmp_path / 'raw/Val_Aligned_Faces_new.zip', new)
    built = layouts.build('sfew/aligned', tmp_path / 'raw', tmp_path / 'out')
    assert built.labels() == expected('Val', (2,))
    name = f'Fear/{FILM}2.png'
    assert built.all[f'Val/{name}']['image'] == new[f'Val_Aligned_Faces/{name}']


def test_the_new_archive_replaces_the_old_folder(layouts, tmp_path):
    old, new = (pictures('Val_Aligned_Faces', numbers) for numbers in ((1, 2), (2, 3)))
    layouts.plant(tmp_path / 'raw', old)
    new = {name: layouts.draw(f'new {name}') for name in new}
    layouts.pack(tmp_path / 'raw/Val_Aligned_Faces_new.zip', new)
    built = layouts.build('sfew/aligned', tmp_path / 'raw', tmp_path / 'out')
    assert built.labels() == expected('Val', (2, 3))
    for name, image in new.items():
        assert built.all[name.replace('Val_Aligned_Faces', 'Val')]['image'] == image


def test_an_archive_without_its_top_folder(layouts, tmp_path):
    layouts.plant(tmp_path / 'raw/Val', pictures('Val_Aligned_Faces', (1,)))
    inside = {name.partition('/')[2]: data for name, data in pictures('x', (2,)).items()}
    layouts.pack(tmp_path / 'raw/Train_Aligned_Faces.zip', inside)
    built = layouts.build('sfew/aligned', tmp_path / 'raw', tmp_path / 'out')
    assert built.labels('train') == expected('Train', (2,))
    assert built.labels('validation') == expected('Val', (1,))


def test_a_split_in_folders_of_other_names_is_not_passed_over(layouts, tmp_path):
    files = pictures('Val/Val_Aligned_Faces', (1,)) | pictures('Train/faces', (2,))
    raw = layouts.plant(tmp_path / 'raw', files)
    message = r'no image of the split train was found, though there is Train/faces.*needs Train_Al'
    with pytest.raises(InputError, match=message):
        layouts.build('sfew/aligned', raw, tmp_path / 'out')


def test_frames_may_be_called_jpeg(layouts, tmp_path):
    files = pictures('Train', (1,), 'JPEG') | pictures('Val', (2,))
    built = layouts.build('sfew/frames', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out')
    assert built.labels('train') == expected('Train', (1,), 'JPEG')


def test_of_a_frame_and_its_copies_the_owners_counts(layouts, tmp_path):
    owners = pictures('Train', (1,)) | pictures('Val', (2,))
    copies = pictures('Train/256x256', (1,)) | pictures('Train', (1,), 'jpg')
    raw = layouts.plant(tmp_path / 'raw', owners | copies)
    built = layouts.build('sfew/frames', raw, tmp_path / 'out')
    assert built.labels('train') == expected('Train', (1,))


@pytest.mark.parametrize(
    'top', ['SFEW/{}', 'SFEW/{0}/{0}', 'SFEW/{}/imgs', 'SFEW_2.0_with_LPQ_PHOG_Features/{}']
)
def test_whole_frames(layouts, tmp_path, top):
    files = pictures(top.format('Train'), (1,), 'jpg') | pictures(top.format('Val'), (2,))
    files |= pictures('SFEW/Train/Train_Aligned_Faces', (8,))
    built = layouts.build('sfew/frames', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out')
    assert built.labels('train') == expected('Train', (1,), 'jpg')
    assert built.labels('validation') == expected('Val', (2,))
    assert built.counts()['validation sadness'] == (1, 73, False)


def test_names_that_are_not_utf8(layouts, tmp_path):
    files = pictures('Train_Aligned_Faces', (1,)) | pictures('Val_Aligned_Faces', (2,))
    raw = layouts.plant(tmp_path / 'raw', files)
    face = raw / f'Val_Aligned_Faces/Sad/{FILM}2.png'
    face.rename(face.with_name(os.fsdecode(b'Am\xe9lie.png')))
    with pytest.raises(InputError, match=r"'Val_A.*Am\\udce9lie\.png' is not UTF-8: rename it"):
        layouts.build('sfew', raw, tmp_path / 'out')


def test_only_aligned_faces_for_frames(layouts, tmp_path):
    files = pictures('Train/Train_Aligned_Faces', (1,)) | pictures('Val/Val_Aligned_Faces', (2,))
    raw = layouts.plant(tmp_path / 'raw', files)
    with pytest.raises(InputError, match=r'0 images were.* files like Train/Angry/NAME\.png \(not'):
        layouts.build('sfew/frames', raw, tmp_path / 'out')


def test_nothing_there(layouts, tmp_path):
    raw = layouts.plant(tmp_path / 'raw', {'sfew_2.0_labels.csv': 'image_name,label\n'})
    with pytest.raises(InputError, match=r'needs Train_Aligned_Faces\.zip.*0 images were found'):
        layouts.build('sfew', raw, tmp_path / 'out')


def test_other_words_and_kinds_of_files(layouts, tmp_path):
    names = {'Anger/a.png': 5, 'Happiness/b.jpg': 3, 'Sad/c.JPG': 4}
    files = dict.fromkeys(f'Train_Aligned_Faces/{name}' for name in [*names, 'sade/d.png'])
    files['Val_Aligned_Faces/Fear/e.png'] = None
    built = layouts.build('sfew', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out')
    assert built.labels('train') == {f'Train/{name}': label for name, label in names.items()}
    assert built.drops() == {"in a folder 'sade', which is no expression": 1}


def test_faces_that_others_added_are_not_the_owners(layouts, tmp_path):
    files = pictures('Train_Aligned_Faces', (1,)) | pictures('Val_Aligned_Faces (1)', (2,))
    files |= pictures('Train_Aligned_Faces_augmented', (3,))
    built = layouts.build('sfew', layouts.plant(tmp_path / 'raw', files), tmp_path / 'out')
    assert {split: len(rows) for split, rows in built.records.items()} == {
        'train': 7,
        'validation': 7,
    }
