#!/bin/sh
# disk_customise.sh ROOT FILES: after image_customise.sh, what a root needs to boot by itself. Run by mmdebstrap.
set -eu
root=$1 files=$2
grub=$root/boot/grub/i386-pc

cp -R "$files/disk/." "$root/"
chroot "$root" update-initramfs -u -k all  # again: now with the fstab, so that the root's fsck is in it
for file in vmlinuz initrd.img; do
    [ -s "$root/$(readlink "$root/$file")" ] || { echo "no /$file" >&2; exit 1; }
done

# What grub-install does, as far as it needs no disk; disk_image.py writes boot.img and core.img to theirs.
mkdir -p "$grub"
cp "$root"/usr/lib/grub/i386-pc/*.mod "$root"/usr/lib/grub/i386-pc/*.lst "$root"/usr/lib/grub/i386-pc/boot.img "$grub/"
cat >"$grub/load.cfg" <<'END'
search.fs_label clinic-root root
set prefix=($root)/boot/grub
END
chroot "$root" grub-mkimage --format=i386-pc --prefix=/boot/grub --config=/boot/grub/i386-pc/load.cfg \
    --output=/boot/grub/i386-pc/core.img biosdisk part_gpt ext2 search_label
find "$root/var/log" -type f -delete
