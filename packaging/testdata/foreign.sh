# foreign.sh ARCH SCENE PROGRAM: runs SCENE in a user namespace whose own
# binfmt_misc (Linux 6.7) knows ARCH, so that nothing of the machine changes.
# The registration is without P: argv[0] is the file's path there, as on any
# machine that runs programs through an interpreter.
set -eu
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
line=$(grep -h "^:qemu-$1:" "/usr/lib/binfmt.d/qemu-$1.conf")
printf %s "${line%:*:*}:/usr/bin/qemu-$1-static:F" >/proc/sys/fs/binfmt_misc/register
exec sh "$2" "$3"
