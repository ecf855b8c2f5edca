"""What a list keeps in memory for each of its images: names, not pictures."""

import tracemalloc

from data_builders import common, preparing
from data_builders.image_list import found, lists

IMAGES = 2000


def listed(root):
    (root / 'images').mkdir()
    lines = ['image,label']
    for number in range(IMAGES):
        name = f'images/person{number // 20:04d}_{number:06d}.png'
        (root / name).write_bytes(b'%d' % number * 3000)
        lines.append(f'{name},{number % 7}')
    (root / 'list.csv').write_text('\n'.join(lines))
    return root / 'list.csv'


def index(path, drops):
    options = preparing.typed_options('image_list', {})
    entries = found.merge(lists.read(path, options), drops)
    items = found.locate(entries, [path.parent], path, drops)
    items = found.with_subjects(items, r'(person\d+)_', path)
    return found.same_pictures(items, drops)


def test_an_image_of_a_list_takes_some_hundred_bytes(tmp_path):
    path, drops = listed(tmp_path), common.Drops()
    tracemalloc.start()
    try:
        items = index(path, drops)
        left, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(items) == IMAGES
    assert len(drops) == 0
    assert left < 450 * IMAGES
    assert most < 900 * IMAGES  # each picture has some 10,000 bytes
