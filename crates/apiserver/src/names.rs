//! The syntax of names, labels and annotations (`k8s.io/apimachinery/pkg/util/validation`).

use serde_json::Value;

use crate::status::{Cause, MAX_CAUSES};

const DNS_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and \
    must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const DNS_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' \
    or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
    with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
    '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex \
    used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
/// The size of all annotations of an object, in bytes.
const MAX_ANNOTATIONS: usize = 256 << 10;

fn is_dns_label(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// Returns why a text is not a DNS label.
pub(crate) fn dns_label_error(text: &str) -> Option<String> {
    if text.len() > 63 {
        return Some("must be no more than 63 characters".into());
    }
    (!is_dns_label(text)).then(|| DNS_LABEL.into())
}

/// Returns why a text is not a DNS subdomain.
pub(crate) fn dns_subdomain_error(text: &str) -> Option<String> {
    if text.len() > 253 {
        return Some("must be no more than 253 characters".into());
    }
    (!text.split('.').all(is_dns_label)).then(|| DNS_SUBDOMAIN.into())
}

fn is_qualified(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    text.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

/// Returns why a text is not the key of a label, annotation or finalizer: `[prefix/]name`.
pub(crate) fn label_key_error(key: &str) -> Option<String> {
    let name = match key.split_once('/') {
        Some((prefix, name)) => {
            if let Some(error) = dns_subdomain_error(&prefix.to_ascii_lowercase()) {
                return Some(format!("prefix part {error}"));
            }
            name
        }
        None => key,
    };
    if name.is_empty() {
        return Some("name part must be non-empty".into());
    }
    (!is_qualified(name)).then(|| QUALIFIED.into())
}

fn label_value_error(value: &str) -> Option<String> {
    (!value.is_empty() && !is_qualified(value)).then(|| LABEL_VALUE.into())
}

/// Returns the faults in an object's labels, annotations, finalizers and owner references.
pub(crate) fn metadata_causes(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let meta = &object["metadata"];
    for (key, value) in meta["labels"].as_object().into_iter().flatten() {
        if causes.len() >= MAX_CAUSES {
            break;
        }
        if let Some(why) = label_key_error(key) {
            causes.push(Cause::invalid(
                "metadata.labels",
                &key.as_str().into(),
                &why,
            ));
        }
        if let Some(why) = value.as_str().and_then(label_value_error) {
            causes.push(Cause::invalid("metadata.labels", value, &why));
        }
    }
    let mut bytes = 0;
    for (key, value) in meta["annotations"].as_object().into_iter().flatten() {
        if causes.len() >= MAX_CAUSES {
            break;
        }
        bytes += key.len() + value.as_str().map_or(0, str::len);
        if let Some(why) = label_key_error(key) {
            causes.push(Cause::invalid(
                "metadata.annotations",
                &key.as_str().into(),
                &why,
            ));
        }
    }
    if bytes > MAX_ANNOTATIONS {
        let why = format!("must have at most {MAX_ANNOTATIONS} bytes");
        causes.push(Cause::too_long("metadata.annotations", &why));
    }
    for finalizer in meta["finalizers"].as_array().into_iter().flatten() {
        if causes.len() >= MAX_CAUSES {
            break;
        }
        let known = ["orphan", "foregroundDeletion", "kubernetes"];
        let text = finalizer.as_str().unwrap_or_default();
        if let Some(why) = label_key_error(text) {
            causes.push(Cause::invalid("metadata.finalizers", finalizer, &why));
        } else if !text.contains('/') && !known.contains(&text) && !text.contains('.') {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            causes.push(Cause::invalid("metadata.finalizers", finalizer, why));
        }
    }
    let mut controllers = 0;
    for (index, owner) in meta["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        if causes.len() >= MAX_CAUSES {
            break;
        }
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().unwrap_or_default().is_empty() {
                let path = format!("metadata.ownerReferences[{index}].{field}");
                causes.push(Cause::required(path, "must not be empty"));
            }
        }
        controllers += usize::from(owner["controller"] == true);
    }
    if controllers > 1 {
        let why = "Only one reference can have Controller set to true";
        causes.push(Cause::invalid(
            "metadata.ownerReferences",
            &meta["ownerReferences"],
            why,
        ));
    }
    causes
}

/// The characters of generated names; without vowels they form no words (`k8s.io/apimachinery/pkg/util/rand`).
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const MAX_GENERATED: usize = 58;

/// Returns a new name that starts with `base`.
pub(crate) fn generate(base: &str) -> String {
    let base: String = base.chars().take(MAX_GENERATED).collect();
    let random = uuid::Uuid::new_v4();
    let tail = random.as_bytes().iter().take(5);
    let tail: String = tail
        .map(|b| char::from(ALPHABET[usize::from(*b) % ALPHABET.len()]))
        .collect();
    base + &tail
}
