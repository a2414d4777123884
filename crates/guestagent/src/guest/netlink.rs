//! Sets the network address through rtnetlink(7), without a process, and waits for devices by the kernel's uevents.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use guestagent::cidata::Network;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with,
};

/// The size of an rtnetlink reply, in bytes; an acknowledgement has 36.
const ANSWER_LIMIT: usize = 4096;

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_CREATE: u16 = 0x400;
const IFF_UP: u32 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const AF_INET: u8 = 2;
const RT_TABLE_MAIN: u8 = 254;
/// `RTPROT_STATIC`: set by an administrator. networkd marks its own routes the same way.
const RTPROT_STATIC: u8 = 4;
const RTN_UNICAST: u8 = 1;
const EEXIST: i32 = 17;

/// Brings the loopback interface up.
///
/// # Errors
/// The kernel refused it.
pub(crate) fn loopback_up() -> io::Result<()> {
    link_up(&rtnetlink()?, 1)
}

/// Gives the interface with this index its address and the default route.
///
/// # Errors
/// The kernel refused a message.
pub(crate) fn configure(index: u32, network: &Network) -> io::Result<()> {
    let socket = rtnetlink()?;
    link_up(&socket, index)?;
    let mut address = vec![AF_INET, network.prefix, 0, 0];
    address.extend_from_slice(&index.to_ne_bytes());
    attribute(&mut address, IFA_LOCAL, &network.address.octets());
    attribute(&mut address, IFA_ADDRESS, &network.address.octets());
    attribute(&mut address, IFA_BROADCAST, &broadcast(network).octets());
    request(&socket, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &address)?;
    // rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
    let mut route = vec![
        AF_INET,
        0,
        0,
        0,
        RT_TABLE_MAIN,
        RTPROT_STATIC,
        0,
        RTN_UNICAST,
        0,
        0,
        0,
        0,
    ];
    attribute(&mut route, RTA_GATEWAY, &network.gateway.octets());
    attribute(&mut route, RTA_OIF, &index.to_ne_bytes());
    request(&socket, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &route)
}

fn broadcast(network: &Network) -> Ipv4Addr {
    let host_bits = u32::MAX.checked_shr(u32::from(network.prefix)).unwrap_or(0);
    Ipv4Addr::from(u32::from(network.address) | host_bits)
}

/// `NETLINK_ROUTE` is protocol 0, the default.
fn rtnetlink() -> io::Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )?;
    bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    Ok(socket)
}

fn link_up(socket: &OwnedFd, index: u32) -> io::Result<()> {
    // ifinfomsg: family, padding, type (2), index (4), flags (4), change mask (4)
    let mut link = vec![0_u8; 4];
    link.extend_from_slice(&index.to_ne_bytes());
    link.extend_from_slice(&IFF_UP.to_ne_bytes());
    link.extend_from_slice(&IFF_UP.to_ne_bytes());
    request(socket, RTM_NEWLINK, 0, &link)
}

/// Appends an attribute. Attributes are aligned to four bytes, and all of these have four.
fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8; 4]) {
    message.extend_from_slice(&8_u16.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(value);
}

fn request(socket: &OwnedFd, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(16 + body.len()).map_err(io::Error::other)?;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&(flags | NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(body);
    sendto(
        socket,
        &message,
        SendFlags::empty(),
        &SocketAddrNetlink::new(0, 0),
    )?;
    let mut answer = [0_u8; ANSWER_LIMIT];
    let (length, _) = recv(socket, &mut answer[..], RecvFlags::empty())?;
    if length < 20 || u16::from_ne_bytes([answer[4], answer[5]]) != NLMSG_ERROR {
        return Err(io::Error::other("rtnetlink sent an unexpected reply"));
    }
    match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
        0 => Ok(()),
        code if code == -EEXIST => Ok(()),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

/// The kernel's events about devices.
pub(crate) struct Uevents {
    socket: OwnedFd,
}

impl Uevents {
    /// Starts to listen. Open it before looking for a device, so that no event is missed.
    ///
    /// # Errors
    /// The kernel has no uevent socket.
    pub(crate) fn open() -> io::Result<Self> {
        let kind = Some(netlink::KOBJECT_UEVENT);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, kind)?;
        // Group 1: from the kernel, before udev has seen them.
        bind(&socket, &SocketAddrNetlink::new(0, 1))?;
        Ok(Self { socket })
    }

    /// Calls `look` now and after each device event until it finds something or `limit` is over.
    pub(crate) fn wait_for<T>(
        &self,
        limit: Duration,
        mut look: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(found) = look() {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            let timeout = Timespec {
                tv_sec: left.as_secs().cast_signed(),
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
            let _ = poll(&mut fds, Some(&timeout));
            // Any event is a reason to look again; its content does not matter.
            let mut event = [0_u8; ANSWER_LIMIT];
            while recv(&self.socket, &mut event[..], RecvFlags::empty()).is_ok() {}
        }
    }
}

/// Returns index and name of the first Ethernet interface.
pub(crate) fn ethernet() -> Option<(u32, String)> {
    let mut found: Vec<(u32, String)> = std::fs::read_dir("/sys/class/net")
        .ok()?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let number = |file: &str| {
                std::fs::read_to_string(path.join(file))
                    .ok()?
                    .trim()
                    .parse::<u32>()
                    .ok()
            };
            // 1 is ARPHRD_ETHER. Hardware has a `device` link, bridges and the like have none.
            (number("type")? == 1 && path.join("device").exists())
                .then(|| Some((number("ifindex")?, path.file_name()?.to_str()?.to_owned())))?
        })
        .collect();
    found.sort();
    found.into_iter().next()
}
