#!/bin/sh
# Runs once inside the image during the build, after all packages are installed, and removes itself.
set -eu

# The host boots the kernel, so the guest's packages must not replace it: the modules of another kernel do not fit the
# running one. A new image brings a new kernel.
kernel=$(echo /lib/modules/*)
dpkg --remove linux-image-cloud-"$(dpkg --print-architecture)" >/dev/null
apt-mark manual "linux-image-${kernel#/lib/modules/}" >/dev/null
# No initial RAM disk is used, and making one takes minutes on an emulated machine.
if [ -f /etc/initramfs-tools/update-initramfs.conf ]; then
  sed -i 's/^update_initramfs=.*/update_initramfs=no/' /etc/initramfs-tools/update-initramfs.conf
fi
rm -f /boot/initrd.img* /initrd.img* /vmlinuz*

systemctl --quiet enable ssh.service systemd-networkd.service rdd-guestagent.service
systemctl --quiet disable systemd-networkd-wait-online.service e2scrub_reap.service e2scrub_all.timer \
  apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer
# There is no display manager to wait for.
systemctl --quiet set-default multi-user.target

# The message of the day takes four processes at each login, and contains the output of `uname`.
sed -i '/pam_motd\.so/d; /pam_mail\.so/d' /etc/pam.d/sshd
# While the system starts, a login does not wait for the session manager (see the profile).
pam-auth-update --package --disable systemd --enable rdd-systemd

# Terminals whose own descriptions Debian has in a large package, or not at all. All of them understand xterm's sequences.
for terminal in alacritty contour foot foot-extra ghostty rio wezterm xterm-ghostty xterm-kitty; do
  printf '%s,\n\tuse=xterm-256color,\n' "$terminal" >/tmp/terminal
  tic -x -o /etc/terminfo /tmp/terminal
done
rm /tmp/terminal

# Guests must not share identities of this build.
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub /etc/hostname /etc/resolv.conf /var/lib/systemd/random-seed
: >/etc/machine-id
rm -f /var/lib/dbus/machine-id

# Options for the build's own apt, and its log files.
rm -f /etc/apt/apt.conf.d/99mmdebstrap /etc/apt/sources.list /etc/apt/sources.list.d/0000* /etc/dpkg/dpkg.cfg.d/99mmdebstrap
find /var/log -type f -delete
rm -f /usr/lib/rdd/setup.sh
