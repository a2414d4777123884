//! Templates that build on other templates.

use std::cell::RefCell;
use std::collections::BTreeMap;

use expect_test::expect;
use lima::template::{EmbedError, Loader, LocalFiles, Template, embed};

/// Texts by locator. Notes what was read.
#[derive(Default)]
struct Texts {
    texts: BTreeMap<String, String>,
    read: RefCell<Vec<String>>,
}

impl Texts {
    fn new(texts: &[(&str, &str)]) -> Self {
        let texts = texts
            .iter()
            .map(|(locator, text)| ((*locator).to_owned(), (*text).to_owned()))
            .collect();
        Self {
            texts,
            ..Self::default()
        }
    }
}

impl Loader for Texts {
    fn load(&self, locator: &str) -> Result<String, String> {
        self.read.borrow_mut().push(locator.to_owned());
        let text = self.texts.get(locator).cloned();
        text.ok_or_else(|| "there is no such file".to_owned())
    }
}

fn try_embed(text: &str, at: &str, texts: &[(&str, &str)]) -> Result<String, EmbedError> {
    embed(text, at, &Texts::new(texts), LocalFiles::Refused)
}

fn embedded(text: &str, texts: &[(&str, &str)]) -> String {
    try_embed(text, "/t/a.yaml", texts).unwrap()
}

fn fails(text: &str, at: &str, texts: &[(&str, &str)]) -> String {
    try_embed(text, at, texts).unwrap_err().to_string()
}

#[test]
fn a_template_without_bases_comes_back_as_it_is() {
    let text = "# a comment\nimages: [{location: /x}]\n";
    assert_eq!(embedded(text, &[]), text);
}

