//! The fields that describe what is inside the guest, and between guest and host.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{File, Locator, ProbeMode, Proto, ProvisionMode};
use crate::template::size::ByteSize;

fields! {
    /// A folder of the host in the guest.
    Mount {
        /// The folder on the host.
        location: String,
        /// The folder in the guest; `location` by default.
        mount_point: Option<String>,
        /// Whether the guest may write.
        writable: Option<bool>,
        /// Settings of reverse-sshfs.
        sshfs: Sshfs,
        /// Settings of 9p.
        #[serde(rename = "9p")]
        nine_p: NineP,
        /// Settings of virtiofs.
        virtiofs: Virtiofs,
    }

    /// Settings of reverse-sshfs.
    Sshfs {
        /// Whether sshfs caches.
        cache: Option<bool>,
        /// Whether the server follows symbolic links on the host.
        follow_symlinks: Option<bool>,
        /// `builtin` or `openssh-sftp-server`.
        sftp_driver: Option<String>,
    }

    /// Settings of 9p.
    NineP {
        /// Security model.
        security_model: Option<String>,
        /// Protocol version.
        protocol_version: Option<String>,
        /// Packet size.
        msize: Option<ByteSize>,
        /// Cache mode.
        cache: Option<String>,
    }

    /// Settings of virtiofs.
    Virtiofs {
        /// Length of the queue.
        queue_size: Option<u32>,
    }

    /// Settings of ssh.
    Ssh {
        /// The guest's address. An obsolete field; the address is always 127.0.0.1.
        address: Option<String>,
        /// The port on the host; 0, the default, takes any free one.
        local_port: Option<u16>,
        /// Whether the public keys in the host user's `~/.ssh` may log in as well.
        #[serde(rename = "loadDotSSHPubKeys")]
        load_dot_ssh_pub_keys: Option<bool>,
        /// Whether the host's ssh agent is forwarded.
        forward_agent: Option<bool>,
        /// Whether X11 is forwarded.
        #[serde(rename = "forwardX11")]
        forward_x11: Option<bool>,
        /// Whether forwarded X11 is trusted.
        #[serde(rename = "forwardX11Trusted")]
        forward_x11_trusted: Option<bool>,
        /// Whether ssh goes over vsock.
        over_vsock: Option<bool>,
    }

    /// A step that sets the guest up.
    Provision {
        /// When and as which user the step runs; `system` by default.
        mode: Option<ProvisionMode>,
        /// With `dependency`: whether the script replaces the default one.
        skip_default_dependency_resolution: Option<bool>,
        /// The script.
        script: Option<String>,
        /// The script in another file. [`crate::template::embed`] reads it.
        file: Option<Locator>,
        /// With `ansible`: the playbook.
        playbook: Option<String>,
        /// With `data`: the file's content.
        content: Option<String>,
        /// With `data`: whether an existing file is replaced; yes by default.
        overwrite: Option<bool>,
        /// With `data` and `yq`: the owner.
        owner: Option<String>,
        /// With `data` and `yq`: the path.
        path: Option<String>,
        /// With `data` and `yq`: the mode.
        permissions: Option<String>,
        /// With `yq`: the expression.
        expression: Option<String>,
        /// With `yq`: the format.
        format: Option<String>,
    }

    /// containerd in the guest.
    Containerd {
        /// As root.
        system: Option<bool>,
        /// As the user.
        user: Option<bool>,
        /// The archives that it is installed from.
        archives: Vec<File>,
    }

    /// A readiness probe.
    Probe {
        /// The purpose; `readiness` by default.
        mode: Option<ProbeMode>,
        /// What the probe waits for.
        description: Option<String>,
        /// The script.
        script: Option<String>,
        /// The script in another file. [`crate::template::embed`] reads it.
        file: Option<Locator>,
        /// What a user can do when the probe fails.
        hint: Option<String>,
    }

    /// A port or socket that is forwarded between guest and host.
    PortForward {
        /// Only for guest ports bound to 0.0.0.0.
        #[serde(rename = "guestIPMustBeZero")]
        guest_ip_must_be_zero: Option<bool>,
        /// The address in the guest.
        #[serde(rename = "guestIP")]
        guest_ip: Option<IpAddr>,
        /// The port in the guest.
        guest_port: Option<u16>,
        /// The ports in the guest.
        guest_port_range: Option<[u16; 2]>,
        /// The socket in the guest.
        guest_socket: Option<String>,
        /// The address on the host.
        #[serde(rename = "hostIP")]
        host_ip: Option<IpAddr>,
        /// The port on the host.
        host_port: Option<u16>,
        /// The ports on the host.
        host_port_range: Option<[u16; 2]>,
        /// The socket on the host.
        host_socket: Option<String>,
        /// The protocol.
        proto: Option<Proto>,
        /// Whether the socket is forwarded from the host into the guest.
        reverse: Option<bool>,
        /// Whether matching ports are not forwarded.
        ignore: Option<bool>,
        /// Whether the port is forwarded without a listening guest program.
        #[serde(rename = "static")]
        is_static: Option<bool>,
    }

    /// A file of the guest that is copied to the host.
    CopyToHost {
        /// The path in the guest.
        guest: Option<String>,
        /// The path on the host.
        host: Option<String>,
        /// Whether a file that does not exist is no failure.
        skip_if_missing: Option<bool>,
        /// Whether it is deleted when the VM stops.
        delete_on_stop: Option<bool>,
    }

    /// The host's resolver, as the guest's name server.
    HostResolver {
        /// Whether it is used; yes by default.
        enabled: Option<bool>,
        /// Whether it answers with IPv6 addresses.
        ipv6: Option<bool>,
        /// Names with their addresses.
        hosts: BTreeMap<String, String>,
    }

    /// Certificates that the guest trusts.
    CaCerts {
        /// Whether the distribution's are removed.
        remove_defaults: Option<bool>,
        /// Files on the host.
        files: Vec<String>,
        /// Certificates in PEM.
        certs: Vec<String>,
    }

    /// The guest's user.
    User {
        /// Login name; the host user's by default.
        name: Option<String>,
        /// Full name.
        comment: Option<String>,
        /// Home folder; `/home/NAME.guest` by default.
        home: Option<String>,
        /// Login shell; `/bin/bash` by default.
        shell: Option<String>,
        /// User id; the host user's by default.
        uid: Option<u32>,
        /// Whether sudo asks for no password; yes by default.
        passwordless_sudo: Option<bool>,
    }
}
