import io
import pathlib
import pickle
import shutil
import stat
import subprocess
import tarfile
import zipfile

import pytest

from data_builders import archives, limits, unpacking
from dmsrl_jax.errors import InputError

FILES = {'a/one.txt': 'one', 'a/b/two.bin': bytes(range(256)) * 40, 'three.txt': 'drei\r\n'}
TAILS = ['x.zip', 'x.tar', 'x.tar.gz', 'x.tgz', 'x.tar.bz2', 'x.tar.xz', 'x.tbz2', 'x.txz']


def opened(path, tmp_path, **options):
    scratch = unpacking.Scratch(tmp_path / 'scratch')
    return archives.open_archive(path, scratch=scratch, **options)


def content(archive):
    found = {}
    for name in archive.names():
        with archive.open(name) as file:
            found[name] = file.read()
    return found


def as_bytes(files):
    return {k: v.encode() if isinstance(v, str) else v for k, v in files.items()}


@pytest.mark.parametrize(
    ('name', 'kind'),
    [
        ('a.zip', 'zip'), ('A.ZIP', 'zip'), ('a.tar', 'tar'), ('a.tar.gz', 'packed'),
        ('a.tgz', 'packed'), ('a.tbz2', 'packed'), ('a.TBZ', 'packed'), ('a.txz', 'packed'),
        ('a.7z', 'foreign'), ('a.7z.001', 'foreign'), ('a.7z.002', ''),
        ('a.rar', 'foreign'), ('a.part1.rar', 'foreign'), ('a.part01.rar', 'foreign'),
        ('a.part2.rar', ''), ('a.part11.rar', ''), ('a.jpg', ''), ('zip', ''), ('a.zip.txt', ''),
        ('a.csv.gz', ''),
    ],
)  # fmt: skip
def test_kinds(name, kind):
    assert archives.kind_of(name) == kind


@pytest.mark.parametrize(
    ('name', 'further'),
    [
        ('d/a.7z.001', ['d/a.7z.002', 'd/a.7z.003']),
        ('d/A.part1.rar', ['d/a.part2.rar']),
        ('d/a.rar', ['d/a.r00']),
        ('d/a.zip', ['d/a.z01']),
        ('d/a.7z', []),
    ],
)
def test_volumes(name, further):
    names = ['d/a.7z', 'd/a.7z.001', 'd/a.7z.002', 'd/a.7z.003', 'a.7z.004', 'd/aa.7z.002']
    names += ['d/A.part1.rar', 'd/a.part2.rar', 'd/a.rar', 'd/a.r00', 'd/a.zip', 'd/a.z01']
    assert archives.volumes(name, names) == further


class TestReading:
    @pytest.mark.parametrize('name', TAILS)
    def test_same_content_of_all_kinds(self, layouts, tmp_path, name):
        archive = opened(layouts.pack(tmp_path / name, FILES), tmp_path)
        assert content(archive) == as_bytes(FILES)

    @pytest.mark.parametrize('name', TAILS[:3])
    def test_can_be_pickled(self, layouts, tmp_path, name):
        archive = opened(layouts.pack(tmp_path / name, FILES), tmp_path)
        content(archive)
        assert content(pickle.loads(pickle.dumps(archive))) == as_bytes(FILES)

    def test_zip_and_tar_are_read_in_place(self, layouts, tmp_path):
        for name in TAILS[:2]:
            content(opened(layouts.pack(tmp_path / name, FILES), tmp_path))
        assert not (tmp_path / 'scratch').exists()

    def test_unpacked_on_the_first_read_and_removed_in_the_end(self, layouts, tmp_path):
        archive = opened(layouts.pack(tmp_path / 'x.tgz', FILES), tmp_path)
        assert not (tmp_path / 'scratch').exists()
        content(archive)
        assert len(list((tmp_path / 'scratch').rglob('one.txt'))) == 1
        del archive
        assert list((tmp_path / 'scratch').iterdir()) == []

    def test_parts_of_a_tar_end_where_they_should(self, layouts, tmp_path):
        archive = opened(layouts.pack(tmp_path / 'x.tar', FILES), tmp_path)
        with archive.open('a/b/two.bin') as file:
            assert file.read(3) == b'\0\1\2'
            assert len(file.read()) == 256 * 40 - 3
            assert file.read() == b''


