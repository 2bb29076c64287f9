#!/bin/busybox sh
# The first program of the machine: makes the tree a mount of its own, and that mount the root.
/bin/busybox mount --bind /tree /tree
cd /tree
/bin/busybox mount --move . /
exec /bin/busybox chroot . /bin/busybox sh /etc/start
