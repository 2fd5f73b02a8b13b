# Starts the machine and takes it away again. It runs in a mount namespace of its own, outside the machine, and waits
# for the end of its stdin, which also comes when the test process is killed.
#
# In: NAME (of this machine), ROOT (its read-only lower layer), BOOT (the script that becomes PID 1), and as arguments
# the programs to show in it. Out: what BOOT prints.
set -u
SCRATCH=$(mktemp -d "/tmp/$NAME.XXXXXX") || exit
CGROUP=$SCRATCH/cgroup/$NAME
export SCRATCH CGROUP

leave() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ -d "$CGROUP" ] || break
        find "$CGROUP" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
    done
    [ -d "$CGROUP" ] && echo "cgroup \`$NAME\` is left over" >&2
    umount -R -l "$SCRATCH" 2>/dev/null
    rmdir "$SCRATCH"
}
trap leave EXIT

mount -t tmpfs -o mode=0755 zdt-e2e "$SCRATCH" || exit
mkdir "$SCRATCH/cgroup" "$SCRATCH/upper" "$SCRATCH/work" "$SCRATCH/root" || exit
mount -t cgroup2 none "$SCRATCH/cgroup" || exit
mkdir "$CGROUP" || exit

# The cgroup is entered before its namespace is made: two machines that both start at the host's root would share one
# tree and kill each other's services. Only PID 1 goes there, not the `unshare` that waits for it, because systemd
# cannot hand controllers to a cgroup that has processes of its own.
unshare --pid --mount --uts --ipc --net --kill-child -- sh -c '
    echo 0 >"$CGROUP/cgroup.procs" && exec unshare --cgroup -- sh -c "$BOOT" boot "$@"
' enter "$@" &
machine=$!
# From here only the machine holds stdout, so its end means that the boot script failed.
exec >&-

read -r _
kill -KILL "$(cat "$SCRATCH/pid" 2>/dev/null || echo "$machine")" 2>/dev/null
# Returns when every process of the namespace is gone.
wait "$machine"
exit 0
