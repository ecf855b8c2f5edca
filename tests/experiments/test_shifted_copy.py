"""A development target made from the source."""

import csv
import errno
import io

import numpy as np
import pytest
from absl import flags
from PIL import Image

from dmsrl_jax.data import corpora
from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import EXPRESSIONS
from experiments import shifted_copy

NAME = 'synthetic_faces/studio'


def make(tiny_data, out, **changes):
    values = flags.FlagValues()
    shifted_copy.define_flags(values)
    given = {'corpus': NAME, 'split': 'test', 'data_dir': tiny_data, 'out': out, **changes}
    values(['shifted_copy', *(f'--{name}={value}' for name, value in given.items())])
    shifted_copy.main([''], values)


def listed(out):
    with (out / 'list.csv').open(newline='') as file:
        return list(csv.DictReader(file))


def pixels(path):
    return np.asarray(Image.open(path).convert('RGB'), np.float32)


def test_every_image_keeps_its_label_and_size(tiny_data, tmp_path):
    make(tiny_data, tmp_path / 'out')
    corpus, rows = corpora.load(NAME, 'test', data_dir=tiny_data), listed(tmp_path / 'out')
    assert [row['label'] for row in rows] == [EXPRESSIONS[corpus[i]['label']] for i in range(28)]
    for i, row in enumerate(rows):
        before = Image.open(io.BytesIO(corpus[i]['image']))
        with Image.open(tmp_path / 'out' / row['image']) as after:
            assert after.size == before.size


def test_the_same_seed_gives_the_same_images_and_another_does_not(tiny_data, tmp_path):
    for name, seed in (('a', 0), ('b', 0), ('c', 1)):
        make(tiny_data, tmp_path / name, seed=seed)
    first, same, other = (
        np.stack([pixels(tmp_path / name / row['image']) for row in listed(tmp_path / 'a')])
        for name in 'abc'
    )
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).mean() > 5


def test_the_shift_is_common_to_all(tiny_data, tmp_path):
    make(tiny_data, tmp_path / 'out')
    corpus = corpora.load(NAME, 'test', data_dir=tiny_data)
    before = [np.asarray(Image.open(io.BytesIO(corpus[i]['image'])), float) for i in range(28)]
    after = [pixels(tmp_path / 'out' / row['image']) for row in listed(tmp_path / 'out')]
    dimmer = [a.mean() - b.mean() for a, b in zip(after, before, strict=True)]
    assert np.mean(dimmer) < -20
    red, green, blue = np.mean([a.mean((0, 1)) for a in after], axis=0)
    assert red > green > blue


class Script:
    """A generator that draws what it is told, and otherwise the middle of the range."""

    def __init__(self, turn=0.0, zoom=1.0, blur=0.0):
        self.first = {'normal': [turn], 'uniform': [zoom, blur]}

    def normal(self, loc, scale, size=None):
        drawn = self.first['normal'].pop(0) if self.first['normal'] else loc
        return np.full(size, drawn) if size else drawn

    def uniform(self, low, high, size=None):
        drawn = self.first['uniform'].pop(0) if self.first['uniform'] else (low + high) / 2
        return np.full(size, drawn) if size else drawn


def seen(bar, **script):
    """Brightness, 0 to 1, of what the camera makes of a white bar (left, top, right, bottom)."""
    image = Image.new('L', (48, 48))
    image.paste(255, bar)
    after = shifted_copy.shifted(Script(**script), image)
    return np.asarray(after.convert('RGB'), float)[..., 0] / 255


def test_the_camera_darkens_by_a_gamma_above_one():
    grey = shifted_copy.shifted(Script(), Image.new('RGB', (48, 48), (128, 128, 128)))
    expected = 255 * (128 / 255) ** np.exp(0.3) * np.array([1.0, 0.9, 0.75])
    np.testing.assert_allclose(np.asarray(grey, float)[24, 24], expected, atol=3)


def test_a_zoom_above_one_makes_the_face_smaller():
    bright = seen((12, 12, 36, 36), zoom=1.25) > 0.5
    assert bright.sum(axis=0).max() == pytest.approx(24 / 1.25, abs=1)
    assert bright.sum(axis=1).max() == pytest.approx(24 / 1.25, abs=1)


def test_the_turn_is_in_degrees():
    lying = seen((8, 20, 40, 28), turn=90.0) > 0.5
    assert (lying.sum(axis=0).max(), lying.sum(axis=1).max()) == (
        pytest.approx(32, abs=1), pytest.approx(8, abs=1)
    )  # fmt: skip


def test_the_blur_softens_edges():
    steepest = [np.abs(np.diff(seen((0, 0, 24, 48), blur=blur)[24])).max() for blur in (0.0, 0.9)]
    assert steepest[0] > 0.8
    assert steepest[1] < 0.6


def test_images_are_changed_each_in_its_own_way(tiny_data, tmp_path):
    class Same:
        """One image many times."""

        record = corpora.load(NAME, 'test', data_dir=tiny_data)[0]

        def __getitem__(self, number):
            return self.record

    (tmp_path / 'images').mkdir()
    shifted_copy.write(Same(), range(2), tmp_path, seed=0)
    one, other = (pixels(tmp_path / row['image']) for row in listed(tmp_path))
    assert np.abs(one - other).mean() > 5


def test_who_stays_in_a_skewed_copy_is_drawn():
    kept = np.array(shifted_copy.skewed(np.random.default_rng(0), np.repeat(np.arange(7), 400)))
    places = kept % 400  # within the class
    assert len(kept) > 500
    assert places.mean() == pytest.approx(199.5, abs=25)


def test_a_black_image_stays_black():
    black = shifted_copy.shifted(np.random.default_rng(0), Image.new('L', (48, 48)))
    assert (black.mode, black.size) == ('RGB', (48, 48))
    assert np.asarray(black).max() <= 2


def test_a_corpus_without_labels_is_refused(camera_data, tmp_path):
    with pytest.raises(InputError, match='image_list/camera has no labels'):
        make(camera_data, tmp_path / 'out', corpus='image_list/camera', split='train')
    assert not (tmp_path / 'out').exists()


def test_a_folder_that_is_there_is_kept(tiny_data, tmp_path):
    (tmp_path / 'photo.jpg').touch()
    with pytest.raises(InputError, match=r'File exists: .*; name a new folder'):
        make(tiny_data, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['photo.jpg']


def test_a_full_disk(tiny_data, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(Image.Image, 'save', fail)
    monkeypatch.setattr(shifted_copy, 'shifted', lambda _, image: image)
    with pytest.raises(InputError, match=r'No space left on device; .* delete it, then free some'):
        make(tiny_data, tmp_path / 'out')


def test_a_skewed_copy_keeps_a_share_of_each_class(tiny_data, tmp_path):
    make(tiny_data, tmp_path / 'all')
    make(tiny_data, tmp_path / 'some', skew=2)
    everything = {row['image']: row for row in listed(tmp_path / 'all')}
    kept = listed(tmp_path / 'some')
    shares = 10 ** -np.random.default_rng(2).uniform(0, 1.3, 7)
    for name, share in zip(sorted(EXPRESSIONS), shares, strict=True):
        assert [row['label'] for row in kept].count(name) == round(4 * share)
    for row in kept:
        assert everything[row['image']] == row
        np.testing.assert_array_equal(
            pixels(tmp_path / 'some' / row['image']), pixels(tmp_path / 'all' / row['image'])
        )
