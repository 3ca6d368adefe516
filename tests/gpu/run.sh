#!/usr/bin/env bash
# Everything that only a machine with a GPU can show: parity with the CPU, leaks, kernels under compute-sanitizer, throughput,
# utilisation, cold start. Needs no Rust and no network.
#
# usage: tests/gpu/run.sh BIN_FOLDER HOME_FOLDER AUDIO_FOLDER [OUT_FOLDER]
#   BIN_FOLDER    rollcall-worker and rollcall, built with their default features, in release mode
#   HOME_FOLDER   ROLLCALL_HOME: a bundle (`bundles/starter/current`), and ONNX Runtime for GPUs with its CUDA libraries
#                 (`runtimes/onnxruntime-gpu/VERSION`, from `rollcall-provision runtime --gpu`); CUDA libraries that lie
#                 elsewhere are named by ROLLCALL_CUDA_LIBRARIES, folders with `:` between them
#   AUDIO_FOLDER  recordings (*.wav *.flac *.mp3 *.m4a *.ogg *.opus); X.rttm beside X.wav is its reference, if there is one
#   OUT_FOLDER    where figures and logs go [default: gpu-results]
# Variables: ROLLCALL_BUNDLE (default starter); BATCHES of the leak test (1000); HOUR, a recording of about an hour (default:
# AUDIO_FOLDER's longest, repeated); PARTS, which parts to run (default: all, in this order: start kernels parity leaks
# sanitizer throughput hour short files).
# Ends with a table; exits 1 when anything that has a bound misses it. Does not change the GPU's settings.
set -uo pipefail
bin=$(realpath "${1:?the folder of the programs}") home=$(realpath "${2:?ROLLCALL_HOME}") audio=$(realpath "${3:?a folder of recordings}")
out=${4:-gpu-results}
mkdir -p "$out"; out=$(realpath "$out")
export ROLLCALL_HOME=$home ROLLCALL_BUNDLE=${ROLLCALL_BUNDLE:-starter}
unset ROLLCALL_DEVICE ROLLCALL_LOG ROLLCALL_LOG_FORMAT
worker=$bin/rollcall-worker
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
parts=${PARTS:-start kernels parity leaks sanitizer throughput hour short files}
table=$out/table.txt failed=0
: >"$table"

say() { printf '\n== %4d s  %s\n' $SECONDS "$*"; }
# row VERDICT WHAT FIGURE BOUND
row() {
  printf '%-7s %-46s %-28s %s\n' "$@" | tee -a "$table"
  [[ $1 != FAILED ]] || failed=1
}
now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.2f", b - a }'; }
# below FIGURE BOUND: ok or FAILED
below() { awk -v f="$1" -v b="$2" 'BEGIN { print (f + 0 < b + 0 && f != "") ? "ok" : "FAILED" }'; }
above() { awk -v f="$1" -v b="$2" 'BEGIN { print (f + 0 > b + 0) ? "ok" : "FAILED" }'; }
wanted() { [[ " $parts " == *" $1 "* ]]; }
recordings() { find "$audio" -maxdepth 1 -type f \( -name '*.wav' -o -name '*.flac' -o -name '*.mp3' -o -name '*.m4a' -o -name '*.ogg' -o -name '*.opus' \) | sort; }
# a number of a JSON document on standard input: field NAME, the last of that name
field() { grep -o "\"$1\": *[0-9.eE+-]*" | tail -n 1 | sed 's/.*: *//'; }

