# What systemd runs in the machine: the suite's second part, by root and by the ordinary user; then the power goes off.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin:/opt
# What an ordinary user was delegated, with two controllers of those that there are, and where that user is.
cd /sys/fs/cgroup
mkdir -p outer/delegated/caller
echo "+memory +pids" >cgroup.subtree_control
echo "+memory +pids" >outer/cgroup.subtree_control
for dir in outer/delegated outer/delegated/caller; do
  chown 1001:1001 $dir $dir/cgroup.procs $dir/cgroup.subtree_control $dir/cgroup.threads
done
cd /
[ ! -s /etc/filter ] || set -- --filter "$(cat /etc/filter)"
CODEXRUN_CONFORMANCE_VM=systemd /opt/conformance --vm "$@" >/dev/ttyS1 </dev/null
poweroff -f
