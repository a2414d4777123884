//! The identity of the guest: host name, machine id, host keys, and the user with its keys.

use std::fs;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use guestagent::accounts::{Account, AccountFiles, add_user};
use guestagent::cidata::{Network, Settings, User};

use super::files::{self, replace_if_different};

/// Contains the instance that this disk belonged to at its last boot.
const INSTANCE_FILE: &str = "/var/lib/rdd/instance";
/// sshd's only host key. Its generation takes a tenth of the time of an RSA key, and every client since 2014 supports it.
const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key";

/// Generates machine id and host keys if they are missing, or if the disk is a clone of another instance's, because two
/// guests must never share them. Called before sshd and systemd need them.
///
/// # Errors
/// The root file system cannot be written to, or `ssh-keygen` failed.
pub(crate) fn ensure(instance: &str) -> io::Result<()> {
    let recorded = files::text(INSTANCE_FILE);
    let cloned = !recorded.is_empty() && recorded != instance;
    let public = files::text(format!("{HOST_KEY}.pub"));
    if cloned || !is_whole(&files::text(HOST_KEY), &public) {
        generate_host_key()?;
    }
    if cloned || files::text("/etc/machine-id").trim().len() != 32 {
        replace_if_different(
            Path::new("/etc/machine-id"),
            random_id()?.as_bytes(),
            0o444,
            None,
        )?;
    }
    if recorded != instance {
        fs::create_dir_all("/var/lib/rdd")?;
        files::replace(Path::new(INSTANCE_FILE), instance.as_bytes(), 0o644, None)?;
    }
    Ok(())
}

/// Returns the public host keys in the form of `known_hosts`.
pub(crate) fn public_host_keys() -> Vec<String> {
    let text = files::text(format!("{HOST_KEY}.pub"));
    text.lines()
        .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect()
}

/// Whether these are the two files of a key. They may be empty in a guest that was switched off right after it made them,
/// because ext4 writes a new name before the content.
fn is_whole(private: &str, public: &str) -> bool {
    private.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----")
        && private
            .trim_end()
            .ends_with("-----END OPENSSH PRIVATE KEY-----")
        && public.starts_with("ssh-ed25519 ")
        && public.ends_with('\n')
}

fn generate_host_key() -> io::Result<()> {
    let temporary = format!("{HOST_KEY}.rdd-new");
    for path in [temporary.clone(), format!("{temporary}.pub")] {
        let _ = fs::remove_file(path);
    }
    let status = Command::new("/usr/bin/ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &temporary])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(io::Error::other(format!("ssh-keygen ended with {status}")));
    }
    // Synced, so that a guest keeps a key that a client has seen, also if it is switched off right afterwards.
    for path in [temporary.clone(), format!("{temporary}.pub")] {
        fs::File::open(path)?.sync_all()?;
    }
    fs::rename(format!("{temporary}.pub"), format!("{HOST_KEY}.pub"))?;
    fs::rename(&temporary, HOST_KEY)?;
    fs::File::open("/etc/ssh")?.sync_all()
}

/// Returns a random version 4 UUID without dashes, as systemd generates it (machine-id(5)).
fn random_id() -> io::Result<String> {
    let mut text = String::new();
    fs::File::open("/proc/sys/kernel/random/uuid")?.read_to_string(&mut text)?;
    text.retain(|c| c.is_ascii_hexdigit());
    text.push('\n');
    Ok(text)
}

/// Sets the host name, and writes it for systemd.
///
/// # Errors
/// The root file system cannot be written to.
pub(crate) fn set_hostname(hostname: &str) -> io::Result<()> {
    let hosts = format!(
        "127.0.0.1 localhost\n127.0.1.1 {hostname}\n::1 localhost ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\n\
         ff02::2 ip6-allrouters\n"
    );
    if files::text("/etc/hostname").trim() != hostname {
        replace_if_different(Path::new("/etc/hosts"), hosts.as_bytes(), 0o644, None)?;
        files::replace(
            Path::new("/etc/hostname"),
            format!("{hostname}\n").as_bytes(),
            0o644,
            None,
        )?;
    }
    rustix::system::sethostname(hostname.as_bytes())?;
    Ok(())
}

