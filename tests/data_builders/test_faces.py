import io

import numpy as np
import pytest
from PIL import Image

from data_builders import faces
from dmsrl_jax.data import images
from dmsrl_jax.errors import InputError


def picture(kind='PNG', size=(20, 10)):
    out = io.BytesIO()
    ramp = np.arange(size[0] * size[1], dtype=np.uint8).reshape(size[::-1])
    Image.fromarray(ramp).save(out, kind)
    return out.getvalue(), ramp


@pytest.mark.parametrize(
    ('box', 'margin', 'expected'),
    [
        ((10, 20, 30, 60), 0.1, (8, 16, 32, 64)),
        ((10, 20, 30, 60), 0.0, (10, 20, 30, 60)),
        ((-5, -5, 10, 10), 0.0, (0, 0, 10, 10)),
        ((90, 80, 120, 120), 0.1, (87, 76, 100, 100)),
        ((-1e308, 10, 1e308, 20), 1.0, (0, 0, 100, 30)),
    ],
)
def test_enlarged(box, margin, expected):
    assert faces.enlarged(box, margin, (100, 100)) == expected


def test_cut_keeps_png_exact():
    data, ramp = picture()
    face = Image.open(io.BytesIO(faces.cut(data, (5, 2, 15, 8), 0.0, name='x')))
    assert face.format == 'PNG'
    np.testing.assert_array_equal(np.asarray(face), ramp[2:8, 5:15])


def test_cut_of_a_jpeg_is_one():
    face = Image.open(io.BytesIO(faces.cut(picture('JPEG')[0], (0, 0, 10, 10), 0.0, name='x')))
    assert (face.format, face.size) == ('JPEG', (10, 10))


def test_cut_of_a_mode_that_png_does_not_know():
    out = io.BytesIO()
    Image.new('CMYK', (20, 10), (0, 255, 255, 0)).save(out, 'TIFF')
    face = Image.open(io.BytesIO(faces.cut(out.getvalue(), (0, 0, 10, 10), 0.0, name='x')))
    assert (face.format, face.mode, face.getpixel((5, 5))) == ('PNG', 'RGB', (255, 0, 0))


def test_cut_of_16_bits_keeps_the_range_of_the_whole_picture():
    values = np.full((10, 20), 65535, np.int32)
    values[:, :10] = 200  # 0 of 255; alone it would look like a picture of 8 bits
    out = io.BytesIO()
    Image.fromarray(values).save(out, 'TIFF')
    face = faces.cut(out.getvalue(), (0, 0, 10, 10), 0.0, name='x')
    assert images.decode(face, 8).max() == 0


@pytest.mark.parametrize('box', [(22, 0, 32, 10), (5, 5, 5, 8), (-9, 0, -1, 5), (8, 5, 4, 9)])
def test_nothing_left(box):
    with pytest.raises(InputError, match=r'a\.png: the box .* lies outside of its \(20, 10\)'):
        faces.cut(picture()[0], box, 0.1, name='a.png')


def test_no_image():
    with pytest.raises(InputError, match=r"cannot decode image 'a\.png'"):
        faces.cut(b'nothing', (0, 0, 1, 1), 0.1, name='a.png')


def test_five_points():
    points = [(0.0, 0.0)] * 68
    for i, x in enumerate((10, 12, 14, 16, 14, 12)):
        points[36 + i], points[42 + i] = (x, 5), (x + 20, 7)
    points[30], points[48], points[54] = (20, 12), (12, 20), (29, 21)
    assert faces.five_points(points) == (13, 5, 33, 7, 20, 12, 12, 20, 29, 21)
    assert faces.five_points(points[:5]) == ()
