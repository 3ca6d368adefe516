#!/usr/bin/env bash
# Tests functions of `provision.sh` without a machine to install: its folders lie in a temporary one, and what would change the
# machine (packages, users, the worker) is replaced. `bare_root.sh` runs the whole of it. Prints a line for each test and ends
# with code 1 at the first that fails.
#
# usage: script.sh
set -euo pipefail

script=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/provision.sh
tmp=$(mktemp -d)
server=''
trap 'if [[ -n $server ]]; then kill "$server"; fi; rm -rf "$tmp"' EXIT

ok() { printf 'ok      %s\n' "$*"; }
die() { printf 'FAILED  %s\n' "$*" >&2; exit 1; }

# All of the script but its last part, which looks at the machine and installs.
sed -e '/^\[\[ $(uname -s) == /,$d' \
  -e "s#^readonly prefix=.*#readonly prefix=$tmp/opt home=$tmp/home etc=$tmp/etc logs=$tmp/logs run=$tmp/run#" \
  -e "s#^readonly unit=.*#readonly unit=$tmp/worker.service spot_unit=$tmp/spot.service#" \
  -e 's#--speed-time 60#--speed-time 2#' \
  -e "s#^readonly user=.*#readonly user=rollcall-nobody links=$tmp/links#" "$script" >"$tmp/functions.sh"
[[ $(grep -c "$tmp" "$tmp/functions.sh") == 3 ]] || die 'the paths of provision.sh are not where they were'

# with CODE ARGUMENT...: runs the code among the script's functions
with() {
  env -i PATH="$PATH" LC_ALL=C code="$1" timeout 60 bash -c '. "$0"; eval "$code"' "$tmp/functions.sh" "${@:2}" >"$tmp/said" 2>&1
}

# ---- settings

# What needs root or a release is left out.
install='need_packages() { :; }; add_user() { :; }; make_home() { mkdir -p "$home"; }; check_written() { :; }
has_systemd() { false; }; install_runtime() { :; }; provision() { :; }; install_all'
digest=$(printf '0%.0s' {1..64})
arguments=(--release file:///nowhere --sha256 "$digest" --store s3://bucket/fleet --no-start)
mkdir -p "$tmp/opt/releases/$digest" "$tmp/links"
with "$install" "${arguments[@]}" --env 'ROLLCALL_ALLOW=a "b" $c' || die "settings: $(cat "$tmp/said")"
grep -qxF 'ROLLCALL_ALLOW="a \"b\" \$c"' "$tmp/etc/rollcall.env" || die "the settings: $(cat "$tmp/etc/rollcall.env")"
[[ $(head -n 1 "$tmp/etc/rollcall.env") == '#'* && $(stat -c %a "$tmp/etc/rollcall.env") == 640 ]] || die 'the file of the settings'
cp "$tmp/etc/rollcall.env" "$tmp/before.env"
if with "$install" "${arguments[@]}" --env ROLLCALL_ALLOW=$'a\nb'; then die 'a setting of several lines is taken'; fi
grep -qxF 'error: a setting has several lines: ROLLCALL_ALLOW' "$tmp/said" || die "a setting of several lines: $(cat "$tmp/said")"
cmp -s "$tmp/before.env" "$tmp/etc/rollcall.env" || die "a setting of several lines leaves: $(cat "$tmp/etc/rollcall.env")"
ok 'a setting of several lines is refused, and the settings stay as they were'

# ---- packages

# dpkg, then apt's update, then its installation find a lock held, as often as it is said; words of dpkg 1.21 and apt 2.6.
packages='sleep() { SECONDS=$((SECONDS + $1)); }
held() {
  local times; times=$(cat "$logs/$1" 2>/dev/null || echo 0)
  printf "%s\n" $((times + 1)) >"$logs/$1"
  ((times < held)) || return 1
  printf "%s\n" "$2" >&2
}
dpkg() { if held dpkg "dpkg: error: dpkg frontend lock was locked by another process with pid 17"; then return 2; fi; }
apt-get() {
  case " $* " in
    *" -s "*) echo "Inst zstd (1)" ;;
    *" update "*) if held update "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 17 (apt-get)"; then return 100; fi ;;
    *" install "*)
      [[ " $* " == *" DPkg::Lock::Timeout=300 "* && $DEBIAN_FRONTEND == noninteractive ]] || return 3
      if held install "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?"; then return 100; fi
      echo "E: no room" >&2
      return "$broken" ;;
  esac
}
install_packages zstd'
# waited TIMES CODE: with a lock that is held so often and an installation that ends so
waited() {
  rm -rf "$tmp/logs" "$tmp/opt"; mkdir "$tmp/logs"
  with "held=$1 broken=$2; $packages"
}
waited 3 0 || die "locks that are held for a while: $(cat "$tmp/said")"
[[ $(cat "$tmp/logs/"{dpkg,update,install} | tr '\n' ' ') == '4 4 4 ' ]] || die "locks that are held for a while: $(cat "$tmp/said")"
[[ $(cat "$tmp/opt/packages") == zstd ]] || die 'the packages are not noted'
ok 'locks of dpkg and apt are waited for'
if waited 1000 0; then die 'locks that are held for ever are taken'; fi
tries=$(cat "$tmp/logs/dpkg")
((tries > 30 && tries < 62)) && [[ ! -e $tmp/logs/update ]] || die "locks that are held for ever: $tries tries"
if waited 0 100; then die 'an installation that fails is taken'; fi
[[ $(cat "$tmp/logs/install") == 1 ]] || die 'an installation that fails for another reason is tried again'
ok 'for 5 minutes, and for nothing else'

# ---- downloads

command -v curl >/dev/null || { echo 'SKIPPED: downloads by provision.sh: curl is not here'; exit 0; }

# Falls silent in the middle of the first answer, for as long as it is waited for.
python3 - "$tmp/port" <<'END' &
import http.server, os, sys
class Silent(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Silent.asked += 1
        self.send_response(200)
        self.send_header('Content-Length', '8')
        self.end_headers()
        self.wfile.write(b'rollcall'[:4 if Silent.asked == 1 else 8])
        self.wfile.flush()
        if Silent.asked == 1:
            self.connection.recv(1)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Silent)
with open(sys.argv[1] + '.new', 'w') as port:
    port.write(str(server.server_port))
os.rename(sys.argv[1] + '.new', sys.argv[1])
server.serve_forever()
END
server=$!
for ((tries = 0; tries < 100; tries++)); do
  if [[ -s $tmp/port ]]; then break; fi
  sleep 0.1
done
url=http://127.0.0.1:$(cat "$tmp/port")/release
with "download $url '$tmp/release'" || die "a server that falls silent: $(cat "$tmp/said")"
[[ $(cat "$tmp/release") == rollcall ]] || die "a server that falls silent gave: $(cat "$tmp/release")"
ok 'a server that falls silent is asked again'
