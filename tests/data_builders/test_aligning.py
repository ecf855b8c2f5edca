import io
import json

import numpy as np
import pytest
from PIL import Image

from data_builders import aligning, common, preparing
from dmsrl_jax.data import corpora, faces
from dmsrl_jax.errors import InputError


class Fake:
    """Finds the bright rectangle of a picture, if there is one."""

    identity = 'fake'

    def __init__(self):
        self.asked = 0

    def detect(self, image):
        self.asked += 1
        y, x = np.nonzero(image[:, :, 0] > 200)
        if not len(x):
            return []
        return [faces.Face((x.min(), y.min(), x.max() + 1.0, y.max() + 1.0), None, 1.0)]


@pytest.fixture
def fake(monkeypatch):
    detector = Fake()
    monkeypatch.setattr(aligning, '_detector', lambda name: detector)
    return detector


def picture(box=None, size=(80, 60)):
    image = Image.new('L', size, 40)
    if box:
        image.paste(255, box)
    return common.png(image)


def run(examples, tmp_path, **settings):
    aligner = aligning.Aligner(faces.Settings(size=22, **settings), cache=tmp_path / 'cache')
    drops = common.Drops()
    out = dict(aligner.examples(iter([(e['file'], e) for e in examples]), drops))
    return out, aligner, drops


def pixels(example):
    return np.asarray(Image.open(io.BytesIO(example['image'])))


class TestExamples:
    def test_cuts_faces_and_keeps_the_rest(self, fake, tmp_path):
        examples = [
            common.record(picture((10, 10, 30, 30)), 3, 'a', 'anna'),
            common.record(picture(), 4, 'b'),
        ]
        out, aligner, drops = run(examples, tmp_path)
        assert list(out) == ['a', 'b']
        assert (out['a']['label'], out['a']['subject']) == (3, 'anna')
        # 20 pixels of face with a margin of one on each side fill 22.
        expected = np.full((22, 22), 40)
        expected[1:21, 1:21] = 255
        np.testing.assert_allclose(pixels(out['a']), expected, atol=1)
        assert (pixels(out['b']) == 40).all()
        assert aligner.report() | {'images_per_second': 0} == {
            'detector': 'fake', 'owners_landmarks': 0, 'found': 1, 'owners_box': 0, 'no_face': 1,
            'known': 0, 'examples_without': ['b'], 'images_per_second': 0, 'workers': 0,
        }  # fmt: skip
        assert len(drops) == 0

    def test_drops_what_has_no_face_by_choice(self, fake, tmp_path):
        out, _, drops = run([common.record(picture(), 4, 'b')], tmp_path, no_face='drop')
        assert out == {}
        assert drops.as_dict() == {'no face found': {'count': 1, 'examples': ['b']}}

    def test_second_run_asks_nobody(self, fake, tmp_path):
        examples = [common.record(picture((10, 10, 30, 30)), 3, 'a'),
                    common.record(picture(), 4, 'b')]  # fmt: skip
        first, _, _ = run(examples, tmp_path)
        asked = fake.asked
        second, aligner, _ = run(examples, tmp_path)
        assert fake.asked == asked
        assert second == first
        assert aligner.counts['known'] == 2

    def test_goes_on_after_an_interruption(self, fake, tmp_path):
        examples = [
            (i, common.record(picture((5, 5, 20 + i, 20 + i)), 0, str(i))) for i in range(6)
        ]
        aligner = aligning.Aligner(faces.Settings(size=22), cache=tmp_path / 'cache')
        running = aligner.examples(iter(examples), common.Drops())
        for _ in range(4):
            next(running)
        running.close()
        asked = fake.asked
        out, _, _ = run([example for _, example in examples], tmp_path)
        assert len(out) == 6
        assert fake.asked - asked == 2

    def test_owners_box_and_landmarks(self, fake, tmp_path):
        marks = (faces.TEMPLATE * 22 + 5).ravel().tolist()
        examples = [
            common.record(picture(), 0, 'box') | {'box': (10, 10, 30, 30)},
            common.record(picture((12, 12, 30, 30)), 0, 'inside') | {'box': (10, 10, 30, 30)},
            common.record(picture(), 0, 'marks') | {'landmarks': marks},
        ]
        out, aligner, _ = run(examples, tmp_path)
        assert aligner.counts == {
            'owners_box': 1, 'found': 1, 'owners_landmarks': 1, 'known': 0,
        }  # fmt: skip
        assert all(
            set(example) == {'image', 'label', 'file', 'subject'} for example in out.values()
        )

    def test_one_picture_with_two_boxes_is_searched_twice(self, fake, tmp_path):
        data = picture((10, 10, 30, 30))
        examples = [common.record(data, 0, name) | {'box': box} for name, box in
                    (('a', (10, 10, 30, 30)), ('b', (50, 30, 70, 50)))]  # fmt: skip
        _, aligner, _ = run(examples, tmp_path)
        assert (aligner.counts['found'], aligner.counts['owners_box']) == (1, 1)

    def test_processes_give_the_same(self, tmp_path):
        pytest.importorskip('cv2', reason='needs the packages of the extra align')
        examples = [(i, common.record(picture(size=(50 + i, 60)), 0, str(i))) for i in range(3)]
        outs = []
        for workers in (0, 1):
            aligner = aligning.Aligner(
                faces.Settings(size=22), cache=tmp_path / f'c{workers}', workers=workers
            )
            outs.append(list(aligner.examples(iter(examples), common.Drops())))
        assert outs[0] == outs[1]