class TestSafety:
    @pytest.mark.parametrize(
        'name', ['../x', 'a/../../x', '/etc/x', 'C:/x', '\\x', 'a\\..\\..\\x', '..', 'a\0b']
    )
    def test_names_that_lead_out(self, name):
        with pytest.raises(InputError, match='leads out of the archive'):
            limits.safe_name(name, 'x.zip')

    @pytest.mark.parametrize(
        ('name', 'safe'),
        [
            ('./a/b.png', 'a/b.png'),
            ('a//b', 'a/b'),
            ('a\\b.png', 'a/b.png'),
            ('..a/b..', '..a/b..'),
        ],
    )
    def test_harmless_names(self, name, safe):
        assert limits.safe_name(name, 'x.zip') == safe

    @pytest.mark.parametrize('name', TAILS[:3])
    def test_archive_with_a_way_out_is_not_opened(self, layouts, tmp_path, name):
        path = layouts.pack(tmp_path / 'in' / name, FILES | {'../out.txt': 'evil'})
        with pytest.raises(InputError, match=r"'\.\./out\.txt', which leads out"):
            opened(path, tmp_path)
        assert not list(tmp_path.rglob('out.txt'))

    @pytest.mark.parametrize('name', ['x.tar', 'x.tgz'])
    def test_links_in_a_tar_are_passed_over(self, tmp_path, name):
        (tmp_path / 'secret').write_text('secret')
        with tarfile.open(tmp_path / name, 'w:gz' if name.endswith('gz') else 'w') as archive:
            for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE):
                info = tarfile.TarInfo(f'link{kind.decode()}.txt')
                info.type, info.linkname = kind, str(tmp_path / 'secret')
                archive.addfile(info)
            archive.addfile(tarfile.TarInfo('plain.txt'), io.BytesIO())
        assert opened(tmp_path / name, tmp_path).names() == ['plain.txt']

    def test_links_in_a_zip_are_passed_over(self, tmp_path):
        info = zipfile.ZipInfo('link.txt')
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        with zipfile.ZipFile(tmp_path / 'x.zip', 'w') as archive:
            archive.writestr(info, '/etc/passwd')
            archive.writestr('plain.txt', 'x')
        assert opened(tmp_path / 'x.zip', tmp_path).names() == ['plain.txt']

    @pytest.mark.parametrize('name', ['x.zip', 'x.tgz'])
    def test_bomb(self, layouts, tmp_path, monkeypatch, name):
        monkeypatch.setattr(limits, '_SMALL', 2**16)
        path = layouts.pack(tmp_path / name, {'zeros.png': bytes(2**20)})
        with pytest.raises(InputError, match=r'zeros\.png would unpack from \d+ to 1048576 bytes'):
            opened(path, tmp_path)

    def test_bomb_of_many_files(self, layouts, tmp_path, monkeypatch):
        monkeypatch.setattr(unpacking, 'most_bytes', lambda packed: 2**18)
        files = {f'{i}.png': bytes(2**15) for i in range(10)}
        path = layouts.pack(tmp_path / 'x.tgz', files)
        with pytest.raises(InputError, match='all of it would unpack'):
            opened(path, tmp_path)

    def test_one_member_may_not_be_huge(self):
        with pytest.raises(InputError, match='decompression bomb'):
            limits.check_size('x.tar', 'a', limits.MAX_MEMBER + 1, limits.MAX_MEMBER + 1)
        limits.check_size('x.zip', 'fer2013.csv', 300 * 2**20, 70 * 2**20)


class TestDamage:
    @pytest.mark.parametrize('name', TAILS)
    def test_cut_archive_is_named(self, layouts, tmp_path, name):
        path = layouts.pack(tmp_path / name, FILES)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
        with pytest.raises(InputError, match=f'{name} is damaged'):
            content(opened(path, tmp_path))

    def test_overwritten_member(self, layouts, tmp_path):
        path = layouts.pack(tmp_path / 'x.zip', FILES)
        data = bytearray(path.read_bytes())
        data[40:44] = b'\xff\xff\xff\xff'
        path.write_bytes(data)
        archive = opened(path, tmp_path)
        with pytest.raises(InputError, match=r'x\.zip is damaged at a/one\.txt'):  # noqa: SIM117
            with archives.reading(path, 'a/one.txt'), archive.open('a/one.txt') as file:
                file.read()


class TestPasswords:
    def test_is_asked_for(self, layouts, tmp_path):
        archive = encrypted(layouts, tmp_path)
        with pytest.raises(InputError, match=r'x\.zip is protected.*--set password'):
            archive('').open('secret.txt')

    def test_wrong(self, layouts, tmp_path):
        with pytest.raises(limits.LockedError, match=r'the password .* is wrong'):
            encrypted(layouts, tmp_path)('nope').open('secret.txt')

    def test_right(self, layouts, tmp_path):
        with encrypted(layouts, tmp_path)('pass').open('secret.txt') as file:
            assert file.read() == b'hello'


