"""A folder of photographs without a list."""

import os

import pytest

from data_builders import common, preparing
from data_builders.image_list import photos
from dmsrl_jax.data import corpora, reading
from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import NO_LABEL


@pytest.fixture
def camera(layouts, tmp_path):
    """A folder as a camera leaves it."""
    names = ('b.JPG', 'a.png', 'DCIM/100/c.jpeg', 'DCIM/99/d.tiff')
    junk = ('.thumbnails/1.png', '._a.png', 'DCIM/Thumbs.db', '__MACOSX/a.png')
    files = dict.fromkeys(names) | dict.fromkeys(junk, 'x')
    return layouts.plant(tmp_path / 'camera', files | {'film.mp4': 'x', 'list.csv': 'image,label'})


class TestFind:
    def test_all_images_sorted_and_the_rest_is_told(self, camera):
        drops = common.Drops()
        assert photos.find(camera, drops) == ['DCIM/100/c.jpeg', 'DCIM/99/d.tiff', 'a.png', 'b.JPG']
        assert drops.as_dict() == {
            'no image by its name': {'count': 2, 'examples': ['film.mp4', 'list.csv']}
        }

    def test_photographs_that_cannot_be_read_are_told_apart(self, layouts, camera):
        layouts.plant(camera, {'IMG_1.HEIC': 'x'})
        drops = common.Drops()
        photos.find(camera, drops)
        told = drops.as_dict()['HEIC, which is not read: convert it to JPEG']
        assert told == {'count': 1, 'examples': ['IMG_1.HEIC']}

    @pytest.mark.parametrize('name', ['a.jfif', 'a.jp2', 'A.AVIF'])
    def test_rarer_names(self, layouts, tmp_path, name):
        raw = layouts.plant(tmp_path / 'raw', {name: 'x'})
        assert photos.find(raw, common.Drops()) == [name]

    def test_archives_are_told_or_refused(self, layouts, camera):
        layouts.pack(camera / 'DCIM/more.zip', {'x.png': None})
        drops = common.Drops()
        photos.find(camera, drops)
        reason = 'archive that was not opened: unpack it'
        assert drops.as_dict()[reason]['examples'] == ['DCIM/more.zip']
        with pytest.raises(InputError, match=r'DCIM/more\.zip is not opened .*: unpack it, and mo'):
            photos.find(camera, drops, unpacked=True)

    def test_no_image(self, layouts, tmp_path):
        layouts.plant(tmp_path / 'raw', {'IMG_1.HEIC': 'x'})
        with pytest.raises(InputError, match=r'no image below .*\.webp\); .* holds IMG_1\.HEIC'):
            photos.find(tmp_path / 'raw', common.Drops())


