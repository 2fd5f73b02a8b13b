# Becomes PID 1 of the machine: builds its root, moves into it, and is replaced by systemd.
set -eu

# `/proc` is still the host's, so this is the pid by which the host knows this process.
read -r pid _ </proc/self/stat
echo "$pid" >"$SCRATCH/pid"

mount --make-rprivate /
root=$SCRATCH/root
# Nothing reaches the host's files: what is written goes to the tmpfs.
mount -t overlay -o "lowerdir=$ROOT,upperdir=$SCRATCH/upper,workdir=$SCRATCH/work" overlay "$root"

mkdir -p "$root/proc" "$root/sys" "$root/dev" "$root/run" "$root/tmp"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
# Kernel settings that are not of a network namespace are the host's.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
mount -o remount,bind,ro "$root/proc/sys"
if [ -e "$root/proc/sysrq-trigger" ]; then
    mount --bind /dev/null "$root/proc/sysrq-trigger"
fi
# Read-only, as in any container: it keeps udev from starting.
mount -t sysfs -o nosuid,nodev,noexec,ro sysfs "$root/sys"
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=0755,nosuid,nodev tmpfs "$root/run"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
mount -t tmpfs -o mode=0755,nosuid,noexec tmpfs "$root/dev"
for node in null zero full random urandom tty; do
    cp -a "/dev/$node" "$root/dev/$node"
done
cp -a /dev/null "$root/dev/console"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"

# What the root has enabled does not belong to the test: no local units, no generators, and of what systemd itself
# wants only the bus and the journal.
mount --bind "$SCRATCH/units" "$root/etc/systemd/system"
mkdir -p "$root/etc/systemd/system-generators" "$root/etc/systemd/journald.conf.d"
for unit in "$root"/usr/lib/systemd/system/*.wants/* "$root"/lib/systemd/system/*.wants/*; do
    case ${unit##*/} in
    dbus.* | systemd-journald.service | systemd-journald.socket | systemd-journald-dev-log.socket) ;;
    *) ln -sf /dev/null "$root/etc/systemd/system/${unit##*/}" ;;
    esac
done
for generator in "$root"/usr/lib/systemd/system-generators/* "$root"/lib/systemd/system-generators/*; do
    ln -sf /dev/null "$root/etc/systemd/system-generators/${generator##*/}"
done
printf '[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n' >"$root/etc/systemd/journald.conf.d/zdt-e2e.conf"
# Without an id systemd takes this for a first boot and enables everything.
if [ ! -e "$SCRATCH/machine-id" ]; then
    tr -d - </proc/sys/kernel/random/uuid >"$SCRATCH/machine-id"
    rm -f "$root/etc/machine-id"
    cp "$SCRATCH/machine-id" "$root/etc/machine-id"
    # What tests beside this one do on the host itself is not to be seen here.
    rm -rf "$root/etc/zdt" "$root/var/lib/zdt" "$root/var/log/zdt" "$root"/srv/*
fi

mkdir -p "$root/opt/zdt/bin"
for program; do
    shown=$root/opt/zdt/bin/${program##*/}
    if [ -d "$program" ]; then
        mkdir "$shown"
        mount --bind "$program" "$shown"
        mount -o remount,bind,ro "$shown"
    else
        : >"$shown"
        mount --bind "$program" "$shown"
    fi
done

echo "$NAME" >"$root/etc/hostname"
ip link set lo up

cd "$root"
mkdir -p .host
pivot_root . .host
echo "$pid"
exec chroot . /bin/sh -c '
    umount -l /.host
    rmdir /.host
    # As container managers do: what systemd mounts for a service, such as its credentials, is to be seen by it.
    mount --make-rshared /
    for systemd in /usr/lib/systemd/systemd /lib/systemd/systemd; do
        [ -x "$systemd" ] && exec env -i container=zdt-e2e "$systemd" --system --unit=multi-user.target
    done
' </dev/null >/dev/null 2>&1
