"""Drawn faces: action units, geometry, determinism, the prepared corpus."""

import io

import numpy as np
import pytest
from PIL import Image

from data_builders.synthetic_faces import synthetic_faces_dataset_builder as faces
from data_builders.synthetic_faces.action_units import (
    ACTION_UNITS,
    PROTOTYPES,
    ROWS,
    WEAKEST,
    sample_action_units,
)
from data_builders.synthetic_faces.contact_sheet import contact_sheet, main
from data_builders.synthetic_faces.curves import ellipse, smooth
from data_builders.synthetic_faces.draw import FACE_SIZE, mix, project
from data_builders.synthetic_faces.identity import BEARDS, HAIR_STYLES, RANGES, sample_identity
from data_builders.synthetic_faces.landmarks import place
from data_builders.synthetic_faces.light import shading
from data_builders.synthetic_faces.render import render, render_encoded
from data_builders.synthetic_faces.scenes import DOMAINS, sample_scene
from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import EXPRESSIONS

NUMBER = {name: number for number, name in enumerate(EXPRESSIONS)}


def subject(seed=0):
    return sample_identity(np.random.default_rng(seed))


def marks(*units, seed=0, strength=1.0):
    table = np.zeros((ROWS, 2))
    table[list(units)] = strength
    return place(subject(seed), table)


class TestCurves:
    def test_passes_through_its_points(self):
        points = np.array([(0.0, 0.0), (1.0, 2.0), (3.0, 1.0)])
        curve = smooth(points, 4)
        assert curve.shape == (9, 2)
        np.testing.assert_allclose(curve[::4], points, atol=1e-12)
        np.testing.assert_allclose(smooth(points, 4, closed=True)[::4], points, atol=1e-12)

    def test_is_straight_between_evenly_spaced_points_of_a_line(self):
        line = np.stack([np.arange(5.0), 2.0 * np.arange(5.0)], axis=1)
        np.testing.assert_allclose(smooth(line)[:, 1], 2.0 * smooth(line)[:, 0], atol=1e-12)

    def test_ellipse(self):
        outline = ellipse(1.0, -2.0, 3.0, 0.5)
        np.testing.assert_allclose(
            ((outline - (1.0, -2.0)) ** 2 / (9.0, 0.25)).sum(1), 1.0, atol=1e-12
        )


class TestActionUnits:
    @pytest.mark.parametrize(
        ('name', 'core'),
        [
            ('surprise', (1, 2, 5, 26)),
            ('fear', (1, 2, 4, 5, 20)),
            ('disgust', (9, 15, 16)),
            ('happiness', (6, 12)),
            ('sadness', (1, 4, 15)),
            ('anger', (4, 5, 7, 23)),
            ('neutral', ()),
        ],
    )
    def test_table(self, name, core):
        assert PROTOTYPES[name].core == core
        assert {*PROTOTYPES[name].optional, *core} <= set(ACTION_UNITS)
        assert not set(PROTOTYPES[name].optional) & set(core)

    def test_every_expression_has_its_own_units(self):
        assert tuple(PROTOTYPES) == EXPRESSIONS
        assert len({prototype.core for prototype in PROTOTYPES.values()}) == 7

    def test_core_units_follow_the_intensity_and_others_stay_faint(self):
        intensities = []
        for seed in range(60):
            units, intensity = sample_action_units(NUMBER['happiness'], np.random.default_rng(seed))
            intensities.append(intensity)
            assert units.shape == (ROWS, 2)
            assert (units[[6, 12]] >= 0.75 * 0.7 * intensity).all()
            assert (units[[6, 12]] <= 1.15 * 1.3 * intensity).all()
            assert units[[1, 2, 4, 9, 15]].max() < 0.11
        assert WEAKEST <= min(intensities) < 0.58
        assert 0.9 < max(intensities) <= 1.0

    def test_sides_differ(self):
        units, _ = sample_action_units(NUMBER['anger'], np.random.default_rng(3))
        assert (units[[4, 5, 7, 23], 0] != units[[4, 5, 7, 23], 1]).all()

    def test_neutral_has_no_intensity(self):
        units, intensity = sample_action_units(NUMBER['neutral'], np.random.default_rng(0))
        assert intensity == 0.0
        assert units.max() < 0.11

    @pytest.mark.parametrize('number', [-1, 7])
    def test_unknown_expression(self, number):
        with pytest.raises(InputError, match=f'expression {number} does not exist; give 0 to 6'):
            sample_action_units(number, np.random.default_rng(0))


