//! The tiny guest that tests whether an accelerator can run a guest: a firmware image with less than a kilobyte of code.
//!
//! The image is mapped where a machine starts executing, so only the processor, its memory management and one I/O port
//! are involved: no firmware, no boot loader, no disk. On x86 the guest goes through the same modes as every operating
//! system (real, protected, long mode with paging), checks that the stack holds what was pushed, runs
//! [`LOOP_ITERATIONS`] iterations of a loop and reports through QEMU's `isa-debug-exit` device.
//!
//! The loop is essential. On some hosts `/dev/kvm` opens, creates VMs and runs the first instructions of every guest, but
//! executes them one by one in the kernel's instruction emulator, at three million a second. Firmware still starts there,
//! but a Linux kernel never finishes unpacking itself; a guest of a thousand instructions would succeed.

/// Iterations of the loop. Hardware runs them in 10 ms, TCG in 60 ms, the instruction emulator of KVM in 7 s or more.
const LOOP_ITERATIONS: u32 = 20_000_000;

/// QEMU's exit status when the x86 guest writes [`REPORT`] to the debug-exit port: `(value << 1) | 1`.
pub(crate) const X86_SUCCESS: i32 = (REPORT as i32) << 1 | 1;
/// The I/O port of the `isa-debug-exit` device.
pub(crate) const X86_EXIT_PORT: u16 = 0xf4;
const REPORT: u8 = 0x10;

/// A PC also maps the last 64 KiB of its firmware below 1 MiB; the whole image is that part.
const X86_ROM: usize = 64 * 1024;
/// The image's address below 1 MiB.
const X86_BASE: u32 = 0xf_0000;
/// The offset of an x86 processor's first instruction in the image.
const X86_RESET_VECTOR: usize = 0xfff0;

