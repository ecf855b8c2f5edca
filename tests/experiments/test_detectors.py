import numpy as np
import pytest
from absl import flags
from PIL import Image

from dmsrl_jax.data import faces, images
from dmsrl_jax.errors import InputError
from experiments import detectors


def face(shift=0.0):
    points = tuple((10.0 * i + shift, 5.0 * i) for i in range(5))
    return faces.Face((0.0, 0.0, 50.0, 50.0), points, 1.0)


class TestNumbers:
    def test_describe(self):
        found = [([face()], 1), ([face(), face()], 2), ([], 2), ([face()], 1)]
        assert detectors.describe(found, 2.0) == (
            'a face in 3 of 4 (75.00 %), 1 of them only with a border; several in 1; 2.0 pictures '
            'per second of one processor'
        )

    def test_agreement_is_in_distances_between_the_eyes(self):
        between = float(np.hypot(10, 5))
        a = [([face()], 1), ([face()], 1), ([], 2)]
        b = [([face(between)], 1), ([face(between)], 1), ([face()], 1)]
        assert detectors.agreement(a, b).startswith('landmarks 1.000 of the distance')
        assert 'median of 2 pictures' in detectors.agreement(a, b)
        assert detectors.agreement([([], 2)], [([], 2)]).startswith('no picture in which both')

    def test_spread(self):
        assert detectors.spread(list(range(10)), 3) == [0, 3, 6]
        assert detectors.spread([1, 2], 0) == detectors.spread([1, 2], 5) == [1, 2]


class TestCommand:
    def test_table(self, tmp_path, capsys):
        pytest.importorskip('cv2', reason='needs the packages of the extra align')
        for i in range(3):
            Image.new('RGB', (60, 50), (i, 90, 90)).save(tmp_path / f'{i}.PNG')
        (tmp_path / 'note.txt').touch()
        values = flags.FlagValues()
        detectors.define_flags(values)
        detectors.main(values(['d', f'--images={tmp_path}', '--most=2']), values)
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f'2 pictures in {tmp_path}'
        assert lines[1].startswith('yunet: a face in 0 of 2 (0.00 %), 0 of them only')
        assert lines[3] == 'yunet and mtcnn: no picture in which both find landmarks'

    @pytest.mark.parametrize('args', [(), ('--images=x', 'y')])
    def test_arguments(self, args):
        values = flags.FlagValues()
        detectors.define_flags(values)
        with pytest.raises(InputError, match='pass --images DIR'):
            detectors.main(values(['d', *args]), values)

    def test_files_are_told_as_everywhere(self, tmp_path):
        for suffix in (*images.SUFFIXES, '.txt'):
            (tmp_path / f'a{suffix}').touch()
        assert [path.suffix for path in detectors.pictures(tmp_path)] == sorted(images.SUFFIXES)

    def test_empty_folder(self, tmp_path):
        with pytest.raises(InputError, match='no image files'):
            detectors.pictures(tmp_path)
