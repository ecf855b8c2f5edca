import numpy as np
import pytest
from PIL import Image

from dmsrl_jax.data.faces import geometry

POINTS = np.array([[30.0, 40.0], [70.0, 42.0], [50.0, 60.0], [35.0, 80.0], [66.0, 81.0]])


def turned(points, degrees, scale, shift):
    angle = np.deg2rad(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * points @ rotation.T + shift


class TestSimilarity:
    @pytest.mark.parametrize('degrees', [0, 25, -170])
    def test_finds_a_known_turn_scale_and_shift(self, degrees):
        targets = turned(POINTS, degrees, 1.7, [5, -9])
        matrix = geometry.similarity(POINTS, targets)
        np.testing.assert_allclose(geometry.apply(matrix, POINTS), targets, atol=1e-9)
        assert np.linalg.det(matrix[:, :2]) == pytest.approx(1.7**2)

    def test_never_mirrors(self):
        matrix = geometry.similarity(POINTS, POINTS * [-1, 1])
        assert np.linalg.det(matrix[:, :2]) > 0

    def test_is_the_best_of_its_kind(self):
        """A small change of any of the four parameters does not come nearer."""
        targets = geometry.TEMPLATE * 112
        best = geometry.similarity(POINTS, targets)
        error = np.sum((geometry.apply(best, POINTS) - targets) ** 2)
        for change in ([1e-3, 0, 0, 0], [0, 1e-3, 0, 0], [0, 0, 0.1, 0], [0, 0, 0, 0.1]):
            for sign in (-1, 1):
                a, b, x, y = sign * np.array(change)
                other = best + np.array([[a, -b, x], [b, a, y]])
                assert np.sum((geometry.apply(other, POINTS) - targets) ** 2) > error

    @pytest.mark.parametrize('points', [np.full((5, 2), 7.0), np.full((5, 2), np.nan)])
    def test_refuses_points_without_extent(self, points):
        with pytest.raises(ValueError, match='the same or not finite'):
            geometry.similarity(points, POINTS)


class TestTransforms:
    def test_template_is_upright_and_symmetric(self):
        left, right, nose, mouth_left, mouth_right = geometry.TEMPLATE
        np.testing.assert_allclose(left + right, [1, 2 * left[1]])
        np.testing.assert_allclose(mouth_left + mouth_right, [1, 2 * mouth_left[1]])
        assert left[1] < nose[1] < mouth_left[1]
        assert nose[0] == 0.5

    def test_landmarks_go_to_the_template(self):
        points = turned(geometry.TEMPLATE, 12, 300, [40, 20])
        matrix = geometry.from_landmarks(points, 96)
        np.testing.assert_allclose(geometry.apply(matrix, points), geometry.TEMPLATE * 96)

    def test_box_becomes_a_square_with_a_margin(self):
        matrix = geometry.from_box((10, 20, 30, 60), 100, margin=0.25)
        corners = geometry.apply(matrix, np.array([[-10.0, 10.0], [50.0, 70.0], [20.0, 40.0]]))
        np.testing.assert_allclose(corners, [[0, 0], [100, 100], [50, 50]], atol=1e-9)

    @pytest.mark.parametrize('box', [(5, 5, 5, 9), (9, 0, 1, 4), (0, 0, np.inf, 4)])
    def test_box_without_area(self, box):
        with pytest.raises(ValueError, match='has no area'):
            geometry.from_box(box, 10)

    def test_centre_is_the_largest_square(self):
        matrix = geometry.centre(200, 100, 50)
        np.testing.assert_allclose(
            geometry.apply(matrix, np.array([[50.0, 0.0], [150.0, 100.0]])), [[0, 0], [50, 50]]
        )


class TestWarp:
    def test_same_size_changes_nothing(self):
        pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
        crop = geometry.warp(Image.fromarray(pixels), geometry.centre(40, 40, 40), 40)
        np.testing.assert_array_equal(np.asarray(crop), pixels)

    def test_outside_is_black_and_mode_is_kept(self):
        crop = geometry.warp(
            Image.new('L', (20, 20), 200), geometry.from_box((10, 0, 30, 20), 20, margin=0), 20
        )
        values = np.asarray(crop)
        assert crop.mode == 'L'
        assert (values[:, :9] == 200).all()
        assert (values[:, 11:] == 0).all()

    def test_averages_fine_detail_away(self):
        """A checkerboard made nine times smaller is grey all over, not black and white."""
        board = np.indices((270, 270)).sum(axis=0) % 2 * 255
        crop = geometry.warp(
            Image.fromarray(board.astype(np.uint8)), geometry.centre(270, 270, 30), 30
        )
        assert np.abs(np.asarray(crop, int) - 127.5).max() < 30

    def test_marks_land_on_the_template(self):
        """Bright dots drawn at the five points of a turned face are found at their places."""
        points = turned(geometry.TEMPLATE - 0.5, 20, 150, [120, 110])
        picture = np.zeros((240, 240), np.uint8)
        for x, y in points:
            yy, xx = np.indices(picture.shape)
            picture[(xx + 0.5 - x) ** 2 + (yy + 0.5 - y) ** 2 < 9] = 255
        size = 100
        crop = np.asarray(
            geometry.warp(Image.fromarray(picture), geometry.from_landmarks(points, size), size)
        )
        for x, y in geometry.TEMPLATE * size:
            around = np.indices(crop.shape) + 0.5 - [[[y]], [[x]]]
            weight = crop * (np.abs(around).max(axis=0) < 5)
            offset = (weight * around).sum(axis=(1, 2)) / weight.sum()
            assert np.abs(offset).max() < 0.5
