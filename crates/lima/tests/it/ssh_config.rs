//! `ssh.config`, read by the real ssh.

use std::path::Path;
use std::process::Command;

use lima::ssh_config::Settings;

fn settings(dir: &Path) -> Settings {
    Settings {
        host: "lima-web".to_owned(),
        user: "alice".to_owned(),
        port: 60022,
        identity: dir.join("_config/user"),
        control_path: dir.join("web/ssh.sock"),
        known_hosts: dir.join("web/known_hosts"),
        require_known_key: true,
        forward_agent: false,
    }
}

#[test]
fn ssh_reads_the_settings_from_a_folder_of_any_name() {
    let root = tempfile::tempdir().unwrap();
    for name in [
        "plain",
        "a [1] *b ü",
        "100% \"quoted\" 'x' #1 %h",
        "back\\slash $HOME ~",
    ] {
        let dir = root.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        let file = dir.join("ssh.config");
        settings(&dir).write(&file).unwrap();
        let output = Command::new("ssh")
            .arg("-G")
            .arg("-F")
            .arg(&file)
            .arg("lima-web")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).unwrap();
        let get = |key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
                .unwrap_or_default()
                .to_owned()
        };
        assert_eq!(get("hostname"), "127.0.0.1", "{name}");
        assert_eq!(get("port"), "60022");
        assert_eq!(get("user"), "alice");
        assert_eq!(get("identitiesonly"), "yes");
        assert_eq!(get("stricthostkeychecking"), "true");
        assert_eq!(get("hostkeyalias"), "lima-web");
        assert_eq!(get("nohostauthenticationforlocalhost"), "no");
        assert!(
            get("userknownhostsfile").ends_with("web/known_hosts"),
            "{name}"
        );
        assert_eq!(get("batchmode"), "yes");
        assert_eq!(
            get("controlpath"),
            dir.join("web/ssh.sock").to_str().unwrap(),
            "{name}"
        );
        // ssh prints this value before it expands the percent signs.
        let identity = dir
            .join("_config/user")
            .to_str()
            .unwrap()
            .replace('%', "%%");
        assert_eq!(get("identityfile"), identity, "{name}");
    }
}

#[test]
fn values_that_ssh_would_misread_are_refused() {
    for dir in ["/a${HOME}b", "/a\nProxyCommand x", "relative"] {
        let error = settings(Path::new(dir)).render().unwrap_err().to_string();
        assert!(error.contains("cannot write"), "{error}");
    }
    let bad = Settings {
        user: "a b".to_owned(),
        ..settings(Path::new("/x"))
    };
    assert!(bad.render().is_err());
}

#[test]
fn known_key_is_required_once_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ssh.config");
    lima::ssh_config::require_known_key(&file).unwrap();
    assert!(!file.exists());
    let first = Settings {
        require_known_key: false,
        ..settings(folder.path())
    };
    first.write(&file).unwrap();
    let text = || std::fs::read_to_string(&file).unwrap();
    assert!(text().contains("StrictHostKeyChecking accept-new"));
    for _ in 0..2 {
        lima::ssh_config::require_known_key(&file).unwrap();
        assert_eq!(text(), settings(folder.path()).render().unwrap());
    }
}
