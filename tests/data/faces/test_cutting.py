import io

import numpy as np
import pytest
from PIL import Image

from dmsrl_jax.data import faces
from dmsrl_jax.data.faces import cutting, geometry
from dmsrl_jax.errors import InputError

SIZE = (200, 100)


def face(left, top, side, score=0.9, *, points=True):
    landmarks = geometry.TEMPLATE * side + [left, top]
    marks = tuple(map(tuple, landmarks.tolist())) if points else None
    return faces.Face((left, top, left + side, top + side), marks, score)


class Fake:
    identity = 'fake'

    def __init__(self, *found):
        self.found, self.shapes = list(found), []

    def detect(self, image):
        self.shapes.append(image.shape[:2])
        return self.found


class TestSettings:
    @pytest.mark.parametrize(
        ('change', 'message'),
        [
            ({'size': 8}, 'faces of 8 pixels are too small; give 16 or more'),
            ({'no_face': 'keep'}, "no_face='keep' is not one of centre, drop"),
            ({'several': 'first'}, "several='first' is not one of largest, central"),
            ({'encoding': 'gif'}, "encoding='gif' is not one of png, jpeg"),
        ],
    )
    def test_says_what_is_possible(self, change, message):
        with pytest.raises(InputError, match=message):
            faces.Settings(**change)


class TestChoose:
    FACES = (face(0, 0, 60), face(75, 25, 50), face(140, 0, 60, 0.95))

    def test_largest_then_better_score(self):
        assert cutting.choose(self.FACES, SIZE, 'largest') is self.FACES[2]

    def test_most_central(self):
        assert cutting.choose(self.FACES, SIZE, 'central') is self.FACES[1]

    @pytest.mark.parametrize('several', ['largest', 'central'])
    def test_none(self, several):
        assert cutting.choose([], SIZE, several) is None


class TestPlace:
    def test_order_of_what_counts(self):
        box, marks = (10, 10, 60, 60), geometry.TEMPLATE * 40
        found = [face(75, 25, 50)]

        def how(faces_, **owners):
            return faces.place(SIZE, faces_, faces.Settings(), **owners).how

        assert how(found, box=box, landmarks=marks) == 'owners_landmarks'
        assert how(found, box=box) == 'found'
        assert how([], box=box) == 'owners_box'
        assert how([]) == 'no_face'

    def test_what_makes_no_sense_is_passed_over(self):
        same = np.full((5, 2), 30.0)
        place = faces.place(SIZE, [], faces.Settings(), box=(9, 9, 9, 9), landmarks=same)
        assert place.how == 'no_face'
        np.testing.assert_allclose(place.matrix, geometry.centre(200, 100, 112))

    def test_face_without_landmarks_is_cut_by_its_box(self):
        place = faces.place(SIZE, [face(10, 10, 40, points=False)], faces.Settings(size=44))
        assert place.how == 'found'
        np.testing.assert_allclose(
            geometry.apply(place.matrix, np.array([[30.0, 30.0], [8.0, 8.0]])), [[22, 22], [0, 0]]
        )

    def test_landmarks_of_the_chosen_face(self):
        found = [face(0, 0, 60), face(75, 25, 50)]
        place = faces.place(SIZE, found, faces.Settings(size=50, several='central'))
        np.testing.assert_allclose(place.matrix, [[1, 0, -75], [0, 1, -25]], atol=1e-9)


class TestSearch:
    def test_looks_around_an_owners_box_only(self):
        # The part that is shown begins at (50, 0) and ends at (130, 80).
        detector = Fake(face(20, 10, 40), face(0, 0, 15))
        (found,) = faces.search(Image.new('L', SIZE), detector, (70, 20, 110, 60))
        assert detector.shapes == [(80, 80)]
        assert found.box == (70, 10, 110, 50)
        assert found.landmarks[0] == (70 + 14, 10 + 16)

    def test_another_face_nearby_is_not_taken(self):
        detector = Fake(face(0, 0, 15))
        assert faces.search(Image.new('L', SIZE), detector, (70, 20, 110, 60)) == []

    def test_box_outside_of_the_picture(self):
        assert faces.search(Image.new('L', SIZE), Fake(), (300, 20, 340, 60)) == []

    def test_overlap(self):
        assert cutting.overlap((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
        assert cutting.overlap((0, 0, 1, 1), (2, 2, 3, 3)) == 0


class TestCut:
    def test_whole_way(self):
        picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (100, 200), np.uint8))
        crop, how = faces.cut(picture, faces.Settings(size=50), Fake(face(75, 25, 50)))
        assert (crop.size, crop.mode, how) == ((50, 50), 'L', 'found')
        part = np.asarray(picture.crop((75, 25, 125, 75)), int)
        np.testing.assert_allclose(np.asarray(crop), part, atol=1)

    def test_owners_landmarks_spare_the_detector(self):
        detector = Fake()
        marks = geometry.TEMPLATE * 60
        _, how = faces.cut(Image.new('L', SIZE), faces.Settings(), detector, landmarks=marks)
        assert how == 'owners_landmarks'
        assert detector.shapes == []

    @pytest.mark.parametrize(('encoding', 'kind'), [('png', 'PNG'), ('jpeg', 'JPEG')])
    def test_encodings(self, encoding, kind):
        picture = Image.linear_gradient('L').resize((64, 64))
        with Image.open(io.BytesIO(faces.encode(picture, encoding))) as file:
            assert file.format == kind
            difference = np.asarray(file, int) - np.asarray(picture, int)
        assert np.abs(difference).max() <= (0 if encoding == 'png' else 4)
