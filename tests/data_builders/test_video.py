import importlib.util

import numpy as np
import pytest

from data_builders import video
from dmsrl_jax.errors import InputError


@pytest.fixture(params=['av', 'cv2'])
def decoder(request, monkeypatch):
    """Pretends that this decoder is the only one."""
    pytest.importorskip(request.param)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name: find(name) if name == request.param else None
    )
    return request.param


@pytest.fixture
def clip(layouts, tmp_path):
    """Seven frames, each 10 brighter than the one before."""
    pictures = [np.full((32, 48, 3), 40 + 10 * i, np.uint8) for i in range(7)]
    pictures[0][:, :24, 0] = 200  # red on the left side
    path = tmp_path / 'clip.avi'
    path.write_bytes(layouts.film(pictures))
    return path


def test_count(clip, decoder):
    assert video.count(clip) == 7


def test_frames(clip, decoder):
    found = video.frames(clip, (0, 5, 3))
    assert sorted(found) == [0, 3, 5]
    assert found[3].shape == (32, 48, 3)
    assert abs(found[5].mean() - 90) < 4
    assert abs(found[3].mean() - 70) < 4
    red, _, blue = found[0][16, 8].astype(int)
    assert red - blue > 100  # channels in RGB order


def test_too_short(clip, decoder):
    with pytest.raises(InputError, match=r'clip\.avi has no frame 7'):
        video.frames(clip, (0, 7))


def test_no_video(tmp_path, decoder):
    (tmp_path / 'x.avi').write_bytes(b'RIFFnothing')
    with pytest.raises(InputError, match=r'cannot decode video .*x\.avi'):
        video.count(tmp_path / 'x.avi')


def test_no_decoder(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'dmsrl_jax\[video\]'"):
        video.count(tmp_path / 'x.avi')
