//! The cidata disk, read back by isoinfo, and by cloud-init's rules.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use expect_test::expect;
use lima::cidata::Facts;
use lima::layout::LimaHome;
use lima::template::Template;

use crate::template::host;

const TEMPLATE: &str = r##"
images: [{location: /x}]
env: {A: plain, B: "two words 'and \" quotes"}
param: {p: "it's {{x}} $HOME"}
timezone: Europe/Berlin
provision:
- script: "#!/bin/sh\necho 'a: b' # c\n"
- {mode: user, script: "#!/bin/sh\nid\n"}
- {mode: boot, script: "echo boot"}
- {mode: system, script: last}
"##;

fn facts() -> Facts {
    let dir = LimaHome::new("/l").instance("my.vm").unwrap();
    let mut template = Template::parse(TEMPLATE).unwrap().template;
    template
        .fill_defaults(&host(), &dir, &BTreeMap::new())
        .unwrap();
    Facts::new(
        &dir,
        &template,
        vec![
            "ssh-ed25519 AAAA lima\n".to_owned(),
            "ssh-rsa BBBB \"x\": #y".to_owned(),
        ],
    )
    .unwrap()
}

fn isoinfo(iso: &Path, arguments: &[&str]) -> String {
    let output = Command::new("isoinfo")
        .args(arguments)
        .arg("-i")
        .arg(iso)
        .output()
        .unwrap_or_else(|error| panic!("isoinfo, of the package genisoimage: {error}"));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

// expect-test finds its text by how it stands here.
#[rustfmt::skip]
#[test]
fn the_disk_has_limas_layout_and_says_what_was_meant() {
    let dir = tempfile::tempdir().unwrap();
    let iso = dir.path().join("cidata.iso");
    facts().write_iso(&iso).unwrap();
    assert!(isoinfo(&iso, &["-d"]).contains("Volume id: cidata"));
    let files = "/boot.sh
/etc_environment
/lima.env
/meta-data
/network-config
/param.env
/provision.boot
/provision.boot/00000002
/provision.system
/provision.system/00000000
/provision.system/00000003
/provision.user
/provision.user/00000001
/ssh_authorized_keys
/user-data";
    for names in ["-R", "-J"] {
        let mut listed: Vec<String> = isoinfo(&iso, &["-f", names])
            .lines()
            .map(str::to_owned)
            .collect();
        listed.sort();
        assert_eq!(listed.join("\n"), files, "{names}");
    }
    let modes = isoinfo(&iso, &["-l", "-R"]);
    assert!(
        modes
            .lines()
            .any(|line| line.starts_with("-rwx------") && line.ends_with("boot.sh ")),
        "{modes}"
    );
    assert!(
        modes
            .lines()
            .any(|line| line.starts_with("-rw-------") && line.ends_with("user-data ")),
        "{modes}"
    );

    let read = |path: &str| isoinfo(&iso, &["-R", "-x", path]);
    expect![[r##"
        #cloud-config
        growpart:
          mode: auto
          devices:
          - /
        timezone: Europe/Berlin
        hostname: lima-my-vm
        users:
        - name: alice
          uid: 501
          gecos: Alice "A" 🐧
          homedir: /home/alice.guest
          shell: /bin/bash
          sudo: ALL=(ALL) NOPASSWD:ALL
          lock_passwd: true
          ssh_authorized_keys:
          - ssh-ed25519 AAAA lima
          - "ssh-rsa BBBB \"x\": #y"
        write_files:
        - path: /var/lib/cloud/scripts/per-boot/00-lima.boot.sh
          owner: root:root
          permissions: "0755"
          content: |
            #!/bin/sh
            set -eu
            LIMA_CIDATA_MNT=/mnt/lima-cidata
            export LIMA_CIDATA_MNT
            mkdir -p -m 700 "$LIMA_CIDATA_MNT"
            mountpoint -q "$LIMA_CIDATA_MNT" || mount -t iso9660 -o ro,exec /dev/disk/by-label/cidata "$LIMA_CIDATA_MNT"
            exec "$LIMA_CIDATA_MNT"/boot.sh
        bootcmd:
        - |-
          export PARAM_p='it'\''s {{x}} $HOME'
          echo boot
    "##]].assert_eq(&read("/user-data"));
    expect![[r#"
        version: 2
        ethernets:
          eth0:
            match:
              name: e*
            dhcp4: true
            dhcp-identifier: mac
    "#]]
    .assert_eq(&read("/network-config"));
    expect![[r#"
        instance-id: rdd-87b2ec6708025f7d
        local-hostname: lima-my-vm
    "#]]
    .assert_eq(&read("/meta-data"));
    expect![[r#"
        A=plain
        B="two words 'and " quotes"
    "#]]
    .assert_eq(&read("/etc_environment"));
    expect![[r#"
        PARAM_p=it's {{x}} $HOME
    "#]]
    .assert_eq(&read("/param.env"));
    assert_eq!(
        read("/ssh_authorized_keys"),
        "ssh-ed25519 AAAA lima\nssh-rsa BBBB \"x\": #y\n"
    );
    assert_eq!(
        read("/provision.system/00000000"),
        "#!/bin/sh\necho 'a: b' # c\n"
    );
    let env = read("/lima.env");
    for line in [
        "LIMA_CIDATA_NAME=my.vm",
        "LIMA_CIDATA_USER=alice",
        "LIMA_CIDATA_UID=501",
        "LIMA_CIDATA_HOME=/home/alice.guest",
        "LIMA_CIDATA_SHELL=/bin/bash",
        "LIMA_CIDATA_SLIRP_GATEWAY=10.0.2.2",
    ] {
        assert!(
            env.lines().any(|found| found == line),
            "{line} is not in\n{env}"
        );
    }
}

#[test]
fn equal_facts_give_equal_bytes_and_other_facts_another_instance_id() {
    let one = facts().to_iso().unwrap();
    assert_eq!(one, facts().to_iso().unwrap());
    let other = Facts {
        authorized_keys: Vec::new(),
        ..facts()
    };
    let dir = tempfile::tempdir().unwrap();
    let id = |facts: &Facts| {
        let iso = dir.path().join("x.iso");
        facts.write_iso(&iso).unwrap();
        isoinfo(&iso, &["-R", "-x", "/meta-data"])
    };
    assert_ne!(id(&facts()), id(&other));
    assert!(
        id(&Facts {
            instance_id: Some("iid-1".to_owned()),
            ..facts()
        })
        .contains("instance-id: iid-1")
    );
}

#[test]
fn what_would_end_a_line_is_refused_with_its_name() {
    let evil = "x\nLIMA_CIDATA_UID=0";
    let with = |change: fn(&mut Facts, String)| {
        let mut facts = facts();
        change(&mut facts, evil.to_owned());
        facts.to_iso().unwrap_err().to_string()
    };
    for (error, field) in [
        (with(|facts, evil| facts.comment = evil), "full name"),
        (with(|facts, evil| facts.home = evil), "home folder"),
        (
            with(|facts, evil| facts.authorized_keys = vec![evil]),
            "authorized key",
        ),
        (
            with(|facts, evil| {
                facts.params.insert("p".to_owned(), evil);
            }),
            "p",
        ),
        (
            with(|facts, evil| {
                facts.env.insert("E".to_owned(), evil);
            }),
            "E",
        ),
    ] {
        assert!(
            error.contains(field) && error.contains("one line"),
            "{error}"
        );
    }
}

#[test]
fn the_boot_script_is_one_for_sh_and_runs_the_scripts() {
    let dir = tempfile::tempdir().unwrap();
    let iso = dir.path().join("x.iso");
    facts().write_iso(&iso).unwrap();
    let script = dir.path().join("boot.sh");
    std::fs::write(&script, isoinfo(&iso, &["-R", "-x", "/boot.sh"])).unwrap();
    assert!(
        Command::new("sh")
            .arg("-n")
            .arg(&script)
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn the_first_boot_service_of_our_own_guests_reads_the_same() {
    let iso = facts().to_iso().unwrap();
    let mut volume = guestagent::iso9660::Volume::open(std::io::Cursor::new(iso)).unwrap();
    assert_eq!(volume.label, guestagent::cidata::VOLUME_LABEL);
    let files = volume.files().unwrap();
    let mut read = |path: &str| {
        let file = files
            .iter()
            .find(|file| file.path == path)
            .unwrap_or_else(|| panic!("no {path}"));
        String::from_utf8(volume.read(file).unwrap()).unwrap()
    };
    let (lima_env, param_env, meta_data) = (read("lima.env"), read("param.env"), read("meta-data"));
    let (keys, user_data) = (read("ssh_authorized_keys"), read("user-data"));
    assert_eq!(read("provision.user/00000001"), "#!/bin/sh\nid\n");
    let settings = guestagent::cidata::Settings::parse(&guestagent::cidata::Sources {
        lima_env: &lima_env,
        param_env: &param_env,
        meta_data: &meta_data,
        ssh_authorized_keys: &keys,
        user_data: &user_data,
    });
    assert_eq!(settings.warnings, [""; 0]);
    assert_eq!(settings.hostname, "lima-my-vm");
    let user = &settings.user;
    assert_eq!(
        (user.name.as_str(), user.uid, user.home.as_str()),
        ("alice", 501, "/home/alice.guest")
    );
    assert_eq!(settings.authorized_keys.len(), 2);
    assert!(
        settings
            .environment
            .contains(&("PARAM_p".to_owned(), "it's {{x}} $HOME".to_owned()))
    );
}