def encrypt(data: bytes, password: bytes) -> bytes:
    """The traditional cipher of zip archives (APPNOTE.TXT, section 6.1), for a test archive."""
    table = [0] * 256
    for i in range(256):
        value = i
        for _ in range(8):
            value = (value >> 1) ^ (0xEDB88320 if value & 1 else 0)
        table[i] = value
    keys = [0x12345678, 0x23456789, 0x34567890]

    def update(byte):
        keys[0] = (keys[0] >> 8) ^ table[(keys[0] ^ byte) & 255]
        keys[1] = ((keys[1] + (keys[0] & 255)) * 134775813 + 1) & 0xFFFFFFFF
        keys[2] = (keys[2] >> 8) ^ table[(keys[2] ^ (keys[1] >> 24)) & 255]

    for byte in password:
        update(byte)
    out = bytearray()
    for byte in data:
        mask = keys[2] | 2
        out.append(byte ^ ((mask * (mask ^ 1)) >> 8 & 255))
        update(byte)
    return bytes(out)


def encrypted(layouts, tmp_path):
    """Opens, with a password to be given, an archive whose only member is encrypted."""
    path = tmp_path / 'x.zip'
    info = zipfile.ZipInfo('secret.txt')
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr(info, b'.' * 17)
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo('secret.txt').header_offset + 30 + len('secret.txt')
    import zlib

    crc = zlib.crc32(b'hello')
    data = bytearray(path.read_bytes())
    secret = encrypt(bytes(11) + (crc >> 24).to_bytes(1, 'little') + b'hello', b'pass')
    data[start : start + 17] = secret
    central = data.rindex(b'PK\1\2')
    for offset in (6, central + 8):  # flags: encrypted
        data[offset] |= 1
    for offset in (14, central + 16):
        data[offset : offset + 4] = crc.to_bytes(4, 'little')
    for offset in (22, central + 24):  # size without the twelve bytes of the cipher's header
        data[offset : offset + 4] = (5).to_bytes(4, 'little')
    path.write_bytes(data)
    return lambda password: opened(path, tmp_path, password=password)


class TestForeign:
    def test_missing_tool_says_what_to_install(self, tmp_path, monkeypatch):
        monkeypatch.setattr(shutil, 'which', lambda _: None)
        (tmp_path / 'x.rar').write_bytes(b'Rar!')
        with pytest.raises(
            InputError,
            match=r'x\.rar needs a program .* 7za, unrar, unar, bsdtar; or unpack',
        ):
            opened(tmp_path / 'x.rar', tmp_path)

    def test_7z_names_the_package_too(self, tmp_path, monkeypatch):
        monkeypatch.setattr(shutil, 'which', lambda _: None)
        monkeypatch.setitem(__import__('sys').modules, 'py7zr', None)
        (tmp_path / 'x.7z').write_bytes(b'7z')
        with pytest.raises(InputError, match='pip install py7zr'):
            opened(tmp_path / 'x.7z', tmp_path)

    def test_a_program_lists_and_unpacks(self, tmp_path, monkeypatch):
        archive = opened(stand_in(tmp_path, monkeypatch), tmp_path)
        assert archive.names() == ['a/one.txt', 'two.txt']
        assert content(archive) == {'a/one.txt': b'one', 'two.txt': b'two'}

    @pytest.mark.parametrize(
        ('listing', 'message'),
        [
            ('Path = ../evil.txt\\n', 'leads out'),
            ('Path = a.txt\\nSymbolic Link = /etc/passwd\\n', 'holds a link'),
        ],
    )
    def test_listing_with_a_way_out(self, tmp_path, monkeypatch, listing, message):
        path = stand_in(tmp_path, monkeypatch, listing)
        with pytest.raises(InputError, match=message):
            opened(path, tmp_path)

    @pytest.mark.parametrize(
        ('text', 'message'),
        [('Wrong password?', r'--set password'), ('no such format', r'7z could not open .*x\.7z')],
    )
    def test_failure_of_the_program(self, tmp_path, monkeypatch, text, message):
        path = stand_in(tmp_path, monkeypatch, f'{text}\\n', status=2)
        with pytest.raises(InputError, match=message):
            opened(path, tmp_path)

    def test_a_bomb_is_stopped_while_it_unpacks(self, tmp_path, monkeypatch):
        monkeypatch.setattr(limits, 'MAX_RATIO', 1)
        work = 'while :; do head -c 9000000 /dev/zero >> "$d/two.txt"; done'
        archive = opened(stand_in(tmp_path, monkeypatch, work=work), tmp_path)
        with pytest.raises(InputError, match='all of it would unpack'):
            archive.open('two.txt')

    @pytest.mark.skipif(not shutil.which('7z'), reason='needs 7z')
    def test_real_7z(self, layouts, tmp_path, monkeypatch):
        layouts.plant(tmp_path / 'in', FILES)
        for options in ([], ['-pgeheim', '-mhe=on']):
            path = tmp_path / f'{len(options)}.7z'
            subprocess.run(
                ['7z', 'a', *options, str(path), '.'],
                cwd=tmp_path / 'in', check=True, capture_output=True,
            )  # fmt: skip
            archive = opened(path, tmp_path, password='geheim' if options else '')
            assert content(archive) == as_bytes(FILES)
        with pytest.raises(InputError, match='--set password'):
            opened(path, tmp_path)

    @pytest.mark.skipif(not shutil.which('7z'), reason='needs 7z')
    def test_zip_with_a_cipher_that_python_lacks(self, layouts, tmp_path):
        layouts.plant(tmp_path / 'in', FILES)
        command = ['7z', 'a', '-tzip', '-mem=AES256', '-pgeheim', str(tmp_path / 'x.zip'), '.']
        subprocess.run(command, cwd=tmp_path / 'in', check=True, capture_output=True)
        archive = opened(tmp_path / 'x.zip', tmp_path, password='geheim')
        assert content(archive) == as_bytes(FILES)
        with pytest.raises(InputError, match=r'--set password|the password is wrong'):
            content(opened(tmp_path / 'x.zip', tmp_path))


