//! The cidata disk, read by isoinfo and by the guest agent.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use expect_test::expect;
use lima::cidata::{Facts, HostFacts};
use lima::layout::LimaHome;
use lima::template::Template;

use crate::template::host;

const TEMPLATE: &str = r##"
images: [{location: /x}]
env: {A: plain, B: "two words 'and \" quotes"}
param: {p: "it's {{x}} $HOME"}
timezone: Europe/Berlin
hostResolver: {hosts: {db.example: 192.0.2.7}}
dns: [192.0.2.53]
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

// expect-test finds its text by its place in this file.
#[rustfmt::skip]
#[test]
fn the_disk_has_limas_layout_and_the_facts() {
    let dir = tempfile::tempdir().unwrap();
    let iso = dir.path().join("cidata.iso");
    facts().write_iso(&iso).unwrap();
    assert!(isoinfo(&iso, &["-d"]).contains("Volume id: cidata"));
    let files = "/boot.sh
/etc_environment
/etc_hosts
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
        - path: /etc/ssh/sshd_config.d/10-rdd.conf
          owner: root:root
          permissions: "0644"
          content: |
            MaxSessions 512
            MaxStartups 512
        - path: /etc/environment
          owner: root:root
          permissions: "0644"
          append: true
          content: |
            #RDD-BEGIN
            A=plain
            B="two words 'and " quotes"
            #RDD-END
        bootcmd:
        - |-
          if getent passwd 'alice' | grep -qE ':([^:]*/(nologin|false|sync))?$'; then
            mkdir -p '/home/alice.guest' && chown 'alice': '/home/alice.guest' && usermod -d '/home/alice.guest' -s '/bin/bash' 'alice'
          fi
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
            dhcp4-overrides:
              use-dns: false
            nameservers:
              addresses:
              - "192.0.2.53"
    "#]]
    .assert_eq(&read("/network-config"));
    expect![[r#"
        instance-id: rdd-f3f97e8c32e23940
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
fn values_with_line_ends_are_errors_that_name_the_field() {
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
fn the_boot_script_is_valid_for_sh() {
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
fn the_guest_agent_reads_the_same_facts() {
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
        etc_environment: &read("etc_environment"),
        etc_hosts: &read("etc_hosts"),
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
    assert_eq!(settings.timezone.as_deref(), Some("Europe/Berlin"));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        settings.env,
        [pair("A", "plain"), pair("B", "two words 'and \" quotes")]
    );
    assert_eq!(
        settings.hosts,
        ["192.0.2.7 db.example", "10.0.2.2 host.lima.internal"]
    );
    assert_eq!(settings.name_servers.len(), 1);
    assert!(
        settings
            .environment
            .contains(&("PARAM_p".to_owned(), "it's {{x}} $HOME".to_owned()))
    );
}

#[test]
fn a_plain_guest_gets_no_names_of_hosts() {
    let text = format!("{TEMPLATE}plain: true\n");
    let dir = LimaHome::new("/l").instance("my.vm").unwrap();
    let mut template = Template::parse(&text).unwrap().template;
    template
        .fill_defaults(&host(), &dir, &BTreeMap::new())
        .unwrap();
    let facts = Facts::new(&dir, &template, Vec::new()).unwrap();
    let iso = tempfile::tempdir().unwrap();
    let path = iso.path().join("x.iso");
    facts.write_iso(&path).unwrap();
    assert_eq!(isoinfo(&path, &["-R", "-x", "/etc_hosts"]), "");
    let env = isoinfo(&path, &["-R", "-x", "/lima.env"]);
    assert!(env.contains("LIMA_CIDATA_PLAIN=1\n"), "{env}");
}

#[test]
fn the_host_gives_proxies_and_keys_only_as_the_template_says() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".ssh")).unwrap();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJuhB1UqCEWtXkRWGkSwbvGxkWzfTYpSU1QqjL6Wj5Ib me";
    std::fs::write(home.path().join(".ssh/id.pub"), key).unwrap();
    let host = HostFacts {
        variables: BTreeMap::from([("http_proxy".to_owned(), "http://127.0.0.1:3128".to_owned())]),
        home: home.path().to_owned(),
    };
    let with = |text: &str| {
        let template = Template::parse(text).unwrap().template;
        facts().with_host(&template, &host)
    };
    let by_default = with("images: []\n");
    assert_eq!(by_default.env["HTTP_PROXY"], "http://10.0.2.2:3128");
    assert_eq!(by_default.authorized_keys, facts().authorized_keys);
    let changed = with("propagateProxyEnv: false\nssh: {loadDotSSHPubKeys: true}\n");
    assert_eq!(changed.env, facts().env);
    assert_eq!(changed.authorized_keys.last().unwrap(), key);
}

#[test]
fn scripts_with_windows_line_ends_get_those_of_unix() {
    let dir = LimaHome::new("/l").instance("vm").unwrap();
    let text = r##"{"images": [{"location": "/x"}], "provision": [
        {"script": "#!/bin/sh\r\necho a\r\n"}, {"script": "#!/bin/sh\nprintf 'a\r\n'\n"}]}"##;
    let mut template = Template::parse(text).unwrap().template;
    template
        .fill_defaults(&host(), &dir, &BTreeMap::new())
        .unwrap();
    let facts = Facts::new(&dir, &template, Vec::new()).unwrap();
    assert_eq!(facts.scripts[0].text, "#!/bin/sh\necho a\n");
    assert!(facts.scripts[1].text.contains("a\r\n"), "unchanged");
}

