# The machine's user space: mounts, a disk, AppArmor's profile, the suite. What needs systemd comes after that, with systemd in our place.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin:/opt
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t securityfs securityfs /sys/kernel/security
chmod 1777 /tmp /var/tmp
ifconfig lo up
for module in /modules/*; do insmod "$module"; done
[ ! -x /sbin/apparmor_parser ] || /sbin/apparmor_parser --replace --skip-cache /etc/profile.apparmor
# Standard output is the second serial line, on which nobody but the suite speaks.
stty -F /dev/ttyS1 raw
[ ! -s /etc/filter ] || set -- --filter "$(cat /etc/filter)"
CODEXRUN_CONFORMANCE_VM=inside /opt/conformance --vm "$@" >/dev/ttyS1 </dev/null
[ -x /lib/systemd/systemd ] || poweroff -f
mkdir -p /run/user/1001
chown 1001:1001 /run/user/1001
exec /lib/systemd/systemd
