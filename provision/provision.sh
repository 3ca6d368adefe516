#!/usr/bin/env bash
# Makes a bare Debian or Ubuntu machine a proven Rollcall worker: programs, ONNX Runtime, bundle, preflight, service.
# Run it again at any time: it does only what is missing or has changed.
#
# usage: provision.sh --release URL --sha256 HEX --store URL [options]
#        provision.sh --uninstall | --version
#   --release URL    https://…, file:///… or s3://bucket/…/rollcall.tar.zst (`rollcall-provision release push` says it)
#   --sha256 HEX     digest of that file
#   --store URL      s3://bucket[/prefix] or file:///folder: bundles, audio, results    [ROLLCALL_STORE_URL]
#   --bundle B       NAME or NAME@VERSION in the store                   [ROLLCALL_BUNDLE, else starter]
#   --redis-url URL  job records                                         [ROLLCALL_REDIS_URL]
#   --queue-url URL  delivery: amqp:// or redis://                       [ROLLCALL_QUEUE_URL, else Redis]
#   --device D       auto, cpu, cuda or cuda:N                           [ROLLCALL_DEVICE, else auto]
#   --env KEY=VALUE  one more setting for the worker; may be given several times
#   --spot           also watch for the end of a spot instance of AWS, and drain the worker before it (needs systemd)
#   --no-start       leave the service stopped
#   --dry-run        say what would be done, and do nothing
#   --uninstall      remove everything that this script put here, its packages included, and nothing that was here before
#   --version        version of this script
# AWS_* and ROLLCALL_* of the environment go into the worker's settings, /etc/rollcall/rollcall.env, readable by root and
# the worker only. An s3:// release is fetched with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, else with the machine's role
# (IMDSv2). Needs root. Where no systemd runs (a container, a chroot), a small loop keeps the worker alive.
set -euo pipefail
# What lies here is read by the worker's user, whatever the caller's mask is.
umask 022

readonly version=0.1.0
readonly prefix=/opt/rollcall home=/var/lib/rollcall etc=/etc/rollcall logs=/var/log/rollcall run=/run/rollcall
readonly unit=/etc/systemd/system/rollcall-worker.service spot_unit=/etc/systemd/system/rollcall-spot.service
readonly user=rollcall links=/usr/local/bin
readonly programs=(rollcall rollcall-worker rollcall-provision)
# For how long apt's and dpkg's locks are waited for, and what they say when one is held.
readonly lock_s=300 locked='^E: (Could not get lock|Unable to acquire the dpkg)|locked by another process'
# What a worker is started with counts as one thing: a change of any of it restarts the worker.
changed='' step='reading the arguments' hint='' temporary=''

say() { printf 'provision: %s\n' "$*" >&2; }
begin() { step=$1 hint=${2:-}; say "$step"; }
fail() { printf 'error: %s\n' "$1" >&2; hint=${2:-$hint}; exit "${3:-1}"; }
finish() {
  local code=$?
  trap - EXIT
  if [[ -n $temporary ]]; then rm -rf "$temporary"; fi
  if ((code != 0)); then
    printf 'error: provisioning failed at this step: %s\n' "$step" >&2
    if [[ -n $hint ]]; then printf 'hint: %s\n' "$hint" >&2; fi
    if ((code != 2)); then printf 'hint: run it again to go on; what is done is kept\n' >&2; fi
  fi
  exit "$code"
}
trap finish EXIT
trap 'exit 129' HUP; trap 'exit 130' INT; trap 'exit 143' TERM

# doing TEXT COMMAND...: says what changes and does it, or only says it
doing() {
  say "${dry_run:+would be }$1"
  changed=yes
  [[ -n $dry_run ]] || "${@:2}"
}

# ---- arguments

