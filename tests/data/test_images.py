import io
import warnings

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from dmsrl_jax.data import images
from dmsrl_jax.errors import InputError


def encode(image, kind='PNG', **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def gradient(mode='RGB', side=12):
    values = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    return Image.fromarray(values).convert(mode)


class TestDecode:
    def test_stored_size_returns_the_pixels_themselves(self):
        image = gradient()
        decoded = images.decode(encode(image), 12)
        assert decoded.dtype == np.uint8
        np.testing.assert_array_equal(decoded, np.asarray(image))

    def test_resize_is_pillows_bilinear_and_squashes_the_aspect(self):
        image = gradient(side=20).crop((0, 0, 20, 10))
        wanted = np.asarray(image.resize((8, 8), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(images.decode(encode(image), 8), wanted)

    def test_result_may_be_written_to(self):
        decoded = images.decode(encode(gradient()), 12)
        decoded[0, 0] = 7
        assert decoded[0, 0].tolist() == [7, 7, 7]

    def test_grey_becomes_three_equal_channels(self):
        image = gradient('L')
        decoded = images.decode(encode(image), 12)
        for channel in range(3):
            np.testing.assert_array_equal(decoded[..., channel], np.asarray(image))

    def test_grey_resized_equals_rgb_resized(self):
        image = gradient('L')
        np.testing.assert_array_equal(
            images.decode(encode(image), 7), images.decode(encode(image.convert('RGB')), 7)
        )

    @pytest.mark.parametrize('level', [1, 100, 255])
    def test_sixteen_bits_are_scaled_not_clipped(self, level):
        values = np.full((4, 4), level * 257, np.uint16)
        decoded = images.decode(encode(Image.fromarray(values)), 4)
        assert np.unique(decoded).tolist() == [level]
        just_below = images.decode(encode(Image.fromarray(values - np.uint16(1))), 4)
        assert np.unique(just_below).tolist() == [level - 1]

    def test_sixteen_bit_tiff(self):
        values = np.full((4, 4), 65535, np.uint16)
        values[0, 0] = 0
        decoded = images.decode(encode(Image.fromarray(values), 'TIFF'), 4)
        assert decoded[0, 0].tolist() == [0, 0, 0]
        assert decoded[3, 3].tolist() == [255, 255, 255]

    @pytest.mark.parametrize('mode', ['RGBA', 'LA'])
    def test_transparency_is_laid_on_black(self, mode):
        image = Image.new(mode, (2, 2), (200, 200, 200, 255) if mode == 'RGBA' else (200, 255))
        image.putpixel((0, 0), (200, 200, 200, 0) if mode == 'RGBA' else (200, 0))
        decoded = images.decode(encode(image), 2)
        assert decoded[0, 0].tolist() == [0, 0, 0]
        assert decoded[1, 1].tolist() == [200, 200, 200]

    def test_palette_and_its_transparent_colour(self):
        image = Image.new('P', (2, 2), 0)
        image.putpalette([10, 20, 30, 200, 100, 50])
        image.putpixel((1, 1), 1)
        assert images.decode(encode(image), 2)[0, 0].tolist() == [10, 20, 30]
        decoded = images.decode(encode(image, transparency=0), 2)
        assert decoded[0, 0].tolist() == [0, 0, 0]
        assert decoded[1, 1].tolist() == [200, 100, 50]

    def test_bilevel(self):
        image = Image.new('1', (2, 2), 1)
        image.putpixel((0, 0), 0)
        assert images.decode(encode(image), 2)[..., 0].tolist() == [[0, 255], [255, 255]]

    def test_cmyk(self):
        image = Image.new('CMYK', (8, 8), (0, 255, 255, 0))
        red = images.decode(encode(image, 'JPEG', quality=100), 8)[4, 4].astype(int)
        np.testing.assert_allclose(red, [255, 0, 0], atol=3)

    def test_exif_orientation_is_applied(self):
        image = Image.new('RGB', (16, 16), (255, 255, 255))
        image.paste((0, 0, 0), (0, 0, 16, 8))  # top half black
        exif = Image.Exif()
        exif[0x0112] = 3  # stored upside down
        decoded = images.decode(encode(image, 'JPEG', quality=95, exif=exif), 16)
        assert decoded[2].max() > 250
        assert decoded[13].max() < 5

    def test_first_frame_of_an_animation(self):
        frames = [Image.new('RGB', (4, 4), colour) for colour in ('red', 'blue')]
        data = encode(frames[0], 'GIF', save_all=True, append_images=frames[1:])
        assert images.decode(data, 4)[0, 0].tolist() == [255, 0, 0]


class TestBadImages:
    @pytest.mark.parametrize('data', [b'', b'not an image', b'\x89PNG\r\n\x1a\n', b'\xff\xd8\xff'])
    def test_non_images_name_the_file(self, data):
        with pytest.raises(InputError, match=r"cannot decode image 'a/b\.png'.*replace the file"):
            images.decode(data, 8, name='a/b.png')

    @pytest.mark.parametrize('kind', ['PNG', 'JPEG'])
    def test_cut_short(self, kind):
        data = encode(gradient(side=64), kind)
        with pytest.raises(InputError, match="image 'cut'"):
            images.decode(data[: len(data) // 2], 8, name='cut')

    def test_one_flipped_byte_in_a_png(self):
        data = bytearray(encode(gradient(side=64)))
        data[len(data) // 2] ^= 0xFF
        with pytest.raises(InputError, match='cannot decode'):
            images.decode(bytes(data), 8, name='x')

    def test_without_a_name_the_message_tells_the_size(self):
        with pytest.raises(InputError, match='image of 3 bytes: not an image file'):
            images.decode(b'abc', 8)

    def test_formats_that_start_other_programs_are_not_opened(self, monkeypatch):
        started = []
        monkeypatch.setattr(EpsImagePlugin, 'Ghostscript', lambda *args: started.append(args))
        with pytest.raises(InputError, match='not an image file of a known format'):
            images.decode(encode(gradient(), 'EPS'), 8)
        assert started == []

    @pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'BMP', 'GIF', 'PPM', 'TIFF', 'WEBP', 'MPO'])
    def test_the_usual_formats_are(self, kind):
        assert images.decode(encode(gradient(), kind), 8).shape == (8, 8, 3)

    def test_bomb_is_refused_before_it_is_decoded(self, monkeypatch):
        monkeypatch.setattr(images, 'MAX_PIXELS', 100)
        with pytest.raises(InputError, match=r'too large \(12 x 12 pixels\); the limit is 100'):
            images.decode(encode(gradient()), 8)

    def test_pillows_own_bomb_error(self, monkeypatch):
        monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 20)
        with pytest.raises(InputError, match='too large'):
            images.decode(encode(gradient()), 8)

    def test_no_warning_for_images_within_the_limit(self):
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            assert images.decode(encode(gradient('P')), 4).shape == (4, 4, 3)

    def test_floating_point_pixels(self):
        image = Image.fromarray(np.zeros((4, 4), np.float32))
        with pytest.raises(InputError, match='floating-point pixels'):
            images.decode(encode(image, 'TIFF'), 4)

    @pytest.mark.parametrize('size', [0, -3])
    def test_size_must_be_positive(self, size):
        with pytest.raises(InputError, match=f'at least 1 pixel, got {size}'):
            images.decode(encode(gradient()), size)


class TestRead:
    def test_reads_a_file(self, tmp_path):
        path = tmp_path / 'face.png'
        path.write_bytes(encode(gradient()))
        np.testing.assert_array_equal(images.read(path, 12), np.asarray(gradient()))

    def test_missing_file_and_folder(self, tmp_path):
        with pytest.raises(InputError, match=r'cannot read image .*none\.png.*No such file'):
            images.read(tmp_path / 'none.png', 8)
        with pytest.raises(InputError, match='Is a directory'):
            images.read(tmp_path, 8)

    def test_corrupt_file_is_named(self, tmp_path):
        path = tmp_path / 'broken.jpg'
        path.write_bytes(b'broken')
        with pytest.raises(InputError, match=r'broken\.jpg'):
            images.read(str(path), 8)