/// Runs `boot.sh` in a folder: its paths and the port of the agent are replaced.
#[test]
fn the_boot_script_reports_failed_scripts_in_the_agents_protocol() {
    use guestagent::protocol::{GuestMessage, LineReader};
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let iso = path("x.iso");
    facts().write_iso(&iso).unwrap();
    for folder in [
        "etc",
        "run",
        "mnt/provision.system",
        "mnt/provision.dependency",
    ] {
        std::fs::create_dir_all(path(folder)).unwrap();
    }
    for name in [
        "lima.env",
        "param.env",
        "etc_environment",
        "etc_hosts",
        "meta-data",
    ] {
        let text = isoinfo(&iso, &["-R", "-x", &format!("/{name}")]);
        std::fs::write(path("mnt").join(name), text).unwrap();
    }
    let script = |name: &str, text: &str| {
        let file = path("mnt").join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    script("provision.dependency/00000000", "#!/bin/sh\necho fine\n");
    script(
        "provision.system/00000001",
        "#!/bin/sh\necho \"$A|$B|$PARAM_p\"\nprintf 'a \"quote\"\\n\\033[1mend\\n'\nexit 3\n",
    );
    script("provision.system/00000002", "#!/bin/sh\nexit 0\n");
    let here = dir.path().display();
    let text = isoinfo(&iso, &["-R", "-x", "/boot.sh"])
        .replace("/etc/", &format!("{here}/etc/"))
        .replace("/run/", &format!("{here}/run/"))
        .replace(
            "/dev/virtio-ports/io.lima-vm.guest_agent.0",
            &format!("{here}/port"),
        )
        .replace("[ -c \"$port\" ]", "[ -e \"$port\" ]")
        .replace(">\"$port\"", ">>\"$port\"");
    std::fs::write(path("boot.sh"), text).unwrap();
    std::fs::write(path("port"), "").unwrap();
    std::fs::write(path("etc/environment"), "OTHER=1\n").unwrap();
    for _ in 0..2 {
        let run = Command::new("sh")
            .arg(path("boot.sh"))
            .env("LIMA_CIDATA_MNT", path("mnt"))
            .output()
            .unwrap();
        assert_eq!(run.status.code(), Some(1), "{run:?}");
    }
    let environment = std::fs::read_to_string(path("etc/environment")).unwrap();
    assert_eq!(
        environment,
        "OTHER=1\n#RDD-BEGIN\nA=plain\nB=\"two words 'and \" quotes\"\n#RDD-END\n"
    );
    let port = std::fs::read(path("port")).unwrap();
    let messages: Vec<GuestMessage> = LineReader::new().push(&port);
    assert_eq!(
        messages.len(),
        8,
        "each run reports three scripts and its end"
    );
    let Some(GuestMessage::Provisioning { provisioning }) = messages.last() else {
        panic!("{messages:?}")
    };
    assert!(provisioning.done);
    assert_eq!((provisioning.total, provisioning.ended), (3, 3));
    let [failed] = &provisioning.failed[..] else {
        panic!("{provisioning:?}")
    };
    assert_eq!(failed.script, "provision.system/00000001");
    assert_eq!(failed.exit_code, Some(3));
    assert_eq!(
        failed.last_lines,
        "plain|two words 'and ' quotes|it's {{x}} $HOME\na 'quote'\n[1mend"
    );
}

#[test]
fn files_of_mode_data_are_on_the_disk_with_their_properties() {
    let text = "images: [{location: /x}]\nprovision:\n- script: a\n- {mode: data, path: /etc/x y, content: \"C\\r\\n\"}\n\
                - {mode: data, path: /z, content: '', owner: 'dev:adm', permissions: 0600, overwrite: false}\n";
    let dir = LimaHome::new("/l").instance("vm").unwrap();
    let mut template = Template::parse(text).unwrap().template;
    template
        .fill_defaults(&host(), &dir, &BTreeMap::new())
        .unwrap();
    let facts = Facts::new(&dir, &template, Vec::new()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let iso = folder.path().join("x.iso");
    facts.write_iso(&iso).unwrap();
    let read = |path: &str| isoinfo(&iso, &["-R", "-x", path]);
    assert_eq!(read("/provision.data/00000001"), "C\r\n");
    let env = read("/lima.env");
    for line in [
        "LIMA_CIDATA_DATAFILE_00000001_PATH=/etc/x y",
        "LIMA_CIDATA_DATAFILE_00000001_OWNER=root:root",
        "LIMA_CIDATA_DATAFILE_00000001_PERMISSIONS=644",
        "LIMA_CIDATA_DATAFILE_00000001_OVERWRITE=true",
        "LIMA_CIDATA_DATAFILE_00000002_OWNER=dev:adm",
        "LIMA_CIDATA_DATAFILE_00000002_PERMISSIONS=0600",
        "LIMA_CIDATA_DATAFILE_00000002_OVERWRITE=false",
    ] {
        assert!(
            env.lines().any(|found| found == line),
            "{line} is not in\n{env}"
        );
    }
}
