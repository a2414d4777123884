//! Boots a built image several times with plain QEMU under emulation, and prints the times until the agent reports `ready`
//! and until `ssh true` succeeds: `cargo run -p guestimage --example boot_image -- CACHE [RUNS]`.
//!
//! Measures the image and the words of `BOOT.md` without daemon and driver. QEMU runs a thread for each CPU, with which
//! guests of QEMU before 8.1 may hang. Needs `ssh`, `ssh-keygen` and `xorriso`.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::fs;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use guestagent::protocol::{GuestMessage, LineReader, Phase};
use lima::image::{BuiltImage, Cache};

const LIMIT: Duration = Duration::from_secs(120);
const PORT: u16 = 60_622;
const TCG_WORDS: &str = "mitigations=off no_timer_check cryptomgr.notests random.trust_cpu=on";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments
        .next()
        .ok_or("the first argument is the cache folder")?;
    let runs: u32 = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let image = Cache::new(&folder).built("debian-12")?;
    let built = Path::new(&folder).join("built/debian-12").canonicalize()?;
    let work = tempfile::tempdir()?;
    make_cidata(work.path())?;
    for _ in 0..runs {
        boot(&image, &built, work.path())?;
    }
    Ok(())
}

fn run(program: &str, words: &[&str], folder: &Path) -> Result<(), Box<dyn Error>> {
    let output = Command::new(program)
        .args(words)
        .current_dir(folder)
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{program} {words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    )
    .into())
}

fn make_cidata(work: &Path) -> Result<(), Box<dyn Error>> {
    run(
        "ssh-keygen",
        &["-q", "-t", "ed25519", "-N", "", "-f", "key"],
        work,
    )?;
    let cidata = work.join("cidata");
    fs::create_dir(&cidata)?;
    fs::write(
        cidata.join("lima.env"),
        "LIMA_CIDATA_NAME=measured\nLIMA_CIDATA_USER=dev\nLIMA_CIDATA_UID=1000\n",
    )?;
    fs::write(
        cidata.join("meta-data"),
        "instance-id: measured\nlocal-hostname: measured\n",
    )?;
    fs::write(cidata.join("user-data"), "#cloud-config\n")?;
    fs::copy(work.join("key.pub"), cidata.join("ssh_authorized_keys"))?;
    let words = [
        "-as",
        "mkisofs",
        "-quiet",
        "-V",
        "cidata",
        "-J",
        "-r",
        "-o",
        "cidata.iso",
        "cidata",
    ];
    run("xorriso", &words, work)
}

/// QEMU. Dropping the value kills it.
struct Qemu(Child);

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn boot(image: &BuiltImage, built: &Path, work: &Path) -> Result<(), Box<dyn Error>> {
    let kernel = image.kernel.as_ref().ok_or("the image has no kernel")?;
    let base = built.join(&image.disk.file).display().to_string();
    let _ = fs::remove_file(work.join("disk.qcow2"));
    let _ = fs::remove_file(work.join("ga.sock"));
    run(
        "qemu-img",
        &[
            "create",
            "-q",
            "-f",
            "qcow2",
            "-b",
            &base,
            "-F",
            "qcow2",
            "disk.qcow2",
            "10G",
        ],
        work,
    )?;
    let begin = Instant::now();
    let mut command = Command::new("qemu-system-x86_64");
    command
        .current_dir(work)
        .args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-machine",
        ])
        .arg("q35,hpet=off,smm=off,usb=off,vmport=off,graphics=off,sata=off,smbus=off,i8042=off")
        .args([
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "Nehalem,+rdrand",
            "-smp",
            "2",
            "-m",
            "512",
        ])
        .arg("-kernel")
        .arg(built.join(&kernel.file))
        .args(["-append", &format!("{} {TCG_WORDS}", kernel.cmdline)])
        .args(["-drive", "if=none,id=root,file=disk.qcow2,format=qcow2"])
        .args([
            "-drive",
            "if=none,id=cidata,file=cidata.iso,format=raw,readonly=on",
        ])
        .args(["-device", "virtio-blk-pci,drive=root"])
        .args(["-device", "virtio-blk-pci,drive=cidata", "-netdev"])
        .arg(format!(
            "user,id=net0,ipv6=off,hostfwd=tcp:127.0.0.1:{PORT}-10.0.2.15:22"
        ))
        .args(["-device", "virtio-net-pci,netdev=net0,romfile="])
        .args([
            "-chardev",
            "file,id=console,path=serial.log",
            "-serial",
            "chardev:console",
        ])
        .args([
            "-chardev",
            "socket,id=ga,path=ga.sock,server=on,wait=off",
            "-serial",
            "chardev:ga",
        ])
        .stdin(Stdio::null());
    if let Some(initrd) = &image.initrd {
        command.arg("-initrd").arg(built.join(&initrd.file));
    }
    if image.firmware.as_deref() == Some("qboot.rom") {
        command.args(["-bios", "qboot.rom"]);
    }
    let _qemu = Qemu(command.spawn()?);
    wait_for_ready(&work.join("ga.sock"), begin)?;
    let ready = begin.elapsed();
    let port = PORT.to_string();
    let mut words = vec!["-F", "none", "-i", "key", "-p", &port];
    for option in [
        "BatchMode=yes",
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
        "IdentitiesOnly=yes",
        "KexAlgorithms=curve25519-sha256",
    ] {
        words.extend(["-o", option]);
    }
    words.extend(["dev@127.0.0.1", "true"]);
    run("ssh", &words, work)?;
    println!(
        "ready {:.2} s, ssh {:.2} s",
        ready.as_secs_f32(),
        begin.elapsed().as_secs_f32()
    );
    Ok(())
}

fn wait_for_ready(socket: &Path, begin: Instant) -> Result<(), Box<dyn Error>> {
    let mut port = loop {
        match UnixStream::connect(socket) {
            Ok(port) => break port,
            Err(error) if begin.elapsed() > LIMIT => return Err(error.into()),
            Err(_) => std::thread::park_timeout(Duration::from_millis(5)),
        }
    };
    port.set_read_timeout(Some(LIMIT))?;
    let mut lines = LineReader::new();
    let mut bytes = [0_u8; 4096];
    loop {
        let length = port.read(&mut bytes)?;
        for message in lines.push::<GuestMessage>(&bytes[..length]) {
            match message {
                GuestMessage::Status { status } | GuestMessage::Reply { status, .. }
                    if status.phase >= Phase::Ready =>
                {
                    return Ok(());
                }
                _ => {}
            }
        }
    }
}
