import numpy as np
import pytest
from PIL import Image

from data_builders.synthetic_faces.render import render
from dmsrl_jax.data.faces import detection
from dmsrl_jax.errors import InputError

FACE = detection.Face((10.0, 12.0, 50.0, 60.0), ((20.0, 30.0),) * 5, 0.9)


class Fake:
    """Finds `face` in pictures of at least a size and remembers what it was shown."""

    identity = 'fake'

    def __init__(self, *, least=0):
        self.least, self.shapes, self.shown = least, [], []

    def detect(self, image):
        self.shapes.append(image.shape)
        self.shown.append(image)
        return [FACE] if image.shape[1] >= self.least else []


class TestFind:
    def test_small_picture_is_shown_as_it_is(self):
        detector = Fake()
        assert detection.find(Image.new('L', (100, 80), 9), detector) == [FACE]
        assert detector.shapes == [(80, 100, 3)]
        assert (detector.shown[0] == 9).all()

    def test_large_picture_is_reduced_and_found_faces_are_not(self):
        detector = Fake()
        (face,) = detection.find(Image.new('RGB', (1280, 960)), detector)
        assert detector.shapes == [(480, 640, 3)]
        assert face.box == (20.0, 24.0, 100.0, 120.0)
        assert face.landmarks[0] == (40.0, 60.0)
        assert face.score == 0.9

    def test_second_try_has_a_border_that_is_taken_off_again(self):
        detector = Fake(least=101)
        (face,) = detection.find(Image.new('RGB', (100, 80)), detector)
        assert detector.shapes == [(80, 100, 3), (130, 150, 3)]
        assert (detector.shown[1][:25] == 128).all()
        assert face.box == (-15.0, -13.0, 25.0, 35.0)

    def test_nothing(self):
        assert detection.find(Image.new('RGB', (100, 80)), Fake(least=1000)) == []


class TestCreate:
    def test_unknown_name(self):
        with pytest.raises(InputError, match="no face detector 'haar'; there are yunet, mtcnn"):
            detection.create('haar')

    def test_package_that_is_missing(self):
        with pytest.raises(InputError, match=r'package no-such is not installed; pip install'):
            detection.packaged_file('no_such', 'no-such', 'x.onnx')
        with pytest.raises(InputError, match=r'package pillow has no file x\.onnx'):
            detection.packaged_file('PIL', 'pillow', 'x.onnx')

    def test_opencv_missing(self, monkeypatch):
        monkeypatch.setattr(detection.importlib.util, 'find_spec', lambda name: None)
        with pytest.raises(InputError, match=r"'yunet' needs OpenCV: pip install"):
            detection.create('yunet')

    def test_files_of_the_user(self, tmp_path):
        pytest.importorskip('cv2', reason='needs the packages of the extra align')
        with pytest.raises(InputError, match='there is no face detection model'):
            detection.create(f'yunet:{tmp_path}/x.onnx')
        (tmp_path / 'x.onnx').write_bytes(b'no model')
        with pytest.raises(InputError, match='is no YuNet model that OpenCV reads'):
            detection.create(f'yunet:{tmp_path}/x.onnx')


class TestRealDetectors:
    """On drawn faces, of which a detector of photographs finds some."""

    @pytest.mark.parametrize('name', detection.names())
    def test_nothing_in_an_empty_picture(self, name):
        pytest.importorskip('cv2', reason='needs the packages of the extra align')
        detector = detection.create(name)
        for shape in ((300, 200, 3), (7, 5, 3), (33, 26, 3)):
            assert detector.detect(np.full(shape, 90, np.uint8)) == []

    @pytest.mark.parametrize('name', detection.names())
    def test_points_lie_in_the_drawn_face_in_their_order(self, name):
        pytest.importorskip('cv2', reason='needs the packages of the extra align')
        detector = detection.create(name)
        found = 0
        for subject in range(8):
            face = render(3, 'studio', size=160, subject_seed=subject, sample_seed=1)
            picture = np.full((300, 340, 3), 120, np.uint8)
            picture[70:230, 90:250] = face
            for seen in detection.find(Image.fromarray(picture), detector):
                found += 1
                points = np.asarray(seen.landmarks)
                assert ((points > [90, 70]) & (points < [250, 230])).all()
                assert points[0, 0] < points[1, 0]
                assert points[3, 0] < points[4, 0]
                assert points[:2, 1].max() < points[2, 1] < points[3:, 1].min()
        assert found >= 4

    def test_identity_names_detector_and_weights(self):
        pytest.importorskip('cv2', reason='needs the packages of the extra align')
        assert detection.create('yunet').identity == 'yunet-8f2383e4-0.6'
        assert detection.create('mtcnn').identity == 'mtcnn-deea010b-20'


class TestPlausible:
    @pytest.mark.parametrize(
        ('box', 'good'),
        [
            ((1, 1, 20, 30), True),
            ((-9, -9, 40, 45), True),
            ((5e10, 7e10, 5e10, 7e10), False),
            ((5, 5, 5, 9), False),
            ((float('nan'), 0, 5, 9), False),
            ((60, 60, 80, 80), False),
            ((-100, -100, 130, 130), False),
        ],
    )
    def test_boxes(self, box, good):
        pytest.importorskip('cv2', reason='needs the packages of the extra align')
        from dmsrl_jax.data.faces import yunet

        assert yunet.is_plausible(box, (26, 33)) is good


class TestSuppress:
    def test_best_of_those_that_cover_one_another(self):
        pytest.importorskip('cv2', reason='needs the packages of the extra align')
        from dmsrl_jax.data.faces import mtcnn

        boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [2, 2, 6, 6]], float)
        scores = np.array([0.8, 0.9, 0.7, 0.6])
        # 1 and 0 share 81 of 119; 3 lies wholly in 1, which is 16 of 100 of the union.
        assert mtcnn.suppress(boxes, scores, 0.5) == [1, 2, 3]
        assert mtcnn.suppress(boxes, scores, 0.7) == [1, 0, 2, 3]
        assert mtcnn.suppress(boxes, scores, 0.5, by_smaller=True) == [1, 2]
        assert mtcnn.suppress(boxes[:0], scores[:0], 0.5) == []
