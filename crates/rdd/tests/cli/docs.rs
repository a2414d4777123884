//! The command reference is generated, so it is always current.

use std::path::Path;

#[test]
fn reference_is_current() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let reference = format!("{}\n", crate::said::instance().rdd_ok(&["docs"]));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &reference).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == reference,
        "docs/cli.md is out of date; write it anew with: UPDATE_DOCS=1 cargo test -p rdd --test cli docs"
    );
}
