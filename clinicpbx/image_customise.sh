#!/bin/sh
# image_customise.sh SHAPE ROOT FILES: the last step of making a root, run on the control machine by mmdebstrap.
set -eu
shape=$1 root=$2 files=$3

# no package source: the deploy names the bundle, and there is no other
rm -f "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/* "$root"/etc/apt/apt.conf.d/99mmdebstrap
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin

sed -i '/force-unsafe-io/d' "$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap"  # in use, the order matters again

if [ "$shape" = base ]; then
    cp -R "$files/base/." "$root/"
    sed -i -E 's/^# *((en_US|ru_RU)\.UTF-8 UTF-8)/\1/' "$root/etc/locale.gen"
    chroot "$root" locale-gen >/dev/null
    echo 'LANG=en_US.UTF-8' >"$root/etc/default/locale"
    # an identity is made at the first boot, for each machine its own
    rm -f "$root"/etc/ssh/ssh_host_*
    : >"$root/etc/machine-id"
    rm -f "$root/var/lib/dbus/machine-id"
    systemctl --root="$root" --quiet enable systemd-networkd.service
    # updates come from a new bundle, on a night an engineer chooses
    systemctl --root="$root" --quiet mask apt-daily.timer apt-daily-upgrade.timer
    systemctl --root="$root" --quiet disable e2scrub_all.timer fstrim.timer || true
    # cloud-init asks for nothing that would be waited for
    systemctl --root="$root" --quiet mask cloud-init-hotplugd.socket
fi

# mmdebstrap leaves the control machine's name and resolver
echo localhost >"$root/etc/hostname"
rm -f "$root/etc/resolv.conf"
: >"$root/etc/resolv.conf"
find "$root/var/log" -type f -delete
