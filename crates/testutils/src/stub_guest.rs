//! A guest for tests that need many VMs and no Linux: a boot sector that runs half a second after QEMU's start, even when
//! it is emulated, and then uses no processor time. QEMU, hostagent and daemon are real.
//!
//! It answers every request on the guest agent's channel (the second serial port) with "ready" and a boot id that differs
//! for each boot. It powers off when the power button is pressed, unless it is a guest that ignores the button. Its `ssh` is
//! a script that always succeeds.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use process::command::Run;

/// The reaction of a stub guest to its power button.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerButton {
    /// It powers off at once.
    Obeyed,
    /// It ignores the button, and requests to its agent.
    Ignored,
}

/// The text on the first serial port.
const UP: &str = "the stub guest is up\r\n";
/// The agent's message (`guestagent::protocol`), before and after the boot id.
const MESSAGE: [&str; 2] = [
    r#"{"type":"status","status":{"bootId":""#,
    "00000000\",\"agentVersion\":\"stub\",\"phase\":\"provisioned\",\"uptimeMillis\":0,\"unixMillis\":0}}\n",
];
/// The address to which the BIOS loads a boot sector.
const ORIGIN: u16 = 0x7c00;
/// The offset in the sector at which the code ends and the texts begin.
const TEXTS: u16 = 0x89;
/// The last bytes of a boot sector, by which the BIOS recognises it.
const SIGNATURE: [u8; 2] = [0x55, 0xaa];
const SECTOR: usize = 512;
/// The size of the disk: qcow2 overlays and firmware need more than a sector.
const DISK: usize = 1 << 20;
/// The offset of the jump after the test of the power button.
const JUMP_IF_PRESSED: usize = 0x5b;

/// Writes the guest's disk and a template for it into `folder` (which exists); returns the template's path.
///
/// # Panics
/// The files cannot be written.
#[must_use]
pub fn template(folder: &Path, button: PowerButton) -> PathBuf {
    let name = match button {
        PowerButton::Obeyed => "stub",
        PowerButton::Ignored => "stub-that-stays",
    };
    let disk = folder.join(format!("{name}.img"));
    let mut bytes = boot_sector(button);
    bytes.resize(DISK, 0);
    fs::write(&disk, bytes).expect("the disk of a stub guest");
    let template = folder.join(format!("{name}.yaml"));
    let text = format!(
        "images:\n- location: {:?}\n  arch: x86_64\narch: x86_64\ncpus: 1\nmemory: 64MiB\ndisk: 1MiB\n",
        disk.display().to_string()
    );
    fs::write(&template, text).expect("the template of a stub guest");
    template
}

/// Makes an `ssh` in `folder` that logs in to stub guests; returns the `PATH` that leads to it.
///
/// # Panics
/// The file cannot be written, or there is no `PATH`.
#[must_use]
pub fn path_with_ssh(folder: &Path) -> OsString {
    // It runs once the guest agent has reported that it is ready, so it need not check the guest. (The serial log is no
    // proof, because text that a guest writes while the host's disk is full is lost.)
    const SSH: &str = "#!/bin/sh\nexit 0\n";
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).expect("a folder for ssh");
    // `install` writes it, because a test that forks meanwhile would inherit the open file, and then the file cannot be
    // executed (ETXTBSY).
    Run::new("install", Duration::from_secs(60))
        .args(["-m", "755", "/dev/stdin"])
        .arg(bin.join("ssh"))
        .input(SSH)
        .run()
        .expect("an installed script");
    let old = std::env::var_os("PATH").expect("PATH");
    let folders = std::iter::once(bin).chain(std::env::split_paths(&old));
    std::env::join_paths(folders).expect("a folder that can be in PATH")
}

