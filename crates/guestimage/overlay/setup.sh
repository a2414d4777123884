#!/bin/sh
# Runs once inside the image while it is built, after all packages are installed, and is not part of it.
set -eu

# The host boots the kernel, so the guest's packages must not replace it: a new one would bring modules that do not fit
# to the kernel that runs. The kernel comes with a new image.
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
# No display manager will come.
systemctl --quiet set-default multi-user.target

# The message of the day is made by four processes at each login, and says what `uname` says.
sed -i '/pam_motd\.so/d; /pam_mail\.so/d' /etc/pam.d/sshd
# While the system starts, a login does not wait for the session manager (the profile says how).
pam-auth-update --package --disable systemd --enable rdd-systemd

# Nothing of this build may be shared by the guests.
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub /etc/hostname /etc/resolv.conf /var/lib/systemd/random-seed
: >/etc/machine-id
rm -f /var/lib/dbus/machine-id

# Options for the build's own apt, and its log files.
rm -f /etc/apt/apt.conf.d/99mmdebstrap /etc/apt/sources.list /etc/apt/sources.list.d/0000* /etc/dpkg/dpkg.cfg.d/99mmdebstrap
find /var/log -type f -delete
rm -f /usr/lib/rdd/setup.sh
