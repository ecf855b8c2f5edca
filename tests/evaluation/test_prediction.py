import io
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from dmsrl_jax.data import images
from dmsrl_jax.errors import InputError
from dmsrl_jax.evaluation import prediction


def write(path: pathlib.Path, grey: int) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (6, 6), (grey, grey, grey)).save(path)
    return path


def by_brightness(variables, images):
    """Logits [B, 3]: 0, the mean grey level times `variables['scale']`, 0."""
    grey = variables['scale'] * jnp.mean(images.astype(jnp.float32), axis=(1, 2, 3))
    return jnp.stack([jnp.zeros_like(grey), grey, jnp.zeros_like(grey)], axis=-1)


VARIABLES = {'scale': jnp.float32(0.01)}


def expected(grey: float) -> np.ndarray:
    exps = np.exp([0.0, 0.01 * grey, 0.0])
    return exps / exps.sum()


def test_collect_takes_files_folders_and_patterns_sorted_and_once(tmp_path, monkeypatch):
    for name in ('b.png', 'a.PNG', 'deep/er/c.jpg', 'deep/notes.txt', '.hidden.png', '.git/x.png'):
        write(tmp_path / name, 1) if not name.endswith('txt') else (tmp_path / name).write_text(
            'no image'
        )
    monkeypatch.chdir(tmp_path)
    found = prediction.collect(['b.png', '.', '*.png', 'deep/**/*.jpg', 'deep/notes.txt'])
    assert [str(path) for path in found] == ['a.PNG', 'b.png', 'deep/er/c.jpg', 'deep/notes.txt']
    assert found == prediction.collect(['deep', 'deep/notes.txt', 'a.PNG', 'b.png'])


def test_collect_expands_patterns_that_match_folders(tmp_path):
    one, two = write(tmp_path / 'set1/x.png', 1), write(tmp_path / 'set2/y.png', 1)
    write(tmp_path / 'other/z.png', 1)
    assert prediction.collect([f'{tmp_path}/set*']) == [one, two]


def test_collect_prefers_a_file_whose_name_looks_like_a_pattern(tmp_path):
    odd = write(tmp_path / 'a[1].png', 1)
    write(tmp_path / 'a1.png', 1)
    assert prediction.collect([odd]) == [odd]


def test_collect_keeps_a_name_that_matches_nothing(tmp_path):
    here, gone = write(tmp_path / 'here.png', 1), tmp_path / 'gone.png'
    assert prediction.collect([here, gone]) == [gone, here]


def test_collect_visits_a_folder_once_whatever_links_to_it(tmp_path):
    one = write(tmp_path / 'nested/x.png', 1)
    (tmp_path / 'nested/up').symlink_to('..')
    assert prediction.collect([tmp_path]) == [one]


def test_photographs_that_cannot_be_read_are_not_passed_over(tmp_path):
    one, other = write(tmp_path / 'a.png', 1), tmp_path / 'b.HEIC'
    other.write_bytes(b'\0\0\0\x18ftypheic')
    assert prediction.collect([tmp_path]) == [one, other]
    with pytest.raises(InputError, match=r'b\.HEIC.*: not an image file of a known format'):
        images.read(other, 8)


def test_a_pipe_is_no_image(tmp_path):
    os.mkfifo(tmp_path / 'pipe.png')
    with pytest.raises(InputError, match=r"cannot read image '.*pipe\.png': it is no file"):
        images.read(tmp_path / 'pipe.png', 8)


def test_collect_refuses_nothing_at_all(tmp_path):
    with pytest.raises(InputError, match='name at least one image'):
        prediction.collect([])
    (tmp_path / 'notes.txt').write_text('')
    with pytest.raises(InputError, match=r'no image file in .*looked for \.avif'):
        prediction.collect([tmp_path])


@pytest.mark.parametrize('count', [1, 4, 9])
def test_predict_gives_the_softmax_of_the_logits_whatever_the_batch(count):
    greys = np.arange(count, dtype=np.uint8) * 25
    pixels = np.broadcast_to(greys[:, None, None, None], (count, 6, 6, 3))
    found = prediction.predict(by_brightness, VARIABLES, pixels, batch_size=4)
    assert found.shape == (count, 3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [expected(grey) for grey in greys], rtol=1e-5)


def test_predict_is_stable_for_large_logits_and_half_precision():
    def huge(variables, images):
        return jnp.tile(jnp.array([300.0, 200.0], jnp.bfloat16), (images.shape[0], 1))

    found = prediction.predict(huge, {}, np.zeros((1, 2, 2, 3), np.uint8), batch_size=2)
    np.testing.assert_allclose(found, [[1.0, 0.0]], atol=1e-7)


def test_predict_compiles_once_for_all_batches():
    traced = []

    def forward(variables, images):
        traced.append(images.shape)
        return by_brightness(variables, images)

    prediction.predict(forward, VARIABLES, np.zeros((7, 6, 6, 3), np.uint8), batch_size=3)
    assert traced == [(3, 6, 6, 3)]


def test_predict_refuses_no_image():
    with pytest.raises(InputError, match='no image to predict'):
        prediction.predict(by_brightness, VARIABLES, np.zeros((0, 6, 6, 3), np.uint8))


def test_predict_files_keeps_the_order_and_names_what_it_skips(tmp_path):
    greys = {'a.png': 10, 'c.png': 90, 'd.png': 200, 'e.png': 40}
    for name, grey in greys.items():
        write(tmp_path / name, grey)
    whole = io.BytesIO()
    Image.new('RGB', (40, 40), (9, 9, 9)).save(whole, 'PNG')
    (tmp_path / 'b.png').write_bytes(whole.getvalue()[:40])
    (tmp_path / 'f.png').write_text('text')
    skipped = []
    found = list(
        prediction.predict_files(
            by_brightness,
            VARIABLES,
            [*prediction.collect([tmp_path]), tmp_path / 'gone.png'],
            size=6,
            batch_size=2,
            on_error=lambda path, error: skipped.append((path.name, str(error))),
        )
    )
    assert [path.name for path, _ in found] == list(greys)
    np.testing.assert_allclose(
        [row for _, row in found], [expected(grey) for grey in greys.values()], rtol=1e-5
    )
    assert [name for name, _ in skipped] == ['b.png', 'f.png', 'gone.png']
    assert all(name in message for name, message in skipped)


def test_predict_files_reads_one_batch_at_a_time(tmp_path):
    paths = [write(tmp_path / f'{number}.png', 50) for number in range(4)]
    rows = prediction.predict_files(
        by_brightness, VARIABLES, paths, size=6, batch_size=2, on_error=lambda *_: None
    )
    assert next(rows)[0] == paths[0]
    paths[3].unlink()
    assert [path for path, _ in rows] == paths[1:3]


def test_predict_keeps_probabilities_finite_for_random_logits():
    def forward(variables, images):
        return 50 * jax.random.normal(jax.random.key(0), (images.shape[0], 7))

    found = prediction.predict(forward, {}, np.zeros((20, 2, 2, 3), np.uint8), batch_size=20)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-5)
