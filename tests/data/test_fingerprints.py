import io
import itertools

import numpy as np
import pytest
from PIL import Image

from data_builders.synthetic_faces.render import render
from dmsrl_jax.data import fingerprints


def faces(count, size=64):
    return [
        Image.fromarray(render(i % 7, 'wild', size=size, subject_seed=i, sample_seed=i))
        for i in range(count)
    ]


def jpeg(image, quality):
    out = io.BytesIO()
    image.save(out, 'JPEG', quality=quality)
    return Image.open(io.BytesIO(out.getvalue()))


def described(pictures):
    return (
        np.stack([fingerprints.fingerprint(p) for p in pictures]),
        np.stack([fingerprints.thumbnail(p) for p in pictures]),
    )


class TestFingerprint:
    def test_bits_of_a_picture_that_grows_brighter_to_the_right(self):
        ramp = Image.fromarray(np.tile(np.arange(0, 252, 7, np.uint8), (36, 1)))
        assert fingerprints.fingerprint(ramp).tolist() == [2**64 - 1, 0]
        assert fingerprints.fingerprint(ramp.transpose(Image.Transpose.ROTATE_270)).tolist() == [
            0,
            2**64 - 1,
        ]

    def test_survives_brightness(self):
        face = faces(1)[0].convert('L')
        darker = face.point(lambda v: v // 2 + 20)
        bits = fingerprints.distance(
            fingerprints.fingerprint(face), fingerprints.fingerprint(darker)
        )
        assert bits <= 8

    def test_distance_counts_bits(self):
        a = np.array([[0b1011, 1], [0, 0]], np.uint64)
        b = np.array([[0b0001, 3], [0, 2**63]], np.uint64)
        assert fingerprints.distance(a, b).tolist() == [3, 1]


class TestNearPairs:
    @pytest.mark.parametrize('most', [0, 3, 12])
    @pytest.mark.parametrize('block', [7, 10**6])
    def test_the_same_as_comparing_all(self, most, block, monkeypatch):
        monkeypatch.setattr(fingerprints, '_BLOCK', block)
        rng = np.random.default_rng(most)
        values = rng.integers(0, 2**63, (40, 2), dtype=np.uint64)
        flips = rng.integers(0, 63, (40, 8))
        for row, flip in enumerate(flips):  # a relative for each, 0 to 8 bits away
            for bit in flip[: row % 9]:
                values[row, row % 2] ^= np.uint64(1) << np.uint64(bit)
        values = np.concatenate([values, values[::2] ^ np.uint64(5)])
        expected = [
            [i, j, int(fingerprints.distance(values[i], values[j]))]
            for i, j in itertools.combinations(range(len(values)), 2)
        ]
        expected = [row for row in expected if row[2] <= most]
        assert fingerprints.near_pairs(values, most=most).tolist() == expected

    def test_between_two_sets(self):
        a = np.array([[1, 1], [2, 2]], np.uint64)
        b = np.array([[2, 2], [1, 0], [2**60 - 1, 7]], np.uint64)
        assert fingerprints.near_pairs(a, b, most=1).tolist() == [[0, 1, 1], [1, 0, 0]]

    def test_nothing(self):
        assert fingerprints.near_pairs(np.zeros((0, 2), np.uint64)).shape == (0, 3)


class TestCopies:
    def test_finds_the_same_face_in_another_size_and_format_and_no_other(self):
        pictures = faces(24)
        others = [jpeg(p.resize((48, 48), Image.Resampling.BILINEAR), 70) for p in pictures[::3]]
        pairs = fingerprints.copies(described(pictures), described(others))
        assert pairs.tolist() == [[3 * i, i] for i in range(8)]
        assert len(fingerprints.copies(described(pictures))) == 0

    def test_empty_pictures_are_alike_among_themselves_only(self):
        blank = [Image.new('L', (9, 9), 10), Image.new('RGB', (50, 40), 'white'), *faces(1)]
        assert fingerprints.copies(described(blank)).tolist() == [[0, 1]]

    def test_likeness_is_the_correlation(self):
        rng = np.random.default_rng(0)
        a, b = rng.integers(0, 256, (2, 5, 256), dtype=np.uint8)
        expected = [np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)]
        np.testing.assert_allclose(fingerprints.likeness(a, b), expected, atol=1e-5)
        np.testing.assert_allclose(fingerprints.likeness(a, a), 1, atol=1e-5)


class TestGroups:
    def test_links_over_others(self):
        pairs = np.array([[4, 7], [0, 2], [2, 5], [7, 4]])
        assert fingerprints.groups(pairs, 9) == [[0, 2, 5], [4, 7]]
