"""Rar archives: written here by hand, stored; read by each program that is installed."""

import pathlib
import shutil
import struct
import subprocess
import zlib

import pytest

from data_builders import archives, programs, trees, unpacking
from dmsrl_jax.errors import InputError

FILES = {
    'wrap/Sad/face 1.png': b'x' * 5000,
    'wrap/list.txt': b'face 1.png 4\n',
    'plain.bin': bytes(range(256)) * 40,
}
READERS = [program for program in programs.PROGRAMS if '.rar' in program.kinds]


def rar4(files: dict[str, bytes]) -> bytes:
    """An archive of RAR 2.9 to 4: a marker, a head, and one block for each file."""

    def block(kind: int, flags: int, body: bytes, data: bytes = b'') -> bytes:
        head = struct.pack('<BHH', kind, flags, 7 + len(body)) + body
        return struct.pack('<H', zlib.crc32(head) & 0xFFFF) + head + data

    out = b'Rar!\x1a\x07\x00' + block(0x73, 0, bytes(6))
    for name, data in files.items():
        word = name.replace('/', '\\').encode()
        check, size = zlib.crc32(data), len(data)
        fields = (size, size, 3, check, 0x58210000, 20, 0x30, len(word), 0o100644)
        out += block(0x74, 0x8000, struct.pack('<IIBIIBBHI', *fields) + word, data)
    return out + block(0x7B, 0x4000, b'')


def number(value: int) -> bytes:
    """A number of RAR 5: seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def rar5(files: dict[str, bytes]) -> bytes:
    """An archive of RAR 5 and later."""

    def block(kind: int, body: bytes, data: bytes | None = None) -> bytes:
        area = number(0) if data is None else number(2) + number(len(data))
        head = number(kind) + area + body
        head = number(len(head)) + head
        return struct.pack('<I', zlib.crc32(head)) + head + (data or b'')

    out = b'Rar!\x1a\x07\x01\x00' + block(1, number(0))
    for name, data in files.items():
        word = name.encode()
        body = number(4) + number(len(data)) + number(0o100644)
        body += struct.pack('<I', zlib.crc32(data)) + number(0) + number(1)
        out += block(2, body + number(len(word)) + word, data)
    return out + block(5, number(0))


def opened(path: pathlib.Path, password: str = '') -> archives.Archive:
    scratch = unpacking.Scratch(path.parent / 'scratch')
    return archives.open_archive(path, scratch=scratch, password=password)


def content(archive: archives.Archive) -> dict[str, bytes]:
    found = {}
    for name in archive.names():
        with archive.open(name) as file:
            found[name] = file.read()
    return found


@pytest.fixture(params=[rar4, rar5], ids=['rar4', 'rar5'])
def path(request, tmp_path):
    (tmp_path / 'faces.rar').write_bytes(request.param(FILES))
    return tmp_path / 'faces.rar'


def knows_rar(program: str) -> bool:
    """False for a 7-Zip without it: the small 7za, and 7zz of Debian's main archive."""
    if not program.startswith('7z'):
        return True
    formats = subprocess.run([program, 'i'], capture_output=True, text=True, check=True)
    return ' Rar ' in formats.stdout


class TestPrograms:
    @pytest.mark.parametrize('program', READERS, ids=lambda program: program.name)
    def test_alone(self, path, monkeypatch, program):
        monkeypatch.setattr(programs, 'PROGRAMS', (program,))
        try:
            programs.installed(path)
        except InputError:
            pytest.skip(f'{program.name} is not installed')
        if not knows_rar(program.name):
            pytest.skip(f'{program.name} was built without rar')
        assert content(opened(path)) == FILES

    def test_none_is_installed(self, path, monkeypatch):
        monkeypatch.setattr(shutil, 'which', lambda _: None)
        with pytest.raises(
            InputError, match='install one of 7z, 7zz, 7za, unrar, unar, bsdtar; or'
        ):
            opened(path)

    def test_the_free_unrar_of_debian_is_none(self, path, tmp_path, monkeypatch):
        (tmp_path / 'unrar-free').write_text('#!/bin/sh\n')
        (tmp_path / 'unrar-free').chmod(0o755)
        (tmp_path / 'unrar').symlink_to(tmp_path / 'unrar-free')
        monkeypatch.setenv('PATH', str(tmp_path))
        with pytest.raises(InputError, match='needs a program'):
            opened(path)


