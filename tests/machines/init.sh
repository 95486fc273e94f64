#!/bin/busybox sh
# The first process of an emulated machine: drivers, then the test's script.
B=/bin/busybox
$B mkdir -p /proc /sys /dev /tmp /run /sbin /root /var/lib/latido /etc/latido
$B mount -t devtmpfs dev /dev
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t tmpfs tmpfs /run
$B mount -t configfs config /sys/kernel/config 2>/dev/null
$B --install -s /bin
export PATH=/bin:/sbin HOME=/root
# Critical messages of the kernel belong to what a test judges.
dmesg -n 5
while read -r module options; do insmod "$module" $options || echo "MARK no driver $module"; done </modules/list
hostname alpha
ip link set lo up
say() { echo "MARK $*" >/dev/console; }
# Waits until a command succeeds; says so if it does not.
await() {
    what=$1
    shift
    n=0
    until "$@" >/dev/null 2>&1; do
        n=$((n + 1))
        [ $n -gt 300 ] && { say "GAVE UP: $what"; cat /tmp/log; return 1; }
        sleep 0.2
    done
}
status() { latido status --json | grep -q -- "$1"; }
engine() { latido status --json | sed 's/.*"pid":\([0-9]*\).*/\1/'; }
running() { await "$1" status '"state":"running"'; }
. /script >/dev/console 2>&1
say end
while :; do sleep 60; done
