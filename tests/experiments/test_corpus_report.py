import base64
import csv
import html.parser
import io
import re

import pytest
from absl import flags
from PIL import Image

from data_builders import preparing
from data_builders.synthetic_faces.render import render
from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import EXPRESSIONS
from experiments import corpus_page, corpus_report, prepare


def run(*args):
    values = flags.FlagValues()
    prepare.define_flags(values)
    prepare.main(values(['prepare.py', *args]), values)


def face(i):
    return Image.fromarray(render(i % 7, 'studio', size=48, subject_seed=i, sample_seed=i))


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """`image_list/a` and `/b`; a file name of a is an attack on the page."""
    root = tmp_path_factory.mktemp('report')
    names = {'a': ['<b>&0.png', '1.png', '2.png', '1.jpg'], 'b': ['2.png', '9.png']}
    for corpus, files in names.items():
        (root / corpus).mkdir()
        lines = ['file,label,person']
        for name in files:
            number = int(re.search(r'\d', name)[0])
            face(number).save(root / corpus / name, quality=95)
            label = 'anger' if name.endswith('jpg') else EXPRESSIONS[number % 7]
            lines.append(f'{name},{label},p{number}')
        (root / corpus / 'list.csv').write_text('\n'.join(lines))
        options = preparing.typed_options(
            'image_list', {'test_fraction': '0', 'subject_column': 'person'}
        )
        preparing.prepare(
            f'image_list/{corpus}', options, data_dir=root / 'data', manual_dir=root / corpus
        )
    return root / 'data'


class Page(html.parser.HTMLParser):
    """Cells of tables, pictures, and whether every tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.cells, self.sources, self.words = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == 'img':
            self.sources.append(dict(attrs)['src'])
        elif tag != 'meta':
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if self.open and self.open[-1] in ('td', 'th'):
            self.cells.append(data)


class TestCommand:
    def test_page_pictures_and_list_of_copies(self, data, capsys):
        run('--corpus=image_list/a', '--report', '--against=image_list/b', f'--data_dir={data}')
        folder = data / 'image_list/a/1.0.0/report'
        assert capsys.readouterr().out.splitlines() == [
            'looked at 4 images',
            'copies within it: train-train 1 (1 with different labels)',
            'copies with image_list/b: train-train 1 (0 with different labels)',
            f'report: {folder}/index.html',
        ]
        assert sorted(path.name for path in folder.iterdir()) == [
            'classes.png', 'copies.csv', 'copies.png', 'copies_image_list_b.png', 'index.html',
        ]  # fmt: skip
        with (folder / 'copies.csv').open(newline='') as file:
            rows = list(csv.DictReader(file))
        assert {frozenset((r['file'], r['other file'])) for r in rows} == {
            frozenset(('train/1.png', 'train/1.jpg')),
            frozenset(('train/2.png',)),
        }
        assert [r['identical'] for r in rows] == ['no', 'yes']

    def test_page_stands_alone(self, data):
        page, _ = corpus_report.write('image_list/a', data_dir=str(data))
        text = page.read_text()
        found = Page(text)
        assert found.open == []
        assert 'http' not in text.replace('http-equiv', '')
        assert len(found.sources) == 2
        for source in found.sources:
            kind, _, code = source.partition(',')
            assert kind == 'data:image/png;base64'
            Image.open(io.BytesIO(base64.b64decode(code))).verify()

    def test_counts_are_in_the_page(self, data):
        page, _ = corpus_report.write('image_list/a', data_dir=str(data))
        cells = Page(page.read_text()).cells
        at = cells.index('train')
        counts = [0] * 7
        for word in (EXPRESSIONS[0], EXPRESSIONS[1], EXPRESSIONS[2], 'anger'):
            counts[EXPRESSIONS.index(word)] += 1
        assert cells[at + 1 : at + 10] == [*map(str, counts), '4', '3']

    def test_other_folder_and_nothing_left_of_an_older_report(self, data, tmp_path):
        (tmp_path / 'copies_old.png').touch()
        (tmp_path / 'copies.csv').touch()
        run('--corpus=image_list/b', '--report', f'--report_dir={tmp_path}', f'--data_dir={data}')
        assert sorted(path.name for path in tmp_path.iterdir()) == ['classes.png', 'index.html']

    def test_a_corpus_without_labels(self, data, tmp_path, capsys):
        for name in ('1.png', '2.png', 'a/1.jpg'):
            (tmp_path / 'raw/a').mkdir(parents=True, exist_ok=True)
            face(int(re.search(r'\d', name)[0])).save(tmp_path / 'raw' / name, quality=95)
        options = preparing.typed_options('image_list', {'labels': 'none'})
        preparing.prepare('image_list/camera', options, data_dir=data, manual_dir=tmp_path / 'raw')
        out = tmp_path / 'report'
        run('--corpus=image_list/camera', '--report', f'--report_dir={out}',
            '--against=image_list/a', f'--data_dir={data}')  # fmt: skip
        assert (
            'copies within it: train-train 1 (0 with different labels)' in capsys.readouterr().out
        )
        page = Page((out / 'index.html').read_text())
        assert 'This corpus has no labels.' in page.words
        at = page.cells.index('images')
        assert page.cells[at - 1 : at + 5] == ['split', 'images', 'persons', 'train', '3', '-']
        assert not set(EXPRESSIONS) & set(page.cells)
        with (out / 'copies.csv').open() as file:
            rows = list(csv.DictReader(file))
        assert {row['label'] for row in rows} == {''}
        assert 'anger' in {row['other label'] for row in rows}
        with Image.open(out / 'classes.png') as sheet:
            assert sheet.height == 2 * 76 + 18 + 4  # one group of two rows

    def test_prepares_what_is_not_there_yet(self, tmp_path, capsys):
        run('--corpus=synthetic_faces', '--report', f'--data_dir={tmp_path}',
            '--set=train=7', '--set=test=7', '--set=size=32')  # fmt: skip
        out = capsys.readouterr().out
        assert 'lies in' in out
        assert 'looked at 14 images' in out

    @pytest.mark.parametrize(
        ('args', 'message'),
        [
            (('--report', '--against=image_list/a'), 'is the corpus itself'),
            (('--report', '--against=nope'), "no corpus 'nope'"),
            (('--against=image_list/b',), 'do nothing without --report'),
            (('--align_size=64',), '--align_size does nothing without --align'),
        ],
    )
    def test_mistakes(self, data, args, message):
        with pytest.raises(InputError, match=message):
            run('--corpus=image_list/a', f'--data_dir={data}', *args)


class TestParts:
    def test_text_is_escaped(self):
        assert corpus_page.table(['<a>', 'n'], [['b & c', 3]]) == (
            '<div class="wide"><table><tr><th>&lt;a&gt;</th><th class="number">n</th></tr>\n'
            '<tr><td>b &amp; c</td><td class="number">3</td></tr></table></div>'
        )

    def test_bars_are_in_proportion(self):
        svg = corpus_page.bars({'one': 10, 'two': 5, 'three': 0}, width=320)
        assert re.findall(r'class="bar" x="130" y="\d+" width="([\d.]+)"', svg) == [
            '100.0', '50.0', '0.0',
        ]  # fmt: skip