/// Writes the name servers, and settings with which networkd takes over the interface unchanged.
///
/// # Errors
/// `/run` cannot be written to.
pub(crate) fn write_network_files(
    interface: &str,
    network: &Network,
    name_servers: &[IpAddr],
) -> io::Result<()> {
    let Network {
        address,
        prefix,
        gateway,
        dns,
    } = network;
    let servers = match name_servers {
        [] => vec![dns.to_string()],
        servers => servers.iter().map(ToString::to_string).collect(),
    };
    let resolv_conf: String = servers
        .iter()
        .map(|server| format!("nameserver {server}\n"))
        .collect();
    replace_if_different(
        Path::new("/etc/resolv.conf"),
        resolv_conf.as_bytes(),
        0o644,
        None,
    )?;
    fs::create_dir_all("/run/systemd/network")?;
    let text = format!(
        "# Written by guestagent at each boot.\n[Match]\nName={interface}\n\n[Network]\nAddress={address}/{prefix}\n\
         Gateway={gateway}\nDNS={servers}\nKeepConfiguration=yes\n",
        servers = servers.join(" "),
    );
    files::replace(
        Path::new("/run/systemd/network/10-rdd.network"),
        text.as_bytes(),
        0o644,
        None,
    )
}

/// Sets up the user with its home folder, passwordless sudo and `authorized_keys`. Changes only what differs.
///
/// # Errors
/// The root file system cannot be written to.
pub(crate) fn ensure_user(settings: &Settings) -> io::Result<Account> {
    let mut user = settings.user.clone();
    if !Path::new(&user.shell).exists() {
        "/bin/bash".clone_into(&mut user.shell);
    }
    let account = write_accounts(&user)?;
    let owner = (account.uid, account.gid);
    let home = PathBuf::from(&account.home);
    if !home.exists() {
        if let Some(parent) = home.parent() {
            fs::create_dir_all(parent)?;
        }
        make_folder(&home, 0o755, owner)?;
        for name in [".bashrc", ".profile", ".bash_logout"] {
            if let Ok(bytes) = fs::read(Path::new("/etc/skel").join(name)) {
                files::replace(&home.join(name), &bytes, 0o644, Some(owner))?;
            }
        }
    }
    let sudoers = format!("{} ALL=(ALL:ALL) NOPASSWD:ALL\n", user.name);
    replace_if_different(
        Path::new("/etc/sudoers.d/90-rdd"),
        sudoers.as_bytes(),
        0o440,
        None,
    )?;
    if !settings.authorized_keys.is_empty() {
        // Outside of the home folder: keys that users add there themselves stay, and a key that the host drops is gone.
        fs::create_dir_all("/etc/ssh/authorized_keys.d")?;
        let keys = settings.authorized_keys.join("\n") + "\n";
        let path = Path::new("/etc/ssh/authorized_keys.d").join(&user.name);
        replace_if_different(&path, keys.as_bytes(), 0o644, None)?;
    }
    Ok(account)
}

fn make_folder(path: &Path, mode: u32, (uid, gid): (u32, u32)) -> io::Result<()> {
    fs::DirBuilder::new().mode(mode).create(path)?;
    chown(path, Some(uid), Some(gid))
}

fn write_accounts(user: &User) -> io::Result<Account> {
    let before = AccountFiles {
        passwd: files::text("/etc/passwd"),
        shadow: files::text("/etc/shadow"),
        group: files::text("/etc/group"),
        gshadow: files::text("/etc/gshadow"),
        subuid: files::text("/etc/subuid"),
        subgid: files::text("/etc/subgid"),
        shells: files::text("/etc/shells"),
    };
    let mut after = before.clone();
    let account = add_user(&mut after, user);
    // Group 42 is `shadow` on every Debian (package base-passwd).
    let shadow = Some((0, 42));
    // `passwd` comes last, so that an account in it is complete.
    let writes = [
        ("/etc/shadow", &before.shadow, &after.shadow, 0o640, shadow),
        ("/etc/group", &before.group, &after.group, 0o644, None),
        (
            "/etc/gshadow",
            &before.gshadow,
            &after.gshadow,
            0o640,
            shadow,
        ),
        ("/etc/subuid", &before.subuid, &after.subuid, 0o644, None),
        ("/etc/subgid", &before.subgid, &after.subgid, 0o644, None),
        ("/etc/passwd", &before.passwd, &after.passwd, 0o644, None),
    ];
    for (path, old, new, mode, owner) in writes {
        if old != new {
            files::replace(Path::new(path), new.as_bytes(), mode, owner)?;
        }
    }
    Ok(account)
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn an_incomplete_key_is_generated_again() {
        let private =
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n";
        let public = "ssh-ed25519 AAAA \n";
        assert!(is_whole(private, public));
        for (private, public) in [
            ("", ""),
            (private, ""),
            ("", public),
            (&private[..50], public),
            (private, "ssh-ed25519 AA"),
            (&"\0".repeat(100), public),
        ] {
            assert!(!is_whole(private, public), "{private:?} {public:?}");
        }
    }
}