class TestLandmarks:
    """y points down, so a raised landmark has a smaller y."""

    @pytest.mark.parametrize('seed', range(5))
    def test_mouth_corners(self, seed):
        rest, smile, frown = marks(seed=seed), marks(12, seed=seed), marks(15, seed=seed)
        rise = rest.mouth_corner[:, 1] - smile.mouth_corner[:, 1]
        np.testing.assert_allclose(rise, 0.16, atol=1e-9)
        assert (np.abs(smile.mouth_corner[:, 0]) > np.abs(rest.mouth_corner[:, 0])).all()
        assert (frown.mouth_corner[:, 1] > rest.mouth_corner[:, 1]).all()

    def test_lip_stretcher_widens_and_tightener_narrows(self):
        width = [np.ptp(m.mouth_corner[:, 0]) for m in (marks(23), marks(), marks(20))]
        assert width[0] < width[1] < width[2]

    @pytest.mark.parametrize('seed', range(5))
    def test_brows(self, seed):
        rest, raised = marks(seed=seed).brow, marks(1, 2, seed=seed).brow
        lowered, oblique = marks(4, seed=seed).brow, marks(1, 4, seed=seed).brow
        assert (raised[..., 1] < rest[..., 1]).all()
        assert (lowered[..., 1] > rest[..., 1]).all()
        assert np.ptp(lowered[0, :, 0]) < np.ptp(rest[0, :, 0])
        assert (oblique[0, :, 1] < rest[0, :, 1]).all()  # 1+4: inner ends up, outer ends not
        assert (oblique[2, :, 1] >= rest[2, :, 1]).all()

    def test_jaw_opens_mouth_and_lowers_chin(self):
        assert marks().mouth_open == 0.0
        assert marks(26).mouth_open == pytest.approx(0.31)
        assert marks(26).chin_y - marks().chin_y == pytest.approx(0.26)
        assert marks(26, strength=0.5).mouth_open < marks(26).mouth_open

    def test_lids(self):
        assert (marks(5).upper_lid > marks().upper_lid).all()
        assert (marks(6).lower_lid < marks().lower_lid).all()
        assert (marks(7).upper_lid < marks().upper_lid).all()
        assert (marks(6, 7, 9).upper_lid > 0).all()

    def test_nose_wrinkler_lifts_nostrils(self):
        assert (marks(9).nostril[:, 1] < marks().nostril[:, 1]).all()

    def test_one_side_alone(self):
        table = np.zeros((ROWS, 2))
        table[12, 1] = 1.0
        left, right = place(subject(), table).mouth_corner - marks().mouth_corner
        np.testing.assert_allclose(left, 0.0, atol=1e-12)
        np.testing.assert_allclose(right, [0.11, -0.16], atol=1e-9)


class TestIdentity:
    def test_stays_in_its_ranges_and_covers_the_choices(self):
        people = [subject(seed) for seed in range(200)]
        for name, (low, high) in RANGES.items():
            values = [person.shape[name] for person in people]
            assert low <= min(values) < max(values) <= high
        assert {person.hair_style for person in people} == set(HAIR_STYLES)
        assert {person.beard for person in people} == set(BEARDS)
        skin = np.array([person.skin.mean() for person in people])
        assert skin.min() < 90
        assert skin.max() > 200

    def test_same_state_same_subject(self):
        assert subject(4).shape == subject(4).shape
        assert subject(4).shape != subject(5).shape


