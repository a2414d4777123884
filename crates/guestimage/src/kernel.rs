//! The ELF kernel inside a `vmlinuz`.
//!
//! QEMU boots an ELF kernel with a PVH entry point directly. A `vmlinuz` unpacks itself first, which takes a second of an
//! emulated boot. Sources: the kernel's `Documentation/x86/boot.rst` (the setup header) and
//! `arch/x86/platform/pvh/head.S` (the ELF note `XEN_ELFNOTE_PHYS32_ENTRY`).

use std::io::Read as _;

use lz4_flex::frame::FrameDecoder;

/// The largest unpacked kernel, in bytes. Today's have 50 MiB.
const KERNEL_LIMIT: u64 = 512 << 20;

/// The beginning of LZ4's legacy frame, in which Debian's kernels are compressed (`lib/decompress_unlz4.c`).
const LZ4_LEGACY_MAGIC: u32 = 0x184C_2102;

/// `XEN_ELFNOTE_PHYS32_ENTRY` (xen/include/public/elfnote.h): the address that a PVH loader jumps to.
const PHYS32_ENTRY: u32 = 18;
const PT_NOTE: u32 = 4;

/// There is no ELF kernel to boot. The `vmlinuz` itself is booted instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// The packages contain none.
    #[error("there is no vmlinuz in the image's /boot")]
    NoKernel,
    /// More than one, so that the one with the modules is unknown.
    #[error("there are {0} kernels in the image's /boot")]
    SeveralKernels(usize),
    /// Not an x86 boot image.
    #[error("vmlinuz is not an x86 boot image")]
    NotBzImage,
    /// Another compression than LZ4.
    #[error("vmlinuz is compressed in an unknown way (it begins with {0:02x?})")]
    UnknownCompression([u8; 4]),
    /// The payload cannot be unpacked.
    #[error("the compressed part of vmlinuz is damaged")]
    Damaged,
    /// An ELF file without PVH entry.
    #[error("the kernel has no PVH entry point")]
    NoPvhEntry,
}

/// Returns the unpacked ELF kernel of an x86 `vmlinuz`.
///
/// # Errors
/// [`KernelError`] unless it is a PVH kernel that is compressed with LZ4.
pub fn vmlinux(vmlinuz: &[u8]) -> Result<Vec<u8>, KernelError> {
    let payload = payload(vmlinuz).ok_or(KernelError::NotBzImage)?;
    let magic = *payload.first_chunk::<4>().ok_or(KernelError::NotBzImage)?;
    if u32::from_le_bytes(magic) != LZ4_LEGACY_MAGIC {
        return Err(KernelError::UnknownCompression(magic));
    }
    // The kernel's build appends the unpacked size.
    let (frame, size) = payload
        .split_last_chunk::<4>()
        .ok_or(KernelError::Damaged)?;
    let mut elf = Vec::new();
    FrameDecoder::new(frame)
        .take(KERNEL_LIMIT)
        .read_to_end(&mut elf)
        .map_err(|_| KernelError::Damaged)?;
    if elf.len() != u32::from_le_bytes(*size) as usize {
        return Err(KernelError::Damaged);
    }
    if has_pvh_entry(&elf) == Some(true) {
        Ok(elf)
    } else {
        Err(KernelError::NoPvhEntry)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(
        *bytes.get(at..)?.first_chunk()?,
    )))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?)).ok()
}