release='' sha256='' store=${ROLLCALL_STORE_URL:-} bundle=${ROLLCALL_BUNDLE:-starter} device=${ROLLCALL_DEVICE:-auto}
redis=${ROLLCALL_REDIS_URL:-} queue=${ROLLCALL_QUEUE_URL:-} dry_run='' uninstall='' spot='' start=yes extra=()
while (($#)); do
  case $1 in
    --release | --sha256 | --store | --bundle | --redis-url | --queue-url | --device | --env)
      (($# >= 2)) || fail "$1 needs a value" '' 2 ;;&
    --release) release=$2; shift 2 ;;
    --sha256) sha256=$2; shift 2 ;;
    --store) store=$2; shift 2 ;;
    --bundle) bundle=$2; shift 2 ;;
    --redis-url) redis=$2; shift 2 ;;
    --queue-url) queue=$2; shift 2 ;;
    --device) device=$2; shift 2 ;;
    --env) extra+=("$2"); shift 2 ;;
    --spot) spot=yes; shift ;;
    --no-start) start=''; shift ;;
    --dry-run) dry_run=yes; shift ;;
    --uninstall) uninstall=yes; shift ;;
    --version) printf 'provision.sh %s\n' "$version"; exit 0 ;;
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) fail "not an option: $1" '`provision.sh --help` shows them' 2 ;;
  esac
done

check_arguments() {
  [[ -n $release ]] || fail '--release is missing' '`rollcall-provision release push` says it' 2
  [[ $sha256 =~ ^[0-9a-f]{64}$ ]] || fail "not a SHA-256: '$sha256'" 'the digest is not optional: `rollcall-provision release push` says it' 2
  [[ -n $store ]] || fail '--store is missing' '' 2
  [[ $device =~ ^(auto|cpu|cuda(:[0-9]+)?)$ ]] || fail "not a device: $device" 'auto, cpu, cuda or cuda:N' 2
  [[ $bundle =~ ^[a-z0-9][a-z0-9._-]*(@[A-Za-z0-9._-]+)?$ ]] || fail "not a bundle: $bundle" 'NAME or NAME@VERSION in the store' 2
  [[ -z $spot ]] || has_systemd || fail '--spot needs systemd, which does not run here' '' 2
  local setting
  for setting in "${extra[@]}"; do
    [[ $setting =~ ^[A-Za-z_][A-Za-z0-9_]*= ]] || fail "not KEY=VALUE: $setting" '' 2
  done
  check_folder
}

# The store's folder, where it is one.
folder=''