class TestScene:
    def test_studio_is_tame_and_wild_is_not(self):
        def draw(domain):
            return [sample_scene(domain, np.random.default_rng(seed)) for seed in range(100)]

        studio, wild = draw('studio'), draw('wild')
        assert max(abs(scene.yaw) for scene in studio) <= np.deg2rad(4)
        assert np.deg2rad(18) < max(abs(scene.yaw) for scene in wild) <= np.deg2rad(22)
        assert not any(scene.occluder or scene.clutter or scene.quality for scene in studio)
        assert 8 < sum(bool(scene.occluder) for scene in wild) < 35
        assert all(40 <= scene.quality <= 92 for scene in wild)
        assert {round(float(np.linalg.norm(scene.light)), 9) for scene in wild} == {1.0}

    def test_turning_moves_the_nose_but_keeps_the_outline(self):
        scene = sample_scene('studio', np.random.default_rng(0))
        straight = scene.__class__(**{**vars(scene), 'yaw': 0.0, 'pitch': 0.0, 'roll': 0.0})
        turned = scene.__class__(**{**vars(straight), 'yaw': np.deg2rad(30)})
        points, hold = np.array([(0.0, 0.0), (1.0, 0.0)]), np.array([1.0, 0.0])
        before, after = project(points, hold, straight), project(points, hold, turned)
        unit = FACE_SIZE * scene.scale
        assert (after - before)[0, 0] == pytest.approx(0.45 * unit)
        assert abs((after - before)[1, 0]) < 0.05 * unit

    def test_light_from_the_right_brightens_the_right(self):
        scene = sample_scene('wild', np.random.default_rng(0))
        lit = scene.__class__(**{**vars(scene), 'light': np.array([0.8, 0.0, 0.6]), 'yaw': 0.0})
        shade = shading(64, lit)
        assert shade.shape == (64, 64)
        assert shade[:, 40:].mean() > 1.2 * shade[:, :24].mean()

    def test_mix(self):
        assert mix((0, 100, 200), (100, 0, 200), 0.25) == (25, 75, 200)


class TestRender:
    @pytest.mark.parametrize('domain', DOMAINS)
    def test_is_deterministic_and_every_argument_matters(self, domain):
        def draw(expression=3, size=48, subject_seed=5, sample_seed=2):
            return render(
                expression, domain, size=size, subject_seed=subject_seed, sample_seed=sample_seed
            )

        image = draw()
        assert (image.shape, image.dtype) == ((48, 48, 3), np.uint8)
        np.testing.assert_array_equal(image, draw())
        for other in (draw(expression=4), draw(subject_seed=6), draw(sample_seed=3)):
            assert np.abs(image.astype(int) - other).mean() > 0.3
        assert draw(size=33).shape == (33, 33, 3)

    @pytest.mark.parametrize('domain', DOMAINS)
    def test_all_expressions_of_many_subjects_draw(self, domain):
        for seed in range(21):
            image = render(seed % 7, domain, size=32, subject_seed=seed, sample_seed=seed)
            assert image.std() > 8

    def test_formats(self):
        kinds = {}
        for domain in DOMAINS:
            data, _ = render_encoded(0, domain, size=32, subject_seed=0, sample_seed=0)
            with Image.open(io.BytesIO(data)) as image:
                kinds[domain] = (image.format, image.mode)
        assert kinds == {
            **dict.fromkeys(('studio', 'sketch', 'infrared'), ('PNG', 'RGB')),
            'wild': ('JPEG', 'RGB'),
        }

    def test_grey_domains_are_grey_and_the_others_are_not(self):
        for domain in DOMAINS:
            image = render(3, domain, size=48, subject_seed=1, sample_seed=1).astype(int)
            spread = np.ptp(image, axis=-1).max()
            assert (spread == 0) == (domain in ('sketch', 'infrared'))

    def test_sketch_is_bright_and_infrared_background_dark(self):
        sketch = render(0, 'sketch', size=48, subject_seed=0, sample_seed=0)
        infrared = render(0, 'infrared', size=48, subject_seed=0, sample_seed=0)
        assert np.median(sketch) > 200
        assert infrared[:6, :6].mean() < 80 < infrared[16:32, 16:32].mean()

    def test_unknown_domain(self):
        with pytest.raises(InputError, match="domain 'oil' does not exist; choose one of studio"):
            render(0, 'oil', size=32, subject_seed=0, sample_seed=0)

    def test_too_small(self):
        with pytest.raises(InputError, match='size 15 is too small to draw a face; give at least'):
            render(0, 'wild', size=15, subject_seed=0, sample_seed=0)


