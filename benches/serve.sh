#!/usr/bin/env bash
# How many requests a served host answers: `benches/serve.sh PVECTL VMM [NUMBER OF VMS…]`. PVECTL is a release build, VMM a Cloud
# Hypervisor or target/debug/examples/stand_in_vmm with KERNEL set to what it boots. Wants wrk, curl and python3. Nothing outside of
# a new directory is touched.
set -euo pipefail

pvectl=$(realpath "$1") vmm=$(realpath "$2")
shift 2
home=$(mktemp -d)
server=
tidy() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    for vmm in $(pgrep -f "api-socket.*$home"); do kill -9 "$vmm"; done
    rm -rf "$home"
}
trap tidy EXIT
mkdir "$home/programs" "$home/run"
ln -s "$vmm" "$home/programs/cloud-hypervisor"
cp "${KERNEL:?a kernel for the VMs}" "$home/kernel"
export HOME=$home XDG_RUNTIME_DIR=$home/run PATH=$home/programs:/usr/bin:/bin PVECTL_CONTEXT=local PVECTL_CGROUP_DIR=none
cd "$home"

measure() { # NAME PATH
    printf '%s: ' "$1"
    wrk -t2 -c8 -d"${SECONDS_EACH:-10}s" --latency -H "Authorization: PVEAPIToken=$token" "$url/api2/json/$2" |
        awk '/50%|99%|Requests.sec|Non-2xx|Socket errors/ { printf "%s; ", $0 } END { print "" }' | tr -s ' '
}

made=0 token=
[ $# -gt 0 ] || set -- 6 100
for count in "$@"; do
    for _ in $(seq "$((count - made))"); do "$pvectl" --quiet vm create --name "vm$((++made))" --memory 256 --kernel kernel; done >/dev/null 2>&1
    "$pvectl" --quiet vm start "100-$((99 + count))" >/dev/null 2>&1 || true
    "$pvectl" serve --listen 127.0.0.1:0 --no-onboot --log-level warn >served 2>log &
    server=$!
    until grep -q ENDPOINT served; do kill -0 "$server"; sleep 0.1; done
    url=$(sed -n 's/PVECTL_ENDPOINT=//p' served)
    [ -n "$token" ] || token=$(sed -n 's/PVECTL_TOKEN=//p' served)
    curl -sk -o /dev/null -H "Authorization: PVEAPIToken=$token" "$url/api2/json/version"
    for path in cluster/resources nodes/localhost/qemu nodes/localhost/qemu/100/status/current; do
        measure "$count VMs, $path" "$path"
    done
    python3 - "$url" <<'PY' &
import socket, sys, time
host, port = sys.argv[1].split("//")[1].split(":")
slow = [socket.create_connection((host, int(port))) for _ in range(1000)]
while True:
    for connection in slow:
        try:
            connection.send(b"\x16")
        except OSError:
            pass
    time.sleep(3)
PY
    slow=$!
    sleep 2
    measure "$count VMs, cluster/resources beside 1000 slow connections" cluster/resources
    kill "$slow"
    grep -E 'VmRSS|VmHWM' "/proc/$server/status" | tr -s '\t \n' ' '
    echo
    kill "$server"
    wait "$server" || true
    server=
done