mapfile -t files < <(recordings)
((${#files[@]})) || { echo "error: no recordings in $audio" >&2; exit 2; }
first=${files[0]}

say 'the machine'
nvidia-smi --query-gpu=name,driver_version,memory.total,utilization.gpu --format=csv,noheader | tee "$out/gpu.txt"
"$worker" --version | tee "$out/version.txt"
nproc | sed 's/^/cores: /'

if wanted start; then
  say 'from process to ready: the first time (kernels compiled), then again'
  rm -rf "$home/cache/kernels"
  started=yes
  for time in first again; do
    began=$(now)
    "$worker" run --device cuda --out "$out/start-$time" --formats json --json "$first" >"$out/start-$time.json" 2>"$out/start-$time.log"
    code=$? whole=$(since "$began")
    ready=$(grep -o 'seconds=[0-9.]*' "$out/start-$time.log" | head -n 1 | cut -d= -f2)
    if ((code != 0)); then started=''; row FAILED "start ($time)" "exit $code" "see start-$time.log"; tail -n 12 "$out/start-$time.log"; fi
    row "$(below "${ready:-99}" 5)" "device ready ($time)" "${ready:-none} s of $whole s" 'under 5 s'
  done
  # Without a device nothing below can hold; with a slow one all of it can.
  [[ -n $started ]] || { echo 'the device does not start; see the logs above' >&2; exit 1; }
fi

# checked PART: a check of the worker's own, line by line
checked() {
  local name=$1; shift
  "$worker" gpu "$@" >"$out/$name.txt" 2>"$out/$name.log"
  local code=$?
  while IFS= read -r line; do
    case $line in
      'ok '*) row ok "$name" "${line#ok      }" '' ;;
      'FAILED'*) row FAILED "$name" "${line#FAILED  }" '' ;;
    esac
  done <"$out/$name.txt"
  if ((code != 0)) && ! grep -q '^FAILED' "$out/$name.txt"; then
    row FAILED "$name" "exit $code" "see $name.log"; tail -n 8 "$out/$name.log"
  fi
}
if wanted kernels; then say 'kernels against their references'; checked kernels kernels; fi
if wanted parity; then say 'features, decisions, embeddings against the CPU'; checked parity parity "${files[@]:0:6}"; fi
if wanted leaks; then say 'memory over many batches'; checked leaks leaks --batches "${BATCHES:-1000}"; fi

if wanted sanitizer; then
  say 'kernels under compute-sanitizer'
  if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck synccheck; do
      # Only our kernels: those of the libraries are not ours to judge, and take long.
      compute-sanitizer --tool "$tool" --error-exitcode 9 --kernel-regex kns=gather --kernel-regex kns=fbank \
        --kernel-regex kns=centre --kernel-regex kns=pool --kernel-regex kns=project \
        "$worker" gpu kernels >"$out/sanitizer-$tool.txt" 2>&1
      code=$?
      row "$( ((code == 0)) && echo ok || echo FAILED)" "compute-sanitizer $tool" "$(grep -o 'ERROR SUMMARY.*\|RACECHECK SUMMARY.*' "$out/sanitizer-$tool.txt" | tail -n 1)" 'no errors'
    done
  else
    row SKIPPED 'compute-sanitizer' 'not on this machine' ''
  fi
fi

if wanted throughput; then
  say 'networks, both lanes at work'
  if "$worker" bench --device cuda --json --repeat 5 "$first" >"$out/bench.json" 2>"$out/bench.log"; then
    chunk=$(field segmentation_ms_per_chunk <"$out/bench.json") window=$(field embedding_ms_per_window <"$out/bench.json")
    row '' 'chunks segmented' "$(awk -v m="$chunk" 'BEGIN { printf "%.0f per s", 1000 / m }')" ''
    row '' 'embeddings' "$(awk -v m="$window" 'BEGIN { printf "%.0f per s", 1000 / m }')" ''
  else
    row FAILED 'bench' "exit $?" 'see bench.log'; tail -n 5 "$out/bench.log"
  fi
fi

# repeated SECONDS FILE: AUDIO_FOLDER's recordings one behind the other, as a 16 kHz WAV file (WAV sources only)
repeated() {
  python3 - "$1" "$2" "${files[@]}" <<'END'
import sys
import wave

wanted, target, sources = int(sys.argv[1]), sys.argv[2], [s for s in sys.argv[3:] if s.endswith(".wav")]
sound = []
for source in sources:
    try:
        with wave.open(source) as audio:
            if audio.getparams()[:3] == (1, 2, 16000):
                sound.append(audio.readframes(audio.getnframes()))
    except (wave.Error, EOFError):
        pass
if not sound:
    sys.exit("no mono 16 kHz WAV file to make it of")
with wave.open(target, "wb") as audio:
    audio.setparams((1, 2, 16000, 0, "NONE", ""))
    written, turn = 0, 0
    while written < wanted * 32000:
        piece = sound[turn % len(sound)][: wanted * 32000 - written]
        audio.writeframesraw(piece)
        written, turn = written + len(piece), turn + 1
END
}

if wanted hour; then
  say 'one hour, warm'
  hour=${HOUR:-$out/hour.wav}
  if [[ -f $hour ]] || repeated 3600 "$hour"; then
    # The first recording warms the process up; figures are the second's.
    if "$worker" run --device cuda --jobs 1 --out "$out/hour" --formats json --json "$first" "$hour" >"$out/hour.json" 2>"$out/hour.log"; then
      factor=$(tail -n 1 "$out/hour.json" | field realtime_factor) length=$(tail -n 1 "$out/hour.json" | field duration_s)
      seconds=$(awk -v f="$factor" -v d="$length" 'BEGIN { printf "%.2f", f * d }')
      row "$(below "$seconds" 5)" "$(printf '%.0f s of audio, warm' "$length")" "$seconds s" 'under 5 s (target 2)'
    else
      row FAILED 'one hour' "exit $?" 'see hour.log'; tail -n 5 "$out/hour.log"
    fi
  else
    row SKIPPED 'one hour' 'no recording' ''
  fi
fi

if wanted short; then
  say '200 short files, with utilisation sampled'
  mkdir -p "$out/short"
  # As many as the worker takes.
  jobs=$(nproc); ((jobs <= 256)) || jobs=256
  if [[ -f $out/short/200.wav ]] || { repeated 12000 "$out/short/all.wav" && python3 - "$out/short" <<'END'
import sys
import wave

with wave.open(sys.argv[1] + "/all.wav") as audio:
    for n in range(1, 201):
        with wave.open(f"{sys.argv[1]}/{n}.wav", "wb") as part:
            part.setparams((1, 2, 16000, 0, "NONE", ""))
            part.writeframes(audio.readframes(60 * 16000))
END
  }; then
    rm -f "$out/short/all.wav"
    nvidia-smi --query-gpu=timestamp,utilization.gpu,memory.used --format=csv,noheader,nounits --loop-ms=100 >"$out/utilisation.csv" 2>/dev/null &
    sampler=$!
    began=$(now)
    "$worker" run --device cuda --jobs "$jobs" --out "$out/short-out" --formats json --json "$out"/short/[0-9]*.wav >"$out/short.json" 2>"$out/short.log"
    code=$? seconds=$(since "$began")
    kill "$sampler" 2>/dev/null; wait "$sampler" 2>/dev/null
    row "$( ((code == 0)) && echo ok || echo FAILED)" '200 files of 60 s' "$seconds s, $(awk -v s="$seconds" 'BEGIN { printf "%.0f", 12000 / s }')x real time" ''
    # From the first to the last sample above 5 %: what comes before is loading.
    awk -F', *' '$2 > 5 { if (!first) first = NR; last = NR } { u[NR] = $2 } END { if (!first) { print "none"; exit } for (i = first; i <= last; i++) { s += u[i]; n++ } printf "%.0f %d\n", s / n, n }' "$out/utilisation.csv" >"$out/utilisation.txt"
    read -r mean samples <"$out/utilisation.txt"
    row "$(above "${mean:-0}" 80)" "GPU utilisation (nvidia-smi, ${samples:-0} samples)" "${mean:-none} %" 'above 80 % (target 90)'
  else
    row SKIPPED '200 short files' 'no recording' ''
  fi
fi

if wanted files; then
  say 'the same files on GPU and CPU'
  "$worker" run --device cuda --out "$out/on-gpu" --formats json,rttm --json "${files[@]}" >"$out/on-gpu.json" 2>"$out/on-gpu.log" || row FAILED 'files on the GPU' "exit $?" 'see on-gpu.log'
  "$worker" run --device cpu --out "$out/on-cpu" --formats json,rttm --json "${files[@]}" >"$out/on-cpu.json" 2>"$out/on-cpu.log" || row FAILED 'files on the CPU' "exit $?" 'see on-cpu.log'
  for file in "${files[@]}"; do
    stem=$(basename "${file%.*}") reference=${file%.*}.rttm
    gpu=$out/on-gpu/$stem/turns.rttm cpu=$out/on-cpu/$stem/turns.rttm
    [[ -f $gpu && -f $cpu ]] || continue
    if [[ -f $reference ]]; then
      der() { "$bin/rollcall" score --reference "$reference" --hypothesis "$1" --json 2>/dev/null | field der | awk '{ printf "%.4f", 100 * $1 }'; }
      a=$(der "$gpu") b=$(der "$cpu")
      apart=$(awk -v a="$a" -v b="$b" 'BEGIN { d = a - b; print (a == "" || b == "") ? "" : (d < 0 ? -d : d) }')
      row "$(below "${apart:-9}" 0.1000001)" "DER of $stem" "GPU ${a:-?} %, CPU ${b:-?} %" 'at most 0.1 apart'
    elif cmp -s "$gpu" "$cpu"; then
      row ok "turns of $stem" 'the same' ''
    else
      row '' "turns of $stem" "$(diff "$cpu" "$gpu" | grep -c '^[<>]') lines differ" ''
    fi
  done
fi

say 'done'
cat "$table"
exit $failed