/// 16-bit code as the BIOS starts it: all numbers are PC hardware as QEMU's q35 has it.
#[rustfmt::skip]
fn boot_sector(button: PowerButton) -> Vec<u8> {
    let up = (ORIGIN + TEXTS).to_le_bytes();
    let message = (ORIGIN + TEXTS + size(UP) + 1).to_le_bytes();
    let last_of_id = (ORIGIN + TEXTS + size(UP) + 1 + size(MESSAGE[0]) + 7).to_le_bytes();
    let mut code = vec![
        0xfa,                               // 00 cli
        0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, // 01 ax, ds, ss = 0
        0xbc, 0x00, 0x7c, 0xfc,             // 07 sp = ORIGIN; cld
        // The ports of power management: register 0x40 of the ICH9's LPC bridge (PCI 0:1f.0).
        0xba, 0xf8, 0x0c,                   // 0b dx = 0xcf8
        0x66, 0xb8, 0x40, 0xf8, 0x00, 0x80, // 0e eax = 0x8000f840
        0x66, 0xef,                         // 14 out dx, eax
        0xb2, 0xfc, 0x66, 0xed,             // 16 in eax, 0xcfc
        0x83, 0xe0, 0x80, 0x89, 0xc5,       // 1a bp = ax & 0xff80
        // PM1_EN: the power button is to be noted.
        0x8d, 0x56, 0x02,                   // 1f dx = bp + 2
        0xb8, 0x00, 0x01, 0xef,             // 22 out dx, 0x0100
        // The second serial port has a queue.
        0xba, 0xfa, 0x02, 0xb0, 0x01, 0xee, // 26 out 0x2fa, 1
        // The boot id: the BIOS's clock ticks since midnight, as letters.
        0x66, 0xa1, 0x6c, 0x04,             // 2c eax = [0x046c]
        0xbf, last_of_id[0], last_of_id[1], // 30 di = last letter of the id
        0xb9, 0x08, 0x00,                   // 33 cx = 8
        0x88, 0xc3, 0x80, 0xe3, 0x0f,       // 36 bl = al & 15
        0x80, 0xc3, 0x61, 0x88, 0x1d,       // 3b [di] = bl + 'a'
        0x66, 0xc1, 0xe8, 0x04,             // 40 eax >>= 4
        0x4f, 0xe2, 0xef,                   // 44 dec di; loop 36
        0xba, 0xf8, 0x03,                   // 47 dx = 0x3f8
        0xbe, up[0], up[1],                 // 4a si = UP
        0xe8, 0x30, 0x00,                   // 4d call send
        0xe8, 0x27, 0x00,                   // 50 call status
        // Sleep until the next tick of the BIOS's clock, 18 times a second.
        0xfb, 0xf4,                         // 53 sti; hlt
        0x89, 0xea, 0xed,                   // 55 in ax, bp: PM1_STS
        0xf6, 0xc4, 0x01,                   // 58 the power button?
        0x75, 0x14,                         // 5b jnz off
        0xba, 0xfd, 0x02, 0xec,             // 5d in al, 0x2fd
        0xa8, 0x01, 0x74, 0xee,             // 61 nothing to read: jz 53
        0xb2, 0xf8, 0xec,                   // 65 in al, 0x2f8
        0x3c, b'{', 0x75, 0xf1,             // 68 no request: jne 5d
        0xe8, 0x0b, 0x00, 0xeb, 0xec,       // 6c call status; jmp 5d
        // off: PM1_CNT, sleep type 0 is "soft off" in QEMU.
        0x8d, 0x56, 0x04,                   // 71 dx = bp + 4
        0xb8, 0x00, 0x20, 0xef,             // 74 out dx, 0x2000
        0xeb, 0xd9,                         // 78 jmp 53
        // status
        0xba, 0xf8, 0x02,                   // 7a dx = 0x2f8
        0xbe, message[0], message[1],       // 7d si = MESSAGE
        // send: the text at si to the port dx
        0xac, 0x84, 0xc0, 0x74, 0x03,       // 80 lodsb; zero: jz 88
        0xee, 0xeb, 0xf8,                   // 85 out dx, al; jmp 80
        0xc3,                               // 88 ret
    ];
    debug_assert_eq!(code.len(), usize::from(TEXTS));
    if button == PowerButton::Ignored {
        code[JUMP_IF_PRESSED..JUMP_IF_PRESSED + 2].copy_from_slice(&[0x90, 0x90]);
    }
    code.extend([UP, "\0", MESSAGE[0], MESSAGE[1], "\0"].concat().into_bytes());
    code.resize(SECTOR - SIGNATURE.len(), 0);
    code.extend(SIGNATURE);
    code
}

fn size(text: &str) -> u16 {
    u16::try_from(text.len()).expect("a text that fits into a sector")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sector_has_the_right_size_and_its_pointers_lead_to_its_texts() {
        let sector = boot_sector(PowerButton::Obeyed);
        assert_eq!(sector.len(), SECTOR);
        assert_eq!(sector[SECTOR - 2..], SIGNATURE);
        let at = |pointer: usize| {
            usize::from(u16::from_le_bytes([sector[pointer], sector[pointer + 1]]) - ORIGIN)
        };
        assert!(sector[at(0x4b)..].starts_with(UP.as_bytes()));
        assert!(sector[at(0x7e)..].starts_with(MESSAGE[0].as_bytes()));
        assert_eq!(sector[at(0x31) - 7..=at(0x31)], *b"00000000");
        assert_eq!(sector[JUMP_IF_PRESSED], 0x75);
    }
}