/// Returns the x86 image, for `-bios`.
pub(crate) fn x86() -> Vec<u8> {
    // Page tables, in the guest's RAM: PML4, page directory pointers, page directory.
    const PML4: u32 = 0x1000;
    const POINTERS: u32 = 0x2000;
    const DIRECTORY: u32 = 0x3000;
    const CODE32: u16 = 0x08;
    const DATA: u32 = 0x10;
    const CODE64: u16 = 0x18;
    // Offsets in the image; `tests::jump_targets_match_the_code` compares them with the code.
    const PROTECTED: u32 = 0x18;
    const LONG: u32 = 0x80;
    const GDT: usize = 0xb8;
    const GDT_POINTER: u16 = 0xd8;

    let mut code = Vec::with_capacity(X86_ROM);
    // Real mode.
    code.push(0xfa); // cli
    code.extend([0x2e, 0x66, 0x0f, 0x01, 0x16]); // lgdt cs:[GDT_POINTER]
    code.extend(GDT_POINTER.to_le_bytes());
    code.extend([0x0f, 0x20, 0xc0]); // mov eax, cr0
    code.extend([0x0c, 0x01]); // or al, 1 (protected mode)
    code.extend([0x0f, 0x22, 0xc0]); // mov cr0, eax
    code.extend([0x66, 0xea]); // jmp far CODE32:PROTECTED
    code.extend((X86_BASE + PROTECTED).to_le_bytes());
    code.extend(CODE32.to_le_bytes());

    // Protected mode.
    code.push(0xb8); // mov eax, DATA
    code.extend(DATA.to_le_bytes());
    code.extend([0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0]); // mov ds, es, ss
    code.extend([0x31, 0xc0]); // xor eax, eax
    code.push(0xbf); // mov edi, PML4
    code.extend(PML4.to_le_bytes());
    code.push(0xb9); // mov ecx, three pages of 32-bit words
    code.extend(0xc00u32.to_le_bytes());
    code.extend([0xfc, 0xf3, 0xab]); // cld; rep stosd
    // One identity-mapped page of 2 MiB: present, writable, and in the directory "large".
    for (at, value) in [
        (PML4, POINTERS | 3),
        (POINTERS, DIRECTORY | 3),
        (DIRECTORY, 0x83),
    ] {
        code.extend([0xc7, 0x05]); // mov dword [at], value
        code.extend(at.to_le_bytes());
        code.extend(value.to_le_bytes());
    }
    code.extend([0xb8, 0x20, 0, 0, 0]); // mov eax, CR4.PAE
    code.extend([0x0f, 0x22, 0xe0]); // mov cr4, eax
    code.push(0xb8); // mov eax, PML4
    code.extend(PML4.to_le_bytes());
    code.extend([0x0f, 0x22, 0xd8]); // mov cr3, eax
    code.push(0xb9); // mov ecx, IA32_EFER
    code.extend(0xc000_0080u32.to_le_bytes());
    code.extend([0x0f, 0x32]); // rdmsr
    code.extend([0x0d, 0, 1, 0, 0]); // or eax, EFER.LME
    code.extend([0x0f, 0x30]); // wrmsr
    code.extend([0x0f, 0x20, 0xc0]); // mov eax, cr0
    code.extend([0x0d, 0, 0, 0, 0x80]); // or eax, CR0.PG
    code.extend([0x0f, 0x22, 0xc0]); // mov cr0, eax
    code.push(0xea); // jmp far CODE64:LONG
    code.extend((X86_BASE + LONG).to_le_bytes());
    code.extend(CODE64.to_le_bytes());

    // Long mode.
    code.extend([0xbc, 0, 0x80, 0, 0]); // mov esp, 0x8000
    code.extend([0x48, 0xb8]); // mov rax, a pattern
    code.extend(0x1234_5678_9abc_def0u64.to_le_bytes());
    code.extend([0x50, 0x5b]); // push rax; pop rbx
    code.extend([0x48, 0x39, 0xc3]); // cmp rbx, rax
    code.extend([0x75, 0x10]); // jne to the halt
    code.push(0xb9); // mov ecx, LOOP_ITERATIONS
    code.extend(LOOP_ITERATIONS.to_le_bytes());
    code.extend([0xff, 0xc9, 0x75, 0xfc]); // dec ecx; jnz to the dec
    code.extend([0xb0, REPORT]); // mov al, REPORT
    code.extend([0x66, 0xba]); // mov dx, X86_EXIT_PORT
    code.extend(X86_EXIT_PORT.to_le_bytes());
    code.push(0xee); // out dx, al
    code.extend([0xf4, 0xeb, 0xfd]); // hlt; jmp to the hlt

    code.resize(GDT, 0);
    // Null, flat 32-bit code, flat data, 64-bit code.
    for descriptor in [
        0u64,
        0x00cf_9b00_0000_ffff,
        0x00cf_9300_0000_ffff,
        0x00af_9b00_0000_ffff,
    ] {
        code.extend(descriptor.to_le_bytes());
    }
    code.extend(31u16.to_le_bytes()); // the table's size - 1
    code.extend((X86_BASE + GDT as u32).to_le_bytes());

    code.resize(X86_RESET_VECTOR, 0);
    code.extend([0xea, 0, 0, 0, 0xf0]); // jmp far F000:0000, the start of the image
    code.resize(X86_ROM, 0);
    code
}

/// Returns the AArch64 image, for `-bios` of the `virt` machine: the loop, then PSCI's SYSTEM_OFF, on which QEMU exits
/// with 0. (Arm DEN 0022, 5.1.9; QEMU's `virt` uses HVC for it when the guest starts at EL1.)
pub(crate) fn aarch64() -> Vec<u8> {
    // movz x1, #0x131, lsl #16 is a little under 20 million iterations.
    const CODE: [u32; 7] = [
        0xd2a0_2621, // movz x1, #0x131, lsl #16
        0xf100_0421, // subs x1, x1, #1
        0x54ff_ffe1, // b.ne to the subs
        0x52b0_8000, // movz w0, #0x8400, lsl #16
        0x7280_0100, // movk w0, #8: SYSTEM_OFF
        0xd400_0002, // hvc #0
        0x1400_0000, // b to itself
    ];
    CODE.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jump_targets_match_the_code() {
        let image = x86();
        assert_eq!(image.len(), X86_ROM);
        assert_eq!(
            image[0x18..0x1d],
            [0xb8, 0x10, 0, 0, 0],
            "protected mode starts at 0x18"
        );
        assert_eq!(
            image[0x80..0x85],
            [0xbc, 0, 0x80, 0, 0],
            "long mode starts at 0x80"
        );
        assert_eq!(image[0xa6], 0xf4, "the jne lands on the hlt");
        assert_eq!(
            image[0xd8..0xde],
            [31, 0, 0xb8, 0, 0x0f, 0],
            "the GDT pointer is at 0xd8"
        );
        assert_eq!(
            image[X86_RESET_VECTOR..X86_RESET_VECTOR + 5],
            [0xea, 0, 0, 0, 0xf0]
        );
    }
}
