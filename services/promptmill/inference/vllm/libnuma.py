"""A stand-in for libnuma where the machine has none.

vLLM's CPU kernels are linked to ``libnuma.so.1``, which no wheel carries and minimal images
lack. They ask ``numa_available()`` first and call nothing else when it answers -1, "this
machine has no NUMA policy"; so a library in which every function returns -1 is enough. It is
written here byte by byte, since there is no compiler to rely on either.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

SONAME = "libnuma.so.1"
FUNCTIONS = {
    "numa_available": "libnuma_1.1",
    "numa_bitmask_free": "libnuma_1.2",
    "numa_get_mems_allowed": "libnuma_1.2",
    "numa_migrate_pages": "libnuma_1.1",
    "numa_parse_nodestring": "libnuma_1.2",
    "numa_set_interleave_mask": "libnuma_1.2",
    "numa_set_membind": "libnuma_1.2",
    "numa_set_strict": "libnuma_1.1",
}
"""What vLLM's kernels are linked to, each with the version of the symbol that they want."""

_PAGE = 0x10000
_HEADERS_SIZE = 64 + 3 * 56
_SYMBOL_SIZE = 24
_DT_NULL, _DT_HASH, _DT_STRTAB, _DT_SYMTAB = 0, 4, 5, 6
_DT_STRSZ, _DT_SYMENT, _DT_SONAME = 10, 11, 14
_DT_VERSYM, _DT_VERDEF, _DT_VERDEFNUM = 0x6FFFFFF0, 0x6FFFFFFC, 0x6FFFFFFD
_RETURN_MINUS_ONE = {
    "x86_64": (62, bytes.fromhex("b8ffffffffc3")),  # mov eax, -1; ret
    "aarch64": (183, bytes.fromhex("00008012c0035fd6")),  # mov w0, #-1; ret
}
"""ELF machine number and code of the one function that all names stand for."""


def provide_libnuma(folder: Path) -> None:
    """Make ``libnuma.so.1`` loadable in this process and in those it starts.

    Args:
        folder: where the stand-in is written if it is needed.
    """
    if _loads(SONAME) or platform.machine() not in _RETURN_MINUS_ONE:
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / SONAME
    scratch = folder / f"{SONAME}.{os.getpid()}"
    scratch.write_bytes(stand_in(platform.machine()))
    scratch.replace(path)
    ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    paths = [str(folder), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(paths)
    log.info(
        "libnuma_stub_used", path=str(path), reason=f"{SONAME} is not installed on this machine"
    )


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def stand_in(machine: str) -> bytes:
    """The bytes of a shared object: one page of tables and code, one with the dynamic section."""
    number, code = _RETURN_MINUS_ONE[machine]
    versions = [SONAME, *sorted(set(FUNCTIONS.values()))]
    names, name_at = _string_table([*versions, *FUNCTIONS])
    page = bytearray(_HEADERS_SIZE)

    def place(table: bytes) -> int:
        """Append at the next multiple of eight; returns where that is."""
        page.extend(bytes(-len(page) % 8))
        page.extend(table)
        return len(page) - len(table)

    code_at = place(code)
    symbols = [_symbol(name_at[name], code_at, len(code)) for name in FUNCTIONS]
    entries = [
        (_DT_SONAME, name_at[SONAME]),
        (_DT_STRSZ, len(names)),
        (_DT_SYMENT, _SYMBOL_SIZE),
        (_DT_VERDEFNUM, len(versions)),
        (_DT_STRTAB, place(names)),
        (_DT_SYMTAB, place(bytes(_SYMBOL_SIZE) + b"".join(symbols))),
        (_DT_HASH, place(_hash_table(len(symbols)))),
        (_DT_VERSYM, place(_symbol_versions(versions))),
        (_DT_VERDEF, place(_version_definitions(versions, name_at))),
        (_DT_NULL, 0),
    ]
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    page[:_HEADERS_SIZE] = _headers(number, len(page), len(dynamic))
    return bytes(page).ljust(_PAGE, b"\0") + dynamic


def _string_table(names: list[str]) -> tuple[bytes, dict[str, int]]:
    table, offsets = b"\0", {}
    for name in names:
        offsets[name] = len(table)
        table += name.encode() + b"\0"
    return table, offsets


def _symbol(name: int, value: int, size: int) -> bytes:
    """A global function."""
    return struct.pack("<IBBHQQ", name, 0x12, 0, 1, value, size)


def _hash_table(functions: int) -> bytes:
    """A single bucket, whose chain holds every symbol."""
    chain = [0, *range(2, functions + 1), 0]
    return struct.pack(f"<{3 + len(chain)}I", 1, len(chain), 1, *chain)


def _symbol_versions(versions: list[str]) -> bytes:
    """For each symbol the number of its version; they count from 1."""
    numbers = [0, *(versions.index(version) + 1 for version in FUNCTIONS.values())]
    return struct.pack(f"<{len(numbers)}H", *numbers)


def _version_definitions(versions: list[str], name_at: dict[str, int]) -> bytes:
    """One definition with its name for each version; the first is the library itself."""
    table = b""
    for number, version in enumerate(versions, start=1):
        following = 0 if number == len(versions) else 28
        base = 1 if number == 1 else 0
        table += struct.pack("<HHHHIII", 1, base, number, 1, _elf_hash(version), 20, following)
        table += struct.pack("<II", name_at[version], 0)
    return table


def _elf_hash(name: str) -> int:
    """The hash function of the System V ABI."""
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high
    return value


def _headers(machine: int, text_size: int, dynamic_size: int) -> bytes:
    """The ELF header and three program headers; there are no sections."""
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 3, 64, 0, 0)
    segments = [
        (1, 5, 0, text_size, _PAGE),  # PT_LOAD, readable and executable
        (1, 6, _PAGE, dynamic_size, _PAGE),  # PT_LOAD, readable and writable
        (2, 6, _PAGE, dynamic_size, 8),  # PT_DYNAMIC
    ]
    return (
        ident
        + header
        + b"".join(
            struct.pack("<IIQQQQQQ", kind, flags, at, at, at, size, size, align)
            for kind, flags, at, size, align in segments
        )
    )