def test_in_a_folder_of_a_user(path):
    try:
        found = programs.installed(path)
    except InputError:
        found = []
    if not any(knows_rar(program.name) for program in found):
        pytest.skip('no program for rar is installed')
    tree = trees.Tree(path.parent, scratch=path.parent / 'scratch')
    assert set(FILES) <= set(tree.files())
    assert tree.read('wrap/Sad/face 1.png') == FILES['wrap/Sad/face 1.png']


class TestOneAfterTheOther:
    """Scripts stand for programs: the first one lists, but does not unpack."""

    @pytest.fixture
    def path(self, tmp_path, monkeypatch):
        fails = 'touch "${4#-o}/rubbish"; echo "ERROR: Unsupported Method : a.txt"; exit 2'
        script(tmp_path / 'bin/7z', f'[ $1 = l ] && echo "Path = a.txt" && exit\n{fails}')
        script(tmp_path / 'bin/bsdtar', 'printf two > "$6/a.txt"')
        monkeypatch.setenv('PATH', f'{tmp_path / "bin"}:/bin:/usr/bin')
        names = ('7z', 'bsdtar')
        few = tuple(program for program in programs.PROGRAMS if program.name in names)
        monkeypatch.setattr(programs, 'PROGRAMS', few)
        (tmp_path / 'x.rar').write_bytes(b'Rar!')
        return tmp_path / 'x.rar'

    def test_the_next_one_is_asked(self, path):
        archive = opened(path)
        assert content(archive) == {'a.txt': b'two'}
        assert [p.name for p in archive.unpack().iterdir()] == ['a.txt']

    def test_all_fail(self, path):
        script(path.parent / 'bin/bsdtar', 'echo broken; exit 1')
        with pytest.raises(InputError) as error:
            content(opened(path))
        assert f'7z could not open {path}: ERROR: Unsupported Method : a.txt; ' in str(error.value)
        assert f'bsdtar could not open {path}: broken; not every program' in str(error.value)

    def test_not_encrypted_is_not_taken_for_a_password(self, path):
        script(path.parent / 'bin/bsdtar', 'echo "Encrypted = -"; exit 1')
        with pytest.raises(InputError, match='could not open'):
            content(opened(path))

    def test_a_password_that_does_not_help(self, path):
        script(path.parent / 'bin/bsdtar', 'echo "Encryption is not supported"; exit 1')
        with pytest.raises(InputError, match='pass --set password'):
            content(opened(path))
        with pytest.raises(InputError, match='is wrong, or 7z, bsdtar cannot decrypt it'):
            content(opened(path, 'geheim'))


def script(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'#!/bin/sh\n{text}\n')
    path.chmod(0o755)


def test_listing_of_unar():
    entry = '{"XADFileName": "%s", "%s": 1}'
    text = '{"lsarContents": [%s]}'
    files = ', '.join([entry % ('a', 'XADIsDirectory'), entry % ('a/ü.png', 'XADIndex')])
    assert programs._json(text % files, pathlib.Path('x.rar')) == ['a/', 'a/ü.png']
    with pytest.raises(InputError, match=r'x\.rar holds a link, up'):
        programs._json(text % (entry % ('up', 'XADIsLink')), pathlib.Path('x.rar'))


def test_folders_in_a_plain_listing():
    assert programs._plain('a\na/b\na/b/c.png\n', pathlib.Path('x.rar')) == [
        'a/',
        'a/b/',
        'a/b/c.png',
    ]