# within PATH FOLDER: whether the path is the folder or lies in it
within() { [[ $1/ == "${2%/}"/* ]]; }

# check_folder: a store that is a folder has to be one that the service sees and that `--uninstall` leaves alone
check_folder() {
  [[ $store == file://* ]] || return 0
  # As the programs read it: percent-decoded.
  local plain=${store#file://} own speakable='^/[^[:cntrl:]"\\]*$'
  plain=${plain//\\/\\\\}
  printf -v folder '%b' "${plain//%/\\x}"
  [[ $folder =~ $speakable ]] || fail "not a folder for a store: $store" 'file:///folder, without quotes and backslashes' 2
  folder=$(realpath -m -- "$folder")
  for own in "$home" "$prefix" "$etc" "$logs" "$run"; do
    if within "$folder" "$own" || within "$own" "$folder"; then fail "the store cannot be $folder: $own is the worker's own" 'a folder elsewhere, such as /srv/rollcall' 2; fi
  done
  if has_systemd; then
    for own in /home /root /run/user /tmp /var/tmp; do
      if within "$folder" "$own"; then fail "the store cannot be $folder: the service does not see $own" 'a folder elsewhere, such as /srv/rollcall' 2; fi
    done
  fi
}

# check_written: the worker writes results there
check_written() {
  [[ -n $folder ]] || return 0
  setpriv --reuid "$user" --regid "$user" --init-groups -- test -w "$folder" ||
    fail "the user $user cannot write to the store's folder, or it is not there: $folder" "\`install -d -o $user -g $user $folder\`, or mount it"
}

# ---- what runs

has_systemd() { [[ -d /run/systemd/system ]]; }

# supervisor: the pid of the loop that keeps the worker alive, if it lives
supervisor() {
  local pid
  pid=$(cat "$run/supervisor.pid" 2>/dev/null) || return 1
  [[ $pid =~ ^[0-9]+$ ]] && grep -qaF "$prefix/supervise.sh" "/proc/$pid/cmdline" 2>/dev/null && printf '%s\n' "$pid"
}

is_running() { if has_systemd; then systemctl -q is-active rollcall-worker; else supervisor >/dev/null; fi; }

# wait_gone PID SECONDS
wait_gone() {
  local tries
  for ((tries = 0; tries < $2 * 10; tries++)); do
    [[ -d /proc/$1 ]] || return 0
    sleep 0.1
  done
  return 1
}

stop_worker() {
  local pid
  if has_systemd; then
    # First, or it would take the end of the worker for its own work.
    systemctl -q disable --now rollcall-spot 2>/dev/null || true
    systemctl -q disable --now rollcall-worker 2>/dev/null || true
  elif pid=$(supervisor); then
    kill -TERM "$pid"
    wait_gone "$pid" 100 || fail "the worker does not stop: pid $pid"
  fi
}

start_worker() {
  if has_systemd; then
    systemctl daemon-reload
    systemctl -q enable rollcall-worker
    systemctl restart rollcall-worker
    if [[ -n $spot ]]; then
      systemctl -q enable rollcall-spot
      systemctl restart rollcall-spot
    fi
  else
    stop_worker
    mkdir -p "$run" "$logs"
    setsid -f "$prefix/supervise.sh" </dev/null >>"$logs/worker.log" 2>&1
  fi
}

# ---- what is this script's own

# note NAME: what is about to be made was not here before; noted first, so that an interrupted run forgets nothing
note() {
  mkdir -p "$prefix"
  grep -qxF "$1" "$prefix/made" 2>/dev/null || printf '%s\n' "$1" >>"$prefix/made"
}
is_made() { grep -qxF "$1" "$prefix/made" 2>/dev/null; }

# ---- removing

remove_all() {
  begin 'removing Rollcall from this machine'
  [[ -d $prefix || -e $unit || -e $etc/rollcall.env ]] || { say 'it is not here'; return 0; }
  local program
  doing 'stopping the worker' stop_worker
  for program in "${programs[@]}"; do
    if [[ $(readlink "$links/$program" 2>/dev/null) == "$prefix/"* ]]; then doing "removing $links/$program" rm "$links/$program"; fi
  done
  local file
  for file in "$unit" "$spot_unit" "$etc/rollcall.env" "$etc/rollcall.env.new"; do
    if [[ -e $file ]]; then doing "removing $file" rm "$file"; fi
  done
  if has_systemd && [[ -z $dry_run ]]; then systemctl daemon-reload; fi
  # What else lies there is the operator's, such as the settings of another service.
  if is_made "$etc" && [[ -d $etc ]]; then doing "removing $etc, if it is empty" rmdir --ignore-fail-on-non-empty "$etc"; fi
  if is_made "$home"; then doing "removing $home" rm -rf --one-file-system "$home"; elif [[ -d $home ]]; then say "keeping $home: it was here before"; fi
  if is_made "$user" && id "$user" >/dev/null 2>&1; then
    doing "removing the user $user" userdel "$user"
  elif id "$user" >/dev/null 2>&1; then
    say "keeping the user $user: it was here before"
  fi
  # Last, because the lists of what is to be removed lie there.
  if [[ -s $prefix/packages ]]; then remove_packages "$prefix/packages"; fi
  doing "removing $prefix, $logs" rm -rf --one-file-system "$prefix" "$logs" "$run"
  say 'done'
}

# ---- installing

# patiently COMMAND...: runs dpkg or apt-get, anew for up to 5 minutes while another program holds one of their locks, such as the
# updates of a machine that has just started; asks nothing
patiently() {
  local code until=$((SECONDS + lock_s))
  temporary=$(mktemp -d)
  while :; do
    code=0
    # Errors by way of a file: of a pipe, a service that a package starts might hold the other end.
    DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@" >&2 2>"$temporary/errors" || code=$?
    cat "$temporary/errors" >&2
    ((code != 0 && SECONDS < until)) && grep -qE "$locked" "$temporary/errors" || break
    say 'another program is installing packages; waiting for it'
    sleep 5
  done
  rm -rf "$temporary"; temporary=''
  return "$code"
}

# Nothing of what apt downloads stays. `update` does not know the timeout.
apt_get() { patiently apt-get -q -o APT::Keep-Downloaded-Packages=false -o DPkg::Lock::Timeout="$lock_s" "$@"; }

install_packages() {
  # A machine that was lost in the middle of an installation.
  patiently dpkg --configure -a
  apt_get update
  # Everything that comes with them, noted before it comes, so that an interrupted run forgets none.
  mkdir -p "$prefix"
  apt-get -s -q install --no-install-recommends "$@" | awk '$1 == "Inst" { print $2 }' >>"$prefix/packages"
  apt_get install -y --no-install-recommends "$@"
}

# remove_packages FILE: the packages that are listed, unless something that came later needs one of them
remove_packages() {
  local packages=() others
  mapfile -t packages < <(sort -u "$1" | while read -r name; do dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$name" 2>/dev/null; done | awk '$1 == "installed" { print $2 }')
  ((${#packages[@]})) || return 0
  others=$(apt-get -s -q purge "${packages[@]}" | awk '$1 == "Purg" || $1 == "Remv" { print $2 }' | grep -vxF -f <(printf '%s\n' "${packages[@]}") || true)
  if [[ -n $others ]]; then
    say "keeping the packages ${packages[*]}: needed by" $others
  else
    doing "removing the packages ${packages[*]}" apt_get purge -y "${packages[@]}"
  fi
}

# need_packages COMMAND=PACKAGE...
need_packages() {
  local pair missing=()
  for pair in "$@"; do command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}"); done
  if [[ ! -s /etc/ssl/certs/ca-certificates.crt ]]; then missing+=(ca-certificates); fi
  if ((${#missing[@]})); then doing "installing ${missing[*]}" install_packages "${missing[@]}"; fi
}

# imds PATH [TOKEN]: an answer of the instance's metadata service; without a token, one for the next questions
imds() {
  local service=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254} settings='request = "PUT"
header = "x-aws-ec2-metadata-token-ttl-seconds: 300"'
  if [[ -n ${2:-} ]]; then settings="header = \"x-aws-ec2-metadata-token: $2\""; fi
  curl --config - --fail --silent --noproxy '*' --retry 3 --retry-connrefused --connect-timeout 2 --max-time 5 <<<"$settings
url = \"${service%/}/latest/$1\""
}

# role_keys: sets key, secret, session and perhaps region of the caller to those of the machine's role
role_keys() {
  local token role text
  token=$(imds api/token) || fail 's3:// needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a machine with a role' 'the metadata service does not answer: is this a machine of AWS, and may it be asked (hop limit)?'
  role=$(imds meta-data/iam/security-credentials/ "$token") || fail 'this machine has no role' 'give it an instance profile, or keys'
  role=${role%%$'\n'*}
  text=$(imds "meta-data/iam/security-credentials/$role" "$token") || fail "the role gives no keys: $role"
  # One flat object of strings.
  said() { sed -n "s/.*\"$1\" *: *\"\([^\"]*\)\".*/\1/p" <<<"$text"; }
  key=$(said AccessKeyId) secret=$(said SecretAccessKey) session=$(said Token)
  [[ -n $key && -n $secret && -n $session ]] || fail "the role gives no keys: $role: $(said Message)"
  if [[ -z $region ]]; then region=$(imds meta-data/placement/region "$token" || true); fi
}

# download URL FILE: credentials go in through a file descriptor, never through the arguments that everybody can see
download() {
  local url=$1 settings=''
  if [[ $url == s3://* ]]; then
    local major minor path=${url#s3://} endpoint=${AWS_ENDPOINT_URL_S3:-${AWS_ENDPOINT_URL:-}}
    local key=${AWS_ACCESS_KEY_ID:-} secret=${AWS_SECRET_ACCESS_KEY:-} session=${AWS_SESSION_TOKEN:-}
    local region=${AWS_REGION:-${AWS_DEFAULT_REGION:-}}
    # Older ones do not sign every header.
    IFS=' .' read -r _ major minor _ < <(curl --version)
    ((major > 7 || minor >= 87)) || fail "curl $major.$minor cannot sign for S3" 'it takes 7.87 (Debian 12, Ubuntu 24.04), or a presigned https:// address'
    if [[ -z $key || -z $secret ]]; then role_keys; fi
    region=${region:-us-east-1}
    if [[ -n $endpoint ]]; then url=${endpoint%/}/$path; else url=https://${path%%/*}.s3.$region.amazonaws.com/${path#*/}; fi
    settings="aws-sigv4 = \"aws:amz:$region:s3\"
user = \"$key:$secret\"
header = \"x-amz-content-sha256: UNSIGNED-PAYLOAD\""
    if [[ -n $session ]]; then settings+="
header = \"x-amz-security-token: $session\""; fi
  fi
  # A server that falls silent ends a try after a minute. Older curls than 7.71 (Ubuntu 20.04) do not know --retry-all-errors.
  curl --config - --fail --silent --show-error --location --retry 5 --retry-connrefused --connect-timeout 20 \
    --speed-limit 1024 --speed-time 60 --output "$2" <<<"$settings
url = \"$url\""
}

install_release() {
  # What a killed run left.
  rm -rf "$prefix"/unpacking.*
  temporary=$(mktemp -d "$prefix/unpacking.XXXXXX")
  download "$release" "$temporary/rollcall.tar.zst" || fail "cannot download ${release%%\?*}"
  local found
  found=$(sha256sum "$temporary/rollcall.tar.zst"); found=${found%% *}
  [[ $found == "$sha256" ]] || fail "the release has the digest $found, not $sha256" 'it was damaged on the way, or is another release'
  mkdir "$temporary/release"
  tar --extract --zstd --no-same-owner --file "$temporary/rollcall.tar.zst" --directory "$temporary/release"
  local program
  for program in "${programs[@]}"; do
    "$temporary/release/bin/$program" --version >&2 || fail "$program of the release does not run here"
  done
  mv "$temporary/release" "$prefix/releases/$sha256"
  rm -rf "$temporary"; temporary=''
}

# write MODE FILE: standard input, if it differs; owned by root, readable by the worker's group
write() {
  local content; content=$(cat; printf x); content=${content%x}
  if [[ -f $2 && $(cat "$2"; printf x) == "${content}x" ]]; then return 0; fi
  doing "writing $2" write_now "$1" "$2" "$content"
}
write_now() {
  if [[ $(dirname "$2") == "$etc" && ! -d $etc ]]; then note "$etc"; fi
  mkdir -p "$(dirname "$2")"
  (umask 077; printf '%s' "$3" >"$2.new")
  chmod "$1" "$2.new"
  if id "$user" >/dev/null 2>&1; then chgrp "$user" "$2.new"; fi
  mv "$2.new" "$2"
}

# settings: KEY="VALUE" lines that both systemd and a shell read
settings() {
  local -A all=()
  local name pair
  # One that is set to nothing is not set.
  for name in $(compgen -e | grep -E '^(AWS|ROLLCALL)_' || true); do
    if [[ -n ${!name} ]]; then all[$name]=${!name}; fi
  done
  all[ROLLCALL_STORE_URL]=$store all[ROLLCALL_BUNDLE]=$bundle all[ROLLCALL_DEVICE]=$device all[ROLLCALL_HOME]=$home
  if [[ -n $redis ]]; then all[ROLLCALL_REDIS_URL]=$redis; fi
  if [[ -n $queue ]]; then all[ROLLCALL_QUEUE_URL]=$queue; fi
  for pair in "${extra[@]}"; do all[${pair%%=*}]=${pair#*=}; done
  printf '# Written by provision.sh %s; changes are lost when it runs again.\n' "$version"
  for name in "${!all[@]}"; do
    [[ ${all[$name]} != *$'\n'* ]] || fail "a setting has several lines: $name"
    printf '%s="%s"\n' "$name" "$(sed 's/[\\"$`]/\\&/g' <<<"${all[$name]}")"
  done | LC_ALL=C sort
}

# quoted PATH: as systemd reads it
quoted() { printf '"%s"' "${1//%/%%}"; }

unit_text() {
  cat <<END
[Unit]
Description=Rollcall worker
Wants=network-online.target
After=network-online.target
${folder:+RequiresMountsFor=$(quoted "$folder")}

[Service]
User=$user
EnvironmentFile=$etc/rollcall.env
# After a start of the machine a GPU's device files may not be there yet, and the worker may not gain the rights to make them.
# Where there is no such program, nothing happens.
ExecStartPre=-+/usr/bin/nvidia-modprobe -u -c=255 -c=0
ExecStart=$prefix/current/bin/rollcall-worker serve
Restart=always
RestartSec=2
# A worker finishes what it holds within 60 s or hands it back, which takes up to 30 s, and has 7 s for its last words.
TimeoutStopSec=100
NoNewPrivileges=yes
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict
ReadWritePaths=$home${folder:+ $(quoted "$folder")}

[Install]
WantedBy=multi-user.target
END
}

supervise_text() {
  cat <<END
#!/usr/bin/env bash
# Keeps the Rollcall worker alive where no systemd does. Written by provision.sh $version.
set -u
cd /
echo \$\$ >$run/supervisor.pid
worker='' pause=1
stop() { trap '' TERM INT; [[ -z \$worker ]] || { kill -TERM "\$worker" 2>/dev/null; wait "\$worker"; }; rm -f $run/supervisor.pid; exit 0; }
trap stop TERM INT
set -a; . $etc/rollcall.env; set +a
while :; do
  began=\$SECONDS
  setpriv --reuid $user --regid $user --init-groups -- $prefix/current/bin/rollcall-worker serve &
  worker=\$!
  wait "\$worker"; code=\$?
  worker=''
  # One that lived for a minute starts anew at once; others wait longer and longer.
  if ((SECONDS - began > 60)); then pause=1; else pause=\$((pause * 2 > 60 ? 60 : pause * 2)); fi
  echo "the worker ended with code \$code; the next one starts in \$pause s"
  sleep "\$pause" & wait \$!
done
END
}

# provision ARGUMENT...: rollcall-provision as the worker's user, with the worker's settings
provision() {
  (
    set -a; . "$etc/rollcall.env"; set +a
    # The caller's folder may be closed to the worker's user.
    cd /
    setpriv --reuid "$user" --regid "$user" --init-groups -- "$prefix/current/bin/rollcall-provision" "$@"
  )
}

# has_gpu: whether the driver shows a GPU; without the driver no library is of use
has_gpu() { command -v nvidia-smi >/dev/null && nvidia-smi --list-gpus 2>/dev/null | grep -q '^GPU '; }

# one_runtime [--gpu]: from the store where somebody put it there (`rollcall-provision pack-runtime`), else from packages
one_runtime() {
  local code=0
  provision runtime "$@" --store "$store" || code=$?
  if ((code == 0)); then return 0; fi
  ((code != 3)) || fail 'the store cannot be reached' 'the lines above say why'
  say 'ONNX Runtime did not come from the store, as the lines above say; installing it from its packages'
  need_packages pip3=python3-pip
  provision runtime "$@"
}

install_runtime() {
  # The one for CPUs serves self-tests, and `--device cpu` on any machine.
  one_runtime
  case $device in
    cuda*) one_runtime --gpu ;;
    auto) if has_gpu; then one_runtime --gpu; else say 'no GPU is seen: ONNX Runtime for CPUs only'; fi ;;
  esac
}

add_user() {
  note "$user"
  useradd --system --user-group --no-create-home --home-dir "$home" --shell /usr/sbin/nologin "$user"
}
make_home() {
  note "$home"
  mkdir -p "$home"
  chown "$user:$user" "$home"
  chmod 750 "$home"
}

remove_spot() {
  systemctl -q disable --now rollcall-spot 2>/dev/null || true
  rm "$spot_unit"
}

# spot_text: the unit of the release, at this script's paths
spot_text() {
  sed "s#/usr/local/lib/rollcall/#$prefix/current/spot/#" "$prefix/current/spot/rollcall-spot.service"
}

# workers_here: the ids of this machine's workers in the fleet, a line each
workers_here() {
  (
    set -a; . "$etc/rollcall.env"; set +a
    "$prefix/current/bin/rollcall" workers --json 2>/dev/null
  ) | tr -d ' \n' | grep -o '{[^{}]*}' | grep -F "\"host\":\"$(uname -n)\"" | grep -o '"id":"[^"]*"' | sort || true
}

# seen BEFORE: whether there is one that was not there before
seen() { [[ -n $(comm -13 <(printf '%s\n' "$1") <(workers_here)) ]]; }

# wait_until_seen BEFORE
wait_until_seen() {
  begin 'waiting until the worker is seen in `rollcall workers`' "look into $(has_systemd && echo '`journalctl -u rollcall-worker`' || echo "$logs/worker.log")"
  local tries
  for ((tries = 0; tries < 240; tries++)); do
    if seen "$1"; then say 'the worker is seen'; return 0; fi
    is_running || { ((tries < 20)) || fail 'the worker does not run'; }
    sleep 0.5
  done
  has_systemd || tail -n 5 "$logs/worker.log" >&2 || true
  fail 'the worker was not seen within 120 s'
}

install_all() {
  check_arguments
  # Before anything is changed, and not in a pipe: what cannot be written must not leave a part of it in the file.
  local text; text=$(settings)
  begin 'installing what is missing' 'check that this machine reaches its package mirror'
  need_packages curl=curl zstd=zstd

  begin 'installing the programs' 'check the address; a presigned one may have run out'
  if [[ ! -d $prefix/releases/$sha256 ]]; then
    [[ -n $dry_run ]] || mkdir -p "$prefix/releases"
    doing "installing the release $sha256" install_release
  fi
  if [[ $(readlink "$prefix/current" 2>/dev/null) != "releases/$sha256" ]]; then
    doing 'making it the current one' ln -sfn "releases/$sha256" "$prefix/current"
  fi
  local program
  for program in "${programs[@]}"; do
    if [[ $(readlink "$links/$program" 2>/dev/null) != "$prefix/current/bin/$program" ]]; then
      doing "linking $links/$program" ln -sfn "$prefix/current/bin/$program" "$links/$program"
    fi
  done

  begin 'setting up the worker' ''
  if ! id "$user" >/dev/null 2>&1; then doing "adding the user $user" add_user; fi
  if [[ ! -d $home ]]; then doing "making $home" make_home; fi
  [[ -n $dry_run ]] || check_written
  printf '%s\n' "$text" | write 640 "$etc/rollcall.env"
  if [[ -n $spot && -e $prefix/current/spot/rollcall-spot.service ]]; then
    spot_text | write 644 "$spot_unit"
  elif [[ -n $spot ]]; then
    [[ -n $dry_run ]] || fail 'this release cannot watch for the end of a spot instance' 'push one made by this version'
    say "would be writing $spot_unit"
  elif [[ -e $spot_unit ]]; then
    doing "removing $spot_unit" remove_spot
  fi
  if has_systemd; then unit_text | write 644 "$unit"; else supervise_text | write 755 "$prefix/supervise.sh"; fi
  # `write` runs behind a pipe, where it cannot tell that it changed something; the files do.
  local stamp; stamp=$(cat "$etc/rollcall.env" "$unit" "$spot_unit" "$prefix/supervise.sh" 2>/dev/null | sha256sum; readlink "$prefix/current" || true)
  if [[ -n $dry_run ]]; then
    say "would be installing ONNX Runtime and the bundle $bundle, checking the machine${start:+, and starting the worker}"
    return 0
  fi

  begin 'installing ONNX Runtime' 'put it into the store with `rollcall-provision pack-runtime`'
  install_runtime
  begin "installing the bundle $bundle" ''
  provision ensure "$bundle"
  stamp+=$(readlink "$home/bundles/${bundle%%@*}/current" || true)
  begin 'checking the machine' ''
  provision preflight --device "$device" || fail 'this machine cannot be a worker'

  [[ -n $start ]] || { say 'done; the service is left stopped'; return 0; }
  if is_running && [[ $(cat "$prefix/started-with" 2>/dev/null) == "$stamp" ]]; then
    say 'the worker runs already, with all of this'
    wait_until_seen ''
  else
    begin 'starting the worker' ''
    # An earlier worker of this machine is shown until its last sign of life is old.
    local before; before=$(workers_here)
    start_worker
    printf '%s\n' "$stamp" >"$prefix/started-with"
    wait_until_seen "$before"
  fi
  say 'done'
}

[[ $(uname -s) == Linux && $(uname -m) == x86_64 ]] || fail "this is $(uname -s) on $(uname -m)" 'the programs are made for Linux on x86_64'
[[ $(id -u) == 0 ]] || fail 'this has to run as root' 'use sudo'
command -v apt-get >/dev/null || fail '`apt-get` is not here' 'this script is for Debian and Ubuntu'
if [[ -n $uninstall ]]; then remove_all; else install_all; fi
