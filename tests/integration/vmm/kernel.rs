//! The smallest guest: a kernel that does nothing for ever. The benchmarks use it too.

/// One that switches interrupts off and halts.
pub(crate) fn halting_kernel() -> Vec<u8> {
    kernel(&[0xfa, 0xf4, 0xeb, 0xfd])
}

/// An ELF file with a PVH entry that runs this.
pub(crate) fn kernel(code: &[u8]) -> Vec<u8> {
    const ENTRY: u64 = 0x10_0000;
    let length = code.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    let half = |elf: &mut Vec<u8>, values: &[u16]| values.iter().for_each(|value| elf.extend(value.to_le_bytes()));
    let word = |elf: &mut Vec<u8>, values: &[u32]| values.iter().for_each(|value| elf.extend(value.to_le_bytes()));
    let long = |elf: &mut Vec<u8>, values: &[u64]| values.iter().for_each(|value| elf.extend(value.to_le_bytes()));
    half(&mut elf, &[2, 62]);
    word(&mut elf, &[1]);
    long(&mut elf, &[ENTRY, 64, 0]);
    word(&mut elf, &[0]);
    half(&mut elf, &[64, 56, 2, 0, 0, 0]);
    // The code, then the note that names the entry.
    word(&mut elf, &[1, 7]);
    long(&mut elf, &[0x1000, ENTRY, ENTRY, length, length, 0x1000]);
    word(&mut elf, &[4, 4]);
    long(&mut elf, &[64 + 112, 0, 0, 20, 20, 4]);
    word(&mut elf, &[4, 4, 18]);
    elf.extend(b"Xen\0");
    word(&mut elf, &[0x10_0000]);
    elf.resize(0x1000, 0);
    elf.extend(code);
    elf
}