class TestPrepare:
    NAME = 'synthetic_faces/studio'
    SMALL = {'train': '7', 'test': '3', 'size': '48'}  # noqa: RUF012

    def test_writes_faces_and_says_how(self, fake, tmp_path):
        options = preparing.typed_options(self.NAME, self.SMALL)
        settings = faces.Settings(size=32)
        folder, report, _ = preparing.prepare(self.NAME, options, data_dir=tmp_path, align=settings)
        corpus = corpora.load(self.NAME, 'train', data_dir=tmp_path)
        assert Image.open(io.BytesIO(corpus[0]['image'])).size == (32, 32)
        assert json.loads((folder / 'features.json').read_text())['featuresDict']['features'][
            'image'
        ]['image']['shape']['dimensions'] == ['32', '32', '3']
        told = report['faces']
        assert told['found'] + told['no_face'] == 10
        names = (folder / aligning.WITHOUT).read_text().split()
        assert len(names) == told['no_face']
        assert report['options']['align'].startswith('size 32, detector yunet, no_face centre')

    def test_other_settings_need_overwrite(self, fake, tmp_path):
        options = preparing.typed_options(self.NAME, self.SMALL)
        preparing.prepare(self.NAME, options, data_dir=tmp_path)
        with pytest.raises(InputError, match=r"align=None, now 'size 112.*--overwrite"):
            preparing.prepare(self.NAME, options, data_dir=tmp_path, align=faces.Settings())
        preparing.prepare(
            self.NAME, options, data_dir=tmp_path, align=faces.Settings(), overwrite=True
        )
        with pytest.raises(InputError, match=r"align='size 112.*, now None"):
            preparing.prepare(self.NAME, options, data_dir=tmp_path)

    def test_nothing_left_is_an_error(self, monkeypatch, tmp_path):
        class Blind:
            identity = 'blind'

            def detect(self, image):
                return []

        monkeypatch.setattr(aligning, '_detector', lambda name: Blind())
        options = preparing.typed_options(self.NAME, self.SMALL)
        with pytest.raises(InputError, match=r"no image is left in split 'train'.*no face found"):
            preparing.prepare(
                self.NAME, options, data_dir=tmp_path, align=faces.Settings(no_face='drop')
            )


class TestDescribe:
    def test_lines(self):
        report = {
            'detector': 'd', 'owners_landmarks': 0, 'found': 5, 'owners_box': 2, 'no_face': 7,
            'known': 3, 'examples_without': list('abcde'), 'images_per_second': 9.5, 'workers': 0,
        }  # fmt: skip
        assert aligning.describe(report) == [
            "faces: 5 found by the detector, 2 by the owners' box alone, 7 without a face "
            '(d; 9.5 images/s, 3 known from before)',
            '  no face: a, b, c, d, e, ...',
        ]
