"""Images in folders named after expressions."""

import pytest

from data_builders import common
from data_builders.image_list import class_folders
from dmsrl_jax.errors import InputError


def read(root, codes='canonical'):
    return {e.path: e.label for e in class_folders.read(root, codes, common.Drops())}


class TestRead:
    def test_names_in_any_case_and_the_nearest_counts(self, layouts, tmp_path):
        names = ('Happy/1.jpg', 'train/ANGER/2.png', 'sad/day2/sadness/3.png', 'neutral/7/4.png')
        assert read(layouts.plant(tmp_path / 'raw', dict.fromkeys(names))) == {
            'Happy/1.jpg': 3, 'train/ANGER/2.png': 5,
            'sad/day2/sadness/3.png': 4, 'neutral/7/4.png': 6,
        }  # fmt: skip

    @pytest.mark.parametrize(('codes', 'label'), [('canonical', 1), ('raf', 0), ('affectnet', 3)])
    def test_codes(self, layouts, tmp_path, codes, label):
        raw = layouts.plant(tmp_path / 'raw', {'train/1/a.png': None})
        assert read(raw, codes) == {'train/1/a.png': label}

    def test_initials_count_only_where_there_is_no_name(self, layouts, tmp_path):
        names = ('train/happy/AN/1.png', 'AN/Sad/2.png', 'KA/AN/3.png', 'happy/other/4.png')
        assert read(layouts.plant(tmp_path / 'raw', dict.fromkeys(names))) == {
            'train/happy/AN/1.png': 3, 'AN/Sad/2.png': 4, 'KA/AN/3.png': 5,
            'happy/other/4.png': 3,
        }  # fmt: skip

    @pytest.mark.parametrize(
        ('folders', 'words'),
        [
            ('fear/day2/sad', 'sad and fear'),
            ('happy/contempt', 'contempt and happy'),
            ('AN/KA/SU', 'SU and AN'),
            ('train/3/1', '1 and 3'),
        ],
    )
    def test_two_of_a_kind_are_refused(self, layouts, tmp_path, folders, words):
        raw = layouts.plant(tmp_path / 'raw', {f'{folders}/3.png': None})
        with pytest.raises(InputError, match=rf'/3\.png lies in .*different expr.*{words}: rename'):
            read(raw)

    @pytest.mark.parametrize('name', ['other/1.png', 'AN/other/1.png', 'unknown/none/1.png'])
    def test_words_that_are_none_of_the_seven(self, layouts, tmp_path, name):
        assert read(layouts.plant(tmp_path / 'raw', {name: None})) == {name: None}

    def test_names_and_numbers_are_refused(self, layouts, tmp_path):
        names = ('1/happy/1.png', '2/suprise/2.png', '3/sad/3.png')
        raw = layouts.plant(tmp_path / 'raw', dict.fromkeys(names))
        with pytest.raises(InputError, match=r'1\.png has its label by a name, .*2\.png by a num'):
            read(raw)

    @pytest.mark.parametrize('name', ['a.png', 'bored/a.png', 'train/a.png', '2024/a.png'])
    def test_no_expression(self, layouts, tmp_path, name):
        raw = layouts.plant(tmp_path / 'raw', {'happy/b.png': None, name: None})
        with pytest.raises(InputError, match=f'raw/{name} lies in no folder named after an expr'):
            read(raw)


