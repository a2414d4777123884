//! `boot.sh`: what cloud-init runs at each boot. Guests that we build do the same in their own service.

/// Mounts the disk and hands over. In `user-data`, as the disk is not mounted when cloud-init reads it.
///
/// The modes on the disk are those of Rock Ridge, so only root reads the scripts.
pub(super) const LAUNCHER: &str = "#!/bin/sh
set -eu
LIMA_CIDATA_MNT=/mnt/lima-cidata
export LIMA_CIDATA_MNT
mkdir -p -m 700 \"$LIMA_CIDATA_MNT\"
mountpoint -q \"$LIMA_CIDATA_MNT\" || mount -t iso9660 -o ro,exec /dev/disk/by-label/cidata \"$LIMA_CIDATA_MNT\"
exec \"$LIMA_CIDATA_MNT\"/boot.sh
";

/// Where [`LAUNCHER`] goes: cloud-init runs what is there at each boot.
pub(super) const LAUNCHER_PATH: &str = "/var/lib/cloud/scripts/per-boot/00-lima.boot.sh";

/// Runs the scripts, in the environment that the disk gives, and says when it is done.
pub(super) const BOOT: &str = r#"#!/bin/sh
# Runs the provision scripts. A script that fails is told and does not stop those after it.
set -u

say() {
	echo "rdd $(date -Iseconds): $*"
}

# KEY=VALUE to the end of the line, never evaluated.
load() {
	[ -f "$1" ] || return 0
	while IFS= read -r line; do
		case "$line" in
		[A-Za-z_]*=*) export "$line" ;;
		esac
	done <"$1"
}

load "$LIMA_CIDATA_MNT/lima.env"
load "$LIMA_CIDATA_MNT/param.env"

if [ -s "$LIMA_CIDATA_MNT/etc_environment" ]; then
	# Our lines stand between two marks, so that those of other people stay.
	begin='#RDD-BEGIN'
	end='#RDD-END'
	touch /etc/environment
	sed -i "/^$begin\$/,/^$end\$/d" /etc/environment
	{
		echo "$begin"
		cat "$LIMA_CIDATA_MNT/etc_environment"
		echo "$end"
	} >>/etc/environment
fi

failed=0

for script in "$LIMA_CIDATA_MNT"/provision.system/*; do
	[ -f "$script" ] || continue
	say "running $script"
	"$script" || { say "$script failed"; failed=1; }
done

if [ -d "$LIMA_CIDATA_MNT/provision.user" ]; then
	params=$(sed -n 's/^\(PARAM_[A-Za-z0-9_]*\)=.*/\1/p' "$LIMA_CIDATA_MNT/param.env" | paste -sd , -)
	runtime="/run/user/$LIMA_CIDATA_UID"
	loginctl enable-linger "$LIMA_CIDATA_USER" 2>/dev/null || true
	for script in "$LIMA_CIDATA_MNT"/provision.user/*; do
		[ -f "$script" ] || continue
		say "running $script as $LIMA_CIDATA_USER"
		# The user cannot read the disk.
		copy=$(mktemp /tmp/rdd-provision.XXXXXX)
		cat "$script" >"$copy"
		chown "$LIMA_CIDATA_USER" "$copy"
		chmod 0700 "$copy"
		sudo -iu "$LIMA_CIDATA_USER" ${params:+"--preserve-env=$params"} "XDG_RUNTIME_DIR=$runtime" "$copy" ||
			{ say "$script failed"; failed=1; }
		rm -f "$copy"
	done
fi

# Lima's tools look for this file to know that provisioning is done.
cp "$LIMA_CIDATA_MNT/meta-data" /run/lima-boot-done
say "done, exit code $failed"
exit "$failed"
"#;