class TestBuild:
    def test_all_of_it_is_train_and_nothing_has_a_label(self, layouts, camera, tmp_path):
        built = layouts.build('image_list/cam', camera, tmp_path / 'out', labels='none')
        assert built.report['splits'] == {'train': {'images': 4, 'classes': None}}
        assert built.report['options']['labels'] == 'none'
        assert built.report['split_note'] == 'none: with labels=none all images are in train'
        assert built.labels('train') == dict.fromkeys(photos.find(camera, common.Drops()), NO_LABEL)
        corpus = corpora.load('image_list/cam', 'train', data_dir=tmp_path / 'out')
        assert corpus.labels().tolist() == [NO_LABEL] * 4
        assert not reading.is_labelled(corpus)
        assert not reading.is_labelled(reading.decode_all(corpus, 8))
        with pytest.raises(InputError, match="has no split 'test'; it has train, all"):
            corpora.load('image_list/cam', 'test', data_dir=tmp_path / 'out')

    def test_copies_are_kept_once(self, layouts, camera, tmp_path):
        (camera / 'copy.png').write_bytes((camera / 'a.png').read_bytes())
        built = layouts.build('image_list/cam', camera, tmp_path / 'out', labels='none')
        assert sorted(built.all) == ['DCIM/100/c.jpeg', 'DCIM/99/d.tiff', 'a.png', 'b.JPG']
        assert built.drops()['same picture as another file'] == 1

    def test_subjects_can_be_read_out_of_names(self, layouts, camera, tmp_path):
        options = {'labels': 'none', 'subject_pattern': r'DCIM/(\d+)'}
        built = layouts.build('image_list/cam', camera, tmp_path / 'out', **options)
        assert {name: row['subject'] for name, row in built.all.items()} == {
            'DCIM/100/c.jpeg': '100', 'DCIM/99/d.tiff': '99', 'a.png': '', 'b.JPG': '',
        }  # fmt: skip

    def test_a_corrupt_image_is_named_or_dropped(self, layouts, camera, tmp_path):
        (camera / 'bad.png').write_bytes(b'x')
        with pytest.raises(InputError, match=r'bad\.png.*on_corrupt=drop'):
            layouts.build('image_list/cam', camera, tmp_path / 'out', labels='none')
        options = {'labels': 'none', 'on_corrupt': 'drop'}
        built = layouts.build('image_list/cam', camera, tmp_path / 'out', **options)
        assert built.drops()['corrupt image'] == 1

    def test_names_that_are_not_utf8(self, layouts, camera, tmp_path):
        """A bystander may have one."""
        (camera / os.fsdecode(b'caf\xe9.txt')).touch()
        built = layouts.build('image_list/cam', camera, tmp_path / 'out', labels='none')
        left_out = built.report['drops']['no image by its name']['examples']
        assert left_out == ['caf\\udce9.txt', 'film.mp4', 'list.csv']
        (camera / 'a.png').rename(camera / os.fsdecode(b'caf\xe9.png'))
        with pytest.raises(InputError, match=r"image '.*caf\\udce9\.png' is not UTF-8: rename it"):
            layouts.build('image_list/cam', camera, tmp_path / 'out', labels='none')

    def test_a_link_that_leads_nowhere_is_named_or_dropped(self, layouts, camera, tmp_path):
        for name in ('x.png', 'y.png'):
            (camera / name).symlink_to('/nowhere/a.png')
        with pytest.raises(InputError, match=r'x\.png, a link to /nowhere/a\.png.*on_corrupt=drop'):
            layouts.build('image_list/cam', camera, tmp_path / 'out', labels='none')
        options = {'labels': 'none', 'on_corrupt': 'drop'}
        built = layouts.build('image_list/cam', camera, tmp_path / 'out', **options)
        assert built.drops()['corrupt image'] == 2

    def test_a_labelled_corpus_of_before_there_was_the_option(self, layouts, tmp_path):
        raw = layouts.plant(tmp_path / 'raw', {'a.png': None, 'list.txt': 'a.png 3\n'})
        built = layouts.build('image_list/old', raw, tmp_path / 'out', test_fraction=0)
        path = built.folder / corpora.REPORT
        path.write_text(path.read_text().replace('"labels": "list",', ''))
        assert 'labels' not in corpora.report(built.folder)['options']
        options = preparing.typed_options('image_list', {'test_fraction': '0'})
        again = preparing.prepare(
            'image_list/old', options, data_dir=tmp_path / 'out', manual_dir=raw
        )
        assert again[2] is False
        with pytest.raises(InputError, match="labels='list', now 'none'"):
            preparing.prepare(
                'image_list/old', options | {'labels': 'none', 'test_fraction': 0.2},
                data_dir=tmp_path / 'out', manual_dir=raw,
            )  # fmt: skip


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'labels': 'no'}, "labels='no' must be list, folders or none"),
        ({'labels': 'folders', 'images': 'x'}, "images='x' does nothing with labels=folders"),
        ({'labels': 'none', 'list': 'x.csv'}, r"list='x\.csv' does nothing with labels=none"),
        ({'labels': 'none', 'codes': 'raf'}, "codes='raf' does nothing with labels=none"),
        ({'labels': 'none', 'test_fraction': 0.5}, r'test_fraction=0\.5 does nothing with'),
    ],
)
def test_options_that_contradict(options, message, tmp_path):
    module = corpora.builder_module('image_list')
    with pytest.raises(InputError, match=message):
        module.make_builder('x', data_dir=tmp_path, **options)
