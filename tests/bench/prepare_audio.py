"""Makes the 16 kHz mono 16-bit WAV that the peers want: `prepare_audio.py AUDIO WAV [SECONDS]`. Prints its length.

With SECONDS, only so much of the beginning.
"""

import math
import os
import sys

import numpy
import soundfile
from scipy.signal import resample_poly

RATE_HZ = 16000


def main():
    source, target = sys.argv[1:3]
    at_most_s = float(sys.argv[3]) if len(sys.argv) > 3 else None
    try:
        samples, rate_hz = soundfile.read(source, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        sys.exit(f"libsndfile cannot read {source}: {error}")
    samples = samples.mean(axis=1)
    if at_most_s is not None:
        samples = samples[: int(at_most_s * rate_hz)]
    if rate_hz != RATE_HZ:
        common = math.gcd(RATE_HZ, rate_hz)
        samples = resample_poly(samples, RATE_HZ // common, rate_hz // common)
    whole = numpy.clip(numpy.rint(samples * 32768.0), -32768, 32767).astype(numpy.int16)
    # Under another name first: a killed run must not leave half a recording for the next one.
    soundfile.write(target + ".partial", whole, RATE_HZ, subtype="PCM_16", format="WAV")
    os.replace(target + ".partial", target)
    print(len(whole) / RATE_HZ)


main()