// expect-test finds its text by its place in this file.
#[rustfmt::skip]
#[test]
fn bases_fill_in_and_lists_are_appended_as_lima_documents() {
    let text = "
base: [b.yaml, 'template:c']
minimumLimaVersion: 2.0.0
cpus: 1
dns: [1.1.1.1]
mountTypesUnsupported: [9p]
ssh: {localPort: 5}
memory: null
env: {A: own, V: 1.10, ON: yes}
provision:
- script: own
";
    let base = "
minimumLimaVersion: 2.1.0
cpus: 2
memory: 1GiB
images:
- location: https://h/b.qcow2
dns: [9.9.9.9]
mountTypesUnsupported: [9p, virtiofs]
ssh: {localPort: 7, forwardAgent: true}
env: {A: base, B: 2.50}
provision:
- script: base
";
    let other = "
images:
- location: https://h/c.qcow2
provision:
- script: other
- mode: data
  path: /x
  permissions: 0644
  content: y
";
    let text = embedded(text, &[("/t/b.yaml", base), ("template:c", other)]);
    expect![[r#"
        minimumLimaVersion: "2.1.0"
        cpus: 1
        dns:
        - "1.1.1.1"
        mountTypesUnsupported:
        - 9p
        - virtiofs
        ssh:
          localPort: 5
          forwardAgent: true
        memory: null
        env:
          A: own
          V: "1.10"
          "ON": "yes"
          B: "2.50"
        provision:
        - script: other
        - mode: data
          path: /x
          permissions: "0644"
          content: true
        - script: base
        - script: own
        images:
        - location: https://h/b.qcow2
        - location: https://h/c.qcow2
    "#]].assert_eq(&text);
    Template::parse(&text).unwrap().strict().unwrap();
}

// expect-test finds its text by its place in this file.
#[rustfmt::skip]
#[test]
fn entries_with_one_key_are_combined_and_a_star_means_all_before() {
    let text = "
base: {url: b.yaml}
additionalDisks: [data]
mounts:
- location: /a
- location: /b
  writable: false
  9p: {cache: mmap}
networks:
- interface: lan0
  lima: shared
";
    let base = "
additionalDisks:
- {name: data, format: true, fsType: xfs}
mounts:
- location: /b
  writable: true
  9p: {cache: none, msize: 1MiB}
- mountPoint: '*'
  writable: true
networks:
- {interface: lan0, socket: /s, metric: 5}
";
    expect![[r#"
        additionalDisks:
        - name: data
          format: true
          fsType: xfs
        mounts:
        - location: /a
          writable: true
        - location: /b
          writable: false
          9p:
            cache: mmap
            msize: 1MiB
        networks:
        - interface: lan0
          lima: shared
          metric: 5
    "#]].assert_eq(&embedded(text, &[("/t/b.yaml", base)]));
}

#[test]
fn bases_of_bases_and_script_files_are_relative_to_their_own_template() {
    let texts = Texts::new(&[
        (
            "https://h/t/b.yaml",
            "base: sub/c.yaml\nimages: [{location: 'https://h/x'}]\nprobes:\n- file: p.sh\n",
        ),
        (
            "https://h/t/sub/c.yaml",
            "provision:\n- {mode: data, path: /x, file: {url: d.txt}}\n",
        ),
        ("https://h/t/p.sh", "#!/bin/sh\nprobe\n"),
        ("https://h/t/sub/d.txt", "content\n"),
    ]);
    let text = embed(
        "base: https://h/t/b.yaml\n",
        "/t/a.yaml",
        &texts,
        LocalFiles::Refused,
    )
    .unwrap();
    let template = Template::parse(&text).unwrap().strict().unwrap().template;
    assert_eq!(template.base, []);
    assert_eq!(template.provision[0].content.as_deref(), Some("content\n"));
    assert_eq!(
        template.probes[0].script.as_deref(),
        Some("#!/bin/sh\nprobe\n")
    );
    template.validate().unwrap();
}

#[test]
fn loops_depth_and_size_are_bounded() {
    let error = fails(
        "base: a.yaml\n",
        "/t/a.yaml",
        &[("/t/a.yaml", "base: a.yaml\n")],
    );
    assert!(error.contains("/t/a.yaml is included already"), "{error}");
    let chain: Vec<(String, String)> = (0..40)
        .map(|n| (format!("/t/{n}"), format!("base: '{}'\n", n + 1)))
        .collect();
    let chain: Vec<(&str, &str)> = chain.iter().map(|(a, b)| (&**a, &**b)).collect();
    let error = fails("base: '0'\n", "/t/a.yaml", &chain);
    assert!(error.contains("more than 16 levels"), "{error}");
    let large = format!("message: {}\n", "x".repeat(900_000));
    let names: Vec<String> = (0..6).map(|n| format!("/t/{n}")).collect();
    let texts: Vec<(&str, &str)> = names.iter().map(|name| (&**name, &*large)).collect();
    let error = fails(
        "base: ['0', '1', '2', '3', '4', '5']\n",
        "/t/a.yaml",
        &texts,
    );
    assert!(error.contains("more than 4194304 bytes"), "{error}");
    let many = "provision:\n".to_owned() + &"- file: s\n".repeat(200);
    let error = fails(&many, "/t/a.yaml", &[("/t/s", "x")]);
    assert!(error.contains("more than 128 files"), "{error}");
}

#[test]
fn what_cannot_be_read_names_the_field_that_wants_it() {
    for (text, at, parts) in [
        (
            "base: none.yaml\n",
            "/t/a.yaml",
            ["/t/none.yaml", "base[0]"],
        ),
        (
            "provision: [{file: s.sh}]\n",
            "/t/a.yaml",
            ["/t/s.sh", "provision[0].file"],
        ),
        (
            "base: b.yaml\n",
            "standard input",
            ["base[0]", "relative path"],
        ),
        (
            "base: ../b.yaml\n",
            "/t/a.yaml",
            ["base[0]", "must not lead out"],
        ),
        ("base: 'github:x'\n", "/t/a.yaml", ["base[0]", "scheme"]),
        (
            "base: bad.yaml\n",
            "/t/a.yaml",
            ["/t/bad.yaml", "must be a map"],
        ),
    ] {
        let error = fails(text, at, &[("/t/bad.yaml", "- 1\n")]);
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn digests_of_bases_and_scripts_are_verified() {
    let digest = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    let text = format!("provision:\n- file: {{url: s, digest: '{digest}'}}\n");
    assert!(embedded(&text, &[("/t/s", "x")]).contains("script: x"));
    let error = fails(&text, "/t/a.yaml", &[("/t/s", "y")]);
    assert!(
        error.contains("/t/s has the digest sha256:") && error.contains(digest),
        "{error}"
    );
}

#[test]
fn a_template_from_a_url_names_local_files_only_when_the_user_confirms() {
    let cases = [
        (
            "images: [{location: /etc/shadow}]\n",
            "images[0].location: /etc/shadow",
        ),
        (
            "images: [{location: 'file:///etc/shadow'}]\n",
            "images[0].location",
        ),
        ("images: [{location: '~/x'}]\n", "images[0].location: ~/x"),
        (
            "images:\n- location: https://h/x\n  kernel: {location: /etc/shadow}\n",
            "images[0].kernel.location: /etc/shadow",
        ),
        (
            "images:\n- location: https://h/x\n  initrd: {location: /etc/shadow}\n",
            "images[0].initrd.location",
        ),
        (
            "firmware: {images: [{location: /etc/shadow}]}\n",
            "firmware.images[0].location",
        ),
        (
            "containerd: {archives: [{location: /etc/shadow}]}\n",
            "containerd.archives[0]",
        ),
        (
            "caCerts: {files: [/etc/shadow]}\n",
            "caCerts.files[0]: /etc/shadow",
        ),
        (
            "provision: [{file: /etc/shadow}]\n",
            "provision[0].file: /etc/shadow",
        ),
        (
            "probes: [{file: {url: 'file:///etc/shadow'}}]\n",
            "probes[0].file",
        ),
        ("base: /etc/shadow\n", "base: /etc/shadow"),
        ("base: [{url: /etc/shadow}]\n", "base: /etc/shadow"),
    ];
    for (text, part) in cases {
        let texts = [("https://h/a.yaml", text), ("/etc/shadow", "cpus: 1\n")];
        for (root, at) in [
            (text, "https://h/a.yaml"),
            ("base: https://h/a.yaml\n", "/t/b.yaml"),
        ] {
            let error = fails(root, at, &texts);
            assert!(
                error.contains("https://h/a.yaml comes from the network") && error.contains(part),
                "{text}: {error}"
            );
            assert!(error.contains("--allow-local-files"), "{error}");
            let loader = Texts::new(&texts);
            embed(root, at, &loader, LocalFiles::Allowed).unwrap();
        }
        // The same template of this machine may.
        embedded(text, &[("/etc/shadow", "cpus: 1\n")]);
    }
    // Refused before anything is read.
    let loader = Texts::new(&[]);
    let text = "base: https://h/b.yaml\nimages: [{location: /etc/shadow}]\n";
    embed(text, "https://h/a.yaml", &loader, LocalFiles::Refused).unwrap_err();
    assert_eq!(*loader.read.borrow(), [""; 0]);
    let fine = "images: [{location: 'image://debian-12'}, {location: 'https://h/x'}]\n";
    assert_eq!(try_embed(fine, "https://h/a.yaml", &[]).unwrap(), fine);
}
