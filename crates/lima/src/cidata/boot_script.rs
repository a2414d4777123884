//! `boot.sh`: what cloud-init runs at each boot. The agent in images of rdd does the same.

/// Mounts the disk and executes `boot.sh`. It is in `user-data`, because the disk is not mounted when cloud-init reads that.
///
/// The modes on the disk are those of Rock Ridge, so only root can read the scripts.
pub(super) const LAUNCHER: &str = "#!/bin/sh
set -eu
LIMA_CIDATA_MNT=/mnt/lima-cidata
export LIMA_CIDATA_MNT
mkdir -p -m 700 \"$LIMA_CIDATA_MNT\"
mountpoint -q \"$LIMA_CIDATA_MNT\" || mount -t iso9660 -o ro,exec /dev/disk/by-label/cidata \"$LIMA_CIDATA_MNT\"
exec \"$LIMA_CIDATA_MNT\"/boot.sh
";

/// The path of [`LAUNCHER`]. cloud-init runs the scripts of this folder at each boot.
pub(super) const LAUNCHER_PATH: &str = "/var/lib/cloud/scripts/per-boot/00-lima.boot.sh";

/// The marks around the lines of rdd in files that others edit too, as in `guestagent::managed_block`.
pub(super) const BEGIN: &str = "#RDD-BEGIN";
pub(super) const END: &str = "#RDD-END";

/// Runs the scripts with the variables of the disk, and reports to the host over the port of the guest agent, in its
/// protocol (`guestagent::protocol::GuestMessage::Provisioning`).
pub(super) const BOOT: &str = r#"#!/bin/sh
# Runs the provision scripts. A script that fails is reported and does not stop those after it.
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

# As load, without one pair of quotes, as pam_env reads /etc/environment.
load_quoted() {
	[ -f "$1" ] || return 0
	while IFS= read -r line; do
		case "$line" in
		[A-Za-z_]*=\"*\") line="${line%%=*}=$(printf '%s' "${line#*=}" | sed 's/^"//; s/"$//')" ;;
		esac
		case "$line" in
		[A-Za-z_]*=*) export "$line" ;;
		esac
	done <"$1"
}

# Puts the lines of a file between two marks at the end of another file. Other lines stay.
write_block() {
	touch "$2"
	sed -i '/^#RDD-BEGIN$/,/^#RDD-END$/d' "$2"
	[ -s "$1" ] || return 0
	{
		echo '#RDD-BEGIN'
		cat "$1"
		echo '#RDD-END'
	} >>"$2"
}

total=0
ended=0
failed=''
running=''

# Writes one line of JSON to the port of the guest agent. Without the port, the host is not informed.
report() {
	for port in /dev/virtio-ports/io.lima-vm.guest_agent.0 /dev/ttyS1; do
		[ -c "$port" ] || continue
		[ "$port" != /dev/ttyS1 ] || stty -F "$port" raw -echo 2>/dev/null || continue
		printf '{"type":"provisioning","provisioning":{"done":%s,"total":%s,"ended":%s,%s"failed":[%s]}}\n' \
			"$1" "$total" "$ended" "$running" "$failed" >"$port"
		return 0
	done
}

# run NAME COMMAND…: runs a script, and keeps the end of its output if it fails.
run() {
	step=$1
	shift
	say "running $step"
	running="\"running\":\"$step\","
	report false
	output=$(mktemp /run/rdd-provision.XXXXXX)
	"$@" >"$output" 2>&1
	code=$?
	cat "$output"
	running=''
	ended=$((ended + 1))
	if [ "$code" != 0 ]; then
		say "$step failed with exit code $code"
		# ASCII without quotes, backslashes and control characters needs no escapes in JSON but for the line ends.
		lines=$(tail -c 600 "$output" | LC_ALL=C tr -d '\000-\010\013-\037\177-\377' | LC_ALL=C tr '\t"\\' " '/" |
			sed -e ':a' -e 'N' -e '$!ba' -e 's/\n/\\n/g')
		[ "$(printf '%s' "$failed" | tr -cd '{' | wc -c)" -ge 16 ] ||
			failed="$failed${failed:+,}{\"script\":\"$step\",\"exitCode\":$code,\"lastLines\":\"$lines\"}"
	fi
	rm -f "$output"
}

load "$LIMA_CIDATA_MNT/lima.env"
load "$LIMA_CIDATA_MNT/param.env"
load_quoted "$LIMA_CIDATA_MNT/etc_environment"
write_block "$LIMA_CIDATA_MNT/etc_environment" /etc/environment
write_block "$LIMA_CIDATA_MNT/etc_hosts" /etc/hosts

# The user may have got another id than the requested one.
LIMA_CIDATA_UID=$(id -u "$LIMA_CIDATA_USER" 2>/dev/null || echo "$LIMA_CIDATA_UID")

# property NAME KEY: a property of a file of mode data.
property() {
	printenv "LIMA_CIDATA_DATAFILE_$1_$2"
}

# write_file SOURCE: writes a file of mode data.
write_file() {
	name=${1##*/}
	path=$(property "$name" PATH)
	owner=$(property "$name" OWNER)
	[ ! -e "$path" ] || [ "$(property "$name" OVERWRITE)" != false ] || return 0
	sudo -u "${owner%%:*}" mkdir -p "$(dirname "$path")" || mkdir -p "$(dirname "$path")" || return 1
	cp "$1" "$path" && chown "$owner" "$path" && chmod "$(property "$name" PERMISSIONS)" "$path"
}

for script in "$LIMA_CIDATA_MNT"/provision.data/* "$LIMA_CIDATA_MNT"/provision.dependency/* \
	"$LIMA_CIDATA_MNT"/provision.system/* "$LIMA_CIDATA_MNT"/provision.user/*; do
	[ ! -f "$script" ] || total=$((total + 1))
done

for file in "$LIMA_CIDATA_MNT"/provision.data/*; do
	[ -f "$file" ] || continue
	run "${file#"$LIMA_CIDATA_MNT"/}" write_file "$file"
done

for script in "$LIMA_CIDATA_MNT"/provision.dependency/* "$LIMA_CIDATA_MNT"/provision.system/*; do
	[ -f "$script" ] || continue
	run "${script#"$LIMA_CIDATA_MNT"/}" "$script"
done

if [ -d "$LIMA_CIDATA_MNT/provision.user" ]; then
	names=$(cat "$LIMA_CIDATA_MNT/param.env" "$LIMA_CIDATA_MNT/etc_environment" 2>/dev/null |
		sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p' | paste -sd , -)
	runtime="/run/user/$LIMA_CIDATA_UID"
	loginctl enable-linger "$LIMA_CIDATA_USER" 2>/dev/null || true
	for script in "$LIMA_CIDATA_MNT"/provision.user/*; do
		[ -f "$script" ] || continue
		# The user cannot read the disk.
		copy=$(mktemp /tmp/rdd-provision.XXXXXX)
		cat "$script" >"$copy"
		chown "$LIMA_CIDATA_USER" "$copy"
		chmod 0700 "$copy"
		run "${script#"$LIMA_CIDATA_MNT"/}" sudo -iu "$LIMA_CIDATA_USER" ${names:+"--preserve-env=$names"} "XDG_RUNTIME_DIR=$runtime" "$copy"
		rm -f "$copy"
	done
fi

# Lima's tools look for this file to know that the provisioning has ended.
cp "$LIMA_CIDATA_MNT/meta-data" /run/lima-boot-done
report true
[ -z "$failed" ]
code=$?
say "done, exit code $code"
exit "$code"
"#;