/// Returns the compressed payload. `payload_offset` counts from the end of the real-mode sectors.
fn payload(image: &[u8]) -> Option<&[u8]> {
    const SECTOR: usize = 512;
    const PAYLOAD_SINCE: usize = 0x208;
    if image.get(0x202..0x206)? != b"HdrS" || u16_at(image, 0x206)? < PAYLOAD_SINCE {
        return None;
    }
    let sectors = match *image.get(0x1f1)? {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let begin = (sectors + 1) * SECTOR + u32_at(image, 0x248)? as usize;
    image.get(begin..)?.get(..u32_at(image, 0x24c)? as usize)
}

/// Looks for the entry in the notes of a 64-bit ELF file.
fn has_pvh_entry(elf: &[u8]) -> Option<bool> {
    if elf.get(..6)? != b"\x7fELF\x02\x01" {
        return Some(false);
    }
    let (table, size, count) = (u64_at(elf, 32)?, u16_at(elf, 54)?, u16_at(elf, 56)?);
    for index in 0..count {
        let header = elf.get(table.checked_add(index * size)?..)?;
        if u32_at(header, 0)? != PT_NOTE {
            continue;
        }
        let mut notes = elf.get(u64_at(header, 8)?..)?.get(..u64_at(header, 32)?)?;
        while notes.len() >= 12 {
            let name_size = u32_at(notes, 0)? as usize;
            let value_size = u32_at(notes, 4)? as usize;
            let is_xen = notes.get(12..12_usize.checked_add(name_size)?)? == b"Xen\0";
            if is_xen && u32_at(notes, 8)? == PHYS32_ENTRY {
                return Some(true);
            }
            let length = name_size
                .checked_next_multiple_of(4)?
                .checked_add(value_size.checked_next_multiple_of(4)?)?;
            notes = notes.get(12_usize.checked_add(length)?..)?;
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes an ELF file with one note.
    fn elf(note: u32) -> Vec<u8> {
        let mut bytes = vec![0_u8; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64] = 4;
        bytes[64 + 8] = 120;
        bytes[64 + 32] = 20;
        for number in [4_u32, 4, note] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(b"Xen\0\x10\0\0\0");
        bytes
    }

    /// Makes a `vmlinuz` around a payload.
    fn image(payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0_u8; 1024];
        bytes[0x1f1] = 1;
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x206..0x208].copy_from_slice(&[0x0f, 0x02]);
        bytes[0x248] = 16;
        bytes[0x24c..0x250].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(&[0; 16]);
        bytes.extend_from_slice(payload);
        bytes.extend_from_slice(b"the rest");
        bytes
    }

    /// Makes an LZ4 frame of literals only.
    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut block = vec![0xf0];
        let mut rest = bytes.len() - 15;
        while rest >= 255 {
            block.push(255);
            rest -= 255;
        }
        block.push(u8::try_from(rest).unwrap());
        block.extend_from_slice(bytes);
        let mut frame = LZ4_LEGACY_MAGIC.to_le_bytes().to_vec();
        frame.extend_from_slice(&u32::try_from(block.len()).unwrap().to_le_bytes());
        frame.extend_from_slice(&block);
        frame.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
        frame
    }

    #[test]
    fn the_elf_kernel_is_unpacked_unchanged() {
        assert_eq!(vmlinux(&image(&packed(&elf(18)))).unwrap(), elf(18));
    }

    #[test]
    fn kernels_that_cannot_be_booted_are_errors_with_the_reason() {
        let mut short = packed(&elf(18));
        let end = short.len() - 4;
        short[end] ^= 1;
        let cases = [
            (image(&packed(&elf(17))), KernelError::NoPvhEntry),
            (
                image(&packed(b"#!/bin/sh and nothing else")),
                KernelError::NoPvhEntry,
            ),
            (
                image(b"\x28\xb5\x2f\xfd zstd"),
                KernelError::UnknownCompression([0x28, 0xb5, 0x2f, 0xfd]),
            ),
            (image(&short), KernelError::Damaged),
            (image(b""), KernelError::NotBzImage),
            (b"MZ".to_vec(), KernelError::NotBzImage),
            (vec![0; 4096], KernelError::NotBzImage),
        ];
        for (vmlinuz, expected) in cases {
            assert_eq!(vmlinux(&vmlinuz), Err(expected));
        }
        let good = image(&packed(&elf(18)));
        for end in 0..good.len() - b"the rest".len() {
            assert!(vmlinux(&good[..end]).is_err(), "cut at {end}");
        }
    }
}
