# Starts the machine and takes it away again. It runs in a mount namespace of its own, outside the machine, and waits
# for the end of its stdin, which also comes when the test process is killed. Each line before that cuts the power: all
# processes of the machine are killed, and it boots again on the files that it left.
#
# In: NAME (of this machine), ROOT (its read-only lower layer), BOOT (the script that becomes PID 1), and as arguments
# the programs to show in it. Out: for each boot what BOOT prints, and an empty line when that machine has ended.
set -u
SCRATCH=$(mktemp -d "/tmp/$NAME.XXXXXX") || exit
CGROUP=$SCRATCH/cgroup/$NAME
export SCRATCH CGROUP

leave() {
    leave_cgroup
    umount -R -l "$SCRATCH" 2>/dev/null
    rmdir "$SCRATCH"
}
trap leave EXIT

leave_cgroup() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ -d "$CGROUP" ] || return
        find "$CGROUP" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
    done
    [ -d "$CGROUP" ] && echo "cgroup \`$NAME\` is left over" >&2
}

# The cgroup is entered before its namespace is made: two machines that both start at the host's root would share one
# tree and kill each other's services. Only PID 1 goes there, not the `unshare` that waits for it, because systemd
# cannot hand controllers to a cgroup that has processes of its own.
boot() {
    mkdir "$CGROUP" || exit
    rm -f "$SCRATCH/pid"
    {
        unshare --pid --mount --uts --ipc --net --kill-child -- sh -c '
            echo 0 >"$CGROUP/cgroup.procs" && exec unshare --cgroup -- sh -c "$BOOT" boot "$@"
        ' enter "$@" &
        echo $! >"$SCRATCH/outside"
        # Returns when every process of the namespace is gone.
        wait
        echo
    } &
    machine=$!
}

cut() {
    kill -KILL "$(cat "$SCRATCH/pid" 2>/dev/null || cat "$SCRATCH/outside")" 2>/dev/null
    wait "$machine"
    leave_cgroup
}

mount -t tmpfs -o mode=0755 zdt-e2e "$SCRATCH" || exit
mkdir "$SCRATCH/cgroup" "$SCRATCH/upper" "$SCRATCH/work" "$SCRATCH/root" "$SCRATCH/units" || exit
mount -t cgroup2 none "$SCRATCH/cgroup" || exit

boot "$@"
while read -r _; do
    cut
    boot "$@"
done
# Nobody reads any more.
exec >/dev/null
cut
exit 0
