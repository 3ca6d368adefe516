#!/usr/bin/env bash
# Exercises the steps of the Dockerfile's target `cpu` where images cannot be built: unpacks a Debian root with debootstrap,
# runs setup.sh in it, copies the programs and the home folder in as the Dockerfile does, and looks at what came out as the
# image's own user: no root, the programs start, the worker finds its bundle, the probe says what is true.
#
# usage: chroot.sh BIN_FOLDER HOME_FOLDER [ROOT]      (needs root, debootstrap and Debian's archive)
# A ROOT that is named is made if it is not there, and stays; otherwise it is a temporary folder, removed at the end unless KEEP is set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
bin=$(cd "${1:?usage: chroot.sh BIN_FOLDER HOME_FOLDER [ROOT]}" && pwd)
home=$(cd "${2:?usage: chroot.sh BIN_FOLDER HOME_FOLDER [ROOT]}" && pwd)
made=''
[[ -n ${3:-} ]] || made=$(mktemp -d)
root=${3:-$made/root}
[[ $(id -u) == 0 ]] || { echo 'error: chroot needs root' >&2; exit 2; }
command -v debootstrap >/dev/null || { echo 'error: debootstrap is not installed' >&2; exit 2; }
server='' failed=0
cleanup() { [[ -z $server ]] || kill "$server" 2>/dev/null || true; umount "$root/proc" 2>/dev/null || true; [[ -z $made || -n ${KEEP:-} ]] || rm -rf --one-file-system "$made"; }
trap cleanup EXIT
# check NAME COMMAND...
check() { local name=$1; shift; if "$@" >"$root.log" 2>&1; then echo "ok      $name"; else failed=1; echo "FAILED  $name"; tail -n 5 "$root.log" | sed 's/^/    /'; fi; }
as_image() { chroot --userspec=10001:10001 "$root" /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin ROLLCALL_HOME=/var/lib/rollcall "$@"; }

[[ -d $root/usr ]] || debootstrap --variant=minbase bookworm "$root" >"$root.log" 2>&1 || { mkdir -p "$root"; tail "$root.log"; exit 1; }
mount -t proc proc "$root/proc"
# A container's runtime gives the network's files.
cp /etc/resolv.conf "$root/etc/resolv.conf"
for file in /etc/apt/apt.conf.d/*proxy*; do [[ ! -e $file ]] || cp "$file" "$root/etc/apt/apt.conf.d/"; done
cp setup.sh "$root/tmp/setup.sh"
before=$(du -smx "$root" | cut -f1)
check 'setup.sh' chroot "$root" bash /tmp/setup.sh
check 'setup.sh again changes nothing' chroot "$root" bash /tmp/setup.sh
check 'the folders are the user'"'"'s' bash -c '[[ $(stat -c %u:%g "$@" | sort -u) == 10001:10001 ]]' - "$root"/var/lib/rollcall{,/cache}
rm "$root/tmp/setup.sh"
for program in rollcall rollcall-worker rollcall-provision; do strip -o "$root/usr/local/bin/$program" "$bin/$program"; done
install -m 0755 probe.sh "$root/usr/local/bin/rollcall-probe"
for part in runtimes bundles; do [[ ! -d $home/$part ]] || cp -a "$home/$part" "$root/var/lib/rollcall/"; done
chown -R 10001:10001 "$root/var/lib/rollcall"

check 'the user is not root' as_image bash -c '[[ $(id -u):$(id -g) == 10001:10001 ]]'
check 'and cannot write to the programs' as_image bash -c '! touch /usr/local/bin/rollcall 2>/dev/null'
for program in rollcall rollcall-worker rollcall-provision; do check "$program starts" as_image "$program" --version; done
check 'certificates are there' test -s "$root/etc/ssl/certs/ca-certificates.crt"
check 'the bundle is intact' as_image rollcall-provision verify starter
check 'the worker computes what it should' as_image bash -c 'rollcall-worker selftest "$ROLLCALL_HOME/bundles/starter/current"'
check 'the probe sees that nothing runs' as_image bash -c '! rollcall-probe 17702 17700'
# The API's health needs no servers of a fleet; a port of its own stands for it.
python3 - 17701 >/dev/null 2>&1 <<'END' &
import http.server, sys
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == '/healthz' else 404); self.end_headers()
http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Health).serve_forever()
END
server=$!
for _ in {1..50}; do (exec 3<>/dev/tcp/127.0.0.1/17701) 2>/dev/null && break; sleep 0.1; done
check 'the probe sees what answers' as_image rollcall-probe 17700 17701
echo "size    base $before MB, with everything $(du -smx "$root" | cut -f1) MB, of which programs $(du -sm "$root/usr/local/bin" | cut -f1) MB, home $(du -sm "$root/var/lib/rollcall" | cut -f1) MB"
exit $failed
