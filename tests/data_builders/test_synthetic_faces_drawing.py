"""Drawn faces: outlines of the parts, paint, light, surroundings, pencil."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from data_builders.synthetic_faces import palettes
from data_builders.synthetic_faces.creases import creases
from data_builders.synthetic_faces.draw import FACE_SIZE, paint, project, project_all
from data_builders.synthetic_faces.face import build, head_outline
from data_builders.synthetic_faces.identity import HAIR_STYLES, Identity, sample_identity
from data_builders.synthetic_faces.landmarks import place
from data_builders.synthetic_faces.light import expose
from data_builders.synthetic_faces.parts import RAISED, SILHOUETTE, SURFACE, Part
from data_builders.synthetic_faces.scenes import OCCLUDERS, check, sample_scene
from data_builders.synthetic_faces.sketch import draw_sketch
from data_builders.synthetic_faces.surroundings import backdrop, occlude
from dmsrl_jax.errors import InputError

CENTRE = np.zeros(2)


def person(**changes) -> Identity:
    plain = {'hair_style': 'short', 'beard': 'none', 'glasses': False, 'age': 0.2}
    identity = sample_identity(np.random.default_rng(1))
    return dataclasses.replace(identity, **{**plain, **changes})


def units(**strengths):
    """`units(au12=1.0)`: float [27, 2]."""
    table = np.zeros((27, 2))
    for name, strength in strengths.items():
        table[int(name[2:])] = strength
    return table


def parts_of(identity=None, gaze=CENTRE, **strengths):
    identity, table = identity or person(), units(**strengths)
    return build(identity, place(identity, table), table, np.asarray(gaze))


def roles(parts):
    return [part.role for part in parts]


def still(domain='studio', **changes):
    """A scene without pose, blur and noise, unless asked for."""
    calm = {'yaw': 0.0, 'pitch': 0.0, 'roll': 0.0, 'scale': 1.0, 'shift': np.zeros(2)}
    calm |= {'gains': np.ones(3), 'gamma': 1.0, 'blur': 0.0, 'noise': 0.0}
    scene = sample_scene(domain, np.random.default_rng(0))
    return dataclasses.replace(scene, **{**calm, **changes})


class TestParts:
    def test_order_is_back_to_front(self):
        order = roles(parts_of(person(glasses=True, hair_style='long')))
        for behind, before in (
            ('neck', 'head'),
            ('ear', 'head'),
            ('head', 'eye_white'),
            ('eye_white', 'iris'),
            ('iris', 'pupil'),
            ('mouth', 'lip'),
            ('brow', 'frame'),
        ):
            assert order.index(behind) < order.index(before)
        assert order[0] == 'hair'

    def test_all_points_are_finite_pairs(self):
        for style in HAIR_STYLES:
            for part in parts_of(person(hair_style=style, beard='full'), au26=1.0, au12=1.0):
                assert part.points.ndim == 2
                assert part.points.shape[1] == 2
                assert np.isfinite(part.points).all()
                assert np.ndim(part.hold) == 0 or len(part.hold) == len(part.points)

    def test_outline_is_symmetric_and_follows_the_jaw(self):
        identity = person()
        rest = head_outline(identity, place(identity, units()))
        drop = head_outline(identity, place(identity, units(au26=1.0)))
        np.testing.assert_allclose(rest[:, 0].max(), -rest[:, 0].min(), atol=1e-9)
        assert drop[:, 1].max() - rest[:, 1].max() == pytest.approx(0.26, abs=0.02)
        assert drop[:, 1].min() == rest[:, 1].min()

    @pytest.mark.parametrize('beard', ['stubble', 'moustache', 'full'])
    def test_beards_and_glasses_add_parts(self, beard):
        plain = roles(parts_of())
        assert roles(parts_of(person(beard=beard))).count('hair') == plain.count('hair') + 1
        assert roles(parts_of(person(glasses=True))).count('frame') == 3
        assert 'frame' not in plain

    def test_iris_stays_between_the_lids_and_follows_the_gaze(self):
        identity = person()
        marks = place(identity, units(au7=1.0))
        irises = [part.points for part in parts_of(identity, au7=1.0) if part.role == 'iris']
        for side, iris in enumerate(irises):
            y = marks.eye[side, 1]
            assert iris[:, 1].min() >= y - marks.upper_lid[side]
            assert iris[:, 1].max() <= y + marks.lower_lid[side]
        looking = [p.points for p in parts_of(identity, (1.0, 0.0), au7=1.0) if p.role == 'iris']
        np.testing.assert_allclose(looking[0][:, 0] - irises[0][:, 0], 0.06, atol=1e-12)

    def test_teeth_and_tongue_show_when_the_lips_part(self):
        assert not {'teeth', 'tongue'} & set(roles(parts_of()))
        assert {'teeth', 'tongue'} <= set(roles(parts_of(au26=1.0)))
        assert roles(parts_of(au25=1.0, au12=1.0)).count('teeth') == 1
        assert roles(parts_of(au25=1.0, au16=1.0)).count('teeth') == 2

    def test_smile_shows_more_upper_teeth_than_surprise(self):
        smile, surprise = (
            next(part.points for part in parts_of(au26=0.8, **more) if part.role == 'teeth')
            for more in ({'au12': 1.0}, {})
        )

        def height(points):
            half = len(points) // 2
            return np.abs(points[half:][::-1, 1] - points[:half, 1]).max()

        assert height(smile) > 1.5 * height(surprise)

    def test_lips_meet_the_corners(self):
        identity = person()
        corners = place(identity, units(au12=1.0)).mouth_corner
        lip = next(part.points for part in parts_of(identity, au12=1.0) if part.role == 'lip')
        np.testing.assert_allclose(lip[0], corners[0], atol=1e-3)
        np.testing.assert_allclose(lip[12], corners[1], atol=1e-3)


class TestCreases:
    def depth(self, age=0.0, **strengths):
        identity, table = person(age=age), units(**strengths)
        return np.array([p.strength for p in creases(identity, place(identity, table), table)])

    @pytest.mark.parametrize(
        ('unit', 'deeper'),
        [
            ('au1', slice(0, 3)),  # forehead
            ('au4', slice(3, 5)),  # between the brows
            ('au9', slice(5, 7)),  # root of the nose
            ('au17', slice(15, 16)),  # chin
        ],
    )
    def test_units_deepen_their_own_lines(self, unit, deeper):
        change = self.depth(**{unit: 1.0}) - self.depth()
        assert (change[deeper] > 0.2).all()
        if unit != 'au9':  # AU 9 also deepens the fold beside the nose
            assert np.delete(change, np.r_[deeper]).max() == 0.0

    def test_cheek_raiser_makes_crows_feet_on_its_side(self):
        table = units()
        table[6, 1] = 1.0
        identity = person(age=0.0)
        lines = creases(identity, place(identity, table), table)
        strong = [line for line in lines if line.strength == 0.5]
        assert len(strong) == 3
        assert all((line.points[:, 0] > 0.4).all() for line in strong)

    def test_age_deepens(self):
        assert (self.depth(age=1.0) >= self.depth(age=0.2)).all()
        assert self.depth(age=1.0).sum() > self.depth(age=0.2).sum() + 1.0


class TestProjection:
    def test_frontal_view_is_a_scaled_copy(self):
        points = np.array([(0.0, 0.0), (1.0, 0.0), (0.0, -1.0)])
        for hold in (SILHOUETTE, SURFACE, RAISED):
            placed = project(points, np.full(3, hold), still())
            np.testing.assert_allclose(placed, points * FACE_SIZE + (0.5, 0.51), atol=1e-12)

    def test_scale_shift_and_roll(self):
        points, hold = np.array([(1.0, 0.0)]), np.zeros(1)
        scene = still(scale=2.0, shift=np.array([0.1, -0.2]), roll=np.pi / 2)
        np.testing.assert_allclose(
            project(points, hold, scene), [(0.6, 0.31 + 2 * FACE_SIZE)], atol=1e-12
        )

    def test_looking_up_lifts_the_middle_of_the_face(self):
        placed = project(np.zeros((1, 2)), np.ones(1), still(pitch=0.2))
        assert placed[0, 1] == pytest.approx(0.51 - 0.9 * np.sin(0.2) * FACE_SIZE)

    def test_many_parts_equal_one_by_one(self):
        parts = parts_of(person(beard='full'))
        scene = still(yaw=0.4, pitch=0.1, roll=-0.2)
        for part, placed in zip(parts, project_all(parts, scene), strict=True):
            hold = np.broadcast_to(part.hold, len(part.points)).astype(float)
            np.testing.assert_allclose(placed, project(part.points, hold, scene), atol=1e-12)


class TestPaint:
    SQUARE = np.array([(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)])

    def paint(self, part):
        image = Image.new('RGB', (40, 40), (10, 10, 10))
        paint(image, [part], [part.points], {'head': (0, 0, 0), 'lip': (200, 100, 50)}, 1.0)
        return np.asarray(image)

    def test_fills_an_area(self):
        pixels = self.paint(Part('lip', self.SQUARE))
        assert pixels[20, 20].tolist() == [200, 100, 50]
        assert pixels[5, 5].tolist() == [10, 10, 10]

    def test_strength_fades_into_the_skin_and_faint_parts_are_left_out(self):
        faded = self.paint(Part('lip', self.SQUARE, strength=0.5))
        assert faded[20, 20].tolist() == [100, 50, 25]
        assert (self.paint(Part('lip', self.SQUARE, strength=0.05)) == 10).all()

    def test_line_leaves_the_inside(self):
        pixels = self.paint(Part('lip', self.SQUARE, width=0.1))
        assert pixels[20, 20].tolist() == [10, 10, 10]
        assert pixels[10, 20].tolist() == [200, 100, 50]

    def test_palettes_know_every_role(self):
        identity = person(glasses=True, beard='full')
        used = set(roles(parts_of(identity, au26=1.0, au12=1.0)))
        for palette in (palettes.natural, palettes.infrared):
            colours = palette(identity, np.full(3, 90.0))
            assert used <= set(colours)
            assert all(0 <= value <= 255 for colour in colours.values() for value in colour)

    def test_infrared_evens_out_skin(self):
        light, dark = (person(skin=np.full(3, level, np.float32)) for level in (225.0, 75.0))
        seen, lit = (
            [palette(who, np.zeros(3))['head'][0] for who in (light, dark)]
            for palette in (palettes.natural, palettes.infrared)
        )
        assert seen[0] - seen[1] == 150
        assert lit[0] - lit[1] == 24


class TestLight:
    GREY = Image.new('RGB', (32, 32), (100, 100, 100))

    def expose(self, image=GREY, shade=1.0, **changes):
        even = None if shade is None else np.full((32, 32), shade, np.float32)
        return np.asarray(expose(image, still(**changes), even, np.random.default_rng(0)))

    def test_gains_and_shade_multiply(self):
        pixels = self.expose(shade=0.5, gains=np.array([2.0, 1.0, 0.5]))
        assert np.unique(pixels.reshape(-1, 3), axis=0).tolist() == [[100, 50, 25]]

    def test_gamma_darkens_the_middle(self):
        assert self.expose(gamma=2.0)[0, 0, 0] == int(255 * (100 / 255) ** 2)

    def test_noise_has_its_deviation_and_no_colour(self):
        pixels = self.expose(noise=6.0).astype(float)
        assert pixels.std() == pytest.approx(6.0, rel=0.1)
        assert (np.ptp(pixels, axis=-1) == 0).all()

    def test_blur_softens_an_edge(self):
        half = Image.fromarray(np.repeat([[0] * 16 + [200] * 16], 32, axis=0).astype(np.uint8))
        sharp = self.expose(half.convert('RGB'))[16, :, 0].astype(int)
        soft = self.expose(half.convert('RGB'), blur=4.0)[16, :, 0].astype(int)
        assert np.abs(np.diff(sharp)).max() == 200
        assert np.abs(np.diff(soft)).max() < 60

    def test_grey_images_become_rgb(self):
        assert (
            self.expose(Image.new('L', (32, 32), 70), shade=None).tolist() == [[[70] * 3] * 32] * 32
        )


class TestSurroundings:
    def test_wall_is_plain_and_clutter_is_not(self):
        rng = np.random.default_rng(0)
        wall = np.asarray(backdrop(40, still(), rng, (1, 2, 3)))
        assert np.unique(wall.reshape(-1, 3), axis=0).tolist() == [[1, 2, 3]]
        assert np.asarray(backdrop(40, still('wild', clutter=6), rng, (1, 2, 3))).std() > 10

    @pytest.mark.parametrize('kind', OCCLUDERS)
    def test_occluders_cover_some_but_never_all_of_the_face(self, kind):
        covered = []
        for seed in range(20):
            image = Image.new('RGB', (64, 64), (0, 0, 0))
            scene = still('wild', occluder=kind)
            occlude(image, scene, np.random.default_rng(seed), (200, 150, 120), (60, 40, 20))
            face = np.asarray(image)[11:56, 12:52]
            covered.append((face.sum(-1) > 0).mean())
        assert max(covered) > 0.01
        assert max(covered) < 0.5

    def test_check(self):
        check('wild')
        with pytest.raises(InputError, match="domain 'Wild' does not exist"):
            check('Wild')


class TestSketch:
    def draw(self, seed=0, **strengths):
        parts = parts_of(person(**strengths))
        outlines = project_all(parts, still('sketch'))
        return np.asarray(draw_sketch(parts, outlines, 128, np.random.default_rng(seed)))

    def test_is_dark_lines_on_bright_paper(self):
        image = self.draw()
        assert image.shape == (128, 128)
        assert 225 <= np.bincount(image.ravel()).argmax() < 250
        assert image.min() < 85
        assert 0.02 < (image < 150).mean() < 0.3

    def test_hand_differs_from_image_to_image(self):
        np.testing.assert_array_equal(self.draw(3), self.draw(3))
        assert (self.draw(3) != self.draw(4)).mean() > 0.05

    def test_stubble_is_not_drawn(self):
        # Each part takes its own draw of tremor, so amounts of lead are compared, not pixels.
        plain, stubble, full = (
            np.mean([(self.draw(seed, beard=beard) < 200).mean() for seed in range(8)])
            for beard in ('none', 'stubble', 'full')
        )
        assert full - plain > 0.004
        assert abs(stubble - plain) < 0.002