class TestBuild:
    def test_folders_that_name_splits(self, layouts, tmp_path):
        names = ('train/happy/1.png', 'Train/sad/2.png', 'Val/sad/3.png', 'testing/happy/4.png')
        raw = layouts.plant(tmp_path / 'raw', dict.fromkeys(names))
        built = layouts.build('image_list/kaggle', raw, tmp_path / 'out', labels='folders')
        assert built.labels('train') == {'train/happy/1.png': 3, 'Train/sad/2.png': 4}
        assert built.labels('validation') == {'Val/sad/3.png': 4}
        assert built.labels('test') == {'testing/happy/4.png': 3}

    @pytest.mark.parametrize(
        ('train', 'validation', 'test'),
        [
            ('train_set', 'val_set', 'test_set'),
            ('FER2013Train', 'FER2013Valid', 'FER2013Test'),
            ('Training', 'PublicTest', 'PrivateTest'),
            ('trainset', 'valset', 'testset'),
            ('traindata', 'dev', 'testdata'),
            ('fer_test/FERTrain', 'fer_test/FERVal', 'fer_test/FERTest'),
            ('test/train', 'test/val', 'test/test'),
        ],
    )
    def test_longer_names_of_splits(self, layouts, tmp_path, train, validation, test):
        names = (f'{train}/happy/1.png', f'{validation}/sad/3.png', f'{test}/happy/4.png')
        raw = layouts.plant(tmp_path / 'raw', dict.fromkeys(names))
        built = layouts.build('image_list/kaggle', raw, tmp_path / 'out', labels='folders')
        found = [list(built.labels(split)) for split in ('train', 'validation', 'test')]
        assert found == [[name] for name in names]
        note = built.report['split_note']
        assert note.startswith('named by folders: ')
        assert test.rpartition('/')[2] in note

    @pytest.mark.parametrize('folder', ['my_test_pictures', 'train_2024', 'contest'])
    def test_one_such_name_alone_says_nothing(self, layouts, tmp_path, folder):
        raw = layouts.plant(tmp_path / 'raw', {f'{folder}/fear/2.png': None})
        options = {'labels': 'folders', 'test_fraction': 0}
        built = layouts.build('image_list/mine', raw, tmp_path / 'out', **options)
        assert built.labels('train') == {f'{folder}/fear/2.png': 1}

    def test_one_split_alone(self, layouts, tmp_path):
        raw = layouts.plant(tmp_path / 'raw', {'Train/fear/2.png': None})
        built = layouts.build('image_list/mine', raw, tmp_path / 'out', labels='folders')
        assert built.report['split_note'] == 'named by folders: Train'

    def test_others_are_split_by_hash(self, layouts, tmp_path):
        names = [f'{word}/{i}.png' for word in ('happy', 'sad') for i in range(20)]
        raw = layouts.plant(tmp_path / 'raw', dict.fromkeys(names))
        options = {'labels': 'folders', 'test_fraction': 0.4, 'split_seed': 3}
        built = layouts.build('image_list/mine', raw, tmp_path / 'out', **options)
        assert set(built.labels('test')) == {n for n in names if common.hash_fraction(n, 3) < 0.4}
        assert set(built.all) == set(names)
        assert built.report['split_note'].startswith('our own: the persons are not known')

    @pytest.mark.parametrize(
        'names', [['Ann/sad/1.png', 'Val/sad/2.png'], ['p/test/sad/1.png', 'p/retest/sad/2.png']]
    )
    def test_a_person_or_a_session_is_no_split(self, layouts, tmp_path, names):
        raw = layouts.plant(tmp_path / 'raw', dict.fromkeys(names))
        built = layouts.build('image_list/mine', raw, tmp_path / 'out', labels='folders')
        assert built.report['split_note'].startswith('our own')

    def test_below_folders_that_divide_all_somebody_may_be_called_val(self, layouts, tmp_path):
        names = ['train/Val/sad/1.png', 'train/Ann/sad/2.png', 'test/Val/fear/3.png']
        raw = layouts.plant(tmp_path / 'raw', dict.fromkeys(names))
        built = layouts.build('image_list/mine', raw, tmp_path / 'out', labels='folders')
        assert set(built.labels('train')) == set(names[:2])
        assert set(built.labels('test')) == {names[2]}

    def test_other_expressions_are_dropped_and_counted(self, layouts, tmp_path):
        raw = layouts.plant(tmp_path / 'raw', {'contempt/1.png': None, 'fear/2.png': None})
        options = {'labels': 'folders', 'test_fraction': 0}
        built = layouts.build('image_list/mine', raw, tmp_path / 'out', **options)
        assert built.labels('train') == {'fear/2.png': 1}
        assert built.drops() == {'label contempt': 1}

    @pytest.mark.parametrize(
        ('names', 'options', 'message'),
        [
            (('train/happy/1.png', 'sad/2.png'), {}, r'sad/2\.png lies in none of the folders tra'),
            (
                ('train/val/happy/1.png', 'test/train/sad/2.png'),
                {},
                r'lies in folders of different splits \(test, train, val as validation\): rename',
            ),
            (('train/happy/1.png',), {'split_seed': 1}, 'split_seed=1 does nothing with folders t'),
            (
                ('AN/1/1.png', 'AN/0/1.png'),
                {},
                r'different expressions, .*\(if they are persons, 3 a',
            ),
            (('contempt/1.png',), {}, 'all are dropped: 1 x label contempt'),
        ],
    )
    def test_mistakes(self, layouts, tmp_path, names, options, message):
        raw = layouts.plant(tmp_path / 'raw', dict.fromkeys(names))
        with pytest.raises(InputError, match=message):
            layouts.build('image_list/mine', raw, tmp_path / 'out', labels='folders', **options)
