"""Prepares a corpus: `python experiments/prepare.py --corpus NAME [--manual_dir DIR]`.

python experiments/prepare.py --list                         # the corpora that can be prepared
python experiments/prepare.py --corpus image_list --help_corpus
python experiments/prepare.py --corpus fer2013 --manual_dir downloads/fer2013
python experiments/prepare.py --corpus image_list/mine --manual_dir photos --align --workers 4
python experiments/prepare.py --corpus image_list/mine --report --against fer2013
python experiments/prepare.py --corpus synthetic_faces/wild --set train=500 --set test=100
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from absl import flags, logging

from dmsrl_jax.data import corpora, faces
from dmsrl_jax.errors import InputError
from experiments import cli
from experiments.prepare_text import help_text, listing, next_command, summary


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of this command (not at import: other commands use the same names)."""
    text, switch = flags.DEFINE_string, flags.DEFINE_bool
    text('corpus', None, '<corpus> or <corpus>/<config>; see --list.', flag_values=values)
    text('manual_dir', None, 'Folder with the files that you obtained.', flag_values=values)
    text('data_dir', None, 'Where prepared corpora lie (default: $DMSRL_DATA_DIR, else '
         '~/.cache/dmsrl_jax/corpora).', flag_values=values)  # fmt: skip
    flags.DEFINE_multi_string('set', [], 'Option of the builder: key=value.', flag_values=values)
    switch('overwrite', False, 'Replace the corpus if it is there.', flag_values=values)
    switch('strict', False, 'End with an error if the corpus is not complete (a count that is '
           'certain differs).', flag_values=values)  # fmt: skip
    flags.DEFINE_integer('workers', 0, 'Processes that read, draw and cut; 0: none beside this '
                         'one.', lower_bound=0, flag_values=values)  # fmt: skip
    text('beam_pipeline_options', '', 'Build through Apache Beam with these options, such as '
         'runner=DirectRunner,direct_num_workers=4,direct_running_mode=multi_processing.',
         flag_values=values)  # fmt: skip
    _define_align_flags(values)
    switch('report', False, 'Write a page with counts, sizes, sheets of images, and pictures that '
           'occur twice.', flag_values=values)  # fmt: skip
    flags.DEFINE_multi_string('against', [], 'Another prepared corpus in which the report looks '
                              'for the same pictures.', flag_values=values)  # fmt: skip
    text('report_dir', None, 'Where the report goes (default: report/ in the folder of the '
         'prepared corpus).', flag_values=values)  # fmt: skip
    switch('list', False, 'List the corpora and stop.', flag_values=values)
    switch('help_corpus', False, "Print the corpus's README and options.", flag_values=values)


def _define_align_flags(values: flags.FlagValues) -> None:
    choice = functools.partial(flags.DEFINE_enum, flag_values=values)
    flags.DEFINE_bool('align', False, 'Find the face in each image, bring its eyes, nose and mouth '
                      'to fixed places and keep that (docs/alignment.md).',
                      flag_values=values)  # fmt: skip
    flags.DEFINE_integer('align_size', 112, 'Side of the cut faces in pixels.', flag_values=values)
    flags.DEFINE_string('align_detector', 'yunet', 'yunet, mtcnn, or yunet:FILE with an ONNX file '
                        'of your own.', flag_values=values)  # fmt: skip
    choice('align_no_face', 'centre', ['centre', 'drop'], 'An image without a face: keep its '
           'centre, or leave it out.')  # fmt: skip
    choice('align_several', 'largest', ['largest', 'central'], 'Which of several faces counts.')
    choice('align_encoding', 'png', ['png', 'jpeg'], 'How faces are stored: exactly, or in a third '
           'of the space.')  # fmt: skip


def align_settings(flag: dict[str, Any]) -> faces.Settings | None:
    """The settings of `--align`, or None without it.

    Raises:
        InputError: settings without `--align`, or one out of range.
    """
    given = {
        field.name: flag[f'align_{field.name}'] for field in dataclasses.fields(faces.Settings)
    }
    if flag['align']:
        return faces.Settings(**given)
    default = faces.Settings()
    for name, value in given.items():
        if value != getattr(default, name):
            raise InputError(f'--align_{name} does nothing without --align')
    return None


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """Prepares one corpus, lists all, or prints the help of one."""
    if len(argv) > 1:
        raise InputError(f'unexpected arguments: {" ".join(argv[1:])}; see --help')
    logging.set_verbosity(logging.WARNING)  # the library tells its every step at INFO
    flag = values.flag_values_dict()
    if flag['list']:
        print(listing(flag['data_dir']))
        return
    if not flag['corpus']:
        raise InputError(f'pass --corpus NAME, one of {", ".join(corpora.registered())}')
    if flag['help_corpus']:
        print(help_text(flag['corpus']))
        return
    if not flag['report'] and (flag['against'] or flag['report_dir']):
        raise InputError('--against and --report_dir do nothing without --report')
    if not (flag['report'] and is_prepared(flag)):
        build(flag)
    if flag['report']:
        print_report(flag)


def is_prepared(flag: dict[str, Any]) -> bool:
    """Whether the corpus is there and nothing is said about how to build it."""
    how = ('manual_dir', 'set', 'align', 'overwrite', 'strict', 'beam_pipeline_options')
    if any(flag[name] for name in how):
        return False
    try:
        corpora.find(flag['corpus'], flag['data_dir'])
    except InputError:
        return False
    return True


def build(flag: dict[str, Any]) -> None:
    """Prepares a corpus and prints what was found."""
    from data_builders import preparing

    align = align_settings(flag)
    options = preparing.typed_options(flag['corpus'], parse_settings(flag['set']))
    folder, report, new = preparing.prepare(
        flag['corpus'],
        options,
        data_dir=flag['data_dir'],
        manual_dir=flag['manual_dir'],
        overwrite=flag['overwrite'],
        strict=flag['strict'],
        progress=preparing.Progress,
        align=align,
        workers=flag['workers'],
        beam=flag['beam_pipeline_options'],
    )
    if not new:
        print('already prepared with these options')
    print(summary(folder, report))
    print(next_command(report.get('corpus', flag['corpus']), flag['data_dir']))


def print_report(flag: dict[str, Any]) -> None:
    """Writes the report of a prepared corpus and prints its findings and where it lies."""
    from experiments import corpus_report

    page, lines = corpus_report.write(
        flag['corpus'],
        against=flag['against'],
        data_dir=flag['data_dir'],
        folder=flag['report_dir'],
        workers=flag['workers'],
    )
    print('\n'.join([*lines, f'report: {page}']))


def parse_settings(texts: Sequence[str]) -> dict[str, str]:
    """Splits `key=value` texts.

    Raises:
        InputError: a text without `=`, or a key given twice.
    """
    settings: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition('=')
        if not equals or not key.strip():
            raise InputError(f'--set takes key=value, got {text!r}')
        if key.strip() in settings:
            raise InputError(f'--set {key.strip()} is given twice')
        settings[key.strip()] = value.strip()
    return settings


if __name__ == '__main__':
    define_flags()
    cli.run(main)
