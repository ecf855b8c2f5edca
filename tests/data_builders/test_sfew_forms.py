"""SFEW as others pass it on: a copy with one CSV, and the AGRA benchmark's boxes."""

import pytest

from dmsrl_jax.errors import InputError

WORDS = {
    'Angry': 5, 'Disgust': 2, 'Fear': 1, 'Happy': 3, 'Neutral': 6, 'Sad': 4, 'Surprise': 0,
}  # fmt: skip
HEADER = 'image_name,label,emotion,original_split'
MARKS = '10 9\n20 9\n15 14\n11 20\n19 20\n'


def rows():
    for number, word in enumerate(WORDS):
        yield f'Film_{number}.png,{number},{word.lower()},Train_Aligned_Faces'
        yield f'Other_{number}.png,{number},{word},Val_Aligned_Faces'


def copy(*lines):
    names = [row.partition(',')[0] for row in rows()]
    files = {f'SFEW2.0/sfew2.0_images/{name}': None for name in names}
    return files | {'SFEW2.0/sfew_2.0_labels.csv': '\r\n'.join([HEADER, *rows(), *lines, ''])}


class TestCsv:
    def test_labels_splits_and_drops(self, layouts, tmp_path):
        more = ('x.png,0,,Test_Aligned_Faces', 'gone.png,3,happy,Train_Aligned_Faces')
        raw = layouts.plant(tmp_path / 'raw', copy(*more))
        built = layouts.build('sfew/csv', raw, tmp_path / 'out')
        assert built.labels('train') == {
            f'Train/{word}/Film_{i}.png': label for i, (word, label) in enumerate(WORDS.items())
        }
        assert built.labels('validation') == {
            f'Val/{word}/Other_{i}.png': label for i, (word, label) in enumerate(WORDS.items())
        }
        missing = 'listed, but there is no such file'
        assert built.drops() == {'test set, no labels': 1, missing: 1}
        assert built.counts()['train images'] == (7, 891, False)

    def test_the_archive_as_sent(self, layouts, tmp_path):
        layouts.pack(tmp_path / 'raw/archive.zip', copy())
        built = layouts.build('sfew/csv', tmp_path / 'raw', tmp_path / 'out')
        assert {len(built.labels(split)) for split in ('train', 'validation')} == {len(WORDS)}
        assert built.labels()['Val/Fear/Other_2.png'] == 1

    @pytest.mark.parametrize(
        ('files', 'message'),
        [
            ({'a.png': None}, r'found no file like sfew_2\.0_labels\.csv'),
            ({'sfew_2.0_labels.csv': 'image_name,label\na.png,1\n'}, 'no emotion, original_split'),
            (
                copy('', 'Film_0.png,9,awe,Train_Aligned_Faces'),
                r"sfew_2\.0_labels\.csv line 17: .*'awe'",
            ),
        ],
    )
    def test_mistakes(self, layouts, tmp_path, files, message):
        raw = layouts.plant(tmp_path / 'raw', files)
        with pytest.raises(InputError, match=message):
            layouts.build('sfew/csv', raw, tmp_path / 'out')


def agra(layouts):
    files = {}
    for part in ('Train', 'Val'):
        for word in WORDS:
            kind = 'jpg' if word == 'Sad' else 'png'
            picture = layouts.draw(
                part + word, size=(32, 30), kind='JPEG' if kind == 'jpg' else 'PNG'
            )
            files |= {
                f'SFEW/{part}/imgs/{word}/Film.{kind}': picture,
                f'SFEW/{part}/Annotations/Bboxs/{word}/Film.txt': '6 4 26 24\n',
                f'SFEW/{part}/Annotations/Landmarks_5/{word}/Film.txt': MARKS,
            }
    return files


class TestAgra:
    def test_faces_are_cut_by_the_boxes(self, layouts, tmp_path):
        files = agra(layouts)
        files['SFEW/Val/Annotations/Bboxs/Sad/Gone.txt'] = '1 1 9 9'
        files['SFEW/Val/Annotations/Bboxs/Fear/No_marks.txt'] = '1 1 9 9'
        files['SFEW/Val/imgs/Fear/No_marks.png'] = None
        files['SFEW/Val/imgs/Fear/No_box.png'] = None
        raw = layouts.plant(tmp_path / 'raw', files)
        built = layouts.build('sfew/agra', raw, tmp_path / 'out')
        for part, split in (('Train', 'train'), ('Val', 'validation')):
            names = {
                f'{part}/{word}/Film.{"jpg" if word == "Sad" else "png"}': label
                for word, label in WORDS.items()
            }
            assert built.labels(split) == names
        assert built.drops() == {'listed, but there is no such file': 1, 'no landmarks': 1}
        # 20 pixels and a tenth on each side
        assert layouts.pixels(built.all['Val/Happy/Film.png']).shape == (24, 24, 3)
        assert built.counts()['validation images'] == (7, 436, False)

    def test_bad_box(self, layouts, tmp_path):
        files = agra(layouts) | {'SFEW/Val/Annotations/Bboxs/Sad/Film.txt': '6 4 26'}
        raw = layouts.plant(tmp_path / 'raw', files)
        with pytest.raises(InputError, match=r'Film\.txt: expected four numbers'):
            layouts.build('sfew/agra', raw, tmp_path / 'out')

    @pytest.mark.parametrize('folder', ['Bboxs', 'Landmarks_5'])
    def test_bad_files_can_be_left_out_with_their_frame(self, layouts, tmp_path, folder):
        files = agra(layouts) | {f'SFEW/Val/Annotations/{folder}/Sad/Film.txt': ''}
        raw = layouts.plant(tmp_path / 'raw', files)
        with pytest.raises(InputError, match=r'Film\.txt: .*on_corrupt=drop leaves it out'):
            layouts.build('sfew/agra', raw, tmp_path / 'out')
        built = layouts.build('sfew/agra', raw, tmp_path / 'out', on_corrupt='drop')
        assert built.drops() == {'corrupt file beside an image': 1}
        assert len(built.labels('validation')) == 6
