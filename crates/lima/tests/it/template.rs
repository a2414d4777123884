//! Templates, valid and broken, with their messages.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use lima::layout::LimaHome;
use lima::template::{Arch, ByteSize, Host, HostUser, Template};

pub(crate) fn host() -> Host {
    Host {
        arch: Arch::of_this_build().unwrap(),
        cpus: 8,
        memory: ByteSize::gib(16),
        user: HostUser {
            name: "alice".to_owned(),
            uid: Some(501),
            comment: "Alice: \"A\" 🐧".to_owned(),
            home: "/Users/alice".into(),
        },
    }
}

fn read(text: &str) -> Result<Template, String> {
    let template = Template::parse(text)
        .map_err(|error| error.to_string())?
        .template;
    template.validate().map_err(|error| error.to_string())?;
    Ok(template)
}

fn fails(text: &str, expected: &Expect) {
    expected.assert_eq(&read(text).unwrap_err());
}

// expect-test finds its text by its place in this file.
#[rustfmt::skip]
#[test]
fn broken_yaml_is_an_error_with_line_and_column() {
    fails("", &expect!["failed to parse template: it is empty"]);
    fails(
        "- a\n- b\n",
        &expect![[r#"failed to parse template: line 1, column 1: it must be a map of fields such as "images:"; got a list"#]],
    );
    fails(
        "just text",
        &expect![[r#"failed to parse template: line 1, column 1: it must be a map of fields such as "images:"; got the text "just text""#]],
    );
    fails(
        "images:\n  - location: [1, 2\ncpus: 1\n",
        &expect!["failed to parse template: line 3, column 5: illegal placement of ':' indicator"],
    );
    fails(
        "cpus: 1\ncpus: 2\n",
        &expect!["failed to parse template: line 2, column 1: duplicate mapping key: cpus"],
    );
    fails(
        "cpus: \t1\n\tmemory: 2\n",
        &expect!["failed to parse template: line 1, column 8: while scanning a plain scalar, found a tab"],
    );
    fails(
        "a: *unknown\n",
        &expect!["failed to parse template: line 1, column 4: alias references unknown anchor"],
    );
}

// expect-test finds its text by its place in this file.
#[rustfmt::skip]
#[test]
fn unknown_fields_are_warnings_with_path_line_and_guess_and_errors_when_strict() {
    let unknown = |text: &str, expected: &Expect| {
        let parsed = Template::parse(text).unwrap();
        let warnings: Vec<String> = parsed.warnings.iter().map(ToString::to_string).collect();
        let strict = parsed.strict().unwrap_err();
        expected.assert_eq(&format!("{}\n{strict}", warnings.join("\n")));
    };
    unknown(
        "images:\n- location: /x\n  digets: sha256:0\n",
        &expect![[r#"
            images[0].digets: unknown field, did you mean digest?; it is ignored (line 3)
            failed to parse template: images[0].digets: unknown field, did you mean digest? (line 3)"#]],
    );
    unknown(
        "Images: []\nimages:\n- location: /x\n  kernel:\n    location: /k\n    cmdlin: a\nxyz: 1\n",
        &expect![[r#"
            Images: unknown field, did you mean images?; it is ignored (line 1)
            images[0].kernel.cmdlin: unknown field, did you mean cmdline?; it is ignored (line 6)
            xyz: unknown field; it is ignored (line 7)
            failed to parse template: Images: unknown field, did you mean images? (line 1); images[0].kernel.cmdlin: unknown field, did you mean cmdline? (line 6); xyz: unknown field (line 7)"#]],
    );
    let extension = "x-note: {a: 1}\nimages:\n- {location: /x, x-kind: y}\n";
    assert_eq!(Template::parse(extension).unwrap().warnings, []);
    Template::parse(extension).unwrap().strict().unwrap();
}

// expect-test finds its text by its place in this file.
#[rustfmt::skip]
#[test]
fn values_of_the_wrong_kind_are_errors_with_path_and_line() {
    fails(
        "cpus: four\n",
        &expect![[r#"failed to parse template: cpus: must be a whole number from 0 to 4294967295; got the text "four" (line 1)"#]],
    );
    fails(
        "cpus: -1\n",
        &expect!["failed to parse template: cpus: must be a whole number from 0 to 4294967295; got the number -1 (line 1)"],
    );
    fails(
        "cpus: 1.5\n",
        &expect!["failed to parse template: cpus: must be a whole number from 0 to 4294967295; got the number 1.5 (line 1)"],
    );
    fails(
        "memory: lots\n",
        &expect![[r#"failed to parse template: memory: "lots" is not a size; write a number and a unit, such as 4GiB or 512MiB (line 1)"#]],
    );
    fails(
        "images: /x\n",
        &expect![[r#"failed to parse template: images: must be a list; got the text "/x" (line 1)"#]],
    );
    fails(
        "images:\n- /x\n",
        &expect![[r#"failed to parse template: images[0]: must be a map of fields; got the text "/x" (line 2)"#]],
    );
    fails(
        "images:\n- location: /x\n  arch: amd64\n",
        &expect![[r#"failed to parse template: images[0].arch: must be one of "x86_64", "aarch64", "armv7l", "ppc64le", "riscv64", "s390x"; got "amd64" (line 3)"#]],
    );
    fails(
        "vmType: quemu\n",
        &expect![[r#"failed to parse template: vmType: must be one of "qemu", "vz", "wsl2", "krunkit", "ext"; got "quemu", did you mean "qemu"? (line 1)"#]],
    );
    fails(
        "provision:\n- mode: System\n  script: x\n",
        &expect![[r#"failed to parse template: provision[0].mode: must be one of "system", "user", "boot", "dependency", "ansible", "data", "yq"; got "System", did you mean "system"? (line 2)"#]],
    );
    fails(
        "ssh: 22\n",
        &expect!["failed to parse template: ssh: must be a map of fields; got the number 22 (line 1)"],
    );
    fails(
        "ssh:\n  localPort: 70000\n",
        &expect!["failed to parse template: ssh.localPort: must be a number from 0 to 65535; got the number 70000 (line 2)"],
    );
    fails(
        "mounts:\n- location: ~\n  writable: maybe\n",
        &expect![[r#"failed to parse template: mounts[0].writable: must be true or false; got the text "maybe" (line 3)"#]],
    );
}

// expect-test finds its text by its place in this file.
#[rustfmt::skip]
#[test]
fn invalid_values_are_errors_that_name_the_field() {
    fails(
        "cpus: 1\n",
        &expect!["failed to validate template: images: must have at least one image"],
    );
    fails(
        "images: []\ncpus: 0\nmemory: 1k\ndisk: 0\nbase: template://debian\n",
        &expect!["failed to validate template: base: must be embedded before the template is stored; `rdd limavm create NAME FILE` does that; images: must have at least one image; cpus: must be from 1 to 1024; got 0; memory: must be from 64MiB to 64TiB; got 1KiB; disk: must be more than 0 and at most 64TiB; got 0"],
    );
    fails(
        "images:\n- location: relative.img\n- location: ftp://x/y\n  digest: md5:1\n",
        &expect![[r#"failed to validate template: images[0].location: "relative.img" is neither a URL nor an absolute path; images[1].location: "ftp://x/y" has a scheme that is not supported; use http, https, file or image; images[1].digest: "md5:1" is not a digest: it must begin with sha256: or sha512:"#]],
    );
    fails(
        "images:\n- location: /x\n  arch: x86_64\n  initrd: {location: /i}\n- location: /x\n  arch: x86_64\n  kernel: {location: /k, arch: aarch64}\n",
        &expect!["failed to validate template: images[0].initrd: needs a kernel beside it; images[1].kernel.arch: is aarch64, and the image is x86_64"],
    );
    fails(
        "images: [{location: /x}]\nuser: {name: Root User, uid: 0, home: home, shell: \"/bin/a:b\"}\ntimezone: ../../etc/passwd\n",
        &expect![[r#"failed to validate template: user.name: "Root User" is not a login name: it begins with a-z or _, then a-z, 0-9, _ or -, at most 32 characters; user.uid: must be more than 0 and none of 65534, 65535 and the two largest ids; got 0; user.home: must be an absolute path; got "home"; user.shell: must not contain a colon, which ends a field of /etc/passwd; timezone: "../../etc/passwd" is not a time zone such as Europe/Berlin"#]],
    );
    fails(
        "images: [{location: /x}]\nenv: {\"A B\": x, C: \"1\\n2\"}\nparam: {\"1\": x}\n",
        &expect![[r#"failed to validate template: env.A B: must be letters, digits and _, and not start with a digit; env.C: must be one line of text; it contains the control character '\n'; param.1: must be letters, digits and _, and not start with a digit"#]],
    );
    fails(
        "images: [{location: /x}]\nprovision: [{mode: user}, {script: x, skipDefaultDependencyResolution: true}]\nprobes: [{}]\n",
        &expect!["failed to validate template: provision[0].script: must be set with mode user; provision[1].skipDefaultDependencyResolution: goes with mode dependency only; the mode is system; probes[0].script: must be set"],
    );
    fails(
        "images: [{location: /x}]\nmounts: [{location: rel}, {location: /etc}]\nportForwards: [{guestPort: 0}, {guestPortRange: [2, 1]}]\nssh: {localPort: 22}\n",
        &expect![[r#"failed to validate template: mounts[0].location: must be an absolute path or start with ~; got "rel"; mounts[1].mountPoint: /etc belongs to the guest's system; choose a folder below it; portForwards[0].guestPort: must be from 1 to 65535; portForwards[1].guestPortRange: begins at 2 and ends at 1, which is less; ssh.localPort: must not be 22, which is the host's own sshd"#]],
    );
}

#[test]
fn alias_bombs_deep_and_long_texts_are_refused() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        laughs.push_str(&format!(
            "a{level}: &a{level} [{}]\n",
            [before.as_str(); 9].join(", ")
        ));
    }
    assert!(
        read(&laughs)
            .unwrap_err()
            .starts_with("failed to parse template: ")
    );
    let deep = format!("a: {}{}", "[".repeat(5000), "]".repeat(5000));
    assert!(
        read(&deep)
            .unwrap_err()
            .starts_with("failed to parse template: ")
    );
    let long = format!("message: {}\n", "x".repeat(2 << 20));
    assert!(
        read(&long)
            .unwrap_err()
            .contains("a template has at most 1048576")
    );
    let many = "a:\n".to_owned() + &"- x\n".repeat(100_000);
    assert!(
        read(&many)
            .unwrap_err()
            .starts_with("failed to parse template: ")
    );
}

#[test]
fn any_number_of_comment_lines_is_accepted() {
    for count in [33, 5_000] {
        let comments = "# a comment\n".repeat(count);
        let text =
            format!("images:\n- location: /x\nprovision:\n{comments}- script: 'true'\n{comments}");
        assert_eq!(read(&text).unwrap().provision.len(), 1);
    }
}

#[test]
fn images_of_another_variant_are_no_fallback() {
    let text = "images:\n- {location: /a, arch: x86_64, variant: cloud}\n- {location: /b, arch: x86_64}\n\
                - {location: /c, arch: x86_64, variant: cloud, archVariant: v3}\n- {location: /d, arch: x86_64, variant: cloud}\n\
                - {location: /e, arch: aarch64}\n";
    let template = read(text).unwrap();
    let places = |arch| -> Vec<String> {
        let images = template.images_for(arch);
        images.map(|(_, image)| image.location.clone()).collect()
    };
    assert_eq!(places(Arch::X86_64), ["/a", "/d"]);
    assert_eq!(places(Arch::Aarch64), ["/e"]);
}

#[test]
fn user_ids_beyond_16_bits_are_valid_and_reserved_ones_are_not() {
    let with = |uid: u32| {
        read(&format!(
            "images: [{{location: /x}}]\nuser: {{uid: {uid}}}\n"
        ))
    };
    for uid in [1, 501, 65_533, 65_536, 1_000_000_123] {
        with(uid).unwrap();
    }
    for uid in [0, 65_534, 65_535, u32::MAX] {
        assert!(with(uid).unwrap_err().contains("user.uid"), "{uid}");
    }
}

/// Written in the style of Lima's own templates.
const DEBIAN: &str = r#"
minimumLimaVersion: 2.0.0
arch: default
images:
# Try to use release-yyyyMMdd image if available.
- location: "https://h/debian-12-amd64.qcow2"
  arch: "x86_64"
  digest: "sha512:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
- location: "https://h/debian-12-arm64.qcow2"
  arch: "aarch64"
mounts:
- location: "~"
- location: "/tmp/lima"
  writable: true
mountTypesUnsupported: ["9p"]
containerd:
  system: false
  user: false
env:
  PORT: 8080
  VERSION: 1.10
  ON: yes
additionalDisks:
- data
- name: more
  format: true
provision:
- mode: system
  script: |
    #!/bin/bash
    set -eux
    docker ps --format '{{.Names}}' {{.Param.flag}} {{ .Param.flag }}
- mode: user
  script: |
    echo "{{.User}} {{.Home}} {{.UID}} {{.Name}} {{.Hostname}}"
- &again
  mode: boot
  script: echo boot
- *again
param:
  flag: --all
user:
  comment: null
message: |
  To run `x` in {{.Dir}}:
"#;

// expect-test finds its text by its place in this file.
#[rustfmt::skip]
#[test]
fn a_template_in_limas_style_parses_and_fields_without_effect_are_warnings() {
    let parsed = Template::parse(DEBIAN).unwrap();
    let warnings: Vec<String> = parsed.warnings.iter().map(ToString::to_string).collect();
    expect![[r#"
        additionalDisks: not supported by rdd yet, ignored
        mounts: not supported by rdd yet, ignored"#]]
    .assert_eq(&warnings.join("\n"));
    let template = parsed.template;
    template.validate().unwrap();
    assert_eq!(
        template.env["VERSION"], "1.10",
        "the text as written, not a number"
    );
    assert_eq!(template.env["PORT"], "8080");
    assert_eq!(template.env["ON"], "yes");
    assert_eq!(template.additional_disks[0].name, "data");
    assert_eq!(template.arch, None, "default means the host's architecture");
    assert_eq!(template.provision[2], template.provision[3]);
    assert_eq!(template.images_for(Arch::Aarch64).count(), 1);
}

// expect-test finds its text by its place in this file.
#[rustfmt::skip]
#[test]
fn defaults_come_from_the_host_and_parameters_are_expanded() {
    let mut template = Template::parse(DEBIAN).unwrap().template;
    let dir = LimaHome::new("/l").instance("web").unwrap();
    let params = BTreeMap::from([("flag".to_owned(), "--quiet".to_owned())]);
    let warnings = template.fill_defaults(&host(), &dir, &params).unwrap();
    assert_eq!(warnings, []);
    let text = template.to_yaml().unwrap();
    let filled = text.replace(host().arch.as_str(), "ARCH");
    expect![[r#"
        minimumLimaVersion: "2.0.0"
        vmType: qemu
        os: Linux
        arch: ARCH
        images:
        - location: https://h/debian-12-amd64.qcow2
          arch: ARCH
          digest: sha512:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
        - location: https://h/debian-12-arm64.qcow2
          arch: aarch64
        cpus: 4
        memory: 4GiB
        disk: 100GiB
        additionalDisks:
        - name: data
        - name: more
          format: true
        mounts:
        - location: "~"
        - location: /tmp/lima
          writable: true
        mountTypesUnsupported:
        - 9p
        ssh:
          localPort: 0
          loadDotSSHPubKeys: false
          forwardAgent: false
        provision:
        - mode: system
          script: |
            #!/bin/bash
            set -eux
            docker ps --format '{{.Names}}' --quiet --quiet
        - mode: user
          script: |
            echo "alice /home/alice.guest 501 web lima-web"
        - mode: boot
          script: echo boot
        - mode: boot
          script: echo boot
        containerd:
          system: false
          user: false
        message: |
          To run `x` in /l/web:
        env:
          "ON": "yes"
          PORT: "8080"
          VERSION: "1.10"
        param:
          flag: --quiet
        user:
          name: alice
          comment: Alice "A" 🐧
          home: /home/alice.guest
          shell: /bin/bash
          uid: 501
    "#]].assert_eq(&filled);
    let again = Template::parse(&text).unwrap().template;
    assert_eq!(again, template, "the written template parses to the same value");

    // The result does not depend on the host any more.
    let mut again = again;
    let other = Host {
        cpus: 1,
        memory: ByteSize::gib(1),
        ..host()
    };
    again.fill_defaults(&other, &dir, &BTreeMap::new()).unwrap();
    assert_eq!(again, template);
}

#[test]
fn small_hosts_and_unusual_user_names_get_fitting_defaults() {
    let fill = |host: &Host| {
        let mut template = Template::parse("images: [{location: /x}]")
            .unwrap()
            .template;
        let warnings = template
            .fill_defaults(
                host,
                &LimaHome::new("/l").instance("web").unwrap(),
                &BTreeMap::new(),
            )
            .unwrap();
        (template, warnings)
    };
    let (template, _) = fill(&Host {
        cpus: 2,
        memory: ByteSize(3_000_000_000),
        ..host()
    });
    assert_eq!(template.cpus, Some(2));
    assert_eq!(template.memory, Some(ByteSize::mib(1430)));
    for name in ["root", "Ärger", "a.b", "DOMAIN\\x", ""] {
        let user = HostUser {
            name: name.to_owned(),
            uid: Some(0),
            ..host().user
        };
        let (template, warnings) = fill(&Host { user, ..host() });
        assert_eq!(
            (template.user.name.as_deref(), template.user.uid),
            (Some("lima"), Some(1000)),
            "{name}"
        );
        assert_eq!(template.user.home.as_deref(), Some("/home/lima.guest"));
        assert_eq!(warnings.len(), 1, "{name}");
    }
}

// expect-test finds its text by its place in this file.
#[rustfmt::skip]
#[test]
fn an_undefined_parameter_is_an_error_with_a_guess() {
    let fill = |text: &str, params: &[(&str, &str)]| {
        let mut template = Template::parse(text).unwrap().template;
        let params = params
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        template
            .fill_defaults(
                &host(),
                &LimaHome::new("/l").instance("web").unwrap(),
                &params,
            )
            .map_err(|e| e.to_string())
    };
    let text = "images: [{location: /x}]\nparam: {flavour: x}\nprovision: [{script: \"{{.Param.flavour}}\"}]\n";
    expect!["failed to validate template: param.flavor: the template has no such parameter, did you mean flavour?"].assert_eq(&fill(text, &[("flavor", "y")]).unwrap_err());
    fill(text, &[("flavour", "y")]).unwrap();
    let text = "images: [{location: /x}]\nprovision: [{script: \"a {{.Param.b}}\"}]\n";
    expect!["failed to validate template: provision[0].script: uses {{.Param.b}}, and no parameter of that name is defined"].assert_eq(&fill(text, &[]).unwrap_err());
    fill(text, &[("b", "y")]).unwrap();
    expect![[r#"failed to validate template: param.b: must be one line of text; it contains the control character '\n'"#]].assert_eq(&fill(text, &[("b", "two\nlines")]).unwrap_err());
}

#[test]
fn shipped_templates_parse_validate_and_have_no_warnings() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../templates");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        count += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        let parsed =
            Template::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(parsed.warnings, [], "{}", path.display());
        let mut template = parsed.template;
        let dir = LimaHome::new("/l").instance("web").unwrap();
        template
            .fill_defaults(&host(), &dir, &BTreeMap::new())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    assert!(count > 0, "there are no templates");
}

proptest::proptest! {
    /// No text makes the parser panic or hang.
    #[test]
    fn any_text_parses_or_is_refused(text in "[a-z0-9:\\-\\[\\]{}&*#|>'\"!%@ \n\t,?]{0,200}") {
        let _ = Template::parse(&text);
    }

    #[test]
    fn any_script_reads_back_as_it_was_written(script in "\\PC{0,200}", value in "[ -~]{0,40}", lines in "[ a#:'\"|>\n\\-\t\\\\]{0,60}") {
        let mut template = Template::parse("images: [{location: /x}]").unwrap().template;
        for text in [script, lines] {
            template.provision.push(lima::template::Provision { script: Some(text), ..Default::default() });
        }
        template.message = Some(value.clone());
        template.env.insert("A".to_owned(), value);
        let text = template.to_yaml().unwrap();
        proptest::prop_assert_eq!(Template::parse(&text).unwrap().template, template, "{}", text);
    }
}