class TestPy7zr:
    """7z archives where no program is installed."""

    @pytest.fixture
    def seven(self, layouts, tmp_path, monkeypatch):
        """Writes an archive and gives its path."""
        py7zr = pytest.importorskip('py7zr')
        monkeypatch.setattr(shutil, 'which', lambda _: None)
        layouts.plant(tmp_path / 'in', FILES)

        def write(**options):
            with py7zr.SevenZipFile(tmp_path / 'x.7z', 'w', **options) as archive:
                archive.writeall(tmp_path / 'in', '')
            return tmp_path / 'x.7z'

        return write

    @pytest.mark.parametrize(
        'options', [{}, {'password': 'pass'}, {'password': 'pass', 'header_encryption': True}]
    )
    def test_read(self, seven, tmp_path, options):
        archive = opened(seven(**options), tmp_path, password=options.get('password', ''))
        assert content(archive) == as_bytes(FILES)

    @pytest.mark.parametrize('length', [0, 20, 40, -50])
    def test_cut_archive_is_named(self, seven, tmp_path, length):
        path = seven()
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(InputError, match=r'x\.7z is damaged .*; get the file again'):
            opened(path, tmp_path)

    def test_overwritten_member(self, seven, tmp_path):
        path = seven()
        data = bytearray(path.read_bytes())
        data[60:80] = bytes(20)
        path.write_bytes(data)
        with pytest.raises(InputError, match=r'x\.7z is damaged'):
            content(opened(path, tmp_path))

    @pytest.mark.parametrize('header', [False, True])
    @pytest.mark.parametrize(
        ('password', 'message'),
        [
            ('', r'x\.7z is protected by a password: pass --set password=\.\.\.'),
            (
                'nope',
                r'x\.7z: the password \(--set password=\.\.\.\) is wrong, or the file is damaged',
            ),
        ],
    )
    def test_password(self, seven, tmp_path, header, password, message):
        path = seven(password='pass', header_encryption=header)
        with pytest.raises(limits.LockedError, match=message):
            content(opened(path, tmp_path, password=password))


def stand_in(tmp_path, monkeypatch, listing=None, status=0, work='') -> pathlib.Path:
    """Puts a script called 7z on the path that knows one archive; gives the archive."""
    lines = ['Path = a', 'Folder = +', 'Path = a/one.txt', 'Folder = -', 'Symbolic Link = ']
    listing = listing or '\\n'.join([*lines, 'Path = two.txt', ''])
    script = tmp_path / 'bin' / '7z'
    script.parent.mkdir()
    script.write_text(f"""#!/bin/sh
if [ "$1" = l ]; then printf '{listing}'; exit {status}; fi
for arg; do case $arg in -o*) d=${{arg#-o}};; esac; done
{work}
mkdir "$d/a"; printf one > "$d/a/one.txt"; printf two > "$d/two.txt"
""")
    script.chmod(0o755)
    monkeypatch.setenv('PATH', f'{script.parent}:/usr/bin:/bin')
    (tmp_path / 'x.7z').write_bytes(b'7z')
    return tmp_path / 'x.7z'
