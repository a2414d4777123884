//! One table with every field of the format: what reads it, and which test would fail without that.
//!
//! The tests below fail for a field that is in no row, for a row whose code or test does not exist, and for a field that is
//! said to be warned about and is not.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;
use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{self, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::types::Template;

/// What a field does.
enum Effect {
    /// The file that reads the field, with the expression that does.
    Read(&'static str, &'static str),
    /// The template sets the field, and a warning names it.
    Warned(&'static str),
    /// Nothing has to happen; the reason.
    Inert(&'static str),
}
use Effect::{Inert, Read, Warned};

const FACTS: &str = "lima/src/cidata/facts.rs";
const PREPARE: &str = "lima/src/instance/prepare.rs";
const EMBED: &str = "lima/src/template/embed/mod.rs";
const SPEC: &str = "driver/src/qemu/from_template.rs";

/// Field or group of fields, effect, test.
const TABLE: &[(&str, Effect, &str)] = &[
    (
        "additionalDisks",
        Warned("additionalDisks: [data]"),
        TABLE_TEST,
    ),
    (
        "arch",
        Read(SPEC, "template.arch"),
        "defaults_come_from_the_host_and_parameters_are_expanded",
    ),
    (
        "audio.device",
        Warned("audio: {device: coreaudio}"),
        TABLE_TEST,
    ),
    (
        "audio.interface",
        Warned("audio: {interface: hda}"),
        TABLE_TEST,
    ),
    (
        "base",
        Read(EMBED, "remove(\"base\")"),
        "bases_fill_in_and_lists_are_appended_as_lima_documents",
    ),
    (
        "caCerts",
        Warned("caCerts: {removeDefaults: true}"),
        TABLE_TEST,
    ),
    (
        "containerd.archives",
        Warned("containerd: {archives: [{location: /x}]}"),
        TABLE_TEST,
    ),
    (
        "containerd.system",
        Warned("containerd: {system: true}"),
        TABLE_TEST,
    ),
    (
        "containerd.user",
        Warned("containerd: {user: true}"),
        TABLE_TEST,
    ),
    (
        "copyToHost",
        Warned("copyToHost: [{guest: /a, skipIfMissing: true}]"),
        TABLE_TEST,
    ),
    (
        "cpuType",
        Read(SPEC, "template.cpu_type"),
        "a_template_and_its_folder_make_a_machine",
    ),
    (
        "cpus",
        Read(SPEC, "template.cpus"),
        "defaults_come_from_the_host_and_parameters_are_expanded",
    ),
    (
        "disk",
        Read(PREPARE, "template.disk"),
        "a_smaller_disk_is_refused_and_changes_nothing",
    ),
    (
        "dns",
        Read(FACTS, "template.dns"),
        "the_guest_agent_reads_the_same_facts",
    ),
    (
        "env",
        Read(FACTS, "template.env"),
        "the_guest_agent_reads_the_same_facts",
    ),
    (
        "firmware.images",
        Warned("firmware: {images: [{location: /x}]}"),
        TABLE_TEST,
    ),
    (
        "firmware.legacyBIOS",
        Inert("the driver uses BIOS on a PC and UEFI on ARM, where Lima ignores the field"),
        "",
    ),
    (
        "guestInstallPrefix",
        Warned("guestInstallPrefix: /usr"),
        TABLE_TEST,
    ),
    (
        "hostResolver.enabled",
        Warned("hostResolver: {enabled: true}"),
        TABLE_TEST,
    ),
    (
        "hostResolver.hosts",
        Read(FACTS, "host_resolver.hosts"),
        "names_get_their_addresses_through_aliases",
    ),
    (
        "hostResolver.ipv6",
        Warned("hostResolver: {ipv6: true}"),
        TABLE_TEST,
    ),
    (
        "images",
        Read(PREPARE, "images_for"),
        "the_next_image_is_used_if_the_first_fails",
    ),
    (
        "images[].archVariant",
        Read("lima/src/template/defaults.rs", "image.arch_variant"),
        "images_of_another_variant_are_no_fallback",
    ),
    (
        "images[].initrd.vmType",
        Inert("Lima's own initrd has no such field"),
        "",
    ),
    (
        "images[].variant",
        Read("lima/src/template/defaults.rs", "image.variant"),
        "images_of_another_variant_are_no_fallback",
    ),
    (
        "memory",
        Read(SPEC, "template.memory"),
        "small_hosts_and_unusual_user_names_get_fitting_defaults",
    ),
    (
        "message",
        Read("rdd/src/commands/limavm/greeting.rs", "template.message"),
        "a_message_has_its_lines_and_no_control_characters",
    ),
    (
        "minimumLimaVersion",
        Warned("minimumLimaVersion: 99.0.0"),
        TABLE_TEST,
    ),
    ("mountInotify", Warned("mountInotify: true"), TABLE_TEST),
    (
        "mountType",
        Warned("mounts: [{location: /a}]\nmountType: 9p"),
        TABLE_TEST,
    ),
    (
        "mountTypesUnsupported",
        Inert("nothing is mounted yet, and `mounts` has a warning"),
        "",
    ),
    ("mounts", Warned("mounts: [{location: /a}]"), TABLE_TEST),
    (
        "nestedVirtualization",
        Warned("nestedVirtualization: true"),
        TABLE_TEST,
    ),
    ("networks", Warned("networks: [{lima: shared}]"), TABLE_TEST),
    (
        "os",
        Read("lima/src/template/validate.rs", "self.os"),
        "invalid_values_are_errors_that_name_the_field",
    ),
    (
        "osOpts",
        Warned("osOpts: {Windows: {virtioWin: []}}"),
        TABLE_TEST,
    ),
    (
        "param",
        Read(FACTS, "template.param"),
        "an_undefined_parameter_is_an_error_with_a_guess",
    ),
    (
        "plain",
        Read(FACTS, "template.plain"),
        "a_plain_guest_gets_no_names_of_hosts",
    ),
    (
        "portForwards",
        Warned("portForwards: [{guestPort: 80}]"),
        TABLE_TEST,
    ),
    ("probes", Warned("probes: [{script: x}]"), TABLE_TEST),
    (
        "propagateProxyEnv",
        Read(FACTS, "template.propagate_proxy_env"),
        "the_host_gives_proxies_and_keys_only_as_the_template_says",
    ),
    (
        "provision[].content",
        Read(FACTS, "step.content"),
        "files_of_mode_data_are_on_the_disk_with_their_properties",
    ),
    (
        "provision[].expression",
        Warned("provision: [{mode: yq, path: /x, expression: y}]"),
        TABLE_TEST,
    ),
    (
        "provision[].file",
        Read(EMBED, "remove(\"file\")"),
        "bases_of_bases_and_script_files_are_relative_to_their_own_template",
    ),
    (
        "provision[].format",
        Warned("provision: [{mode: yq, path: /x, format: y}]"),
        TABLE_TEST,
    ),
    (
        "provision[].mode",
        Read(FACTS, "step.mode"),
        "the_disk_has_limas_layout_and_the_facts",
    ),
    (
        "provision[].overwrite",
        Read(FACTS, "step.overwrite"),
        "files_of_mode_data_are_on_the_disk_with_their_properties",
    ),
    (
        "provision[].owner",
        Read(FACTS, "step.owner"),
        "files_of_mode_data_are_on_the_disk_with_their_properties",
    ),
    (
        "provision[].path",
        Read(FACTS, "step.path"),
        "files_of_mode_data_are_on_the_disk_with_their_properties",
    ),
    (
        "provision[].permissions",
        Read(FACTS, "step.permissions"),
        "files_of_mode_data_are_on_the_disk_with_their_properties",
    ),
    (
        "provision[].playbook",
        Warned("provision: [{script: x, playbook: y}]"),
        TABLE_TEST,
    ),
    (
        "provision[].script",
        Read(FACTS, "step.script"),
        "the_disk_has_limas_layout_and_the_facts",
    ),
    (
        "provision[].skipDefaultDependencyResolution",
        Inert("rdd installs no dependencies that a script could replace"),
        "",
    ),
    ("rosetta", Warned("rosetta: {enabled: true}"), TABLE_TEST),
    (
        "ssh.address",
        Warned("ssh: {address: 127.0.0.5}"),
        TABLE_TEST,
    ),
    (
        "ssh.forwardAgent",
        Read("hostagent/src/prepare.rs", "ssh.forward_agent"),
        "ssh_reads_the_settings_from_a_folder_of_any_name",
    ),
    (
        "ssh.forwardX11",
        Warned("ssh: {forwardX11: true}"),
        TABLE_TEST,
    ),
    (
        "ssh.forwardX11Trusted",
        Warned("ssh: {forwardX11Trusted: true}"),
        TABLE_TEST,
    ),
    (
        "ssh.loadDotSSHPubKeys",
        Read(FACTS, "load_dot_ssh_pub_keys"),
        "the_host_gives_proxies_and_keys_only_as_the_template_says",
    ),
    (
        "ssh.localPort",
        Read("hostagent/src/prepare.rs", "ssh.local_port"),
        "values_of_the_wrong_kind_are_errors_with_path_and_line",
    ),
    (
        "ssh.overVsock",
        Warned("ssh: {overVsock: true}"),
        TABLE_TEST,
    ),
    (
        "timezone",
        Read(FACTS, "template.timezone"),
        "the_guest_agent_reads_the_same_facts",
    ),
    ("tpm", Warned("tpm: true"), TABLE_TEST),
    (
        "upgradePackages",
        Warned("upgradePackages: true"),
        TABLE_TEST,
    ),
    (
        "user",
        Read(FACTS, "template.user"),
        "the_guest_agent_reads_the_same_facts",
    ),
    (
        "user.passwordlessSudo",
        Warned("user: {passwordlessSudo: false}"),
        TABLE_TEST,
    ),
    (
        "video.display",
        Warned("video: {display: cocoa}"),
        TABLE_TEST,
    ),
    (
        "video.vnc.display",
        Warned("video: {vnc: {display: '127.0.0.1:0'}}"),
        TABLE_TEST,
    ),
    (
        "vmOpts.krunkit",
        Warned("vmOpts: {krunkit: {gpuAccel: true}}"),
        TABLE_TEST,
    ),
    (
        "vmOpts.qemu.cpuType",
        Read(SPEC, "qemu.cpu_type"),
        "a_template_and_its_folder_make_a_machine",
    ),
    (
        "vmOpts.qemu.minimumVersion",
        Warned("vmOpts: {qemu: {minimumVersion: 99.0.0}}"),
        TABLE_TEST,
    ),
    (
        "vmOpts.vz",
        Warned("vmOpts: {vz: {diskImageFormat: asif}}"),
        TABLE_TEST,
    ),
    ("vmOpts.wsl2", Warned("vmOpts: {wsl2: {x: y}}"), TABLE_TEST),
    ("vmType", Warned("vmType: vz"), TABLE_TEST),
];

const TABLE_TEST: &str = "each_row_is_true";

/// Deserializes a type without data and notes the paths of its fields.
struct Walk<'w> {
    path: String,
    found: &'w std::cell::RefCell<BTreeSet<String>>,
}

impl Walk<'_> {
    fn below(&self, part: &str) -> Self {
        let path = match (self.path.as_str(), part) {
            ("", part) => part.to_owned(),
            (path, "[]") => format!("{path}[]"),
            (path, part) => format!("{path}.{part}"),
        };
        Walk {
            path,
            found: self.found,
        }
    }

    fn leaf(&self) {
        self.found.borrow_mut().insert(self.path.clone());
    }
}

impl<'de> IntoDeserializer<'de, de::value::Error> for Walk<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Walk<'_> {
    type Error = de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.leaf();
        visitor.visit_unit()
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.leaf();
        visitor.visit_bool(true)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.leaf();
        visitor.visit_u16(1)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.leaf();
        visitor.visit_u32(1)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.leaf();
        // Sizes and addresses are texts of their own forms.
        let expected = (&visitor as &dyn de::Expected).to_string();
        visitor.visit_str(if expected.contains("IP") { "::1" } else { "1" })
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_seq(SeqDeserializer::new([self.below("[]")].into_iter()))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let items: Vec<_> = (0..len).map(|_| self.below("[]")).collect();
        visitor.visit_seq(SeqDeserializer::new(items.into_iter()))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.leaf();
        visitor.visit_map(MapDeserializer::new(std::iter::empty::<(&str, Walk<'_>)>()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let fields = fields.iter().map(|name| (*name, self.below(name)));
        visitor.visit_map(MapDeserializer::new(fields))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.leaf();
        let name: StrDeserializer<'_, Self::Error> = variants[0].into_deserializer();
        visitor.visit_enum(name)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u64 u128 f32 f64 char bytes byte_buf unit unit_struct newtype_struct
        tuple_struct identifier ignored_any
    }
}

fn all_fields() -> BTreeSet<String> {
    let found = std::cell::RefCell::default();
    let walk = Walk {
        path: String::new(),
        found: &found,
    };
    Template::deserialize(walk).unwrap();
    found.into_inner()
}

fn covers(row: &str, field: &str) -> bool {
    field
        .strip_prefix(row)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[test]
fn each_field_of_the_format_is_in_the_table() {
    let fields = all_fields();
    assert!(fields.len() > 100, "{fields:?}");
    let missing: Vec<_> = fields
        .iter()
        .filter(|field| !TABLE.iter().any(|(row, _, _)| covers(row, field)))
        .collect();
    assert!(missing.is_empty(), "not in the table: {missing:?}");
    let unknown: Vec<_> = TABLE
        .iter()
        .map(|(row, _, _)| row)
        .filter(|row| !fields.iter().any(|field| covers(row, field)))
        .collect();
    assert!(unknown.is_empty(), "not in the format: {unknown:?}");
}

#[test]
fn each_row_is_true() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |file: &str| {
        let path = crates.join(file);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let mut tests = String::new();
    for folder in [
        "lima/src",
        "lima/tests",
        "driver/src",
        "driver/tests",
        "rdd/src",
    ] {
        let mut folders = vec![crates.join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    tests += &std::fs::read_to_string(path).unwrap();
                }
            }
        }
    }
    for (row, effect, test) in TABLE {
        match effect {
            Read(file, expression) => {
                assert!(
                    read(file).contains(expression),
                    "{row}: {expression} is not in {file}"
                );
                assert!(tests.contains(test), "{row}: there is no test {test}");
            }
            Warned(text) => {
                let parsed = Template::parse(text).unwrap();
                assert_eq!(parsed.unknown, [], "{row}");
                let field = row.split("[]").next().unwrap();
                let warned =
                    |warning: &super::unsupported::Warning| warning.field.starts_with(field);
                assert!(
                    parsed.warnings.iter().any(warned),
                    "{row}: {:?}",
                    parsed.warnings
                );
            }
            Inert(reason) => assert!(!reason.is_empty(), "{row}"),
        }
    }
}