class TestContactSheet:
    def test_size_and_file(self, tmp_path):
        path = tmp_path / 'sheet.png'
        main([str(path), '--size', '24'])
        with Image.open(path) as image:
            assert image.size == (84 + 7 * 28, 28 + 8 * 28)
            np.testing.assert_array_equal(np.asarray(image), np.asarray(contact_sheet(24)))


class TestCorpus:
    def test_subjects_are_disjoint_between_splits_and_domains(self):
        seen = [
            {faces.subject_number(domain, split, index) for index in range(count)}
            for domain in DOMAINS
            for split, count in (('train', 2800), ('test', 700))
        ]
        assert [len(numbers) for numbers in seen] == [200, 50] * 4
        assert len(set().union(*seen)) == sum(map(len, seen))

    def test_labels_are_balanced(self):
        config = faces.FacesConfig(name='sketch', size=16)
        records = [faces.example(config, 'test', index) for index in range(28)]
        assert np.bincount([record['label'] for record in records]).tolist() == [4] * 7
        assert len({record['file'] for record in records}) == 28
        assert len({record['image'] for record in records}) == 28
        assert [record['subject'] for record in records] == ['s5000000'] * 14 + ['s5000001'] * 14
        assert records[3]['file'] == 'sketch/test/s5000000_000003_happiness.png'

    def test_seed_changes_the_images(self):
        first, second = (
            faces.example(faces.FacesConfig(name='wild', size=32, seed=seed), 'train', 0)
            for seed in (0, 1)
        )
        assert first['image'] != second['image']
        assert first['file'] == second['file'] == 'wild/train/s2000000_000000_surprise.jpg'

    @pytest.mark.parametrize('domain', ['wild', 'infrared'])
    def test_builds_and_reads_back(self, domain, tmp_path):
        builder = faces.make_builder(domain, data_dir=str(tmp_path), size=20, train=14, test=14)
        builder.download_and_prepare()
        assert builder.info.full_name == f'synthetic_faces/{domain}/1.1.0'
        assert dict(builder.info.metadata) == {'size': 20, 'train': 14, 'test': 14, 'seed': 0}
        subjects = []
        for split in faces.SPLITS:
            records = list(builder.as_data_source(split=split))
            assert sorted(record['label'] for record in records) == sorted([*range(7)] * 2)
            subjects.append({record['subject'] for record in records})
            for record in records:
                assert record['image'].shape == (20, 20, 3)
                assert EXPRESSIONS[record['label']] in record['file'].decode()
                assert (record['intensity'] == 0) == (EXPRESSIONS[record['label']] == 'neutral')
        assert not subjects[0] & subjects[1]

    def test_options_are_the_config_fields(self):
        config = faces.FacesConfig(name='studio')
        for name, (kind, default, text) in faces.options().items():
            assert getattr(config, name) == default
            assert isinstance(default, kind)
            assert text
        assert [config.name for config in faces.Builder.BUILDER_CONFIGS] == list(DOMAINS)

    def test_no_name_means_studio(self, tmp_path):
        assert faces.make_builder(None, data_dir=str(tmp_path)).builder_config.name == 'studio'

    @pytest.mark.parametrize(
        ('name', 'values', 'message'),
        [
            ('oil', {}, "domain 'oil' does not exist"),
            ('wild', {'colour': 1}, 'no option colour; it has size, train, test, seed'),
            ('wild', {'size': 8}, 'size=8 is too small'),
            ('wild', {'test': 0}, 'test=0 images; give 1 to 14000000'),
            ('wild', {'seed': -1}, 'seed=-1 is negative'),
        ],
    )
    def test_wrong_options(self, name, values, message, tmp_path):
        with pytest.raises(InputError, match=message):
            faces.make_builder(name, data_dir=str(tmp_path), **values)
