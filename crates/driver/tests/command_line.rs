//! The machine of a template, and QEMU's command line for it. No QEMU runs in these tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

#[path = "support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};

use driver::qemu::tcg_threads::TcgThreads;
use driver::qemu::{AgentPort, Boot, Disk, Emulation, Firmware, MachineSpec, QemuFiles};
use driver::{Accelerator, DriverError};
use lima::image::{DiskFormat, RootBus};
use lima::layout::InstanceDir;
use lima::template::Arch;

use support::HOSTILE;

#[test]
fn command_lines() {
    let dir = InstanceDir::at(Path::new("/home/x").join(HOSTILE), "vm");
    let mut spec = MachineSpec {
        name: "lima-vm".into(),
        arch: Arch::X86_64,
        cpus: 2,
        memory: 512 << 20,
        cpu: None,
        accelerator: None,
        boot: Boot::Kernel {
            kernel: dir.kernel(),
            initrd: None,
            cmdline: "root=/dev/nvme0n1 quiet\n".into(),
        },
        firmware: Firmware::Bios(PathBuf::from("/usr/share/qemu/qboot.rom")),
        disk_bus: RootBus::Nvme,
        disks: vec![Disk {
            path: dir.diff_disk(),
            format: DiskFormat::Qcow2,
        }],
        cidata: Some(dir.cidata_iso()),
        agent_port: AgentPort::Serial,
        ssh_local_port: 60022,
    };
    let lines = |spec: &MachineSpec, accelerator, threads| {
        let mut text = String::new();
        let files = QemuFiles::of(&dir);
        let emulation = Emulation {
            threads,
            counter_khz: Some(2_600_000),
        };
        let words = driver::qemu::command_line(spec, &files, accelerator, emulation);
        for word in words.unwrap() {
            text.push_str(if word.starts_with('-') && !text.is_empty() {
                "\n"
            } else {
                ""
            });
            text.push_str(&word);
            text.push(' ');
        }
        text.lines()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect::<String>()
    };
    expect_test::expect![[r#"
        -name lima-vm,debug-threads=on
        -nodefaults
        -no-user-config
        -display none
        -machine q35,hpet=off,smm=off,usb=off,vmport=off,graphics=off,sata=off,smbus=off,i8042=off
        -accel tcg,thread=single,tb-size=128
        -cpu Nehalem,+rdrand
        -smp 2,sockets=1,cores=2,threads=1
        -m 512
        -rtc base=utc
        -bios /usr/share/qemu/qboot.rom
        -kernel /home/x/a[1] *b,c='é"$x/kernel
        -append root=/dev/nvme0n1 quiet mitigations=off no_timer_check cryptomgr.notests random.trust_cpu=on tsc=reliable tsc_early_khz=2600000
        -drive if=none,id=disk0,format=qcow2,cache=writeback,discard=unmap,file=/home/x/a[1] *b,,c='é"$x/diffdisk
        -drive if=none,id=cidata,format=raw,readonly=on,file=/home/x/a[1] *b,,c='é"$x/cidata.iso
        -device nvme,id=nvme0,serial=rdd
        -device nvme-ns,bus=nvme0,drive=disk0,nsid=1
        -device nvme-ns,bus=nvme0,drive=cidata,nsid=2
        -netdev user,id=net0,ipv6=off,hostfwd=tcp:127.0.0.1:60022-10.0.2.15:22
        -device virtio-net-pci,netdev=net0,romfile=
        -chardev file,id=serial,append=on,path=/home/x/a[1] *b,,c='é"$x/serial.log
        -serial chardev:serial
        -chardev socket,id=agent,server=on,wait=off,path=/home/x/a[1] *b,,c='é"$x/ga.sock
        -serial chardev:agent
        -chardev socket,id=qmp,server=on,wait=off,path=/home/x/a[1] *b,,c='é"$x/qmp.sock
        -mon chardev=qmp,mode=control
        -device virtio-rng-pci
        -device pvpanic
    "#]].assert_eq(&lines(&spec, Accelerator::Tcg, TcgThreads::Single));

    spec.boot = Boot::Disk;
    spec.firmware = Firmware::Default;
    spec.disk_bus = RootBus::Virtio;
    spec.cpu = Some("host,-avx".into());
    expect_test::expect![[r#"
        -name lima-vm,debug-threads=on
        -nodefaults
        -no-user-config
        -display none
        -machine q35,hpet=off,usb=off,vmport=off,graphics=off
        -accel kvm
        -cpu host,-avx
        -smp 2,sockets=1,cores=2,threads=1
        -m 512
        -rtc base=utc
        -drive if=none,id=disk0,format=qcow2,cache=writeback,discard=unmap,file=/home/x/a[1] *b,,c='é"$x/diffdisk
        -drive if=none,id=cidata,format=raw,readonly=on,file=/home/x/a[1] *b,,c='é"$x/cidata.iso
        -device virtio-blk-pci,drive=disk0,serial=disk0,bootindex=1,werror=stop,rerror=stop
        -device virtio-blk-pci,drive=cidata,serial=cidata,bootindex=2,werror=stop,rerror=stop
        -netdev user,id=net0,ipv6=off,hostfwd=tcp:127.0.0.1:60022-10.0.2.15:22
        -device virtio-net-pci,netdev=net0,romfile=
        -chardev file,id=serial,append=on,path=/home/x/a[1] *b,,c='é"$x/serial.log
        -serial chardev:serial
        -chardev socket,id=agent,server=on,wait=off,path=/home/x/a[1] *b,,c='é"$x/ga.sock
        -serial chardev:agent
        -chardev socket,id=qmp,server=on,wait=off,path=/home/x/a[1] *b,,c='é"$x/qmp.sock
        -mon chardev=qmp,mode=control
        -device virtio-rng-pci
        -device pvpanic
    "#]].assert_eq(&lines(&spec, Accelerator::Kvm, TcgThreads::Single));

    spec.arch = Arch::Aarch64;
    spec.agent_port = AgentPort::VirtioSerial;
    spec.firmware = Firmware::Uefi("/opt/edk2.fd".into());
    expect_test::expect![[r#"
        -name lima-vm,debug-threads=on
        -nodefaults
        -no-user-config
        -display none
        -machine virt
        -accel tcg,thread=multi,tb-size=128
        -cpu max
        -smp 2,sockets=1,cores=2,threads=1
        -m 512
        -rtc base=utc
        -drive if=pflash,unit=0,format=raw,readonly=on,file=/opt/edk2.fd
        -drive if=none,id=disk0,format=qcow2,cache=writeback,discard=unmap,file=/home/x/a[1] *b,,c='é"$x/diffdisk
        -drive if=none,id=cidata,format=raw,readonly=on,file=/home/x/a[1] *b,,c='é"$x/cidata.iso
        -device virtio-blk-pci,drive=disk0,serial=disk0,bootindex=1,werror=stop,rerror=stop
        -device virtio-blk-pci,drive=cidata,serial=cidata,bootindex=2,werror=stop,rerror=stop
        -netdev user,id=net0,ipv6=off,hostfwd=tcp:127.0.0.1:60022-10.0.2.15:22
        -device virtio-net-pci,netdev=net0,romfile=
        -chardev file,id=serial,append=on,path=/home/x/a[1] *b,,c='é"$x/serial.log
        -serial chardev:serial
        -chardev socket,id=agent,server=on,wait=off,path=/home/x/a[1] *b,,c='é"$x/ga.sock
        -device virtio-serial-pci
        -device virtserialport,chardev=agent,name=io.lima-vm.guest_agent.0
        -chardev socket,id=qmp,server=on,wait=off,path=/home/x/a[1] *b,,c='é"$x/qmp.sock
        -mon chardev=qmp,mode=control
        -device virtio-rng-pci
        -device pvpanic-pci
    "#]].assert_eq(&lines(&spec, Accelerator::Tcg, TcgThreads::Multi));

    spec.arch = Arch::S390x;
    let emulation = Emulation {
        threads: TcgThreads::Single,
        counter_khz: None,
    };
    let files = QemuFiles::of(&dir);
    let error = driver::qemu::command_line(&spec, &files, Accelerator::Tcg, emulation).unwrap_err();
    assert_eq!(
        error.to_string(),
        "arch: s390x guests are not supported; x86_64 and aarch64 are"
    );
}

#[test]
fn machine_is_made_from_a_template_and_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let dir = InstanceDir::at(folder.path(), "vm");
    let template = "arch: x86_64\ncpus: 3\nmemory: 1GiB\nvmOpts: {qemu: {cpuType: {x86_64: Nehalem}}}\n\
                    images: [{location: /dev/null}]\n";
    let template = lima::template::Template::parse(template).unwrap().template;
    let make = || {
        let decided = driver::qemu::Decided {
            root_bus: RootBus::Nvme,
            firmware: Some("qboot.rom".into()),
            ssh_local_port: 60022,
            accelerator: None,
        };
        MachineSpec::from_template(&template, &dir, decided)
    };
    assert!(
        matches!(make(), Err(DriverError::File { path, .. }) if path == dir.diff_disk()),
        "a machine needs a disk"
    );

    std::fs::write(dir.diff_disk(), "").unwrap();
    let by_disk = make().unwrap();
    assert_eq!(
        (by_disk.cpus, by_disk.memory, by_disk.cpu.as_deref()),
        (3, 1 << 30, Some("Nehalem"))
    );
    assert_eq!(
        (by_disk.boot, by_disk.firmware, by_disk.cidata),
        (Boot::Disk, Firmware::Default, None)
    );

    for path in [dir.kernel(), dir.initrd(), dir.cidata_iso()] {
        std::fs::write(path, "").unwrap();
    }
    std::fs::write(dir.kernel_cmdline(), "quiet\n").unwrap();
    let by_kernel = make().unwrap();
    let boot = Boot::Kernel {
        kernel: dir.kernel(),
        initrd: Some(dir.initrd()),
        cmdline: "quiet".into(),
    };
    assert_eq!(
        (by_kernel.boot, by_kernel.firmware),
        (boot, Firmware::Bios("qboot.rom".into()))
    );
    assert_eq!(by_kernel.cidata, Some(dir.cidata_iso()));
}
