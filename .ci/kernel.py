"""Writes the smallest kernel that a VMM takes: an ELF file with a PVH entry that halts, as `tests/integration/vmm/kernel.rs` makes it."""

import struct
import sys

ENTRY = 0x100000
HALT = bytes([0xFA, 0xF4, 0xEB, 0xFD])

elf = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
elf += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, ENTRY, 64, 0, 0, 64, 56, 2, 0, 0, 0)
# The code, then the note that names the entry.
elf += struct.pack("<IIQQQQQQ", 1, 7, 0x1000, ENTRY, ENTRY, len(HALT), len(HALT), 0x1000)
elf += struct.pack("<IIQQQQQQ", 4, 4, 64 + 112, 0, 0, 20, 20, 4)
elf += struct.pack("<III", 4, 4, 18) + b"Xen\0" + struct.pack("<I", ENTRY)
open(sys.argv[1], "wb").write(elf.ljust(0x1000, b"\0") + HALT)
